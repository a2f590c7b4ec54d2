"""When the nodes of a synthetic network are there: each comes and goes on its own, as if it always had.

A node is there for a session, away for an absence, there again under the same id and address.  Sessions
are Weibull with a mean and a shape, absences exponential.  At time 0 the network has been running for
ever: a node that is there then is within a session, more often a long one than a short one.
Everything follows from the seed and the number of the node, whatever is asked, in whatever order.
"""

from bisect import bisect_right
from itertools import islice
from math import gamma, log
from random import Random
from typing import NamedTuple

from crawler.synthetic.population import Population, mix

RESIDENTS = 3  # honest nodes that never leave: those to join through
SHORTEST = 1.0  # seconds of a session or an absence, so that a second has few of them
ANNOUNCE_PERIOD = 1800.0  # seconds after which swarms are announced again, to the nodes that are there then


class NodeStay(NamedTuple):
    """The times at which a node came and left, in seconds of the network's time."""

    arrived: float
    departed: float


class Presence:
    """The presence of nodes over time; an answer takes some 5 us, and a list of times for each node."""

    def __init__(self, population: Population) -> None:
        settings = population.settings
        self._settings = settings
        self._salt = Random(f"presence {settings.seed}").getrandbits(64)
        self._scale = settings.session / gamma(1 + 1 / settings.session_shape)
        self._times: dict[int, list[float]] = {}
        self.nodes_leave = settings.session > 0
        honest = (number for number in range(settings.nodes) if population.is_honest(number))
        self._residents = frozenset(islice(honest, RESIDENTS))

    @property
    def share(self) -> float:
        """Return the share of the nodes that are there at a time, on average."""
        session = self._settings.session
        return session / (session + self._settings.absence) if self.nodes_leave else 1.0

    def is_present(self, number: int, now: float) -> bool:
        """Return whether a live node is there; residents are there at any time."""
        if not self.nodes_leave or number in self._residents:
            return True
        return bool(bisect_right(self._times_of(number, now), now) & 1)

    def stays(self, number: int, until: float) -> list[NodeStay]:
        """Return the sessions that begin before a time and end after 0; none for residents."""
        if not self.nodes_leave or number in self._residents:
            return []
        times = self._times_of(number, until)
        pairs = zip(times[::2], times[1::2], strict=False)
        return [NodeStay(*pair) for pair in pairs if pair[0] < until and pair[1] > 0]

    def announced_at(self, now: float) -> float:
        """Return when swarms were last announced, to those who were there then; 0 if nothing changes."""
        changes = self.nodes_leave or self._settings.half_life
        return now // ANNOUNCE_PERIOD * ANNOUNCE_PERIOD if changes else 0.0

    def _times_of(self, number: int, now: float) -> list[float]:
        """Return the times of arrival and departure by turns, up to the second one after `now`."""
        shape = self._settings.session_shape
        times = self._times.get(number)
        if times is None:
            times = self._times[number] = self._beginning(number)
        while times[-1] <= now or len(times) & 1:
            drawn = -log((mix(number ^ self._salt, 1000 + len(times)) + 1) / ((1 << 64) + 1))  # exponential
            is_session = len(times) & 1
            length = self._scale * drawn ** (1 / shape) if is_session else self._settings.absence * drawn
            times.append(times[-1] + max(SHORTEST, length))
        return times

    def _beginning(self, number: int) -> list[float]:
        """Return the times up to the first one after 0."""
        random = Random(mix(number ^ self._salt, 1))
        if random.random() >= self.share:
            return [random.expovariate(1 / self._settings.absence)]
        # The session at hand: a length is met in proportion to itself.
        shape = self._settings.session_shape
        length = self._scale * random.gammavariate(1 + 1 / shape, 1) ** (1 / shape)
        elapsed = length * random.random()
        return [-elapsed, max(length - elapsed, SHORTEST)]
