"""The state of watched swarms: values between the schedule and the database."""

from dataclasses import dataclass
from math import log
from typing import NamedTuple

from crawler.db.records.infohash_samples import SAMPLE_SOURCE
from dhtnode import InfoHash
from dhtnode.swarm import NORMAL_95

HOUR = 3600.0  # seconds
FEW_PEERS = 10.0  # of swarms smaller than this, changes count less
# Seconds.  A measurement during which the process was killed is repeated after so long.
LEASE_LIFETIME = 900.0

GIVEN = "given"  # on the command line
LISTED = "list"  # in the file
DISCOVERED = SAMPLE_SOURCE


@dataclass(frozen=True, slots=True)
class MeasuredSize:
    """The number of peers that a measurement found, with the ends of its 95 % interval.

    `high` is infinite for a lower bound, which tells of no change.
    """

    peers: float
    low: float
    high: float

    @property
    def log(self) -> float:
        """Return the size on the scale on which sizes are compared."""
        return log(self.peers + FEW_PEERS)

    @property
    def noise(self) -> float:
        """Return the standard deviation on that scale, by the interval."""
        width = log(max(self.high, 0.0) + FEW_PEERS) - log(max(self.low, 0.0) + FEW_PEERS)
        return max(width, 0.0) / (2 * NORMAL_95)


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the schedule knows of one swarm.

    `interval` is the time between measurements that suits the swarm, whatever the budget allows.  `size` is
    that of the last measurement with a result, at `measured_at`.  `empties` and `failures` count in a row.
    """

    interval: float
    measured_at: float | None = None
    size: MeasuredSize | None = None
    empties: int = 0
    failures: int = 0


class Lease(NamedTuple):
    """The right to measure a swarm now, with its state."""

    info_hash: InfoHash
    state: WatchState


class Leases(NamedTuple):
    """The leases taken; where there are none, when a swarm is next due and when the budget allows a batch.

    `due_at` is None when no swarm is watched.
    """

    leases: list[Lease]
    due_at: float | None = None
    free_at: float = 0.0


class LeaseResult(NamedTuple):
    """The end of a lease: the new state; `failure` is the reason for no result, `next_at` in seconds."""

    info_hash: InfoHash
    state: WatchState
    next_at: float
    failure: str | None = None


class Changes(NamedTuple):
    """Numbers of swarms that a new list added, removed, and left out because there are too many."""

    added: int
    removed: int
    left_out: int = 0


class Watched(NamedTuple):
    """The number of watched swarms, and the measurements per hour that suit them in all."""

    swarms: int
    demand: float
