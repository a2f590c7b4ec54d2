"""How many endpoints of one host, and of one network, a crawl visits: none can keep it busy for ever."""

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes, Numbers, rank_in_group
from dhtnode import Family
from dhtnode.ids import ID_BYTES

HOST_BYTES = {Family.IPV4: 4, Family.IPV6: 8}
"""Bytes of an address that tell hosts apart: over IPv6 one host has a whole /64."""

_NETWORK_BYTES = {Family.IPV4: 3, Family.IPV6: 6}  # over IPv6 one customer may have a /48
# Behind carrier-grade NATs are dozens of nodes.
MAX_PER_HOST, MAX_PER_NETWORK = 64, 4096
# Two hosts that share a counter share the 64, and so do two networks their bound.
_HOST_COUNTERS, _NETWORK_COUNTERS = 1 << 22, 1 << 20


class Bound:
    """A bound on the endpoints of each host, or of each network: addresses with the same first bytes."""

    def __init__(self, counters: int, prefix_bytes: int, most: int) -> None:
        self._counters = np.zeros(counters, np.uint16)
        self._prefix = slice(ID_BYTES, ID_BYTES + prefix_bytes)
        self._most = most

    def admit(self, contacts: Bytes) -> NDArray[np.bool_]:
        """Return for each contact whether it is within the bound, those before it counted."""
        places = self._places(contacts)
        return self._counters[places] + rank_in_group(places) < self._most

    def count(self, contacts: Bytes) -> None:
        """Count contacts that are taken."""
        np.add.at(self._counters, self._places(contacts), 1)

    def _places(self, contacts: Bytes) -> Numbers:
        places = np.zeros(len(contacts), np.uint64)
        for column in contacts[:, self._prefix].T:
            places = places * np.uint64(0x9E3779B97F4A7C15) + column
        places ^= places >> np.uint64(32)
        return (places % np.uint64(len(self._counters))).astype(np.int64)


def bounds_of(family: Family) -> tuple[Bound, ...]:
    """Return the bounds of a crawl of one family, with nothing counted."""
    return (
        Bound(_HOST_COUNTERS, HOST_BYTES[family], MAX_PER_HOST),
        Bound(_NETWORK_COUNTERS, _NETWORK_BYTES[family], MAX_PER_NETWORK),
    )
