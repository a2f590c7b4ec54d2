"""What sampling info-hashes records (BEP 51), and when a node may be queried again.

A node says with its sample how long to leave it alone.  As soon as a query may have been sent, the longest
interval of the BEP is assumed, until the node gives its own: a process that is killed in between, or never
receives the response, does not come back too early.
"""

from collections.abc import Sequence
from typing import NamedTuple

from crawler.db.records.records import Journal
from dhtnode import Address
from dhtnode.outcomes import Outcome

# Seconds.  The longest of BEP 51 also holds for nodes that give no interval.
MAX_INTERVAL = 21_600.0
# Seconds.  The BEP allows 0, which would mean queries without a pause.
MIN_INTERVAL = 60.0
# Seconds.  A node that does not support samples today may run another client tomorrow.
UNSUPPORTED_PAUSE = 86_400.0
# Seconds.  Our clock and that of a node need not agree on how long a second is.
MARGIN = 1.0
LEASE_LIFETIME = 60.0  # seconds in which a query has to be sent
CHANCES = 2  # timeouts in a row before a node is not queried again in a round
# Info-hashes in one store: libtorrent keeps 2000, and liars claim millions.
MAX_CREDIBLE_NUM = 100_000

SAMPLE_SOURCE = "sample"
"""The source in `swarms` of info-hashes from samples."""


class NodeSample(NamedTuple):  # a tuple, because there are millions
    """The result of one query for a sample.

    `samples` are whole info-hashes one after the other, `num` how many the node says it has,
    `interval` the seconds that it asks for, each None where the node gave none.  `next_at` is when it
    may be queried again, None when this changes nothing about it.
    """

    node_id: bytes
    address: Address
    taken_at: str
    outcome: Outcome
    error_code: int | None = None
    rtt_ms: float | None = None
    version: bytes | None = None
    num: int | None = None
    interval: int | None = None
    samples: bytes = b""
    next_at: str | None = None
    contacts: int = 0
    new_contacts: int = 0
    marks: tuple[str, ...] = ()

    @property
    def returned(self) -> int:
        """Return how many info-hashes came."""
        return len(self.samples) // 20


class SampleBatch(NamedTuple):
    """Samples, and the journal by which a run is resumed after them: both are written, or neither.

    An anonymized run is not resumed, and has no journal.
    """

    samples: Sequence[NodeSample]
    journal: Journal | None


class NodeToSample(NamedTuple):
    """A node that may be queried for a sample; `interval` is the one that it gave last time, if any."""

    node_id: bytes
    address: Address
    interval: int | None = None


class Appearances(NamedTuple):
    """Numbers of info-hashes by how many nodes returned them; `shown` counts each once for each node."""

    distinct: int
    once: int
    twice: int
    shown: int


class StoreSample(NamedTuple):
    """What the samples of a node say about its store: the share of it that they show, and the info-hashes."""

    node_id: bytes
    address: Address
    share: float
    shown: frozenset[bytes]


def pause_after(outcome: Outcome, interval: int | None) -> float:
    """Return for how many seconds a node is left alone after a query that ended so.

    `interval` is what it gave with its sample or, after a timeout, the last time: the query may have
    reached it, and its interval begun again.
    """
    if outcome in (Outcome.ANSWERED, Outcome.TIMEOUT):
        wait = MAX_INTERVAL if interval is None else min(float(interval), MAX_INTERVAL)
        return max(wait, MIN_INTERVAL) + MARGIN
    if outcome is Outcome.UNSUPPORTED:
        return UNSUPPORTED_PAUSE
    if outcome is Outcome.NOT_SENT:
        return MIN_INTERVAL
    return MAX_INTERVAL + MARGIN
