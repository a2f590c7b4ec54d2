"""The routing table of one family: nodes that answered us, in buckets (BEP 5, "Routing Table").

Only an answer to a query of ours brings a node in (`responded`): the source of anything else can
be forged.  A node is good for a while after it answered or, being in the table, sent a query.  It is
questionable after that, and from its first timeout to its next answer; after several timeouts in a
row it is bad.  Bad nodes are never handed out, but they have their slots until another node needs
them, so that an outage of our own network does not empty the table.

BEP 42 compliant nodes are preferred where nodes compete for a slot; others are accepted as BEP 5
has it, and served all the same.  So where most nodes are compliant, Sybils with ids of their choice
get half of the slots and those that no other node needs.

Everything is bounded: at most 160 buckets, each with `bucket_size` nodes and as many replacements,
and the last 1024 hosts that changed their ids.  Times are seconds of one monotonic clock, given as
`now`.
"""

from collections.abc import Container
from math import inf

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import is_compliant
from dhtnode.ids import ZERO_ID, NodeId, as_int
from dhtnode.krpc.compact import pack_contact
from dhtnode.routing.bucket import Bucket, BucketInfo, require
from dhtnode.routing.bucket_tree import BucketTree
from dhtnode.routing.changed_ids import ChangedIds
from dhtnode.routing.entry import Entry, InsertOutcome, NodeInfo
from dhtnode.routing.index import EntryIndex


class RoutingTable:
    """The contacts from which lookups start and replies are made.

    There is one node per IP in the whole table and one per /24 or /64 in each bucket, replacements
    included; on loopback both rules count endpoints.  Only a bad node or a replacement gives way to a
    newcomer with which it clashes: no packet overwrites the address of a known id.

    A compliant newcomer to a full bucket gets the slot of a questionable node that is not compliant.
    While fewer nodes are compliant than slots are reserved, it gets that of a good one, which becomes a
    replacement.  All other newcomers become replacements; compliant ones are promoted first.
    """

    def __init__(
        self,
        node_id: NodeId,
        family: Family,
        scope: Scope,
        *,
        bucket_size: int = 8,
        good_for: float = 900.0,
        bad_after: int = 2,
        ours: Container[NodeId] = (),
    ) -> None:
        """Start empty; `ours` are the ids of all sockets of this node, which are refused."""
        self.node_id = node_id
        self.family = family
        self._scope = scope
        self.bucket_size = bucket_size
        self._good_for = good_for
        self._bad_after = bad_after
        self._ours = ours
        self._tree = BucketTree(as_int(node_id), bucket_size)
        self._index = EntryIndex(bucket_size)
        self._changed_ids = ChangedIds()

    def __len__(self) -> int:
        """Return the number of nodes, bad ones included, replacements not."""
        return sum(len(bucket.nodes) for bucket in self._tree)

    def responded(self, contact: Contact, now: float, *, rtt: float | None = None) -> InsertOutcome:
        """Record that a node answered a query of ours; the only way into the table.

        The caller has matched transaction and address.  Constant cost for a known node; linear in the
        entries of one bucket for a newcomer, apart from rare splits.
        """
        entry = self._index.by_address.get(contact.address)
        if entry is None:
            return self._admit(contact, now, rtt)
        if entry.contact.node_id != contact.node_id:
            self._remove(entry)
            # A node that has to find out its address first begins with an id that is not compliant.
            if entry.compliant or not is_compliant(contact.node_id, contact.address.host):
                self._changed_ids.add(entry.host, now)
            return InsertOutcome.ID_CHANGED
        entry.on_answer(now + self._good_for, rtt, now)
        if entry.replacement:
            return InsertOutcome.CACHED
        self._tree.bucket_of(entry.number).changed_at = now
        return InsertOutcome.UPDATED

    def queried(self, contact: Contact, now: float) -> bool:
        """Record a query, and return whether its sender is worth a verification ping.

        A known node is good for another while, unless it timed out before.  A bad one is worth a ping,
        and so is an unknown one that could be accepted.  Not for read-only nodes (BEP 43).
        """
        entry = self._index.by_address.get(contact.address)
        if entry is None:
            return self._could_admit(contact, now)
        # Another id changes nothing, because a query can be forged.  If the id did change, our next
        # query shows it, at the latest when the node turns questionable.
        if entry.contact.node_id == contact.node_id:
            entry.on_query(now + self._good_for, now)
        return entry.bad

    def failed(self, address: Address, now: float) -> None:
        """Record that a query of ours timed out; addresses not in the table are ignored.

        The node is questionable at once.  After `bad_after` failures in a row it is bad, and gives its
        slot to the best replacement if there is one.  A replacement leaves at its first failure.
        """
        # BEP 5 would call it good for the rest of its 15 minutes.  But most unresponsive nodes are gone,
        # and those that lost a datagram answer the next ping.
        entry = self._index.by_address.get(address)
        if entry is None:
            return
        entry.on_timeout(now)
        bucket = self._tree.bucket_of(entry.number)
        is_bad = entry.failures >= self._bad_after
        if entry.replacement:
            self._remove(entry)
        elif is_bad and bucket.replacements:
            self._remove(entry)
            bucket.changed_at = now
        else:
            if is_bad:
                entry.mark_bad()
            bucket.forget_compact()

    def renew_id(self, node_id: NodeId, now: float) -> None:
        """Change our own id and put all nodes into buckets around it.

        Where a bucket is full, good nodes come first, then compliant ones, then those that answered
        last; the others become replacements or go, and so do those of a network that is there already.
        Buckets with a new range are stale.  Cost: as much as adding every node once more.
        """
        changed_at = {(bucket.low, bucket.high): bucket.changed_at for bucket in self._tree}
        ranked = sorted(self._index.by_address.values(), key=lambda entry: entry.rank(now))
        self.node_id = node_id
        self._tree = BucketTree(as_int(node_id), self.bucket_size)
        self._index = EntryIndex(self.bucket_size)
        for entry in self._tree.insert_all(ranked):
            self._index.add(entry)
        for bucket in self._tree:
            bucket.changed_at = changed_at.get((bucket.low, bucket.high), -inf)

    def closest(self, target: bytes, now: float, count: int | None = None) -> list[Contact]:
        """Return the `count` (default: bucket size) closest good nodes, by distance.

        When there are fewer in the whole table, the closest questionable ones fill up; bad ones
        are never returned.  Cost: the bucket of the target, others only while good nodes are missing.
        """
        wanted = self.bucket_size if count is None else count
        return [entry.contact for entry in self._tree.closest(as_int(target), now, wanted)]

    def closest_compact(self, target: bytes, now: float) -> bytes:
        """Return the compact contacts of `closest`, in any order; constant cost in most tables."""
        # Written out, for there is one for each query: `as_int` and `bucket_of`.
        number, tree = int.from_bytes(target, "big"), self._tree
        bucket = tree.by_bits[(number ^ tree.own).bit_length()]
        # A bucket full of good nodes is the answer for every target in it, so its bytes are stored.
        # They are not sorted by distance: no receiver may rely on that anyway.
        if now < bucket.compact_until:
            return bucket.compact
        whole = bucket.whole_compact(now)
        if whole is not None:
            return whole
        closest = tree.closest(number, now, self.bucket_size)
        return b"".join([entry.compact for entry in closest])

    def questionable(self, now: float) -> list[Contact]:
        """Return the nodes that are neither good nor bad, those most worth a ping first.

        First come those with a timeout, then those with a replacement, then all others; each time the
        least recently seen first.  A `now` in the future shows which nodes will be questionable if
        nothing is heard from them.  Cost: one pass over the table.
        """
        # Those with a timeout may have lost a datagram and no more.
        found = [
            (not entry.failures, not bucket.replacements, entry.last_seen(), entry.number, entry.contact)
            for bucket in self._tree
            for entry in bucket.nodes
            if now >= entry.good_until and not entry.bad
        ]
        return [contact for *_, contact in sorted(found)]

    def stale_ranges(self, now: float, refresh_after: float) -> list[tuple[int, int]]:
        """Return the id ranges `low <= id < high` of buckets unchanged for `refresh_after` seconds.

        A bucket changes when a node in it answers, is added or is replaced (BEP 5); that of an empty
        table is stale.
        """
        return [
            (bucket.low, bucket.high) for bucket in self._tree if now - bucket.changed_at >= refresh_after
        ]

    def mark_refreshed(self, low: int, now: float) -> None:
        """Record that the bucket of the id `low` is being refreshed, answered or not."""
        self._tree.bucket_of(low).changed_at = now

    def contacts(self, *, include_bad: bool = False) -> list[Contact]:
        """Return all nodes that are not bad, in order of their ranges; with `include_bad`, all nodes.

        After an outage of our own, bad nodes may be all there is.
        """
        return [
            entry.contact for bucket in self._tree for entry in bucket.nodes if include_bad or not entry.bad
        ]

    def compliant_share(self) -> float:
        """Return the BEP 42 compliant share of the nodes that are not bad; cost: one pass over the table."""
        alive = [entry.compliant for bucket in self._tree for entry in bucket.nodes if not entry.bad]
        return sum(alive) / len(alive) if alive else 0.0

    def get(self, address: Address) -> NodeInfo | None:
        """Return what is known of the node or replacement at an address, or None."""
        entry = self._index.by_address.get(address)
        return None if entry is None else entry.info()

    def buckets(self, now: float) -> list[BucketInfo]:
        """Return the numbers of every bucket, in order of their ranges."""
        return [bucket.info(now) for bucket in self._tree]

    def check(self) -> None:
        """Raise `AssertionError` when an invariant of the table is broken; some ms per call."""
        self._tree.check()
        self._changed_ids.check()
        entries = [entry for bucket in self._tree for entry in bucket.entries()]
        self._index.check(entries)
        for entry in entries:
            require(self._is_eligible(entry.contact), "every node has an allowed id and address")
            require(entry.number == as_int(entry.contact.node_id), "the number is that of the id")
            require(entry.compact == pack_contact(entry.contact), "the compact form is current")
            require(
                entry.compliant == is_compliant(entry.contact.node_id, entry.contact.address.host),
                "compliance is current",
            )
            require(entry.host == self._scope.host_key(entry.contact.address), "the host is current")
            require(entry.network == self._scope.network_key(entry.contact.address), "the network is current")

    def _is_eligible(self, contact: Contact) -> bool:
        return (
            contact.node_id not in (self.node_id, ZERO_ID)
            and contact.node_id not in self._ours
            and contact.address.family is self.family
            and self._scope.allows(contact.address)
        )

    def _may_enter(self, contact: Contact, now: float) -> bool:
        host = self._scope.host_key(contact.address)
        return self._is_eligible(contact) and not self._changed_ids.rejects(host, now)

    def _clashes(self, contact: Contact, bucket: Bucket) -> list[Entry]:
        """Return the entries with the id, the network or the IP of a newcomer: at most three."""
        clashes = bucket.clashes(contact.node_id, self._scope.network_key(contact.address))
        holder = self._index.by_host.get(self._scope.host_key(contact.address))
        if holder is not None and holder not in clashes:
            clashes.append(holder)
        return clashes

    def _could_admit(self, contact: Contact, now: float) -> bool:
        # The cheapest test first: in a filled table most buckets have no slot.  That with our own id
        # always has one, because it is split when it is full.
        bucket = self._tree.bucket_of(as_int(contact.node_id))
        if not bucket.has_slot() and not self._displaces(contact, bucket, now):
            return False
        if not self._may_enter(contact, now):
            return False
        # A replacement gives way to a node that has answered, but is not worth a ping.
        return all(entry.bad for entry in self._clashes(contact, bucket))

    def _displaces(self, contact: Contact, bucket: Bucket, now: float) -> bool:
        """Return whether a newcomer is compliant, and a node that is not would give way to it."""
        return bucket.accepts_compliant(now, self._index.reserved) and is_compliant(
            contact.node_id, contact.address.host
        )

    def _admit(self, contact: Contact, now: float, rtt: float | None) -> InsertOutcome:
        bucket = self._tree.bucket_of(as_int(contact.node_id))
        # The most frequent outcome in a filled table, so it is tested first.
        if not bucket.accepts(now) and not self._displaces(contact, bucket, now):
            return InsertOutcome.NO_SLOT
        if not self._may_enter(contact, now):
            return InsertOutcome.REFUSED
        clashes = self._clashes(contact, bucket)
        if not all(entry.bad or entry.replacement for entry in clashes):
            return InsertOutcome.REFUSED
        for entry in clashes:
            self._remove(entry)
        return self._place(self._register(contact, now, rtt), now)

    def _register(self, contact: Contact, now: float, rtt: float | None) -> Entry:
        entry = Entry(
            contact=contact,
            number=as_int(contact.node_id),
            compact=pack_contact(contact),
            host=self._scope.host_key(contact.address),
            network=self._scope.network_key(contact.address),
            compliant=is_compliant(contact.node_id, contact.address.host),
            last_answer=now,
            good_until=now + self._good_for,
            rtt=rtt,
        )
        self._index.add(entry)
        return entry

    def _place(self, entry: Entry, now: float) -> InsertOutcome:
        """Give a newcomer a slot, free or of a node that has to leave it, or make it a replacement."""
        bucket = self._tree.bucket_of(entry.number)
        bad = bucket.longest_bad() if bucket.is_full else None
        if bad is not None:
            self._remove(bad)
        bucket = self._tree.split_for(entry.number)
        if not bucket.is_full:
            bucket.add(entry, now)
            return InsertOutcome.ADDED
        bucket.add_replacement(entry)
        displaced = bucket.displaceable(now, self._index.reserved) if entry.compliant else None
        if displaced is not None:
            bucket.exchange(displaced, entry, now)
            if displaced.good_until <= now:
                self._remove(displaced)
        if len(bucket.replacements) > self.bucket_size:
            self._remove(bucket.weakest_replacement(entry, now))
        return InsertOutcome.CACHED if entry.replacement else InsertOutcome.ADDED

    def _remove(self, entry: Entry) -> None:
        self._index.remove(entry)
        self._tree.bucket_of(entry.number).remove(entry)
