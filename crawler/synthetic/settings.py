"""What a synthetic network is made from: everything about it follows from these values.

Loss and latency are not here: they belong to the path of datagrams, not to the nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, isfinite
from random import Random
from typing import Annotated, TypeAlias

from crawler.synthetic.trackers.styles import read_styles
from dhtnode.ranges import Range, check_ranges

MAX_MEMBERS = (1 << 24) - 257  # addresses: those of 127.0.0.0/8 without 127.0.0.x and the last
MAX_SWARM = (1 << 17) - 2  # peers: addresses in 198.18.0.0/15
MAX_SWARMS = 1_000_000
MAX_STALE = 0.95
KEEPS = ("random", "first")
SIZES = ("zipf", "log", "same")
MAX_SECONDS = 1e8  # of a session or an absence, on average: three years

MEDIAN_REACH = 0.6  # of log-normal announcers; what would be above 1 is 1

Reach: TypeAlias = Callable[[Random], float]
"""Draws the chance of a peer that it is heard of, by which that of a node is multiplied."""

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
    """Share of the nodes that store `cap` peers of a swarm at most; the others store `cap_others`."""

    cap: Annotated[int, Range(0, MAX_SWARM)] = 500
    """0 is without limit, here and for the others."""

    cap_others: Annotated[int | None, Range(0, MAX_SWARM)] = None
    """None: each what its kind does."""

    keeps: str = "random"
    """What a full store keeps of the peers it heard of, one of `KEEPS`."""

    disorder: Annotated[float, Range(0, 1000)] = 0.0
    """How much later than another a node may hear of a peer, by the time in which all came: with 0, first is
    the same at all nodes."""

    announcers: str = "equal"
    """How peers differ in how well they announce (see `read_announcers`)."""

    windows: _OptionalShare = None
    """Share of the nodes that return peers next to each other in a fixed order, from a random one on; the
    others return random peers."""

    shared_stores: _Share = 0.0
    """Share of the nodes with filters whose filters hold the peers of both families."""

    dual_stack: _Share = 0.0
    """Share of the peers that announce an IPv6 address too."""

    silent_seeds: _Share = 0.0
    """Share of the seeds whose client does not say that it seeds: they are stored as leechers."""

    swarms: Annotated[int, Range(0, MAX_SWARMS)] = 0
    largest: Annotated[int, Range(1, MAX_SWARM)] = 1000
    """Peers of the largest swarm."""

    sizes: str = "zipf"
    """How large the others are: the n-th has one n-th of the largest, at least one peer (Zipf); or sizes
    are even on a scale of logarithms, down to 1; or all are the same."""

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

    trackers: str = ""
    """The styles of trackers that the peers of the swarms announce to (see `crawler.synthetic.trackers`)."""

    tracker_overlap: _Share = 0.5
    """Share of the peers at trackers that the DHT has, too."""

    tracker_share: _Share = 0.7
    """Share of the peers at trackers that one of them has."""

    first_octet: Annotated[int, Range(1, 223)] = 127
    """Of the addresses of all nodes."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for field, choices in (("keeps", KEEPS), ("sizes", SIZES)):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field}: {getattr(self, field)!r} is not one of {', '.join(choices)}")
        read_announcers(self.announcers)
        read_styles(self.trackers)
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


def read_announcers(text: str) -> Reach | None:
    """Return how to draw the chance of one peer; None: 1 for all.

    Raises `ValueError` for what is not `equal`, `uniform`, `beta:A,B`, `lognormal:SIGMA` or
    `two-classes:SHARE,CHANCE`.
    """
    name, _, rest = text.partition(":")
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        numbers = [-1.0]
    if all(isfinite(each) and 0 <= each <= 100 for each in numbers):
        match name, numbers:
            case "equal", []:
                return None
            case "uniform", []:
                return lambda random: random.random()
            case "beta", [a, b] if a and b:
                return lambda random: random.betavariate(a, b)
            case "lognormal", [sigma] if sigma <= 10:
                return lambda random: min(1.0, MEDIAN_REACH * exp(random.gauss(0.0, sigma)))
            case "two-classes", [share, chance] if share <= 1 and chance <= 1:
                return lambda random: chance if random.random() < share else 1.0
    raise ValueError(
        f"announcers: {text!r} is not equal, uniform, beta:A,B, lognormal:SIGMA or two-classes:SHARE,CHANCE"
    )
