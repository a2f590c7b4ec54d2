"""The datagrams of our own queries, written faster than by `codec.encode`."""

from dhtnode import bencode
from dhtnode.ids import NodeId
from dhtnode.krpc.messages import Method
from dhtnode.krpc.methods import METHOD_CODECS

# One implementation reads no other length.
TRANSACTION_ID_BYTES = 4


class QueryWriter:
    """A writer of the queries of one node."""

    def __init__(self, node_id: NodeId, *, version: bytes | None, read_only: bool) -> None:
        self._node_id = node_id
        self._before_id = (b"2:roi1e" if read_only else b"") + b"1:t%d:" % TRANSACTION_ID_BYTES
        self.tail = (b"" if version is None else b"1:v%d:%b" % (len(version), version)) + b"1:y1:qe"
        self._method: Method | None = None
        self._head = b""

    def renew_id(self, node_id: NodeId) -> None:
        """Change the id in all further queries."""
        self._node_id = node_id
        self._method = None

    def write(self, method: Method, transaction_id: bytes) -> bytes:
        """Return the datagram of a query with a transaction id of 4 bytes."""
        # A lookup sends one method to many nodes, so the head of the last one is stored.
        if method is not self._method:
            self._method, self._head = method, self.head(method)
        return self._head + transaction_id + self.tail

    def transaction_id_of(self, data: bytes) -> bytes:
        """Return the transaction id of a datagram that was written here; of another, any bytes."""
        end = len(data) - len(self.tail)
        return data[end - TRANSACTION_ID_BYTES : end]

    def head(self, method: Method) -> bytes:
        """Return the bytes of a query before its transaction id; those after it are `tail`."""
        codec = METHOD_CODECS[type(method)]
        arguments = codec.write(method)
        arguments[b"id"] = self._node_id
        return b"d1:a%b1:q%d:%b%b" % (
            bencode.encode(arguments),
            len(codec.name),
            codec.name,
            self._before_id,
        )
