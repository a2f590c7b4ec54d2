"""Nodes that have answered of late, so that a lookup nearby starts where the last one ended."""

from collections import OrderedDict

from sortedcontainers import SortedSet

from dhtnode.ids import ID_BITS
from dhtnode.krpc import PackedContact, PackedEndpoint

# Some 300 bytes each; the one that answered longest ago is forgotten first.
MAX_NODES = 50_000
_DEEPEST = 40  # bits shared by neighbours in a network of any size


class RecentNodes:
    """The nodes of one family that have answered of late, by id; each keeps its id until it times out."""

    def __init__(self, limit: int = MAX_NODES) -> None:
        self._limit = limit
        self._endpoints: OrderedDict[bytes, PackedEndpoint] = OrderedDict()
        self._ids: SortedSet = SortedSet()
        self._bits = 0

    def __len__(self) -> int:
        return len(self._endpoints)

    def add(self, node_id: bytes, endpoint: PackedEndpoint) -> None:
        """Remember a node that has answered."""
        known = self._endpoints.get(node_id)
        if known is None:
            self._ids.add(node_id)
            self._endpoints[node_id] = endpoint
            if len(self._endpoints) > self._limit:
                oldest, _ = self._endpoints.popitem(last=False)
                self._ids.remove(oldest)
        elif known == endpoint:
            self._endpoints.move_to_end(node_id)

    def discard(self, node_id: bytes, endpoint: PackedEndpoint) -> None:
        """Forget a node that timed out."""
        if self._endpoints.get(node_id) == endpoint:
            del self._endpoints[node_id]
            self._ids.remove(node_id)

    def closest(self, target: bytes, k: int) -> list[PackedContact]:
        """Return up to k nodes by their distance to a target, closest first; some 50 us for 16."""
        number = int.from_bytes(target, "big")
        # Start where the last search ended: in a table of one size it is nearly the same depth.
        bits = min(self._bits + 1, _DEEPEST)
        found = self._within(number, bits)
        while len(found) < k and bits:
            bits -= 1
            found = self._within(number, bits)
        self._bits = bits
        found.sort(key=lambda node_id: int.from_bytes(node_id, "big") ^ number)
        return [(node_id, self._endpoints[node_id]) for node_id in found[:k]]

    def _within(self, number: int, bits: int) -> list[bytes]:
        rest = ID_BITS - bits
        low = number >> rest << rest
        high = low + (1 << rest) - 1
        return list(self._ids.irange(low.to_bytes(20, "big"), high.to_bytes(20, "big")))
