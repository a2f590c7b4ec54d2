"""The nodes that a census saw answer, packed: those near an info-hash are found without a lookup.

A node takes 34 bytes (46 over IPv6): a million of them fit where objects would not.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

from dhtnode import Family
from dhtnode.ids import ID_BYTES
from dhtnode.krpc import PackedContact

_PREFIX_BITS = 64  # of an id, by which nodes are found
_MANY = 32  # times as many nodes as are wanted: more are not sorted if that can be helped


class PackedNodes:
    """The nodes of one family in order of their ids; nothing changes after they are packed."""

    def __init__(self, family: Family, nodes: Iterable[PackedContact]) -> None:
        """Pack nodes, which need not be sorted; some 1 us for each, and more memory until then if not."""
        self.family = family
        self._address_bytes = family.address_bytes
        self._bytes_each = family.contact_bytes
        packed = bytearray()
        for node_id, endpoint in nodes:
            packed += node_id
            packed += endpoint.to_bytes(self._address_bytes, "big")
        self._packed = _sorted(bytes(packed), self._bytes_each)
        size = self._bytes_each
        self._prefixes = array(
            "Q",
            (int.from_bytes(self._packed[at : at + 8], "big") for at in range(0, len(self._packed), size)),
        )

    def __len__(self) -> int:
        return len(self._prefixes)

    @property
    def bytes_held(self) -> int:
        """Return how much memory the nodes take."""
        return len(self._packed) + len(self._prefixes) * self._prefixes.itemsize

    def closest(self, target: bytes, k: int) -> list[PackedContact]:
        """Return up to k nodes by their distance to a target, closest first; some 100 us for 32."""
        prefix, size, packed = int.from_bytes(target[:8], "big"), self._bytes_each, self._packed
        low, high = self._block(prefix, k)
        near = sorted([(known ^ prefix, place) for place, known in enumerate(self._prefixes[low:high], low)])
        if len({distance for distance, _ in near[: k + 1]}) < min(k + 1, len(near)):
            near = self._by_whole_distance(target, low, high)
        starts = [place * size for _, place in near[:k]]
        return [
            (packed[at : at + ID_BYTES], int.from_bytes(packed[at + ID_BYTES : at + size], "big"))
            for at in starts
        ]

    def _by_whole_distance(self, target: bytes, low: int, high: int) -> list[tuple[int, int]]:
        """Return the distances of nodes and their places, closest first, where some begin alike."""
        number, size, packed = int.from_bytes(target, "big"), self._bytes_each, self._packed
        starts = range(low * size, high * size, size)
        return sorted(
            (int.from_bytes(packed[at : at + ID_BYTES], "big") ^ number, at // size) for at in starts
        )

    def _block(self, prefix: int, k: int) -> tuple[int, int]:
        """Return the places of a part of the id space around a prefix that holds k nodes or more.

        All nodes in it are closer than all that are not.
        """
        bits = max(0, len(self).bit_length() - k.bit_length())
        low, high = self._bounds(prefix, bits)
        while high - low < k and bits:
            bits -= 1
            low, high = self._bounds(prefix, bits)
        while high - low > _MANY * k and bits < _PREFIX_BITS:
            inner_low, inner_high = self._bounds(prefix, bits + 1)
            if inner_high - inner_low < k:
                break
            bits, low, high = bits + 1, inner_low, inner_high
        return low, high

    def _bounds(self, prefix: int, bits: int) -> tuple[int, int]:
        rest = _PREFIX_BITS - bits
        first = prefix >> rest << rest
        last = first + (1 << rest) - 1
        low = bisect_left(self._prefixes, first)
        if last >= (1 << _PREFIX_BITS) - 1:
            return low, len(self)
        return low, bisect_left(self._prefixes, last + 1, low)


def _sorted(packed: bytes, size: int) -> bytes:
    """Return packed entries in order, each once; those that come from a database are in order already."""
    starts: Sequence[int] = range(0, len(packed), size)
    if all(packed[one : one + size] < packed[other : other + size] for one, other in pairwise(starts)):
        return packed
    return b"".join(sorted({packed[at : at + size] for at in starts}))
