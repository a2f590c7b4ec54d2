"""One bucket of the routing table and the nodes in it (BEP 5, "Routing Table").

A bucket covers an aligned range of ids.  It has slots for `size` nodes, which are handed out, and a
cache of up to `size` replacements, which are not: they get slots that fall free.  There are
replacements only while the bucket is full and none of its nodes is bad.

BEP 42 compliant nodes are preferred only where nodes compete.  A compliant replacement is promoted
first, gets the place of a replacement that is not, and the slot of a node that may be gone.  Some
slots are reserved: while fewer nodes are compliant, one that is not has to become a replacement.
So Sybils with ids of their choice, which always answer, cannot have all slots of a bucket.

Whether a node may enter at all is decided in `table`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from dhtnode.ids import ID_BITS
from dhtnode.routing.entry import Entry


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """The numbers of nodes in the bucket that covers `low <= id < high`, all sharing `prefix_bits`.

    `nodes` includes good, questionable and bad ones, but not `replacements`.
    """

    low: int
    high: int
    prefix_bits: int
    nodes: int
    good: int
    bad: int
    replacements: int


class Bucket:
    """The nodes whose ids lie in `low <= id < low + 2**bits`.

    `changed_at` is when a node here last answered, was added or was replaced, or when the range was
    refreshed; -inf until then.
    """

    __slots__ = (
        "_closed_until",
        "_is_compliant",
        "bits",
        "changed_at",
        "compact",
        "compact_until",
        "low",
        "nodes",
        "replacements",
        "size",
    )

    def __init__(self, low: int, bits: int, size: int) -> None:
        self.low = low
        self.bits = bits
        self.size = size
        self.nodes: list[Entry] = []
        self.replacements: list[Entry] = []
        self.changed_at = -inf
        self.compact = b""
        self.compact_until = -inf
        # The cache is full of good nodes, and whether all nodes are compliant; until entries change.
        self._closed_until = -inf
        self._is_compliant = False

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
        """Return whether there is no free slot, be the nodes good or bad."""
        return len(self.nodes) >= self.size

    def has_slot(self) -> bool:
        """Return whether any newcomer would get a free slot, that of a bad node, or a place in the cache."""
        return not self.is_full or len(self.replacements) < self.size or self.longest_bad() is not None

    def accepts(self, now: float) -> bool:
        """Return whether any newcomer that answered would get a slot or a place in the cache.

        It would not while the cache is full of good nodes.
        """
        # Those replacements are as fresh as makes a difference, and a crawl brings many newcomers.
        if now < self._closed_until:
            return False
        if len(self.replacements) < self.size:
            return True
        self._closed_until = min(entry.good_until for entry in self.replacements)
        self._is_compliant = all(entry.compliant for entry in self.entries())
        return now >= self._closed_until

    def accepts_compliant(self, now: float, reserved: int) -> bool:
        """Return whether a compliant newcomer would displace a node that is not compliant."""
        if self._is_compliant and now < self._closed_until:
            return False
        if not all(entry.compliant for entry in self.replacements):
            return True
        return self.displaceable(now, reserved) is not None

    def displaceable(self, now: float, reserved: int) -> Entry | None:
        """Return the node whose slot a compliant newcomer would get, or None.

        It is neither bad nor compliant: of the questionable ones that which answered longest ago, or,
        while compliant nodes have fewer than the `reserved` slots, the one that came last.
        """
        others = [entry for entry in self.nodes if not entry.compliant and not entry.bad]
        questionable = [entry for entry in others if entry.good_until <= now]
        if questionable:
            return min(questionable, key=_last_answer)
        return others[-1] if others and len(self.nodes) - len(others) < reserved else None

    def exchange(self, node: Entry, replacement: Entry, now: float) -> None:
        """Give the slot of a node to a replacement, and make the node a replacement instead."""
        self.nodes.remove(node)
        self.replacements.remove(replacement)
        replacement.replacement = False
        self.nodes.append(replacement)
        self.add_replacement(node)
        self.forget_compact()
        self.changed_at = now

    def entries(self) -> Iterator[Entry]:
        """Yield the nodes and the replacements."""
        yield from self.nodes
        yield from self.replacements

    def clashes(self, node_id: bytes, network: str) -> list[Entry]:
        """Return the entries that share an id or a network with a newcomer: at most two."""
        return [
            entry for entry in self.entries() if entry.network == network or entry.contact.node_id == node_id
        ]

    def longest_bad(self) -> Entry | None:
        """Return the bad node that answered longest ago, or None."""
        bad = [entry for entry in self.nodes if entry.bad]
        return min(bad, key=_last_answer) if bad else None

    def add(self, entry: Entry, now: float) -> None:
        """Put a node into a free slot."""
        # No compact bytes to forget: only a full bucket has them.
        self.nodes.append(entry)
        self.changed_at = now

    def add_replacement(self, entry: Entry) -> None:
        """Put a node into the cache of replacements."""
        entry.replacement = True
        self.replacements.append(entry)
        self._closed_until = -inf

    def remove(self, entry: Entry) -> None:
        """Remove an entry; the best replacement, if any, gets the slot of a removed node.

        Compliant replacements come first, then those that answered last.
        """
        # Not those seen last: a forged query must not win a slot.
        self._closed_until = -inf
        if entry.replacement:
            self.replacements.remove(entry)
            return
        self.nodes.remove(entry)
        self.forget_compact()
        if self.replacements:
            best = max(self.replacements, key=_preference)
            self.replacements.remove(best)
            best.replacement = False
            self.nodes.append(best)

    def weakest_replacement(self, newcomer: Entry, now: float) -> Entry:
        """Return the replacement that gives way to a newcomer for which `accepts...` is true.

        It is one that is not good, or for a compliant newcomer one that is not compliant.  Of those,
        nodes that are not compliant come first, then those that answered longest ago.
        """
        weaker = [
            entry
            for entry in self.replacements
            if entry.good_until <= now or (newcomer.compliant and not entry.compliant)
        ]
        return min(weaker, key=_preference)

    def split(self) -> tuple["Bucket", "Bucket"]:
        """Return the two halves of this bucket, which must have no replacements."""
        bits = self.bits - 1
        halves = Bucket(self.low, bits, self.size), Bucket(self.low + (1 << bits), bits, self.size)
        for entry in self.nodes:
            halves[entry.number >> bits & 1].nodes.append(entry)
        for half in halves:
            # A split brings no news from the network.
            half.changed_at = self.changed_at
        return halves

    def whole_compact(self, now: float) -> bytes | None:
        """Return the compact form of all nodes when the bucket is full of good ones, else None.

        `compact` has the same until a node comes, goes or times out, or `compact_until`, when the first
        would have stopped being good.
        """
        if not self.is_full:
            return None
        until = min(entry.good_until for entry in self.nodes)
        if now >= until:
            return None
        self.compact = b"".join([entry.compact for entry in self.nodes])
        self.compact_until = until
        return self.compact

    def forget_compact(self) -> None:
        """Drop the compact bytes, because a node came, went or timed out."""
        self.compact_until = -inf

    def info(self, now: float) -> BucketInfo:
        """Return the numbers of this bucket."""
        return BucketInfo(
            low=self.low,
            high=self.high,
            prefix_bits=ID_BITS - self.bits,
            nodes=len(self.nodes),
            good=sum(now < entry.good_until for entry in self.nodes),
            bad=sum(entry.bad for entry in self.nodes),
            replacements=len(self.replacements),
        )

    def check(self) -> None:
        """Raise `AssertionError` when an invariant of buckets is broken."""
        entries = list(self.entries())
        nodes = self.nodes
        require(self.low % (1 << self.bits) == 0, "a range is aligned")
        require(len(nodes) <= self.size and len(self.replacements) <= self.size, "a bucket is bounded")
        require(all(self.covers(entry.number) for entry in entries), "an entry is in its bucket")
        require(not any(entry.replacement for entry in nodes), "a node is no replacement")
        require(all(entry.replacement for entry in self.replacements), "a replacement is marked as such")
        require(not any(entry.failures for entry in self.replacements), "a replacement that fails leaves")
        require(all((entry.good_until == -inf) == entry.bad for entry in entries), "bad is not good")
        require(all(entry.failures for entry in entries if entry.bad), "a bad node has failed")
        require(
            not self.replacements or (len(nodes) == self.size and not any(entry.bad for entry in nodes)),
            "only a full bucket without bad nodes has replacements",
        )
        require(len({entry.network for entry in entries}) == len(entries), "one node per network")
        require(len({entry.contact.node_id for entry in entries}) == len(entries), "no id is there twice")
        require(
            self._closed_until <= min((entry.good_until for entry in self.replacements), default=-inf),
            "a bucket is closed while its replacements are good",
        )
        if self.compact_until > -inf:
            require(len(nodes) == self.size, "compact bytes are those of a full bucket")
            require(self.compact == b"".join(entry.compact for entry in nodes), "compact bytes are current")
            require(
                all(self.compact_until <= entry.good_until for entry in nodes),
                "nodes in compact bytes are good",
            )


def require(condition: bool, rule: str) -> None:
    """Raise `AssertionError` with the rule when `condition` is false, also under `python -O`."""
    if not condition:
        raise AssertionError(f"broken rule: {rule}")


def _last_answer(entry: Entry) -> float:
    return entry.last_answer


def _preference(entry: Entry) -> tuple[bool, float]:
    return entry.compliant, entry.last_answer
