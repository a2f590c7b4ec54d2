"""Anything done to a table, compared with a full scan and with a list that follows the rules."""

from dataclasses import dataclass
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import is_compliant, secure_id
from dhtnode.ids import ZERO_ID, NodeId, as_id, as_int, distance, random_id
from dhtnode.krpc.compact import unpack_contacts
from dhtnode.routing import BucketInfo, InsertOutcome, RoutingTable
from dhtnode.routing.changed_ids import REJECT_FOR
from tests.routing.tables import (
    ADDED,
    CACHED,
    GOOD_FOR,
    ID_CHANGED,
    NO_SLOT,
    OWN,
    REFUSED,
    UPDATED,
    new_table,
)


def test_table_of_real_size_answers_as_a_full_scan_would() -> None:
    random = Random(1)
    table = new_table()
    now = 0.0
    known: list[Contact] = []
    for step in range(3000):
        now += random.expovariate(1.0)
        id_bits = random.choice((0, 0, 4, 12, 40))  # so many leading bits are ours
        node_id = as_id(as_int(random_id(random)) >> id_bits ^ as_int(OWN))
        host = f"{random.randrange(20, 60)}.{random.randrange(4)}.{random.randrange(20)}.1"
        newcomer = Contact(node_id, Address(host, 6881))
        contact = random.choice(known) if known and random.random() < 0.6 else newcomer
        match random.randrange(5):
            case 0:
                table.failed(contact.address, now)
            case 1:
                table.queried(contact, now)
            case _:
                table.responded(contact, now)
        known = table.contacts(include_bad=True)
        if step % 10 == 0:
            table.check()
            assert_same_as_full_scan(table, random_id(random), now)

    assert len(table) > 60


def assert_same_as_full_scan(table: RoutingTable, target: NodeId, now: float) -> None:
    infos = [info for contact in table.contacts() if (info := table.get(contact.address))]
    by_distance = sorted(infos, key=lambda info: distance(info.contact.node_id, target))
    good_first = sorted(by_distance, key=lambda info: now >= info.good_until)
    expected = sorted((info.contact for info in good_first[:8]), key=lambda c: distance(c.node_id, target))
    assert table.closest(target, now) == expected
    assert set(unpack_contacts(table.closest_compact(target, now), table.family)) == set(expected)


def is_secure(contact: Contact) -> bool:
    return is_compliant(contact.node_id, contact.address.host)


@dataclass
class Record:
    """What the model remembers of one node or replacement."""

    contact: Contact
    last_answer: float
    last_query: float | None = None
    failures: int = 0

    @property
    def is_bad(self) -> bool:
        return self.failures >= 2

    @property
    def compliant(self) -> bool:
        return is_secure(self.contact)

    def is_good(self, now: float) -> bool:
        seen = max(self.last_answer, self.last_query if self.last_query is not None else -1.0)
        return not self.failures and now < seen + GOOD_FOR


HOSTS = {
    Scope.PUBLIC: {Family.IPV4: "21.0.{}.{}", Family.IPV6: "2a00:0:0:{}::{}"},
    Scope.PRIVATE: {Family.IPV4: "10.0.{}.{}", Family.IPV6: "fd00:0:0:{}::{}"},
    Scope.LOOPBACK: {Family.IPV4: "127.0.{}.{}", Family.IPV6: "::1"},
}
# Few enough values that ids, addresses, hosts and networks collide all the time.
DISTANCES = st.builds(
    lambda bit, low: 1 << bit | low, st.sampled_from([1, 2, 3, 80, 158, 159]), st.integers(0, 3)
)
IDS = st.one_of(
    DISTANCES.map(lambda number: as_id(as_int(OWN) ^ number)),
    DISTANCES.map(lambda number: as_id(as_int(OWN) ^ number)),
    st.sampled_from([OWN, ZERO_ID]),
)
LAST_BYTES = st.integers(0, 7)  # of compliant ids: each leads to another part of the id space
PLACES = st.tuples(st.integers(1, 8), st.integers(1, 2), st.integers(0, 2))
PICKS = st.integers(0, 10_000)


class TableWalk(RuleBasedStateMachine):
    """Anything done to a table, which is compared after every step with a list that follows the rules."""

    @initialize(family=st.sampled_from(Family), scope=st.sampled_from(Scope), size=st.sampled_from([1, 2, 3]))
    def start(self, family: Family, scope: Scope, size: int) -> None:
        self.scope = scope
        self.size = size
        self.template = HOSTS[scope][family]
        self.own = OWN
        self.table = RoutingTable(OWN, family, scope, bucket_size=size, good_for=GOOD_FOR, bad_after=2)
        self.rejected: dict[str, float] = {}
        self.now = 0.0
        self.records: dict[Address, Record] = {}

    def address(self, place: tuple[int, int, int]) -> Address:
        network, host, port = place
        return Address(self.template.format(network, host), port)

    def pick(self, number: int) -> Contact:
        known = sorted(self.records)
        return self.records[known[number % len(known)]].contact

    def is_replacement(self, address: Address) -> bool:
        info = self.table.get(address)
        return info is not None and info.replacement

    def in_bucket(self, node_id: NodeId, *, replacements: bool) -> list[Record]:
        bucket = self.bucket_info(node_id)
        return [
            record
            for address, record in self.records.items()
            if self.is_replacement(address) == replacements
            and bucket.low <= as_int(record.contact.node_id) < bucket.high
        ]

    def is_rejected(self, contact: Contact) -> bool:
        return self.now < self.rejected.get(self.scope.host_key(contact.address), 0.0)

    def bucket_info(self, node_id: NodeId) -> BucketInfo:
        return next(b for b in self.table.buckets(self.now) if b.low <= as_int(node_id) < b.high)

    def clashes(self, contact: Contact) -> list[Record]:
        bucket = self.bucket_info(contact.node_id)
        key, network = self.scope.host_key, self.scope.network_key
        return [
            record
            for record in self.records.values()
            if record.contact.node_id == contact.node_id
            or key(record.contact.address) == key(contact.address)
            or (
                bucket.low <= as_int(record.contact.node_id) < bucket.high
                and network(record.contact.address) == network(contact.address)
            )
        ]

    def is_eligible(self, contact: Contact) -> bool:
        return contact.address.port > 0 and contact.node_id not in (self.own, ZERO_ID)

    def respond(self, contact: Contact) -> None:
        old = self.records.get(contact.address)
        expected = self.expected_outcomes(contact, old)
        expendable = self.expendable_for(contact)

        outcome = self.table.responded(contact, self.now)

        assert outcome in expected
        gone = {address for address in self.records if self.table.get(address) is None}
        if outcome is ID_CHANGED:
            assert gone == {contact.address}
            if old.compliant or not is_secure(contact):
                self.rejected[self.scope.host_key(contact.address)] = self.now + REJECT_FOR
        else:
            assert gone <= (set() if outcome in (REFUSED, UPDATED, NO_SLOT) else expendable)
        for address in gone:
            del self.records[address]
        if outcome in (ADDED, CACHED, UPDATED):
            last_query = old.last_query if old else None
            self.records[contact.address] = Record(contact, self.now, last_query)
            assert self.is_replacement(contact.address) == (outcome is CACHED)
        if outcome is CACHED:
            bucket = self.bucket_info(contact.node_id)
            assert (bucket.nodes, bucket.bad) == (self.size, 0)
            assert not bucket.low <= as_int(self.own) < bucket.high

    def expendable_for(self, newcomer: Contact) -> set[Address]:
        """Return the nodes that may have to go: clashing or bad ones, and those that count for less."""
        replacements = self.in_bucket(newcomer.node_id, replacements=True)
        weaker = [record for record in replacements if not record.is_good(self.now)]
        if is_secure(newcomer):
            weaker += [record for record in replacements if not record.compliant]
            nodes = self.in_bucket(newcomer.node_id, replacements=False)
            weaker += self.questionable_for(newcomer)[:1] or [r for r in nodes if not r.compliant]
        clashing = [r for r in self.clashes(newcomer) if r.is_bad or self.is_replacement(r.contact.address)]
        bad = [record for record in self.records.values() if record.is_bad]
        return {record.contact.address for record in (*weaker, *clashing, *bad)}

    def questionable_for(self, newcomer: Contact) -> list[Record]:
        """Return the nodes that a compliant newcomer may replace, that to go first first."""
        nodes = self.in_bucket(newcomer.node_id, replacements=False)
        found = [r for r in nodes if not (r.is_good(self.now) or r.is_bad or r.compliant)]
        oldest = min((record.last_answer for record in found), default=0.0)
        return sorted(found, key=lambda record: record.last_answer > oldest)

    def may_displace_a_good_node(self, newcomer: Contact) -> bool:
        nodes = self.in_bucket(newcomer.node_id, replacements=False)
        share = sum(record.compliant for record in self.records.values()) / max(1, len(self.records))
        others = [record for record in nodes if not record.compliant and not record.is_bad]
        return bool(others) and len(nodes) - len(others) < min(self.size // 2, int(self.size * share))

    def expected_outcomes(self, contact: Contact, old: Record | None) -> set[InsertOutcome]:
        if old is not None:
            if old.contact.node_id != contact.node_id:
                return {ID_CHANGED}
            return {CACHED if self.is_replacement(contact.address) else UPDATED}
        if self.has_no_slot(contact):
            return {NO_SLOT}
        if not self.is_eligible(contact) or self.is_rejected(contact):
            return {REFUSED}
        clashes = self.clashes(contact)
        if not all(record.is_bad or self.is_replacement(record.contact.address) for record in clashes):
            return {REFUSED}
        bucket = self.bucket_info(contact.node_id)
        if is_secure(contact) and self.questionable_for(contact):
            return {ADDED}
        return {ADDED} if bucket.nodes < self.size or bucket.bad else {ADDED, CACHED}

    def has_no_slot(self, contact: Contact) -> bool:
        replacements = self.in_bucket(contact.node_id, replacements=True)
        if len(replacements) < self.size or not all(record.is_good(self.now) for record in replacements):
            return False
        return not self.displaces(contact)

    def displaces(self, contact: Contact) -> bool:
        if not is_secure(contact):
            return False
        replacements = self.in_bucket(contact.node_id, replacements=True)
        if self.questionable_for(contact) or self.may_displace_a_good_node(contact):
            return True
        return not all(record.compliant for record in replacements)

    def query(self, contact: Contact) -> None:
        record = self.records.get(contact.address)
        expected = record.is_bad if record else self.is_wanted(contact)
        worth_a_ping = self.table.queried(contact, self.now)
        assert worth_a_ping == expected
        if record and record.contact == contact:
            record.last_query = self.now

    def is_wanted(self, contact: Contact) -> bool:
        bucket = self.bucket_info(contact.node_id)
        has_slot = bucket.nodes < self.size or bucket.bad > 0 or bucket.replacements < self.size
        can_split = bucket.low <= as_int(self.own) < bucket.high
        return (
            self.is_eligible(contact)
            and not self.is_rejected(contact)
            and (has_slot or can_split or self.displaces(contact))
            and all(record.is_bad for record in self.clashes(contact))
        )

    @rule(node_id=IDS, place=PLACES)
    def anybody_answers(self, node_id: NodeId, place: tuple[int, int, int]) -> None:
        self.respond(Contact(node_id, self.address(place)))

    @rule(node_id=IDS, place=PLACES)
    def anybody_asks(self, node_id: NodeId, place: tuple[int, int, int]) -> None:
        self.query(Contact(node_id, self.address(place)))

    @rule(place=PLACES, last_byte=LAST_BYTES)
    def compliant_node_answers_and_asks(self, place: tuple[int, int, int], last_byte: int) -> None:
        address = self.address(place)
        contact = Contact(secure_id(address.host, bytes([place[1]]) * 19 + bytes([last_byte])), address)
        self.query(contact)
        self.respond(contact)

    @rule(node_id=IDS | st.binary(min_size=20, max_size=20).map(NodeId))
    def our_id_is_renewed(self, node_id: NodeId) -> None:
        before = {address: (record, self.rank(record)) for address, record in self.records.items()}
        self.table.renew_id(node_id, self.now)
        self.own = node_id
        self.records = {a: record for a, (record, _) in before.items() if self.table.get(a) is not None}
        for address, (record, rank) in before.items():
            if address not in self.records:
                assert self.may_go(record, rank), record
            elif self.is_replacement(address):
                nodes = self.in_bucket(record.contact.node_id, replacements=False)
                assert all(self.rank(node) <= rank for node in nodes)

    def rank(self, record: Record) -> tuple[bool, bool, bool, float]:
        return record.is_bad, not record.is_good(self.now), not record.compliant, -record.last_answer

    def may_go(self, record: Record, rank: tuple[bool, bool, bool, float]) -> bool:
        contact, network = record.contact, self.scope.network_key
        if contact.node_id == self.own:
            return True
        better = [other for other in self.records.values() if self.rank(other) <= rank]
        if any(network(other.contact.address) == network(contact.address) for other in better):
            return True
        bucket = self.bucket_info(contact.node_id)
        there = [r for r in better if bucket.low <= as_int(r.contact.node_id) < bucket.high]
        is_ours = bucket.low <= as_int(self.own) < bucket.high
        return not is_ours and len(there) >= (self.size if record.failures else 2 * self.size)

    @rule(start=st.integers(1, 8), node_ids=st.lists(IDS, min_size=2, max_size=8))
    def several_answer(self, start: int, node_ids: list[NodeId]) -> None:
        for offset, node_id in enumerate(node_ids):
            self.respond(Contact(node_id, self.address(((start + offset) % 8 + 1, 1, 1))))

    @precondition(lambda self: self.records)
    @rule(number=PICKS)
    def known_node_answers(self, number: int) -> None:
        self.respond(self.pick(number))

    @precondition(lambda self: self.records)
    @rule(number=PICKS)
    def known_node_asks(self, number: int) -> None:
        self.query(self.pick(number))

    @precondition(lambda self: self.records)
    @rule(number=PICKS, node_id=IDS)
    def known_address_changes_its_id(self, number: int, node_id: NodeId) -> None:
        contact = Contact(node_id, self.pick(number).address)
        self.query(contact)
        self.respond(contact)

    @precondition(lambda self: self.records)
    @rule(number=PICKS, place=PLACES)
    def known_id_changes_its_address(self, number: int, place: tuple[int, int, int]) -> None:
        contact = Contact(self.pick(number).node_id, self.address(place))
        self.query(contact)
        self.respond(contact)

    @precondition(lambda self: self.records)
    @rule(number=PICKS, times=st.integers(1, 2))
    def known_node_fails(self, number: int, times: int) -> None:
        address = self.pick(number).address
        for _ in range(times):
            if address not in self.records:
                break
            self.fail_once(address)

    def fail_once(self, address: Address) -> None:
        record = self.records[address]
        was_replacement, was_bad = self.is_replacement(address), record.is_bad
        replacements = self.in_bucket(record.contact.node_id, replacements=True)
        bucket = self.bucket_info(record.contact.node_id)
        record.failures += 1

        self.table.failed(address, self.now)

        leaves = was_replacement or (record.is_bad and not was_bad and bucket.replacements > 0)
        assert (self.table.get(address) is None) == leaves
        if leaves:
            del self.records[address]
        if leaves and not was_replacement:
            best = max((other.compliant, other.last_answer) for other in replacements)
            promoted = [other for other in replacements if not self.is_replacement(other.contact.address)]
            assert [(other.compliant, other.last_answer) for other in promoted] == [best]

    @rule(place=PLACES)
    def anybody_fails(self, place: tuple[int, int, int]) -> None:
        if self.address(place) in self.records:
            self.fail_once(self.address(place))
        else:
            self.table.failed(self.address(place), self.now)

    @rule(seconds=st.sampled_from([0.5, 100.0, 450.0, 900.0, 901.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=PICKS)
    def stale_bucket_is_refreshed(self, number: int) -> None:
        stale = self.table.stale_ranges(self.now, 900.0)
        if stale:
            low, high = stale[number % len(stale)]
            self.table.mark_refreshed(low, self.now)
            stale.remove((low, high))
        assert self.table.stale_ranges(self.now, 900.0) == stale

    @invariant()
    def structure_is_sound(self) -> None:
        self.table.check()

    @invariant()
    def table_holds_what_the_model_holds(self) -> None:
        for address, record in self.records.items():
            info = self.table.get(address)
            assert info is not None
            assert (info.contact, info.last_answer, info.last_query, info.failures, info.bad) == (
                record.contact,
                record.last_answer,
                record.last_query,
                record.failures,
                record.is_bad,
            )
            assert info.compliant == record.compliant
        nodes = {r.contact for address, r in self.records.items() if not self.is_replacement(address)}
        assert set(self.table.contacts(include_bad=True)) == nodes
        assert len(self.table) == len(nodes)

    @invariant()
    def closest_is_what_a_full_scan_finds(self) -> None:
        records = [r for address, r in self.records.items() if not self.is_replacement(address)]
        usable = [record for record in records if not record.is_bad]
        for number in (0, 1, 6, 1 << 80, 3 << 158, 1 << 159 | 2):
            target = as_id(as_int(OWN) ^ number)
            ranked = sorted(
                usable, key=lambda r: (not r.is_good(self.now), distance(r.contact.node_id, target))
            )
            for count in (self.size, 2 * self.size + 1):
                chosen = [record.contact for record in ranked[:count]]
                expected = sorted(chosen, key=lambda c: distance(c.node_id, target))
                assert self.table.closest(target, self.now, count) == expected

            compact = self.table.closest_compact(target, self.now)
            plain = self.table.closest(target, self.now)
            assert len(compact) == len(plain) * self.table.family.contact_bytes
            assert set(unpack_contacts(compact, self.table.family)) == set(plain)

    @invariant()
    def questionable_are_neither_good_nor_bad(self) -> None:
        asked_for = self.table.questionable(self.now)
        expected = {
            record.contact
            for address, record in self.records.items()
            if not (record.is_good(self.now) or record.is_bad or self.is_replacement(address))
        }
        assert len(asked_for) == len(expected)
        assert set(asked_for) == expected


TestTableWalk = TableWalk.TestCase
# Derandomized, so that the suite gives the same verdict twice.
TestTableWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
