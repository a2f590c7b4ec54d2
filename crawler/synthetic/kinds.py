"""The kinds of clients that nodes of a synthetic network are, and what each of them does.

What they do was measured on real clients over loopback, but for uTorrent, which is closed.  How common
each is was not: no shares were published lately, so `SHARES` is a choice of ours, in which every kind
occurs.
"""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate

_CAP = 500  # peers of a swarm in a store of libtorrent
DAY_QUARTER = 21600  # seconds, the longest interval of BEP 51


@dataclass(frozen=True, slots=True)
class NodeKind:
    """The behaviour of one client."""

    name: str
    version: bytes | None
    """The key `v`; many have none."""

    max_values: int
    """Peers in one answer at most."""

    max_peers: int
    """Peers of one swarm stored at most."""

    token_bytes: int
    has_filters: bool = False
    """BEP 33."""

    has_seeds_filter: bool = True
    has_values_on_scrape: bool = True
    sample_interval: int | None = None
    """Seconds (BEP 51); None answers no samples."""

    is_secure: bool = False
    """BEP 42: the id follows from the address."""

    tells_ip: bool = False
    """BEP 42: replies carry the address of the client."""

    has_nodes_with_values: bool = True
    returns_windows: bool = False
    """Peers that are next to each other in its store, from a random one on (as its source has it)."""

    unknown: int | None = 204
    """The error sent for an unknown method, or None for no answer."""


KINDS = (
    NodeKind(
        "libtorrent",
        b"LT\x02\x01",
        100,
        _CAP,
        4,
        has_filters=True,
        has_values_on_scrape=False,
        sample_interval=DAY_QUARTER,
        is_secure=True,
        tells_ip=True,
        unknown=203,
    ),
    NodeKind("uTorrent", b"UT\xb6\x1b", 50, 2048, 20, is_secure=True, tells_ip=True, unknown=None),
    NodeKind("transmission", None, 50, 2048, 8, returns_windows=True, unknown=None),
    NodeKind("jech", b"JC\x00\x00", 50, 2048, 8, returns_windows=True, unknown=None),
    NodeKind(
        "mldht",
        b"ml\x00\x0b",
        50,
        6000,
        4,
        has_filters=True,
        has_seeds_filter=False,
        sample_interval=300,
        is_secure=True,
        tells_ip=True,
    ),
    NodeKind("bittorrent-dht", None, 100, 6000, 20, has_nodes_with_values=False, unknown=None),
    NodeKind("aria2", b"A2\x00\x03", 50, 2048, 20, unknown=None),
    NodeKind("rtorrent", b"lt\x0d\x80", 50, 2048, 8, has_nodes_with_values=False),
    NodeKind("python", None, 70, 2048, 4, has_nodes_with_values=False, sample_interval=60),
)

SHARES = (0.45, 0.2, 0.1, 0.05, 0.08, 0.04, 0.03, 0.03, 0.02)

_BOUNDS = list(accumulate(SHARES))[:-1]


def kind_at(drawn: float) -> int:
    """Return the number of the kind that a number drawn from 0..1 stands for."""
    return bisect(_BOUNDS, drawn)
