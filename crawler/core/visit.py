"""A visit under way: what one node has returned so far, and what makes its answers suspect."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from crawler.db.records.records import OUTCOME_CODES, Visit
from dhtnode import Address, QueryError, QueryRefused
from dhtnode.ids import ID_BYTES, IMPOSSIBLY_CLOSE, flip_last_bit
from dhtnode.krpc import OVERSIZED, PackedContact, PackedEndpoint
from dhtnode.outcomes import Outcome, outcome_of

MOSTLY_UNUSABLE = 0.5  # share of the contacts in an answer
FLOOD_DATAGRAMS = 3  # of one source that answer nothing: a network may repeat one


class VisitMark(StrEnum):
    """A reason to suspect a node, as a visit shows it."""

    meaning: str

    OVERSIZED = "oversized", f"returned more than {OVERSIZED} contacts in one answer"
    UNUSABLE_CONTACTS = (
        "unusable-contacts",
        "returned contacts of which more than half cannot exist: private addresses, port 0",
    )
    IMPOSSIBLY_CLOSE = (
        "impossibly-close",
        "returned contacts closer to a random target than any node can be by chance: made up",
    )
    INVENTED_CONTACTS = (
        "invented-contacts",
        "returned contacts of which half or more are known from it alone and never answered",
    )
    FLOOD = "flood", f"sent {FLOOD_DATAGRAMS} datagrams or more that answer no query"

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a mark that knows what it means."""
        mark = str.__new__(cls, value)
        mark._value_ = value
        mark.meaning = meaning
        return mark


class OpenVisit:
    """What one visit to a contact has brought so far; `number` is that of the contact in the frontier."""

    __slots__ = (
        "address",
        "contact",
        "contacts",
        "half",
        "marks",
        "new_contacts",
        "number",
        "returned",
        "rtt",
        "target",
        "unusable",
        "version",
    )

    def __init__(self, contact: bytes, address: Address, number: int = -1) -> None:
        """Begin a visit to a contact in its compact form, with a query for its neighbours."""
        self.contact = contact
        self.address = address
        self.number = number
        self.target = flip_last_bit(contact[:ID_BYTES])  # of the query under way
        self.rtt: float | None = None  # seconds; None until the first answer
        self.version: bytes | None = None
        self.contacts = 0
        self.unusable = 0
        self.new_contacts = 0
        self.returned = b""  # the contacts so far, in their compact form
        self.half = 0  # of the crawl, once it has answered
        self.marks: set[VisitMark] | None = None

    @property
    def node_id(self) -> bytes:
        """Return the id that the node was returned with."""
        return self.contact[:ID_BYTES]

    @property
    def endpoint(self) -> PackedEndpoint:
        """Return the address and port as an integer."""
        return int.from_bytes(self.contact[ID_BYTES:], "big")

    def mark(self, mark: VisitMark) -> None:
        """Note a reason to suspect this node."""
        if self.marks is None:
            self.marks = set()
        self.marks.add(mark)

    @property
    def sorted_marks(self) -> tuple[VisitMark, ...]:
        """Return the marks in order of their names."""
        return () if self.marks is None else tuple(sorted(self.marks))

    def check_count(self, total: int, usable: int) -> None:
        """Count the contacts of an answer that no honest node would return, and mark too many of them."""
        self.unusable += total - usable
        if total > OVERSIZED:
            self.mark(VisitMark.OVERSIZED)
        if total - usable > MOSTLY_UNUSABLE * total:
            self.mark(VisitMark.UNUSABLE_CONTACTS)

    def check_distances(self, target: bytes, usable: Sequence[PackedContact]) -> None:
        """Mark an answer with a contact that is too close to the target; the node's own does not count."""
        prefix = target[:IMPOSSIBLY_CLOSE]
        if any(node_id.startswith(prefix) and each != self.endpoint for node_id, each in usable):
            self.mark(VisitMark.IMPOSSIBLY_CLOSE)

    def row(
        self,
        taken_at: int,
        outcome: Outcome,
        code: int | None = None,
        *,
        conforms: bool | None = None,
        referrers: int = 0,
        is_verification: bool = False,
    ) -> Visit:
        """Return what is written down of this visit, which ended so many milliseconds after the epoch."""
        host, port = self.address
        values = (
            self.contact[:ID_BYTES],
            host if ":" in host else int.from_bytes(self.contact[ID_BYTES:-2], "big"),
            port,
            taken_at,
            OUTCOME_CODES[outcome],
            code,
            None if self.rtt is None else round(1e6 * self.rtt),
            self.version,
            conforms,
            self.contacts,
            self.unusable,
            self.new_contacts,
            referrers,
            None if self.marks is None else " ".join(sorted(self.marks)),
            is_verification,
        )
        # A third of the time that a call of the class takes.
        return tuple.__new__(Visit, values)


def failure_of(failure: QueryError) -> tuple[Outcome, int | None]:
    """Return the outcome that a failed query stands for, and the code of an error."""
    return outcome_of(failure), failure.code if isinstance(failure, QueryRefused) else None
