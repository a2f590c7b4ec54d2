"""One bucket of the routing table and the nodes in it (BEP 5, "Routing Table").

A bucket covers an aligned range of ids.  It holds up to `size` nodes, which are handed out, and up
to `size` waiting ones, which are not: they step in when a place falls free.  Nodes wait only while
the bucket is full and none of its nodes is bad, so whoever removes a bad node has nobody to promote.

Ids that conform to BEP 42 are preferred where nodes compete, and nowhere else: a node that conforms
moves up first, waits in place of one that does not, and need not wait behind one that may be gone.
Some places are kept for them: as long as fewer nodes conform, one that does not has to wait instead.
So Sybils with ids of their choice, which always answer, cannot have all of a bucket to themselves.

What concerns one bucket lives here; who may enter at all, and the indexes over all buckets, in
`routing`, which alone uses `Entry` and `Bucket`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from dhtnode.addresses import Contact
from dhtnode.ids import ID_BITS


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Tell what the table knows of one node; times and `rtt` are in seconds.

    The node is good while `now < good_until`; a bad one has -inf there.  `failures` are the queries
    left unanswered since its last answer.  It `conforms` when its id goes with its address (BEP 42).
    """

    contact: Contact
    last_answer: float
    last_query: float | None
    good_until: float
    failures: int
    bad: bool
    waiting: bool
    rtt: float | None
    conforms: bool


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """Count the nodes of the bucket that covers `low <= id < high`, all sharing `prefix_bits`.

    `nodes` includes good, questionable and bad ones, but not `replacements`.
    """

    low: int
    high: int
    prefix_bits: int
    nodes: int
    good: int
    bad: int
    replacements: int


@dataclass(slots=True, eq=False)
class Entry:
    """Hold what is known of one node that has answered us."""

    contact: Contact
    number: int  # the id; XOR of integers is what `closest` spends its time on
    compact: bytes
    host: str
    network: str
    conforms: bool
    last_answer: float
    good_until: float
    rtt: float | None = None
    last_query: float | None = None
    failures: int = 0
    bad: bool = False
    waiting: bool = False

    def answered(self, good_until: float, rtt: float | None, now: float) -> None:
        """Note an answer: whatever the node was before, it is good now."""
        self.last_answer = now
        self.good_until = good_until
        self.failures = 0
        self.bad = False
        if rtt is not None:
            self.rtt = rtt

    def asked(self, good_until: float, now: float) -> None:
        """Note a query; after an unanswered one of ours only an answer counts: a source may be forged."""
        self.last_query = now
        if not self.failures:
            self.good_until = good_until

    def stayed_silent(self, now: float) -> None:
        """Note an unanswered query: from now on the node is not good until it answers."""
        self.failures += 1
        self.good_until = min(self.good_until, now)

    def turn_bad(self) -> None:
        """Mark the node as one that no longer answers."""
        self.bad = True
        self.good_until = -inf

    def last_seen(self) -> float:
        """Return when the node last answered or asked."""
        return self.last_answer if self.last_query is None else max(self.last_answer, self.last_query)

    def info(self) -> NodeInfo:
        """Return a copy of what is known."""
        return NodeInfo(
            self.contact,
            self.last_answer,
            self.last_query,
            self.good_until,
            self.failures,
            self.bad,
            self.waiting,
            self.rtt,
            self.conforms,
        )


class Bucket:
    """Keep the nodes whose ids lie in `low <= id < low + 2**bits`.

    `changed_at` is when a node here last answered, was added or was replaced, or when the range was
    refreshed; -inf until then.
    """

    __slots__ = ("_compact", "_compact_until", "bits", "changed_at", "low", "nodes", "size", "waiting")

    def __init__(self, low: int, bits: int, size: int) -> None:
        self.low = low
        self.bits = bits
        self.size = size
        self.nodes: list[Entry] = []
        self.waiting: list[Entry] = []
        self.changed_at = -inf
        self._compact = b""
        self._compact_until = -inf

    @property
    def high(self) -> int:
        """Return the end of the range, itself not in it."""
        return self.low + (1 << self.bits)

    def covers(self, number: int) -> bool:
        """Return whether an id lies in the range."""
        return number >> self.bits == self.low >> self.bits

    def parent_covers(self, number: int) -> bool:
        """Return whether an id lies in this range or in the other half of the range it was split from."""
        return (number ^ self.low) >> self.bits <= 1

    @property
    def is_full(self) -> bool:
        """Return whether there is no free place, be the nodes good or bad."""
        return len(self.nodes) >= self.size

    def has_place(self) -> bool:
        """Return whether any newcomer would get a free place, that of a bad node, or one to wait in."""
        return not self.is_full or len(self.waiting) < self.size or self.longest_bad() is not None

    def takes_newcomer(self, now: float) -> bool:
        """Return whether any newcomer that answered would get a place, or one to wait in.

        While as many wait as may, all of them good, it is turned away: those who wait are as fresh
        as makes a difference, and a crawl brings many newcomers.
        """
        if len(self.waiting) < self.size:
            return True
        return any(entry.good_until <= now for entry in self.waiting)

    def takes_conforming(self, now: float, kept: int) -> bool:
        """Return whether a newcomer that conforms would get the place of a node that does not."""
        if not all(entry.conforms for entry in self.waiting):
            return True
        return self.weaker_node(now, kept) is not None

    def weaker_node(self, now: float, kept: int) -> Entry | None:
        """Return the node whose place a newcomer that conforms would get, or None.

        It is not bad and does not conform: of those that are questionable the one silent longest,
        or, while fewer than the `kept` places are held by nodes that conform, the one that came last.
        """
        others = [entry for entry in self.nodes if not entry.conforms and not entry.bad]
        questionable = [entry for entry in others if entry.good_until <= now]
        if questionable:
            return min(questionable, key=_last_answer)
        return others[-1] if others and len(self.nodes) - len(others) < kept else None

    def exchange(self, node: Entry, other: Entry, now: float) -> None:
        """Give the place of a node to one that waits, and let the node wait instead."""
        self.nodes.remove(node)
        self.waiting.remove(other)
        other.waiting = False
        self.nodes.append(other)
        self.wait(node)
        self.forget_compact()
        self.changed_at = now

    def everyone(self) -> Iterator[Entry]:
        """Yield the nodes and the waiting ones."""
        yield from self.nodes
        yield from self.waiting

    def clashes(self, node_id: bytes, network: str) -> list[Entry]:
        """Return the entries that share an id or a network with a newcomer: at most two."""
        return [
            entry for entry in self.everyone() if entry.network == network or entry.contact.node_id == node_id
        ]

    def longest_bad(self) -> Entry | None:
        """Return the bad node that has been silent longest, or None."""
        bad = [entry for entry in self.nodes if entry.bad]
        return min(bad, key=_last_answer) if bad else None

    def add(self, entry: Entry, now: float) -> None:
        """Put a node into a free place."""
        # No kept bytes to forget: only a full bucket has them.
        self.nodes.append(entry)
        self.changed_at = now

    def wait(self, entry: Entry) -> None:
        """Let a node wait for a place."""
        entry.waiting = True
        self.waiting.append(entry)

    def remove(self, entry: Entry) -> None:
        """Take an entry out; the freshest waiting node, if any, gets the place of a removed node.

        One that conforms comes before all that do not.  Freshest means last answered, not last
        seen: a forged query must not win a place.
        """
        if entry.waiting:
            self.waiting.remove(entry)
            return
        self.nodes.remove(entry)
        self.forget_compact()
        if self.waiting:
            freshest = max(self.waiting, key=_preference)
            self.waiting.remove(freshest)
            freshest.waiting = False
            self.nodes.append(freshest)

    def least_waiting(self, newcomer: Entry, now: float) -> Entry:
        """Return the waiting node that gives way to a newcomer for which `takes_...` is true.

        Of those not good any longer, and for one that conforms also of those that do not: first
        one that does not conform, then that which answered longest ago.
        """
        weaker = [
            entry
            for entry in self.waiting
            if entry.good_until <= now or (newcomer.conforms and not entry.conforms)
        ]
        return min(weaker, key=_preference)

    def split(self) -> tuple["Bucket", "Bucket"]:
        """Return the two halves of this bucket, which must have no waiting nodes.

        Both inherit the time of the last change: a split tells nothing about the network.
        """
        bits = self.bits - 1
        halves = Bucket(self.low, bits, self.size), Bucket(self.low + (1 << bits), bits, self.size)
        for entry in self.nodes:
            halves[entry.number >> bits & 1].nodes.append(entry)
        for half in halves:
            half.changed_at = self.changed_at
        return halves

    def whole_compact(self, now: float) -> bytes | None:
        """Return the compact form of all nodes when the bucket is full of good ones, else None.

        The bytes are kept until a node comes or goes, leaves a query unanswered, or would stop being
        good had it not been heard of again.
        """
        if now < self._compact_until:
            return self._compact
        if not self.is_full:
            return None
        until = min(entry.good_until for entry in self.nodes)
        if now >= until:
            return None
        self._compact = b"".join([entry.compact for entry in self.nodes])
        self._compact_until = until
        return self._compact

    def forget_compact(self) -> None:
        """Drop the kept bytes, because a node came, went or did not answer."""
        self._compact_until = -inf

    def info(self, now: float) -> BucketInfo:
        """Return the counts of this bucket."""
        return BucketInfo(
            low=self.low,
            high=self.high,
            prefix_bits=ID_BITS - self.bits,
            nodes=len(self.nodes),
            good=sum(now < entry.good_until for entry in self.nodes),
            bad=sum(entry.bad for entry in self.nodes),
            replacements=len(self.waiting),
        )

    def check(self) -> None:
        """Raise `AssertionError` when something that must hold in every bucket does not."""
        everyone = list(self.everyone())
        nodes = self.nodes
        require(self.low % (1 << self.bits) == 0, "a range is aligned")
        require(len(nodes) <= self.size and len(self.waiting) <= self.size, "a bucket is bounded")
        require(all(self.covers(entry.number) for entry in everyone), "an entry is in its bucket")
        require(not any(entry.waiting for entry in nodes), "a node does not wait")
        require(all(entry.waiting for entry in self.waiting), "a waiting node knows that it waits")
        require(not any(entry.failures for entry in self.waiting), "a waiting node that fails leaves")
        require(all((entry.good_until == -inf) == entry.bad for entry in everyone), "bad is not good")
        require(all(entry.failures for entry in everyone if entry.bad), "a bad node has failed")
        require(
            not self.waiting or (len(nodes) == self.size and not any(entry.bad for entry in nodes)),
            "nodes wait only for a bucket that is full and has no bad node",
        )
        require(len({entry.network for entry in everyone}) == len(everyone), "one node per network")
        require(len({entry.contact.node_id for entry in everyone}) == len(everyone), "no id is there twice")
        if self._compact_until > -inf:
            require(len(nodes) == self.size, "kept bytes are those of a full bucket")
            require(self._compact == b"".join(entry.compact for entry in nodes), "kept bytes are current")
            require(all(self._compact_until <= entry.good_until for entry in nodes), "kept nodes are good")


def require(condition: bool, rule: str) -> None:
    """Raise `AssertionError` naming the rule when `condition` is false, also under `python -O`."""
    if not condition:
        raise AssertionError(f"broken rule: {rule}")


def _last_answer(entry: Entry) -> float:
    return entry.last_answer


def _preference(entry: Entry) -> tuple[bool, float]:
    return entry.conforms, entry.last_answer
