"""What a watch of swarms remembers: values between the schedule and the database."""

from dataclasses import dataclass
from math import log
from typing import NamedTuple

from crawler.db.records.infohash_samples import SAMPLE_SOURCE
from dhtnode import InfoHash

HOUR = 3600.0  # seconds
FEW_PEERS = 10.0  # of swarms smaller than this, changes count less
NORMAL_95 = 1.96  # standard deviations from the middle of a 95 % interval to its ends
CLAIM_LIFETIME = 900.0  # seconds; whoever was killed over a measurement has it repeated after so long

GIVEN = "given"  # on the command line
LISTED = "list"  # in the file
DISCOVERED = SAMPLE_SOURCE


@dataclass(frozen=True, slots=True)
class MeasuredSize:
    """Hold how many peers a measurement found, with the ends of its 95 % interval."""

    peers: float
    low: float
    high: float

    @property
    def log(self) -> float:
        """Return the size on the scale on which sizes are compared."""
        return log(self.peers + FEW_PEERS)

    @property
    def noise(self) -> float:
        """Return the standard deviation on that scale, as the interval tells it."""
        width = log(max(self.high, 0.0) + FEW_PEERS) - log(max(self.low, 0.0) + FEW_PEERS)
        return max(width, 0.0) / (2 * NORMAL_95)


@dataclass(frozen=True, slots=True)
class WatchState:
    """Hold what the schedule knows of one swarm.

    `interval` is what the swarm itself asks for, whatever the budget allows.  `size` is that of the
    last measurement that found one out, at `measured_at`.  `empties` and `failures` count in a row.
    """

    interval: float
    measured_at: float | None = None
    size: MeasuredSize | None = None
    empties: int = 0
    failures: int = 0


class Lease(NamedTuple):
    """Name a swarm that is to be measured now, and what is known of it."""

    info_hash: InfoHash
    course: WatchState


class Leases(NamedTuple):
    """Hold whose turn it is; when it is nobody's, when a swarm is next due, and when the budget has room.

    `due_at` is None when no swarm is watched.
    """

    turns: list[Lease]
    due_at: float | None = None
    free_at: float = 0.0


class Settled(NamedTuple):
    """Hold what came of a turn; `failure` says why nothing did, `next_at` is in seconds."""

    info_hash: InfoHash
    course: WatchState
    next_at: float
    failure: str | None = None


class Changes(NamedTuple):
    """Count what a new list changed: swarms new, removed, and left out because there are too many."""

    added: int
    removed: int
    left_out: int = 0


class Watched(NamedTuple):
    """Hold how many swarms are watched, and how many measurements per hour they ask for in all."""

    swarms: int
    demand: float
