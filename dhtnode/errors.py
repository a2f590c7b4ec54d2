"""The exceptions that the library raises.

There are three kinds: mistakes of the caller (`InvalidArgument` and its subclasses, all `ValueError`),
queries that failed (`QueryError` and its subclasses), and bytes that are not a message
(`krpc.MalformedMessage`, which a caller of the node never sees).
"""

from dhtnode.addresses import Address
from dhtnode.escaping import escaped


class DhtError(Exception):
    """The base of all that this package raises for reasons other than a wrong argument."""


class InvalidArgument(ValueError):
    """An argument of a wrong type, length or range: every public call raises it before it does anything."""


class InvalidInfoHash(InvalidArgument):
    """A text that is neither an info-hash nor a magnet link with one."""


class InvalidTorrent(InvalidArgument):
    """Bytes that are not a torrent file, or one over our limits."""


class PrivateTorrent(DhtError):
    """A private torrent (BEP 27): its peers must be neither looked up nor announced."""


class AddressInUse(DhtError):
    """A port to listen on that is taken."""


class CannotListen(DhtError):
    """An address to listen on that is not ours, or not allowed."""


class StateFileError(DhtError):
    """A saved state that cannot be read or written."""


class CaptureError(DhtError):
    """A file for captured packets that cannot be made."""


class NotJoined(DhtError):
    """No node answered at all, so there was no lookup."""


class NoNetwork(DhtError):
    """A network that was there and has been gone for long."""


class QueryError(DhtError):
    """The base of all ways in which one query to one node can fail."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        # Written when it is read: a crawl makes one for every dead node.
        return f"{self.address}: {self.reason}"


class QueryTimeout(QueryError):
    """A node that did not answer in time."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, "no answer")


class QueryNotSent(QueryError):
    """A query that never left: the address is out of scope for this socket, or the send failed."""


class QueryRefused(QueryError):
    """A node that answered with a KRPC error; `text` is as it came, escaped only where this is printed."""

    def __init__(self, address: Address, code: int, text: str) -> None:
        super().__init__(address, f"error {code}: {escaped(text)}" if text else f"error {code}")
        self.code = code
        self.text = text


class BadResponse(QueryError):
    """A node that answered with something that is not a valid response."""


class ForeignSource(BadResponse):
    """An answer from another address than the one that was queried."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, "foreign source")
