"""What a synthetic network is made from: everything about it follows from these values.

Loss and latency are not here: they belong to the path of datagrams, not to the nodes.
"""

from dataclasses import dataclass, fields

MAX_MEMBERS = (1 << 24) - 257  # addresses: those of 127.0.0.0/8 without 127.0.0.x and the last
MAX_SWARM = (1 << 17) - 2  # peers: addresses in 198.18.0.0/15
MAX_SWARMS = 1_000_000
MAX_STALE = 0.95
MAX_SECONDS = 1e8  # of a session or an absence, on average: three years

_SHARES = ("hostile", "bep33", "bep42", "bep51", "capped", "announce", "announce_next")


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """The properties of a network; shares and chances are in 0..1, None leaves one to the kind of client.

    Raises `ValueError` for what makes no network.
    """

    nodes: int = 1000
    """Nodes that answer, the hostile ones included."""

    seed: int = 1
    port: int = 6881
    """The UDP port of all nodes."""

    stale: float = 0.0
    """Share of the contacts in tables that never answer."""

    hostile: float = 0.0
    """Share of the nodes that are hostile, in equal parts of every style."""

    bep33: float | None = None
    bep42: float | None = None
    bep51: float | None = None

    capped: float | None = None
    """Share of the nodes that store 500 peers of a swarm; the others store what their kind does."""

    swarms: int = 0
    largest: int = 1000
    """Peers of the largest swarm; the n-th has one n-th of that, and one at least (Zipf)."""

    half_life: float = 0.0
    """Seconds in which a third of the swarms lose half their peers and another third gain half; 0: none
    changes."""

    announce: float = 0.9
    """Chance that a peer is announced to one of the 8 nodes closest to its swarm."""

    announce_next: float = 0.1
    """The same for each of the next 8."""

    interval: int | None = None
    """Seconds that nodes ask for between two calls of sample_infohashes; None: each kind its own."""

    session: float = 0.0
    """Mean seconds that a node is there before it leaves; 0: no node leaves."""

    session_shape: float = 0.6
    """Of the Weibull law of sessions; below 1 most are short and a few very long."""

    absence: float = 18000.0
    """Mean seconds until a node that left is there again; exponential."""

    first_octet: int = 127
    """Of the addresses of all nodes."""

    def __post_init__(self) -> None:
        _check("nodes", self.nodes, 1, MAX_MEMBERS)
        _check("port", self.port, 1, 65535)
        _check("stale", self.stale, 0, MAX_STALE)
        _check("swarms", self.swarms, 0, MAX_SWARMS)
        _check("largest", self.largest, 1, MAX_SWARM)
        _check("interval", self.interval, 0, 21600)
        _check("session", self.session, 0, MAX_SECONDS)
        _check("session_shape", self.session_shape, 0.2, 10)
        _check("absence", self.absence, 1, MAX_SECONDS)
        _check("half_life", self.half_life, 0, MAX_SECONDS)
        _check("first_octet", self.first_octet, 1, 223)
        for name in _SHARES:
            _check(name, getattr(self, name), 0, 1)
        _check("nodes and stale contacts together", self.members, 1, MAX_MEMBERS)

    @property
    def dead(self) -> int:
        """Return how many contacts never answer."""
        return round(self.nodes * self.stale / (1 - self.stale))

    @property
    def members(self) -> int:
        """Return how many contacts there are, dead or alive."""
        return self.nodes + self.dead

    def record(self) -> dict[str, object]:
        """Return all values by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name}: {value} is not in {low}..{high}")
