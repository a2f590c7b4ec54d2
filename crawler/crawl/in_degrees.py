"""Which nodes have returned each endpoint, for the estimate of nodes that are missed together.

`named_from_outside` needs, of every node that answered, the five referrers farthest from it: 20 bytes for
each endpoint.  All that are added go into the journal, 8 bytes each, so that a resumed crawl knows them.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from crawler.analysis.crawl_size import OutsideNamings
from crawler.analysis.outside_referrers import are_named_by_few, named_from_outside
from crawler.analysis.species_richness import EXACT_REFERRERS
from crawler.core.contact_table import Numbers, group_starts, grow, rank_in_group

WIDTH = 8  # contacts that a node names of its own part of the id space
HELD = EXACT_REFERRERS + 1  # referrers of an endpoint that are kept
_NAMING = np.dtype([("endpoint", ">u4"), ("distance", ">u4")])
# Temporary arrays take some 300 bytes for each node that is counted at once.
_MERGED_AT_ONCE, _COUNTED_AT_ONCE = 1 << 15, 1 << 13


class InDegrees:
    """How far the five farthest referrers of each endpoint are, by the first 32 bits of the ids."""

    def __init__(self) -> None:
        """Start empty."""
        # By the number of the endpoint; 0 where there are fewer.
        self._farthest: NDArray[np.uint32] = np.zeros((0, HELD), np.uint32)
        self._waiting: list[tuple[Numbers, NDArray[np.uint32]]] = []
        self._waits = 0
        self._unwritten: list[bytes] = []

    def add(self, endpoints: Numbers, distances: NDArray[np.uint32]) -> None:
        """Add referrers: the endpoint that each has returned, and how far it is; some 0.2 us for each."""
        if not len(endpoints):
            return
        namings = np.empty(len(endpoints), _NAMING)
        namings["endpoint"], namings["distance"] = endpoints, distances
        self._unwritten.append(namings.tobytes())
        self._add(endpoints, distances)

    def _add(self, endpoints: Numbers, distances: NDArray[np.uint32]) -> None:
        self._waiting.append((endpoints, distances))
        self._waits += len(endpoints)
        if self._waits >= _MERGED_AT_ONCE:
            self._merge()

    def take_journal(self) -> bytes:
        """Return what has been added since the last call."""
        written, self._unwritten = b"".join(self._unwritten), []
        return written

    def restore(self, journals: Iterable[bytes]) -> None:
        """Add what is in these journals."""
        for journal in journals:
            namings = np.frombuffer(journal, _NAMING)
            self._add(namings["endpoint"].astype(np.int64), namings["distance"].astype(np.uint32))

    def outside(self, answered: Numbers, prefixes: NDArray[np.uint32], sighted: int) -> OutsideNamings:
        """Return what the referrers of the nodes that answered come to, of so many endpoints sighted.

        `prefixes` are the first 32 bits of their ids.
        """
        most = WIDTH * len(answered) // max(sighted, 1)
        named, squares = np.zeros(EXACT_REFERRERS, np.int64), 0.0
        for some_prefixes, some in self._pieces(answered, prefixes):
            found = named_from_outside(some_prefixes, self._farthest[some], most)
            named += found.named
            squares += found.together * sum(found.named)
        once, twice, thrice, four_times = named.tolist()
        together = squares / float(named.sum()) if squares else 1.0
        return OutsideNamings((once, twice, thrice, four_times), together)

    def mark_few(
        self, answered: Numbers, prefixes: NDArray[np.uint32], sighted: int, wanted: NDArray[np.bool_]
    ) -> None:
        """Mark, by number, the nodes of which `outside` needs to know the referrers, as of those marked."""
        most = WIDTH * len(answered) // max(sighted, 1)
        for some_prefixes, some in self._pieces(answered, prefixes):
            found = are_named_by_few(some_prefixes, self._farthest[some], most, wanted[some])
            wanted[some] |= found

    def farthest(self, numbers: Numbers) -> NDArray[np.uint32]:
        """Return a row of distances for each of some endpoints, 0 where there are fewer than five."""
        self._merge()
        if len(numbers):
            grow(self._farthest, int(numbers.max()) + 1)
        farthest: NDArray[np.uint32] = self._farthest[numbers]
        return farthest

    def _pieces(
        self, answered: Numbers, prefixes: NDArray[np.uint32]
    ) -> Iterator[tuple[NDArray[np.uint32], Numbers]]:
        """Yield nodes that answered in the order of their ids, with their prefixes.

        In parts of the id space, so that the memory for it does not grow with the network.
        """
        self._merge()
        if len(answered):
            grow(self._farthest, int(answered.max()) + 1)
        order = np.argsort(prefixes, kind="stable")
        prefixes, answered = prefixes[order], answered[order]
        bits = (len(answered) // _COUNTED_AT_ONCE).bit_length()
        ends = np.searchsorted(prefixes, np.arange(1, 1 << bits, dtype=np.uint32) << np.uint32(32 - bits))
        yield from zip(np.split(prefixes, ends), np.split(answered, ends), strict=True)

    def _merge(self) -> None:
        """Keep the farthest of those held and those that wait."""
        if not self._waits:
            return
        endpoints = np.concatenate([each for each, _ in self._waiting])
        distances = np.concatenate([each for _, each in self._waiting])
        self._waiting.clear()
        self._waits = 0
        order = np.lexsort((~distances, endpoints))
        endpoints, distances = endpoints[order], distances[order]
        starts = group_starts(endpoints)
        groups = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(endpoints)))
        ranks = rank_in_group(endpoints)
        is_held = ranks < HELD
        farthest = np.zeros((len(starts), 2 * HELD), np.uint32)
        farthest[groups[is_held], ranks[is_held]] = distances[is_held]
        distinct = endpoints[starts]
        grow(self._farthest, int(distinct[-1]) + 1)
        farthest[:, HELD:] = self._farthest[distinct]
        farthest.partition(HELD, axis=1)
        self._farthest[distinct] = farthest[:, HELD:]
