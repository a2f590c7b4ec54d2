"""The nodes of one family that answered a crawl, in the order of their ids, and the hosts that they are on.

Some 16 bytes for each node, and as many while they are sorted; their ids and addresses stay in the table of
contacts.
"""

from collections import Counter
from ipaddress import IPv6Network
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crawler.core.bounds import HOST_BYTES
from crawler.core.contact_table import ContactTable, Numbers, group_starts
from dhtnode import Family
from dhtnode.addresses import unpack_host
from dhtnode.ids import ID_BITS, ID_BYTES

_WORD = 64
# Tests put whole networks on one machine, 127.0.0.1 or ::1.
_THIS_MACHINE = {Family.IPV4: np.uint64(0x7F000001), Family.IPV6: np.uint64(0)}


class AnsweredNodes:
    """Nodes by their numbers in a table of contacts; several endpoints of one id count once as an id."""

    def __init__(self, table: ContactTable, numbers: Numbers, family: Family) -> None:
        """Sort the nodes of these numbers by id; 0.2 us for each."""
        self._table = table
        self._family = family
        self.numbers = numbers
        prefixes = _as_words(table.columns(numbers, slice(0, _WORD // 8)))
        ordered = numbers[np.argsort(prefixes, kind="stable")].astype(np.int32)
        prefixes.sort()
        is_like_next = np.zeros(len(ordered) + 1, np.bool_)
        is_like_next[1:-1] = prefixes[1:] == prefixes[:-1]
        alike = np.flatnonzero(is_like_next[1:] | is_like_next[:-1])
        if alike.size:
            ids = sorted((self.id_of(number), number) for number in ordered[alike].tolist())
            ordered[alike] = [number for _, number in ids]
            is_repeated = np.zeros(len(ordered), np.bool_)
            is_repeated[alike[1:]] = [one == other for (one, _), (other, _) in pairwise(ids)]
            prefixes, ordered = prefixes[~is_repeated], ordered[~is_repeated]
        self._prefixes, self._ordered = prefixes, ordered
        # Of the subtree that the last search ended in.
        self._height = ID_BITS

    @property
    def prefixes(self) -> NDArray[np.uint64]:
        """Return the first 64 bits of the ids, sorted, each id once."""
        return self._prefixes

    def count(self, prefix: int, bits: int) -> int:
        """Return how many ids begin with the `bits` bits of `prefix`, up to 64."""
        low, high = self._place(prefix, bits)
        return high - low

    def closest(self, target: int, k: int) -> list[int]:
        """Return up to k ids, closest first, without the target itself; some 20 us."""
        return [each ^ target for each, _ in self._closest(target, k)]

    def closest_numbers(self, target: int, k: int) -> list[int]:
        """Return the numbers of the nodes with these ids."""
        return [number for _, number in self._closest(target, k)]

    def _closest(self, target: int, k: int) -> list[tuple[int, int]]:
        """Return distances and numbers."""
        height = max(self._height - 2, ID_BITS - _WORD)
        while height < ID_BITS and self.count(target >> height, ID_BITS - height) <= k:
            height += 1
        low, high = self._place(target >> height, ID_BITS - height)
        self._height = height
        first_bits = self._prefixes[low:high] ^ np.uint64(target >> ID_BITS - _WORD)
        if len(first_bits) > k + 1:
            farthest = np.partition(first_bits, k)[k]
            wanted = np.flatnonzero(first_bits <= farthest)
        else:
            wanted = np.arange(high - low)
        near = [(self.id_of(number) ^ target, number) for number in self._ordered[low + wanted].tolist()]
        return sorted(each for each in near if each[0])[:k]

    def id_of(self, number: int) -> int:
        """Return the id of a node as a number."""
        return int.from_bytes(self._table.compact(np.array([number]))[:ID_BYTES], "big")

    def hosts(self) -> NDArray[np.uint64]:
        """Return the number of the host of each node, in the order of `numbers`."""
        size = HOST_BYTES[self._family]
        return _as_words(self._table.columns(self.numbers, slice(ID_BYTES, ID_BYTES + size)))

    def words(self) -> NDArray[np.uint64]:
        """Return the first 64 bits of the id of each node, in the order of `numbers`."""
        return _as_words(self._table.columns(self.numbers, slice(0, _WORD // 8)))

    def hosts_with(self) -> Counter[int]:
        """Return how many hosts have so many ids; some 0.3 us for each node."""
        _, ids = self._ids_of_hosts()
        return Counter(dict(enumerate(np.bincount(ids).tolist())))

    def hosts_above(self, ids: int) -> dict[str, int]:
        """Return the hosts with more ids than that, IPv4 addresses and IPv6 /64, and their ids."""
        hosts, counts = self._ids_of_hosts()
        is_above = counts > ids
        found = zip(hosts[is_above].tolist(), counts[is_above].tolist(), strict=True)
        return {self._host_name(host): count for host, count in found}

    def _ids_of_hosts(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the hosts but for this machine, and how many ids each has."""
        hosts = self.hosts()
        elsewhere = np.flatnonzero(hosts != _THIS_MACHINE[self._family])
        hosts = hosts[elsewhere]
        ids = _as_words(self._table.columns(self.numbers[elsewhere], slice(0, _WORD // 8)))
        order = np.lexsort((ids, hosts))
        hosts = hosts[order]
        ids = ids[order]
        is_new = np.ones(len(hosts), np.bool_)
        is_new[1:] = (hosts[1:] != hosts[:-1]) | (ids[1:] != ids[:-1])
        hosts = hosts[is_new]
        starts = group_starts(hosts)
        return hosts[starts], np.diff(starts, append=len(hosts))

    def _host_name(self, host: int) -> str:
        if self._family is Family.IPV4:
            return unpack_host(host.to_bytes(4, "big"))
        return str(IPv6Network((host << _WORD, _WORD)))

    def _place(self, prefix: int, bits: int) -> tuple[int, int]:
        """Return where the ids with a prefix begin, and where they end."""
        rest = _WORD - bits
        first = np.searchsorted(self._prefixes, np.uint64(prefix << rest))
        last = np.searchsorted(self._prefixes, np.uint64((prefix << rest) + ((1 << rest) - 1)), side="right")
        return int(first), int(last)


def one_of_each_host(
    hosts: NDArray[np.uint64], referrers: NDArray[np.uint8], ids: NDArray[np.uint64]
) -> Numbers:
    """Return the place of one endpoint of each host: the one that most nodes returned, of the lowest id.

    That does not depend on the order in which they were met.
    """
    order = np.lexsort((ids, -referrers.astype(np.int16), hosts))
    return np.sort(order[group_starts(hosts[order])])


def _as_words(columns: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return rows of up to 8 bytes as numbers."""
    words = columns
    if columns.shape[1] < 8:
        words = np.zeros((len(columns), 8), np.uint8)
        words[:, 8 - columns.shape[1] :] = columns
    return words.view(">u8").ravel().astype(np.uint64)
