"""One node of the routing table: when it answered, how often it failed to, and its BEP 42 compliance."""

from dataclasses import dataclass
from enum import Enum
from math import inf

from dhtnode.addresses import Contact


class InsertOutcome(Enum):
    """What the table did with a node that answered."""

    ADDED = "added"
    UPDATED = "updated"
    CACHED = "cached"
    """It is a replacement for a full bucket."""

    NO_SLOT = "no slot"
    """The bucket is full, and so is its cache of replacements, with good nodes."""

    REFUSED = "refused"
    """Our own or the zero id, an address out of scope, an IP, network or id that another node has,
    or a host that changed its id."""

    ID_CHANGED = "id changed"
    """The address was known under another id, and that entry is gone."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A copy of what the table has about one node; times and `rtt` are in seconds.

    The node is good while `now < good_until`; a bad one has -inf there.  `failures` are the timeouts
    since its last answer.  It is `compliant` when its id goes with its address (BEP 42).
    """

    contact: Contact
    last_answer: float
    last_query: float | None
    good_until: float
    failures: int
    bad: bool
    replacement: bool
    rtt: float | None
    compliant: bool


@dataclass(slots=True, eq=False)
class Entry:
    """A node that has answered us, in the slot of a bucket or as a replacement."""

    contact: Contact
    # The id: XOR of integers is what `closest` spends its time on.
    number: int
    compact: bytes
    host: str
    network: str
    compliant: bool
    last_answer: float
    good_until: float
    rtt: float | None = None
    last_query: float | None = None
    failures: int = 0
    bad: bool = False
    replacement: bool = False

    def on_answer(self, good_until: float, rtt: float | None, now: float) -> None:
        """Record an answer: the node is good, whatever it was before."""
        self.last_answer = now
        self.good_until = good_until
        self.failures = 0
        self.bad = False
        if rtt is not None:
            self.rtt = rtt

    def on_query(self, good_until: float, now: float) -> None:
        """Record a query; after a timeout it does not make the node good again."""
        self.last_query = now
        # The source of a query may be forged, so only an answer proves that the node is back.
        if not self.failures:
            self.good_until = good_until

    def on_timeout(self, now: float) -> None:
        """Record a timeout: the node is not good until it answers."""
        self.failures += 1
        self.good_until = min(self.good_until, now)

    def mark_bad(self) -> None:
        """Mark the node as one that no longer answers."""
        self.bad = True
        self.good_until = -inf

    def last_seen(self) -> float:
        """Return when the node last answered or sent a query."""
        return self.last_answer if self.last_query is None else max(self.last_answer, self.last_query)

    def rank(self, now: float) -> tuple[bool, bool, bool, float]:
        """Return a key that sorts nodes: good ones first, then compliant ones, then by last answer."""
        return self.bad, self.good_until <= now, not self.compliant, -self.last_answer

    def info(self) -> NodeInfo:
        """Return a copy of what is known."""
        return NodeInfo(
            self.contact,
            self.last_answer,
            self.last_query,
            self.good_until,
            self.failures,
            self.bad,
            self.replacement,
            self.rtt,
            self.compliant,
        )
