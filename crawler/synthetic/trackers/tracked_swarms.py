"""Which peers of the swarms of a network announced to which tracker, and which of them the DHT has, too.

Trackers have as many peers of a swarm as the DHT, in all: the share `tracker_overlap` of them are its peers,
the others announce to trackers only.  Each tracker has the share `tracker_share` of them, on
average, drawn for each apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from crawler.synthetic.network import Network
from crawler.synthetic.settings import MAX_SWARM

_SHARED, _SHARE, _LIST = 200, 201, 1000  # what is drawn of a swarm; the last, for each tracker


class PeersAt(NamedTuple):
    """The numbers of the peers of one swarm at a place."""

    seeds: Sequence[int]
    leechers: Sequence[int]


class SourceSizes(NamedTuple):
    """How many peers of one swarm the DHT has, all trackers together, both, and either."""

    info_hash: bytes
    dht: int
    trackers: int
    both: int
    either: int


class TrackedSwarms:
    """The peers of every swarm at every tracker; nothing is held, all is drawn when it is asked for."""

    def __init__(self, network: Network) -> None:
        self._swarms = network.swarms
        self._settings = network.settings

    def counts(self, member: int, place: int, age: float = 0.0) -> tuple[int, int]:
        """Return seeds and leechers of a swarm at a tracker, each of which is a number from 0 on."""
        swarm = self._swarms.swarm(place, age)
        drawn = self._swarms.draw(place, _LIST + member)
        # Of one swarm a tracker has more than of another, as no two have the same clients.
        share = self._settings.tracker_share * (0.6 + 0.8 * (drawn % 1001) / 1000)
        return _part(swarm.seeds, share, drawn), _part(swarm.leechers, share, drawn >> 32)

    def downloads(self, member: int, place: int) -> int:
        """Return how many downloads a tracker counted since it began, which was at no other's time."""
        return self._swarms.draw(place, _LIST + member) % 10_007

    def numbers(self, member: int, place: int, age: float = 0.0) -> PeersAt:
        """Return the peers of a swarm at a tracker; the cost is linear in those of all trackers."""
        everywhere = self._at_trackers(place, age)
        random = Random(self._swarms.draw(place, _LIST + member))
        seeds, leechers = self.counts(member, place, age)
        # Where addresses are too few for all, a tracker has what there is.
        return PeersAt(
            random.sample(everywhere.seeds, min(seeds, len(everywhere.seeds))),
            random.sample(everywhere.leechers, min(leechers, len(everywhere.leechers))),
        )

    def addresses(self, place: int, numbers: Iterable[int]) -> list[bytes]:
        """Return the compact addresses of peers."""
        return self._swarms.peers(place, numbers)

    def sizes(self, members: Iterable[int], age: float = 0.0) -> Iterator[SourceSizes]:
        """Yield what the sources have of each swarm, in order of info-hashes."""
        different = tuple(dict.fromkeys(members))
        for place, swarm in enumerate(self._swarms):
            here = self._swarms.swarm(place, age)
            found: set[int] = set()
            for member in different:
                at = self.numbers(member, place, age)
                found.update(at.seeds, at.leechers)
            both = sum(number < here.peers for number in found)
            yield SourceSizes(swarm.info_hash, here.peers, len(found), both, here.peers + len(found) - both)

    def _at_trackers(self, place: int, age: float) -> PeersAt:
        """Return the peers that announce to trackers: those of the DHT have numbers below its size."""
        swarm = self._swarms.swarm(place, age)
        random = Random(self._swarms.draw(place, _SHARED))
        overlap, drawn = self._settings.tracker_overlap, self._swarms.draw(place, _SHARE)
        seeds = random.sample(range(swarm.seeds), _part(swarm.seeds, overlap, drawn))
        leechers = random.sample(range(swarm.seeds, swarm.peers), _part(swarm.leechers, overlap, drawn >> 32))
        # Counted from the end of all addresses, so that a swarm that grows does not take them.
        free = range(MAX_SWARM - 1, swarm.peers - 1, -1)
        own = swarm.seeds - len(seeds)
        return PeersAt([*seeds, *free[:own]], [*leechers, *free[own : own + swarm.leechers - len(leechers)]])


def _part(whole: int, share: float, drawn: int) -> int:
    """Return the share of a number, rounded up or down by lot; `drawn` has 32 bits of it."""
    exact = min(whole * share, float(whole))
    return int(exact) + ((drawn & 0xFFFFFFFF) < (exact % 1) * (1 << 32))
