"""The routing table of one family: nodes that answered us, in buckets (BEP 5, "Routing Table").

Only an answer to a query of ours brings a node in (`responded`): the source of anything else can
be forged.  A node is good for a while after it answered or, being in the table, asked; questionable
after that, and from its first unanswered query to its next answer; bad after several such in a row.
Bad nodes are never handed out, but keep their places until somebody takes them, so that losing our
own network does not empty the table.

Ids that go with the addresses of their nodes (BEP 42) are preferred where nodes compete for a place;
others are taken as BEP 5 says, and served all the same.  So where most ids conform, Sybils with ids
of their choice get half of the places and those that nobody else wants, and a table in which no id
conforms works as if there were no BEP 42.

Everything is bounded: at most 160 buckets, each with `bucket_size` nodes and as many waiting ones,
and the last 1024 hosts that were seen to change their ids.
Times are seconds of one monotonic clock, given as `now`; nothing here sends or reads a clock.
"""

from collections.abc import Container
from enum import Enum
from math import inf

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import is_compliant, reserved_slots
from dhtnode.ids import ZERO_ID, NodeId, as_int
from dhtnode.krpc.compact import pack_contact
from dhtnode.routing.bucket import Bucket, BucketInfo, Entry, NodeInfo, require
from dhtnode.routing.bucket_tree import Partition
from dhtnode.routing.changed_ids import ChangedIds

__all__ = ["BucketInfo", "InsertOutcome", "NodeInfo", "RoutingTable"]


class InsertOutcome(Enum):
    """Say what became of a node that answered.

    CACHED waits for a place in a full bucket; for NO_PLACE too many good nodes do.  REFUSED broke a
    rule: our own or the zero id, an address that the scope does not allow, an IP, network or id
    that another node already holds, a host that is distrusted.  ID_CHANGED: the address was known
    under another id, so the old entry is gone, and its host is distrusted for half an hour; but
    not if only the new id conforms to BEP 42: so begins a node that had to find out its address.
    """

    ADDED = "added"
    UPDATED = "updated"
    CACHED = "cached"
    NO_PLACE = "no place"
    REFUSED = "refused"
    ID_CHANGED = "id changed"


class RoutingTable:
    """Keep the contacts from which lookups start and replies are made.

    There is one node per IP in the whole table and one per /24 or /64 in each bucket, waiting ones
    included; on loopback both rules count endpoints.  A node that is bad or waiting gives way to a
    newcomer with which it clashes, any other stays: no packet overwrites the address of a known id.

    Of newcomers to a full bucket, one whose id conforms to BEP 42 takes the place of a questionable
    node whose id does not, the one silent longest; and while fewer nodes conform than is to be
    expected from the whole table, and fewer than half, also that of a good one, which then waits.
    All others wait.  Of those that wait, and where as many do as may, those that conform move up
    first and leave last.
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
        """Start empty; `ours` are ids of further sockets of this node, which get no place either."""
        self.node_id = node_id
        self.family = family
        self._scope = scope
        self._bucket_size = bucket_size
        self._good_for = good_for
        self._bad_after = bad_after
        self._ours = ours
        self._partition = Partition(as_int(node_id), bucket_size)
        self._by_address: dict[Address, Entry] = {}
        self._by_host: dict[str, Entry] = {}
        self._conforming = 0  # entries, waiting ones included
        self._kept = 0  # places in each bucket for nodes that conform, as their share in the table has it
        self._distrust = ChangedIds()

    def __len__(self) -> int:
        """Return the number of nodes, bad ones included, waiting ones not."""
        return sum(len(bucket.nodes) for bucket in self._partition)

    def responded(self, contact: Contact, now: float, *, rtt: float | None = None) -> InsertOutcome:
        """Note that a node answered a query of ours; the only way into the table.

        The caller has matched transaction and address.  Constant cost for a known node; a newcomer
        costs a look at the entries of one bucket, and seldom a split.
        """
        entry = self._by_address.get(contact.address)
        if entry is None:
            return self._admit(contact, now, rtt)
        if entry.contact.node_id != contact.node_id:
            self._remove(entry)
            if entry.conforms or not is_compliant(contact.node_id, contact.address.host):
                self._distrust.add(entry.host, now)
            return InsertOutcome.ID_CHANGED
        entry.answered(now + self._good_for, rtt, now)
        if entry.waiting:
            return InsertOutcome.CACHED
        self._partition.bucket_of(entry.number).changed_at = now
        return InsertOutcome.UPDATED

    def queried(self, contact: Contact, now: float) -> bool:
        """Note that a query came, and return whether its sender is worth a verification ping.

        A known node is good for another while, unless it did not answer when it was asked last.  If
        it is bad, a ping finds out whether it is back.
        A known address under another id changes nothing, since anybody can forge such a query; if
        the id did change, our next query shows it, at the latest when the node turns questionable.
        An unknown node is worth a ping when it could be taken in.  Not for read-only nodes (BEP 43).
        """
        entry = self._by_address.get(contact.address)
        if entry is None:
            return self._could_admit(contact, now)
        if entry.contact.node_id == contact.node_id:
            entry.asked(now + self._good_for, now)
        return entry.bad

    def failed(self, address: Address, now: float) -> None:
        """Note that a query of ours was not answered; addresses not in the table are ignored.

        The node is questionable at once, so that it is not handed out in place of good ones until
        it has answered again.  BEP 5 would call it good for the rest of its 15 minutes; but most
        silent nodes are gone, and those that lost a datagram answer the next ping.
        After `bad_after` failures in a row the node is bad, and the freshest waiting node takes its
        place if there is one.  A waiting node leaves at its first failure: others wait too.
        """
        entry = self._by_address.get(address)
        if entry is None:
            return
        entry.stayed_silent(now)
        if entry.waiting:
            self._remove(entry)
        elif entry.failures >= self._bad_after:
            self._turn_bad(entry, now)
        else:
            self._partition.bucket_of(entry.number).forget_compact()

    def evict(self, address: Address) -> None:
        """Remove whatever is known at an address; a waiting node moves up.

        This does not count as a change of the bucket: nothing was heard from its range.
        """
        entry = self._by_address.get(address)
        if entry is not None:
            self._remove(entry)

    def renew_id(self, node_id: NodeId, now: float) -> None:
        """Take another own id and sort all nodes into buckets around it.

        Where more of them meet than a bucket holds, good nodes come first, then those that conform,
        then those that answered last; the others wait, and go if there is no place to wait either
        or if another one of their network is there.  Nobody is lost who is near the new id.
        Buckets with a new range are stale.  Cost: as much as admitting every node once more.
        """
        changed_at = {(bucket.low, bucket.high): bucket.changed_at for bucket in self._partition}
        ranked = sorted(self._by_address.values(), key=lambda entry: _rank(entry, now))
        self.node_id = node_id
        self._partition = Partition(as_int(node_id), self._bucket_size)
        self._by_address.clear()
        self._by_host.clear()
        self._conforming = self._kept = 0
        for entry in self._partition.sort_in(ranked):
            self._index(entry)
        for bucket in self._partition:
            bucket.changed_at = changed_at.get((bucket.low, bucket.high), -inf)

    def closest(self, target: bytes, now: float, count: int | None = None) -> list[Contact]:
        """Return the `count` (default: bucket size) closest good nodes, by distance.

        When there are fewer in the whole table, the closest questionable ones fill up; bad ones
        are never returned.  Looks at the bucket of the target first and at others only as long as
        good nodes are missing: cost grows with the nodes looked at, all of them at worst.
        """
        wanted = self._bucket_size if count is None else count
        return [entry.contact for entry in self._partition.closest(as_int(target), now, wanted)]

    def closest_compact(self, target: bytes, now: float) -> bytes:
        """Return the compact contacts of `closest`, in any order.

        A bucket full of good nodes is the answer for every target in it, so its bytes are kept and
        cost one bisect.  They are not sorted by distance: no receiver may rely on that anyway.
        """
        number = as_int(target)
        kept = self._partition.bucket_of(number).whole_compact(now)
        if kept is not None:
            return kept
        closest = self._partition.closest(number, now, self._bucket_size)
        return b"".join([entry.compact for entry in closest])

    def questionable(self, now: float) -> list[Contact]:
        """Return the nodes that are neither good nor bad, those most worth a ping first.

        First come those that left a query unanswered: they may have lost a datagram and no more.
        Then those for whose place another node waits, then all others; each time the least recently
        seen first.  A later time than it is shows who will be questionable if nothing is heard of
        them.  Cost: one pass over the table.
        """
        found = [
            (not entry.failures, not bucket.waiting, entry.last_seen(), entry.number, entry.contact)
            for bucket in self._partition
            for entry in bucket.nodes
            if now >= entry.good_until and not entry.bad
        ]
        return [contact for *_, contact in sorted(found)]

    def stale_ranges(self, now: float, refresh_after: float) -> list[tuple[int, int]]:
        """Return the id ranges `low <= id < high` of buckets unchanged for `refresh_after` seconds.

        A bucket changes when a node in it answers, is added or is replaced (BEP 5); that of a new
        table is stale.
        """
        return [
            (bucket.low, bucket.high)
            for bucket in self._partition
            if now - bucket.changed_at >= refresh_after
        ]

    def mark_refreshed(self, low: int, now: float) -> None:
        """Note that the bucket around the id `low` is being refreshed, answered or not."""
        self._partition.bucket_of(low).changed_at = now

    def contacts(self, *, include_bad: bool = False) -> list[Contact]:
        """Return all nodes that are not bad, in order of their ranges, for saving.

        With `include_bad`, those too: after an outage of our own they may be all there is.
        """
        return [
            entry.contact
            for bucket in self._partition
            for entry in bucket.nodes
            if include_bad or not entry.bad
        ]

    def compliant_share(self) -> float:
        """Return which part of the nodes that are not bad has ids that conform to BEP 42, 0.0 to 1.0.

        Cost: one pass over the table.
        """
        alive = [entry.conforms for bucket in self._partition for entry in bucket.nodes if not entry.bad]
        return sum(alive) / len(alive) if alive else 0.0

    def get(self, address: Address) -> NodeInfo | None:
        """Return what is known of the node at an address, waiting or not, or None."""
        entry = self._by_address.get(address)
        return None if entry is None else entry.info()

    def buckets(self, now: float) -> list[BucketInfo]:
        """Return the counts of every bucket, in order of their ranges."""
        return [bucket.info(now) for bucket in self._partition]

    def check(self) -> None:
        """Raise `AssertionError` when a rule of the table is broken; for tests, some ms per call."""
        self._partition.check()
        self._distrust.check()
        self._check_entries()

    def _is_eligible(self, contact: Contact) -> bool:
        return (
            contact.node_id not in (self.node_id, ZERO_ID)
            and contact.node_id not in self._ours
            and contact.address.family is self.family
            and self._scope.allows(contact.address)
        )

    def _clashes(self, contact: Contact, bucket: Bucket) -> list[Entry]:
        """Return the entries that hold the id, the network or the IP of a newcomer: at most three."""
        clashes = bucket.clashes(contact.node_id, self._scope.network_key(contact.address))
        holder = self._by_host.get(self._scope.host_key(contact.address))
        if holder is not None and holder not in clashes:
            clashes.append(holder)
        return clashes

    def _could_admit(self, contact: Contact, now: float) -> bool:
        # The cheapest question first: in a settled table most buckets have no place at all.  That
        # with our own id always has one, because it is split before anybody has to wait for it.
        bucket = self._partition.bucket_of(as_int(contact.node_id))
        if not bucket.has_place() and not self._displaces(contact, bucket, now):
            return False
        if not self._is_eligible(contact) or self._distrust.covers(
            self._scope.host_key(contact.address), now
        ):
            return False
        # A waiting node gives way to a node that has answered, but is not worth a ping to replace.
        return all(entry.bad for entry in self._clashes(contact, bucket))

    def _displaces(self, contact: Contact, bucket: Bucket, now: float) -> bool:
        """Return whether a newcomer conforms, and a node that does not would give way to it."""
        return bucket.takes_conforming(now, self._kept) and is_compliant(
            contact.node_id, contact.address.host
        )

    def _admit(self, contact: Contact, now: float, rtt: float | None) -> InsertOutcome:
        bucket = self._partition.bucket_of(as_int(contact.node_id))
        # Asked first: it is the lot of most in a settled table.
        if not bucket.takes_newcomer(now) and not self._displaces(contact, bucket, now):
            return InsertOutcome.NO_PLACE
        if not self._is_eligible(contact) or self._distrust.covers(
            self._scope.host_key(contact.address), now
        ):
            return InsertOutcome.REFUSED
        clashes = self._clashes(contact, bucket)
        if not all(entry.bad or entry.waiting for entry in clashes):
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
            conforms=is_compliant(contact.node_id, contact.address.host),
            last_answer=now,
            good_until=now + self._good_for,
            rtt=rtt,
        )
        self._index(entry)
        return entry

    def _index(self, entry: Entry) -> None:
        self._by_address[entry.contact.address] = entry
        self._by_host[entry.host] = entry
        self._count(entry.conforms)

    def _place(self, entry: Entry, now: float) -> InsertOutcome:
        """Give a newcomer a place: a free one, one that somebody has to leave, or one to wait in."""
        bucket = self._partition.bucket_of(entry.number)
        bad = bucket.longest_bad() if bucket.is_full else None
        if bad is not None:
            self._remove(bad)
        bucket = self._partition.make_room(entry.number)
        if not bucket.is_full:
            bucket.add(entry, now)
            return InsertOutcome.ADDED
        bucket.wait(entry)
        weaker = bucket.weaker_node(now, self._kept) if entry.conforms else None
        if weaker is not None:
            bucket.exchange(weaker, entry, now)
            if weaker.good_until <= now:
                self._remove(weaker)
        if len(bucket.waiting) > self._bucket_size:
            self._remove(bucket.least_waiting(entry, now))
        return InsertOutcome.CACHED if entry.waiting else InsertOutcome.ADDED

    def _turn_bad(self, entry: Entry, now: float) -> None:
        bucket = self._partition.bucket_of(entry.number)
        if bucket.waiting:
            self._remove(entry)
            bucket.changed_at = now
        else:
            entry.turn_bad()
            bucket.forget_compact()

    def _count(self, change: int) -> None:
        self._conforming += change
        self._kept = reserved_slots(self._bucket_size, self._conforming / (len(self._by_address) or 1))

    def _remove(self, entry: Entry) -> None:
        del self._by_address[entry.contact.address]
        del self._by_host[entry.host]
        self._count(-entry.conforms)
        self._partition.bucket_of(entry.number).remove(entry)

    def _check_entries(self) -> None:
        everyone = [entry for bucket in self._partition for entry in bucket.everyone()]
        require({entry.contact.address: entry for entry in everyone} == self._by_address, "address index")
        require({entry.host: entry for entry in everyone} == self._by_host, "one node per IP, host index")
        require(len(everyone) == len(self._by_address) == len(self._by_host), "indexes hold everyone once")
        require(
            self._conforming == sum(entry.conforms for entry in everyone), "those that conform are counted"
        )
        for entry in everyone:
            require(self._is_eligible(entry.contact), "every node has an allowed id and address")
            require(entry.number == as_int(entry.contact.node_id), "the number is that of the id")
            require(entry.compact == pack_contact(entry.contact), "the compact form is current")
            require(
                entry.conforms == is_compliant(entry.contact.node_id, entry.contact.address.host),
                "conforming",
            )
            require(entry.host == self._scope.host_key(entry.contact.address), "the host is current")
            require(entry.network == self._scope.network_key(entry.contact.address), "the network is current")


def _rank(entry: Entry, now: float) -> tuple[bool, bool, bool, float]:
    """Sort entries by how much they deserve a place: the first ones most."""
    return entry.bad, entry.good_until <= now, not entry.conforms, -entry.last_answer
