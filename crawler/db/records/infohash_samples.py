"""What sampling info-hashes writes down (BEP 51), and when a node may be asked again.

A node says with its sample how long to leave it alone.  We take the longest that the BEP allows for
granted as soon as a query may have gone out, and what the node says instead once it has said it: so
whoever is killed in between, or never hears the answer, does not come back too early.
"""

from collections.abc import Sequence
from typing import NamedTuple

from crawler.db.records.records import Journal
from dhtnode import Address
from dhtnode.outcomes import Outcome

MAX_INTERVAL = 21_600.0  # seconds, by BEP 51; also for nodes that name none
MIN_INTERVAL = 60.0  # seconds; 0 is allowed, and nobody wants to be asked all the time
UNSUPPORTED_PAUSE = 86_400.0  # seconds; who does not know samples today may be another client tomorrow
MARGIN = 1.0  # seconds; our clock and that of a node need not agree on how long a second is
CLAIM_LIFETIME = 60.0  # seconds in which a query has to leave once its turn is claimed
CHANCES = 2  # times in a row that a node may fail to answer before it is not asked again in a round
MAX_CREDIBLE_NUM = 100_000  # info-hashes in one store: libtorrent keeps 2000, and who lies says millions

SAMPLE_SOURCE = "sample"
"""The source in `swarms` of what was found this way."""


class NodeSample(NamedTuple):  # a tuple, because there are millions
    """Hold what came of asking one node for a sample.

    `samples` are whole info-hashes one after the other, `num` how many the node says it has,
    `interval` the seconds that it asks for, each None where the node named none.  `next_at` is when it
    may be asked again, None when this changes nothing about it.
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
    def family(self) -> int:
        """Return 4 or 6."""
        return self.address.family.value

    @property
    def returned(self) -> int:
        """Return how many info-hashes came."""
        return len(self.samples) // 20


class SampleBatch(NamedTuple):
    """Hold samples, and the journal by which a run is resumed after them: both are written, or neither."""

    samples: Sequence[NodeSample]
    journal: Journal


class SampleTurn(NamedTuple):
    """Name a node that is to be asked for a sample; `interval` is the one that it named before, if any."""

    node_id: bytes
    address: Address
    interval: int | None = None


class Appearances(NamedTuple):
    """Count info-hashes by how many nodes showed them; `shown` counts each once for each of its nodes."""

    distinct: int
    once: int
    twice: int
    shown: int


class StoreSample(NamedTuple):
    """Hold what the latest sample of a node says about its store."""

    node_id: bytes
    address: str
    port: int
    num: int
    samples: bytes


def pause_after(outcome: Outcome, interval: int | None) -> float:
    """Return for how many seconds a node is left alone after a query that ended so.

    `interval` is what it named with its sample, or, when it was silent, the last time: the query may
    have reached it, and its interval have begun anew.
    """
    if outcome in (Outcome.ANSWERED, Outcome.TIMEOUT):
        wait = MAX_INTERVAL if interval is None else min(float(interval), MAX_INTERVAL)
        return max(wait, MIN_INTERVAL) + MARGIN
    if outcome is Outcome.UNSUPPORTED:
        return UNSUPPORTED_PAUSE
    if outcome is Outcome.NOT_SENT:
        return MIN_INTERVAL
    return MAX_INTERVAL + MARGIN
