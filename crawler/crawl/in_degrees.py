"""Which nodes have returned each endpoint, for the estimate of nodes that are missed together.

`named_from_outside` asks, of every node that answered, for the five referrers farthest from it.  They
take some 180 bytes for each endpoint, so they are held for networks up to a bound only, and given up
as a whole when there are more endpoints: a large crawl keeps its memory, and its estimate says that
it knows nothing of groups.
"""

from array import array
from collections.abc import Callable, Iterable

from crawler.analysis.crawl_size import OutsideNamings, named_from_outside
from crawler.analysis.species_richness import EXACT_REFERRERS
from dhtnode.krpc import PackedEndpoint

MOST_ENDPOINTS = 200_000  # at most 36 MB; some 140,000 live nodes, where 3 in 10 contacts are dead
WIDTH = 8  # contacts that a node names of its own part of the id space
_HELD = EXACT_REFERRERS + 1
_BYTES = 4  # of an id: enough to tell parts apart in which a few of 200,000 nodes are
_BITS = 8 * _BYTES
_NONE = (0,) * _HELD


class InDegrees:
    """The first 32 bits of each endpoint's id, and of the five farthest nodes that returned it."""

    def __init__(self, most_endpoints: int = MOST_ENDPOINTS) -> None:
        """Start empty; beyond so many endpoints all is given up."""
        self._most = most_endpoints
        self._rows: dict[PackedEndpoint, int] = {}
        self._ids = array("I")
        self._distances = array("I")  # five for each row, 0 where there are fewer
        self.is_given_up = False

    def add(self, contacts: Iterable[tuple[bytes, PackedEndpoint]], referrer: bytes) -> None:
        """Add the contacts that a node returned, each once; costs about a microsecond for each."""
        if self.is_given_up:
            return
        named_by, rows, ids, distances = _prefix(referrer), self._rows, self._ids, self._distances
        for node_id, endpoint in contacts:
            row = rows.get(endpoint)
            if row is None:
                if len(rows) >= self._most:
                    self.give_up()
                    return
                row = rows[endpoint] = len(rows)
                ids.append(_prefix(node_id))
                distances.extend(_NONE)
            # The farther, the fewer bits are shared.
            distance, start = ids[row] ^ named_by, row * _HELD
            held = distances[start : start + _HELD]
            least = min(held)
            if distance > least:
                distances[start + held.index(least)] = distance

    def give_up(self) -> None:
        """Forget everything, and take in nothing more."""
        self.is_given_up = True
        self._rows.clear()
        self._ids, self._distances = array("I"), array("I")

    def outside(self, has_answered: Callable[[PackedEndpoint], bool], sighted: int) -> OutsideNamings | None:
        """Return what the namings of the nodes that answered come to, of so many endpoints sighted.

        None when they were given up.  Costs some 10 us for each endpoint.
        """
        if self.is_given_up:
            return None
        answered = sorted((self._ids[row], row) for each, row in self._rows.items() if has_answered(each))
        referrers = [
            [own ^ distance for distance in self._distances[row * _HELD : (row + 1) * _HELD] if distance]
            for own, row in answered
        ]
        most = WIDTH * len(answered) // max(sighted, 1)
        return named_from_outside([own for own, _ in answered], referrers, most, _BITS)


def _prefix(node_id: bytes) -> int:
    return int.from_bytes(node_id[:_BYTES], "big")
