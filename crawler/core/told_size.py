"""How large a network is by the neighbours that its nodes return: a rough size, long before a crawl ends.

A node returns the nodes closest to its own id that it knows: the closer the K-th of them is, the more
nodes there are (`crawler.analysis.distance_size` has the estimate that is reported).  The lower quartile
of what the first nodes tell stands unless a quarter of them agree to make it smaller, or three quarters
to make it larger.
"""

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Numbers, group_starts

K = 8
ENOUGH = 4096  # nodes that were listened to
_BITS = 64  # of each distance that are looked at


class ToldSize:
    """What the first nodes of a crawl tell about the size of the network, stale contacts included."""

    def __init__(self) -> None:
        """Start without a word of any."""
        self._told = np.zeros(_BITS + 1, np.int64)  # by how many first bits the K-th neighbour shares

    @property
    def wants_more(self) -> bool:
        """Return whether further nodes are listened to."""
        return int(self._told.sum()) < ENOUGH

    def add(self, distances: NDArray[np.uint64], owners: Numbers) -> None:
        """Add the first 64 bits of XOR distances from nodes to those that they returned as closest.

        `owners` says for each which node returned it; of one with fewer than K nothing is taken.
        """
        order = np.lexsort((distances, owners))
        starts = group_starts(owners[order])
        counts = np.diff(starts, append=len(order))
        farthest = distances[order][starts[counts >= K] + K - 1]
        # The largest numbers of 64 bits round up to 2**64, which has one bit more, and shares none either.
        lengths = np.frexp(farthest.astype(np.float64))[1]
        self._told += np.bincount(_BITS - np.minimum(lengths, _BITS), minlength=_BITS + 1)

    @property
    def nodes(self) -> int:
        """Return the rough size, 0 as long as fewer than 4 nodes told anything."""
        ranks = np.cumsum(self._told)
        quartile = int(ranks[-1]) // 4
        return K << int(np.searchsorted(ranks, quartile)) if quartile else 0
