"""What is asked of trackers and what they say: frozen values that become rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dhtnode import InfoHash

GIVEN, LISTED, OF_TORRENT, OF_PEER = "given", "list", "torrent", "peer"
"""How a tracker came to be known: on the command line, from a list of trackers, from a torrent or magnet.

One that a peer named (BEP 28) is a hint: it may be anything, and is left alone until a user says otherwise.
"""


@dataclass(frozen=True, slots=True)
class KnownTracker:
    """A tracker, and what earlier sweeps have learned of it.

    `batch` is how many info-hashes it takes at once, None as long as it has not cut an answer.  `silences`
    counts sweeps in a row without any answer.  It may be asked again at `not_before`, and for all that it has
    at `full_not_before`: UTC texts, None for now.
    """

    url: str
    scheme: str
    host: str
    source: str
    first_seen: str
    last_answer: str | None = None
    batch: int | None = None
    silences: int = 0
    not_before: str | None = None
    full_not_before: str | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackerSweep:
    """One tracker at one address in a run: how it was asked and what it came to.

    `outcome` and `finished_at` are None as long as it is under way.  `asked`, `listed`, `nonzero` and
    `not_due` count swarms; `requests`, `answers` and `errors` packets, or requests over HTTP.
    """

    id: int
    url: str
    family: int | None
    host: str | None
    started_at: str
    finished_at: str | None = None
    outcome: str | None = None
    reason: str | None = None
    asked: int = 0
    listed: int = 0
    nonzero: int = 0
    not_due: int = 0
    requests: int = 0
    answers: int = 0
    errors: int = 0
    rtt_ms: float | None = None
    canary_hits: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    marks: tuple[str, ...] = ()


# A tuple, because a sweep makes millions.
class TrackerSample(NamedTuple):
    """What a tracker says of one swarm, as the columns of `tracker_sample_rows` hold it, in their order."""

    sweep_id: int
    info_hash: bytes
    taken_at: int  # milliseconds since the epoch
    seeds: int
    leechers: int
    downloaded: int | None = None
    downloaders: int | None = None


class SweepBatch(NamedTuple):
    """Some sweeps as they stand now, and what came with them; never a sample of zeros alone.

    The samples are tuples as `TrackerSample` is one.
    """

    sweeps: Sequence[TrackerSweep]
    samples: Sequence[tuple[int, bytes, int, int, int, int | None, int | None]] = ()


class TrackerTurn(NamedTuple):
    """Swarms that a tracker is about to be asked for: a part of a list, by places in it.

    `place` is the address, port and protocol of the tracker.  Times are UTC text.
    """

    place: str
    first: int
    last: int
    asked_at: str
    next_at: str


class SwarmList(NamedTuple):
    """Swarms in the order in which trackers are asked for them."""

    digest: bytes
    info_hashes: Sequence[InfoHash]


class TrackerMeasurement(NamedTuple):
    """What trackers say of a swarm together: the longest list that is believed, and all such lists."""

    info_hash: InfoHash
    taken_at: str
    seeds: int
    leechers: int
    peers: int
    """Peers of the longest list, the least that there are."""

    peers_high: int
    seeds_low: int
    seeds_high: int
    leechers_low: int
    leechers_high: int
    trackers_asked: int
    trackers_answered: int


DISTRUSTED = ("invents", "constant", "multiplied", "alone", "mirror")
"""Marks of trackers that are left out of what all say together; of several mirrors one has none."""


@dataclass(frozen=True, slots=True)
class SwarmOverlap:
    """How far the peers of trackers and those of the DHT are the same, in a measurement of this run.

    `url` is that of one tracker, None for all that are believed together.  They list between `listed` and
    `listed_high` peers, and named `peers_named` of them; the other fields are those of a `SourceOverlap`.
    """

    info_hash: InfoHash
    taken_at: str
    url: str | None
    listed: int
    listed_high: int
    peers_named: int
    passed: int
    false_positives: float
    overlap: float
    overlap_low: float
    overlap_high: float
    n_estimate: float
    n_low: float
    n_high: float | None
