"""A visit under way: what one node has returned so far, and what makes its answers suspect."""

from enum import StrEnum
from typing import Self

from crawler.db.records.records import Visit
from dhtnode import Address, QueryError, QueryRefused
from dhtnode.ids import IMPOSSIBLY_CLOSE, flip_last_bit
from dhtnode.krpc import OVERSIZED, PackedEndpoint
from dhtnode.outcomes import Outcome, outcome_of

MOSTLY_UNUSABLE = 0.5  # share of the contacts in an answer
FLOOD_DATAGRAMS = 3  # of one source that answer nothing: a network may repeat one


class VisitMark(StrEnum):
    """A reason to suspect a node, as a visit shows it."""

    meaning: str

    OVERSIZED = "oversized", f"returned more than {OVERSIZED} contacts in one answer"
    UNUSABLE_CONTACTS = (
        "unusable-contacts",
        "more than half of the contacts in an answer cannot exist: private addresses, port 0",
    )
    IMPOSSIBLY_CLOSE = (
        "impossibly-close",
        "returned contacts closer to a random target than any node can be by chance: made up",
    )
    FLOOD = "flood", f"sent {FLOOD_DATAGRAMS} datagrams or more that answer no query"

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a mark that knows what it means."""
        mark = str.__new__(cls, value)
        mark._value_ = value
        mark.meaning = meaning
        return mark


class OpenVisit:
    """What one visit has brought so far."""

    __slots__ = (
        "address",
        "contacts",
        "endpoint",
        "marks",
        "new_contacts",
        "node_id",
        "returned",
        "rtt_ms",
        "target",
        "unusable",
        "version",
    )

    def __init__(self, node_id: bytes, endpoint: PackedEndpoint, address: Address) -> None:
        self.node_id = node_id
        self.endpoint = endpoint
        self.address = address
        self.target = flip_last_bit(node_id)  # of the query under way
        self.rtt_ms: float | None = None  # None until the first answer
        self.version: bytes | None = None
        self.contacts = 0
        self.unusable = 0
        self.new_contacts = 0
        self.returned: set[PackedEndpoint] = set()
        self.marks: set[VisitMark] | None = None

    def mark(self, mark: VisitMark) -> None:
        """Note a reason to suspect this node."""
        if self.marks is None:
            self.marks = set()
        self.marks.add(mark)

    @property
    def sorted_marks(self) -> tuple[VisitMark, ...]:
        """Return the marks in order of their names."""
        return () if self.marks is None else tuple(sorted(self.marks))

    def check_contacts(self, compact: bytes, usable: list[tuple[bytes, PackedEndpoint]], total: int) -> None:
        """Mark an answer with contacts that no honest node would return; `usable` are those of `total`."""
        if total > OVERSIZED:
            self.mark(VisitMark.OVERSIZED)
        if total - len(usable) > MOSTLY_UNUSABLE * total:
            self.mark(VisitMark.UNUSABLE_CONTACTS)
        # A search of the bytes tells nearly always that there is nothing to look for.
        prefix = self.target[:IMPOSSIBLY_CLOSE]
        if prefix in compact:
            for node_id, endpoint in usable:
                if node_id.startswith(prefix) and endpoint != self.endpoint:
                    self.mark(VisitMark.IMPOSSIBLY_CLOSE)

    def row(
        self,
        taken_at: str,
        outcome: Outcome,
        code: int | None = None,
        *,
        conforms: bool | None = None,
        referrers: int = 0,
        is_verification: bool = False,
    ) -> Visit:
        """Return what is written down of this visit, now that it has ended."""
        return Visit(
            node_id=self.node_id,
            address=self.address,
            taken_at=taken_at,
            outcome=outcome,
            error_code=code,
            rtt_ms=self.rtt_ms,
            version=self.version,
            conforms=conforms,
            contacts=self.contacts,
            unusable=self.unusable,
            new_contacts=self.new_contacts,
            referrers=referrers,
            marks=self.sorted_marks,
            is_verification=is_verification,
        )


def failure_of(failure: QueryError) -> tuple[Outcome, int | None]:
    """Return the outcome that a failed query stands for, and the code of an error."""
    return outcome_of(failure), failure.code if isinstance(failure, QueryRefused) else None
