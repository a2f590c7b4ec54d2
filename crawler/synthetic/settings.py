"""What a synthetic network is made from: everything about it follows from these values.

Loss and latency are not here: they belong to the path of datagrams, not to the nodes.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from dhtnode.ranges import Range, check_ranges

MAX_MEMBERS = (1 << 24) - 257  # addresses: those of 127.0.0.0/8 without 127.0.0.x and the last
MAX_SWARM = (1 << 17) - 2  # peers: addresses in 198.18.0.0/15
MAX_SWARMS = 1_000_000
MAX_STALE = 0.95
MAX_SECONDS = 1e8  # of a session or an absence, on average: three years

_Share: TypeAlias = Annotated[float, Range(0, 1)]
_OptionalShare: TypeAlias = Annotated[float | None, Range(0, 1)]


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """The properties of a network; shares and chances are in 0..1, None leaves one to the kind of client.

    Raises `ValueError` for what makes no network.
    """

    nodes: Annotated[int, Range(1, MAX_MEMBERS)] = 1000
    """Nodes that answer, the hostile ones included."""

    seed: int = 1
    port: Annotated[int, Range(1, 65_535)] = 6881
    """The UDP port of all nodes."""

    stale: Annotated[float, Range(0, MAX_STALE)] = 0.0
    """Share of the contacts in tables that never answer."""

    hostile: _Share = 0.0
    """Share of the nodes that are hostile, in equal parts of every style."""

    bep33: _OptionalShare = None
    bep42: _OptionalShare = None
    bep51: _OptionalShare = None

    capped: _OptionalShare = None
    """Share of the nodes that store 500 peers of a swarm; the others store what their kind does."""

    swarms: Annotated[int, Range(0, MAX_SWARMS)] = 0
    largest: Annotated[int, Range(1, MAX_SWARM)] = 1000
    """Peers of the largest swarm; the n-th has one n-th of that, and one at least (Zipf)."""

    half_life: Annotated[float, Range(0, MAX_SECONDS)] = 0.0
    """Seconds in which a third of the swarms lose half their peers and another third gain half; 0: none
    changes."""

    announce: _Share = 0.9
    """Chance that a peer is announced to one of the 8 nodes closest to its swarm."""

    announce_next: _Share = 0.1
    """The same for each of the next 8."""

    interval: Annotated[int | None, Range(0, 21_600)] = None
    """Seconds that nodes ask for between two calls of sample_infohashes; None: each kind its own."""

    session: Annotated[float, Range(0, MAX_SECONDS)] = 0.0
    """Mean seconds that a node is there before it leaves; 0: no node leaves."""

    session_shape: Annotated[float, Range(0.2, 10)] = 0.6
    """Of the Weibull law of sessions; below 1 most are short and a few very long."""

    absence: Annotated[float, Range(1, MAX_SECONDS)] = 18000.0
    """Mean seconds until a node that left is there again; exponential."""

    first_octet: Annotated[int, Range(1, 223)] = 127
    """Of the addresses of all nodes."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.members > MAX_MEMBERS:
            raise ValueError(f"nodes and stale contacts together: {self.members} is above {MAX_MEMBERS}")

    @property
    def dead(self) -> int:
        """Return how many contacts never answer."""
        return round(self.nodes * self.stale / (1 - self.stale))

    @property
    def members(self) -> int:
        """Return how many contacts there are, dead or alive."""
        return self.nodes + self.dead
