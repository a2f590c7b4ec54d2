"""Our own queries, written without a message between; a test holds them to what `krpc` writes."""

from dhtnode import bencode
from dhtnode.ids import NodeId
from dhtnode.krpc.messages import Method
from dhtnode.krpc.methods import METHOD_CODECS

TRANSACTION_ID_BYTES = 4  # one implementation reads no other length


class QueryWriter:
    """Write the queries of one node."""

    def __init__(self, node_id: NodeId, *, version: bytes | None, read_only: bool) -> None:
        self._node_id = node_id
        self._before_id = (b"2:roi1e" if read_only else b"") + b"1:t%d:" % TRANSACTION_ID_BYTES
        self.tail = (b"" if version is None else b"1:v%d:%b" % (len(version), version)) + b"1:y1:qe"
        self._method: Method | None = None
        self._head = b""

    def renew_id(self, node_id: NodeId) -> None:
        """Write all further queries under another id."""
        self._node_id = node_id
        self._method = None

    def write(self, method: Method, transaction_id: bytes) -> bytes:
        """Return the datagram of a query under an id of 4 bytes.

        A lookup sends one method to many nodes: what the last one begins with is kept.
        """
        if method is not self._method:
            self._method, self._head = method, self.head(method)
        return self._head + transaction_id + self.tail

    def head(self, method: Method) -> bytes:
        """Return what a query begins with, up to its transaction id; `tail` is what comes after that."""
        codec = METHOD_CODECS[type(method)]
        arguments = codec.write(method)
        arguments[b"id"] = self._node_id
        return b"d1:a%b1:q%d:%b%b" % (
            bencode.encode(arguments),
            len(codec.name),
            codec.name,
            self._before_id,
        )
