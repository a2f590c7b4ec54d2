"""A visit under way: what one node has said so far, and what makes its answers suspect."""

from dhtnode import Address, QueryError, QueryRefused
from dhtnode.ids import IMPOSSIBLY_CLOSE, flip_last_bit
from dhtnode.krpc import OVERSIZED, PackedEndpoint
from dhtnode.outcomes import Outcome, outcome_of

_MANY = 0.5  # share of the contacts in an answer


class OpenVisit:
    """Hold what one visit has brought so far."""

    __slots__ = (
        "address",
        "contacts",
        "endpoint",
        "marks",
        "named",
        "new_contacts",
        "node_id",
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
        self.named: set[PackedEndpoint] = set()
        self.marks: set[str] | None = None

    def mark(self, reason: str) -> None:
        """Note what makes this node suspect, in a word without spaces."""
        if self.marks is None:
            self.marks = set()
        self.marks.add(reason)

    def look_over(self, compact: bytes, named: list[tuple[bytes, PackedEndpoint]], total: int) -> None:
        """Mark an answer with contacts that no honest node would name; of `total`, `named` are usable."""
        if total > OVERSIZED:
            self.mark("oversized")
        if total - len(named) > _MANY * total:
            self.mark("unusable-contacts")
        # A search of the bytes tells nearly always that there is nothing to look for.
        prefix = self.target[:IMPOSSIBLY_CLOSE]
        if prefix in compact:
            for node_id, endpoint in named:
                if node_id.startswith(prefix) and endpoint != self.endpoint:
                    self.mark("impossibly-close")


def failure_of(failure: QueryError) -> tuple[Outcome, int | None]:
    """Return the outcome that a failed query stands for, and the code of an error."""
    return outcome_of(failure), failure.code if isinstance(failure, QueryRefused) else None
