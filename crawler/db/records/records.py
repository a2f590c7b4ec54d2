"""What the crawler records: frozen values that become rows of the database.

Every record is an observation with its own time, failures included; nothing is averaged here.
Times are UTC text (`utc_text`) except in visits, of which a census makes millions: those are what their
table holds.  Views show ids as lower-case hex and times as text, so that rows read well in Datasette and
pandas without conversion.

Addresses in these records are addresses of *nodes*.  Addresses of peers have no field here, and
that is on purpose: what has no field cannot be stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_network
from typing import NamedTuple, TypeAlias

from dhtnode import Address, Family
from dhtnode.addresses import pack_host, unpack_host
from dhtnode.client_names import letters_of_version
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


HostValue: TypeAlias = int | str
"""A host as tables hold it: a number for an IPv4 address, text for an IPv6 address or a prefix."""

OUTCOME_CODES = {outcome: code for code, outcome in enumerate(Outcome)}
"""What stands for an outcome in tables of many rows; the table `outcome_codes` has the same."""

ANSWERED = OUTCOME_CODES[Outcome.ANSWERED]
RESPONDED = tuple(OUTCOME_CODES[each] for each in (Outcome.ANSWERED, Outcome.UNSUPPORTED, Outcome.NOT_DUE))
"""Outcomes of requests for samples that show that the node is there."""


# A tuple, because a census makes millions.
class Visit(NamedTuple):
    """The result of querying one node, as the columns of `visit_rows` hold it, in their order.

    `contacts` counts the contacts it returned, `unusable` those of them with an address that we may not
    query, `new_contacts` those that were not known before, `referrers` the nodes that had returned this
    one by then, 5 standing for five and more.  `conforms` is whether its id is BEP 42 compliant, None when
    there was no response or the address is exempt; `marks` are anomalies of its responses, words with
    spaces between, None for nothing.  `is_verification` is set when the node had responded before, and was
    queried only to see whether it still is there.
    """

    node_id: bytes
    host: HostValue
    port: int
    taken_at: int  # milliseconds since the epoch
    outcome: int  # of `OUTCOME_CODES`
    error_code: int | None = None
    rtt_us: int | None = None
    version: bytes | None = None
    conforms: bool | None = None
    contacts: int = 0
    unusable: int = 0
    new_contacts: int = 0
    referrers: int = 0
    marks: str | None = None
    is_verification: bool = False


class Answered(NamedTuple):
    """A node that has responded, when, and in which visit."""

    visit_id: int
    node_id: bytes
    address: Address
    taken_at: float  # seconds since the epoch


class Journal(NamedTuple):
    """The changes of the frontier of one family since the last journal, in its own format.

    `namings` are the referrers that endpoints got, for `InDegrees`; the queries are those to nodes that had
    just answered, which show how many are lost.  `queries` are all that were sent, `dropped` the contacts
    that there was no room for, and `seconds` is how long the crawl went on, all since the last journal.
    """

    family: Family
    contacts: bytes
    changes: bytes
    namings: bytes = b""
    second_queries: int = 0
    second_answers: int = 0
    queries: int = 0
    dropped: int = 0
    seconds: float = 0.0


class VisitFacts(NamedTuple):
    """What of a visit is needed to count a census again, as the columns of `visit_rows` hold it."""

    node_id: bytes
    host: HostValue
    port: int
    outcome: int
    contacts: int
    unusable: int
    new_contacts: int
    marks: str | None


class EndedVisits(NamedTuple):
    """How many visits of a run ended so: by the outcome, and by the referrers that the node had then."""

    family: Family
    is_verification: bool
    outcome: Outcome
    referrers: int
    visits: int


class CensusEvidence(NamedTuple):
    """What the sizes of a census follow from beside its visits, as the columns of its table hold it."""

    family: Family
    sighted: int
    held: int
    second_queries: int
    second_answers: int
    known: bytes
    namings: bytes
    alone: bytes = b""
    second_part: str | None = None
    second_nodes: bytes | None = None
    second_walk_queries: int | None = None


class CrawlBatch(NamedTuple):
    """Visits, and the journal by which a crawl is resumed after them: both are written, or neither.

    An anonymized crawl is not resumed, and has no journal.
    """

    visits: Sequence[Visit]
    journal: Journal | None


class SizeEstimate(NamedTuple):
    """The number of nodes of a network by one method.

    `family` is None for both together.  `unit` says what counts: hosts or endpoints.  `low` and `high`
    are the ends of the 95 % interval, None for a mere count.  Whatever the zone was, these are numbers for
    the whole network; `details` are what they were computed from.
    """

    family: Family | None
    method: str
    unit: str
    estimate: float
    low: float | None
    high: float | None
    zone: str
    details: Mapping[str, object] = {}  # never changed


class SybilTestResult(NamedTuple):
    """The result of one test of one subject: a host, a prefix of ids, the neighbourhood of an id.

    `observed` and `expected` are in the unit of the test; `p_value` is how often honest nodes would look
    like this or worse; `explanation` is what it says, in words that do not name the subject.
    """

    family: Family
    test: str
    subject: str
    observed: float
    expected: float
    p_value: float
    is_suspect: bool
    explanation: str

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


def epoch_ms(seconds: float) -> int:
    """Return a wall-clock time as tables of many rows hold it."""
    # Half a microsecond more: no float is exactly a time of milliseconds.
    return int(1000 * seconds + 0.0005)


@lru_cache(maxsize=256)  # the queries of one moment have one text
def text_ms(text: str) -> int:
    """Return what `utc_text` has written as tables of many rows hold it."""
    return round(1000 * epoch_seconds(text))


def client_letters(version: bytes | None) -> str | None:
    """Return the two characters that stand for a client in its `v` key (BEP 20), or "unknown".

    None, when the node sent no `v`, stays None.
    """
    return None if version is None else letters_of_version(version) or "unknown"


def host_value(address: Address) -> HostValue:
    """Return the host of an address, or the network in its place, as tables hold it."""
    return _host_value(address.host)


@lru_cache(maxsize=4096)  # swarms near each other are measured at the same nodes
def _host_value(host: str) -> HostValue:
    return host if ":" in host or "/" in host else int.from_bytes(pack_host(host), "big")


def host_prefix(host: HostValue) -> str:
    """Return the /24 or /48 that a host is in: enough for a map, too little to find the host."""
    return str(ip_network((host, 48 if isinstance(host, str) else 24), strict=False))


def network_text(subject: str) -> str:
    """Return the /24 or /48 of a subject that is a host or a smaller network, and any other as it is."""
    try:
        network = ip_network(subject)
    except ValueError:
        return subject
    bits = 24 if network.version == 4 else 48
    return str(network.supernet(new_prefix=bits) if network.prefixlen > bits else network)


def address_of(host: HostValue, port: int) -> Address:
    """Return an address of which a table has the host."""
    return Address(host if isinstance(host, str) else unpack_host(host.to_bytes(4, "big")), port)
