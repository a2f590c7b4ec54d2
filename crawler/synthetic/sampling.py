"""What nodes of a synthetic network show of their info-hashes (BEP 51), and queries that come too early.

A sample stays the same for one interval of its node; then another is drawn.
"""

from dataclasses import dataclass
from random import Random

from crawler.synthetic.kinds import DAY_QUARTER, KINDS
from crawler.synthetic.population import Population, mix
from crawler.synthetic.swarms import Swarms

SAMPLE_SIZE = 20
MAX_CLIENTS = 1_000_000  # pairs of node and host whose last call is remembered; the oldest is forgotten


@dataclass(frozen=True, slots=True)
class StoredSample:
    """The info-hashes that a node shows, and whether it was queried before its interval was over."""

    info_hashes: list[bytes]
    num: int
    interval: int
    is_early: bool


class SampleAnswers:
    """The samples of all nodes, and the time at which each host queried each node last."""

    def __init__(self, population: Population, swarms: Swarms) -> None:
        self._population = population
        self._swarms = swarms
        self._queried: dict[tuple[int, str], float] = {}

    def interval(self, number: int) -> int:
        """Return the seconds that a node asks for between two calls."""
        asked = self._population.settings.interval
        return (
            asked
            if asked is not None
            else KINDS[self._population.kinds[number]].sample_interval or DAY_QUARTER
        )

    def sample(self, number: int, source: str, now: float, age: float = 0.0) -> StoredSample:
        """Return what a node shows to a host; `age` is that of the network, as for `Swarms.at`."""
        interval = self.interval(number)
        stored = self._swarms.at(self._population.ranks[number], age)
        period = int(now // interval) if interval else 0
        drawn = Random(mix(number, period)).sample(stored, min(SAMPLE_SIZE, len(stored)))
        return StoredSample(
            [self._swarms.info_hash(place) for place in drawn],
            len(stored),
            interval,
            self._is_early(number, source, interval, now),
        )

    def _is_early(self, number: int, source: str, interval: int, now: float) -> bool:
        last = self._queried.pop((number, source), None)
        if len(self._queried) >= MAX_CLIENTS:
            del self._queried[next(iter(self._queried))]
        self._queried[number, source] = now
        return last is not None and now - last < interval
