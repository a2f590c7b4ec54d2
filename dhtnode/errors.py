"""What the library raises, and nothing else.

Three kinds are kept apart: our caller's mistakes (`ValueError` and its subclasses), the network's
answers and silences (`QueryError` and its subclasses), and bytes that are no message
(`MalformedMessage`, raised by the codec only and never seen by a caller of the node).
"""

from dhtnode.addresses import Address


class DhtError(Exception):
    """Be the base of everything this package raises for reasons other than a wrong argument."""


class InvalidInfoHash(ValueError):
    """Say that a text is neither an info-hash nor a magnet link that holds one."""


class InvalidTorrent(ValueError):
    """Say that bytes are no torrent file, or one over our limits."""


class PrivateTorrent(DhtError):
    """Say that a torrent is private (BEP 27): nobody is to be asked for its peers, or told of one."""


class AddressInUse(DhtError):
    """Say that the port to listen on is taken."""


class CannotListen(DhtError):
    """Say that an address to listen on is not ours, or not allowed."""


class StateFileError(DhtError):
    """Say that a saved state cannot be read or written."""


class NotJoined(DhtError):
    """Say that no node at all answered, so the question could not be asked."""


class QueryError(DhtError):
    """Be the base of all ways in which one query to one node can fail."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


class QueryTimeout(QueryError):
    """Say that a node did not answer in time."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, "no answer")


class QueryNotSent(QueryError):
    """Say that a query never left: the address is not one this socket talks to, or the send failed."""


class QueryRefused(QueryError):
    """Say that a node answered with a KRPC error."""

    def __init__(self, address: Address, code: int, text: str) -> None:
        super().__init__(address, f"error {code}: {text}" if text else f"error {code}")
        self.code = code
        self.text = text


class BadResponse(QueryError):
    """Say that a node answered with something that is no valid response."""


class ForeignSource(BadResponse):
    """An answer that came from another address than the one that was queried."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, "foreign source")
