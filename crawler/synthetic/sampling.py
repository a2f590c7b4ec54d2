"""What nodes of a synthetic network show of their info-hashes (BEP 51), and who asks too early.

A sample stays the same for one interval of its node; then another is drawn.
"""

from dataclasses import dataclass
from random import Random

from crawler.synthetic.kinds import DAY_QUARTER, KINDS
from crawler.synthetic.population import Population, mix
from crawler.synthetic.swarms import Swarms

SAMPLE_SIZE = 20
MAX_ASKERS = 1_000_000  # pairs of node and host whose last call is remembered; the oldest is forgotten


@dataclass(frozen=True, slots=True)
class StoredSample:
    """Hold what a node shows, and whether the asker came before its interval was over."""

    info_hashes: list[bytes]
    num: int
    interval: int
    is_early: bool


class SampleAnswers:
    """Draw samples, and remember when each host asked each node last."""

    def __init__(self, population: Population, swarms: Swarms) -> None:
        self._population = population
        self._swarms = swarms
        self._asked: dict[tuple[int, str], float] = {}

    def interval(self, number: int) -> int:
        """Return the seconds that a node asks for between two calls."""
        asked = self._population.settings.interval
        return (
            asked
            if asked is not None
            else KINDS[self._population.kinds[number]].sample_interval or DAY_QUARTER
        )

    def sample(self, number: int, asker: str, now: float, age: float = 0.0) -> StoredSample:
        """Return what a node shows to a host; `age` is that of the network, as for `Swarms.at`."""
        interval = self.interval(number)
        stored = self._swarms.at(self._population.ranks[number], age)
        period = int(now // interval) if interval else 0
        drawn = Random(mix(number, period)).sample(stored, min(SAMPLE_SIZE, len(stored)))
        return StoredSample(
            [self._swarms.info_hash(place) for place in drawn],
            len(stored),
            interval,
            self._is_early(number, asker, interval, now),
        )

    def _is_early(self, number: int, asker: str, interval: int, now: float) -> bool:
        last = self._asked.pop((number, asker), None)
        if len(self._asked) >= MAX_ASKERS:
            del self._asked[next(iter(self._asked))]
        self._asked[number, asker] = now
        return last is not None and now - last < interval
