"""What the crawler records: frozen values that become rows of the database.

Every record is an observation with its own time, failures included; nothing is averaged here.
Ids and info-hashes are bytes in a record and lower-case hex in the database; times are UTC text
in both (`utc_text`), so that rows read well in Datasette and pandas without conversion.

Addresses in these records are addresses of *nodes*.  Addresses of peers have no field here, and
that is on purpose: what has no field cannot be stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import NamedTuple

from dhtnode import Address, Family
from dhtnode.outcomes import Outcome


class RunStatus(StrEnum):
    """The state of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation of the crawler; `finished_at` is None while it runs.

    A run whose process was killed is `interrupted` without a `finished_at`: its end was not seen.
    """

    id: int
    command: str
    started_at: str
    finished_at: str | None
    status: RunStatus
    version: str
    settings: dict[str, object]
    pid: int


# A tuple, because a census makes millions.
class Visit(NamedTuple):
    """The result of querying one node.

    `contacts` counts the contacts it returned, `unusable` those of them with an address that we may not
    query, `new_contacts` those that were not known before, `referrers` the nodes that had returned this
    one by then, 5 standing for five and more.  `conforms` is whether its id is BEP 42 compliant, None when
    there was no response or the address is exempt; `marks` are anomalies of its responses, in words without
    spaces.  `is_verification` is set when the node had responded before, and was queried only to see whether
    it still is there.
    """

    node_id: bytes
    address: Address
    taken_at: str
    outcome: Outcome
    error_code: int | None = None
    rtt_ms: float | None = None
    version: bytes | None = None
    conforms: bool | None = None
    contacts: int = 0
    unusable: int = 0
    new_contacts: int = 0
    referrers: int = 0
    marks: tuple[str, ...] = ()
    is_verification: bool = False


class Answered(NamedTuple):
    """A node that has responded, when, and in which visit."""

    visit_id: int
    node_id: bytes
    address: Address
    taken_at: float  # seconds since the epoch


class Journal(NamedTuple):
    """The changes of the frontier of one family since the last journal, in its own format."""

    family: Family
    contacts: bytes
    changes: bytes


class CrawlBatch(NamedTuple):
    """Visits, and the journal by which a crawl is resumed after them: both are written, or neither."""

    visits: Sequence[Visit]
    journal: Journal


class SizeEstimate(NamedTuple):
    """The number of nodes of a network by one method.

    `family` is None for both together.  `low` and `high` are the ends of the 95 % interval, None for a
    mere count.  Whatever the zone was, these are numbers for the whole network; `details` are what they
    were computed from.
    """

    family: Family | None
    method: str
    estimate: float
    low: float | None
    high: float | None
    zone: str
    details: Mapping[str, object] = {}  # never changed


class SybilTestResult(NamedTuple):
    """The result of one test of one subject: a host, a prefix of ids, the neighbourhood of an id.

    `observed` and `expected` are in the unit of the test; `p_value` is how often honest nodes would look
    like this or worse.
    """

    family: Family
    test: str
    subject: str
    observed: float
    expected: float
    p_value: float
    is_suspect: bool

    @property
    def verdict(self) -> str:
        """Return the word that the database has for it."""
        return "suspect" if self.is_suspect else "inconspicuous"


def utc_text(epoch_seconds: float) -> str:
    """Write a wall-clock time as `YYYY-MM-DDTHH:MM:SS.sssZ`, cut to milliseconds.

    Such texts sort as the times do.
    """
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def epoch_seconds(text: str) -> float:
    """Read what `utc_text` has written."""
    return datetime.fromisoformat(text).timestamp()


def client_name(version: bytes | None) -> str | None:
    """Return the two characters that stand for a client in its `v` key (BEP 20), or "unknown".

    What follows them is ignored: every client packs its numbers differently.  None, when the
    node sent no `v`, stays None.
    """
    if version is None:
        return None
    letters = version[:2]
    return letters.decode() if len(letters) == 2 and letters.isalnum() else "unknown"


def host_text(address: Address) -> str:
    """Return the host of an address in full."""
    return address.host


def prefix_text(address: Address) -> str:
    """Return the /24 or /48 that an address is in: enough for a map, too little to reach a host."""
    bits = 48 if address.family is Family.IPV6 else 24
    return str(ip_network((address.host, bits), strict=False))
