"""The routing table: who gets in, who stays, who is handed out.

First value tables for the single rules, then a walk at real size, then `TableWalk`: anything done
to a small table, compared after every step with a list that knows the rules.
"""

# ruff: noqa: D102  (the names of the walk's methods are sentences)

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import is_compliant, secure_id
from dhtnode.ids import ZERO_ID, NodeId, as_id, as_int, distance, random_id
from dhtnode.krpc.compact import pack_contact, unpack_contacts
from dhtnode.routing.bucket import BucketInfo, NodeInfo
from dhtnode.routing.changed_ids import DISTRUST_FOR, MAX_DISTRUSTED
from dhtnode.routing.table import InsertOutcome, RoutingTable

OWN = as_id(0x2BAD << 144 | 5)
HALF = 1 << 159  # our id is in the lower half, so the upper half is never split
GOOD_FOR = 900.0
ADDED, UPDATED, CACHED, NO_PLACE, REFUSED, ID_CHANGED = InsertOutcome


def new_table(scope: Scope = Scope.PUBLIC, bucket_size: int = 8) -> RoutingTable:
    return RoutingTable(OWN, Family.IPV4, scope, bucket_size=bucket_size, good_for=GOOD_FOR, bad_after=2)


def far(number: int, host: str | None = None, port: int = 6881) -> Contact:
    """Return a contact in the upper half, alone in its /24 unless a host is given."""
    return Contact(as_id(HALF + number), Address(host or f"21.0.{number}.1", port))


def near(number: int, host: str | None = None, port: int = 6881) -> Contact:
    """Return a contact that shares all but its last bits with us."""
    return Contact(as_id(as_int(OWN) ^ number), Address(host or f"22.0.{number}.1", port))


def secure(number: int) -> Contact:
    """Return a contact in the upper half, alone in its /24, whose id goes with its address (BEP 42)."""
    host = f"24.0.{number}.1"
    drawn = (secure_id(host, bytes([number]) * 19 + bytes([last])) for last in range(8))
    return Contact(next(node_id for node_id in drawn if as_int(node_id) >= HALF), Address(host, 6881))


def full_table(nodes: int = 8, waiting: int = 0) -> RoutingTable:
    """Return a table where far 0, 1, 2, ... answered at 0, 1, 2, ...; all above the eighth wait."""
    table = new_table()
    for number in range(nodes + waiting):
        table.responded(far(number), float(number))
    return table


def secure_elsewhere(table: RoutingTable, count: int) -> None:
    """Let so many nodes whose ids conform, in the lower half, answer at 0."""
    for number in range(count):
        host = f"26.0.{number}.1"
        drawn = (secure_id(host, bytes([number]) * 19 + bytes([last])) for last in range(8))
        node_id = next(node_id for node_id in drawn if as_int(node_id) < HALF)
        assert table.responded(Contact(node_id, Address(host, 6881)), 0.0) is ADDED


def half_secure_table() -> RoutingTable:
    """Return a table where far 0 to 3 and secure 1 to 4 fill the upper half, and nobody waits."""
    table = full_table(4)
    for number in range(1, 5):
        table.responded(secure(number), 4.0)
    return table


def fail(table: RoutingTable, contact: Contact, now: float) -> None:
    """Let a contact leave two queries unanswered, which makes it bad."""
    table.failed(contact.address, now)
    table.failed(contact.address, now)


def test_node_that_answered_is_handed_out() -> None:
    """An answer to a query of ours is the way into the table."""
    table = new_table()

    outcome = table.responded(far(1), 10.0, rtt=0.05)

    assert outcome is ADDED
    assert table.closest(OWN, 10.0) == [far(1)]
    assert table.get(far(1).address) == NodeInfo(
        far(1), 10.0, None, 10.0 + GOOD_FOR, failures=0, bad=False, waiting=False, rtt=0.05, conforms=False
    )
    assert len(table) == 1


def test_node_that_only_asked_is_not_taken_in() -> None:
    """A query may come from a forged source: it is a reason to ping, not to insert."""
    table = new_table()

    worth_a_ping = table.queried(far(1), 10.0)

    assert worth_a_ping
    assert len(table) == 0
    assert table.get(far(1).address) is None


@pytest.mark.parametrize(
    "contact",
    [
        Contact(OWN, Address("21.0.0.1", 6881)),
        Contact(ZERO_ID, Address("21.0.0.1", 6881)),
        far(1, "192.168.0.1"),
        far(1, "127.0.0.1"),
        far(1, port=0),
        far(1, "2a00::1"),
    ],
    ids=["own id", "zero id", "private", "loopback", "port 0", "other family"],
)
def test_contact_that_can_never_be_a_node_is_refused(contact: Contact) -> None:
    """Our own id, the zero id and addresses outside the scope neither enter nor deserve a ping."""
    table = new_table()

    assert table.queried(contact, 0.0) is False
    assert table.responded(contact, 0.0) is REFUSED
    assert len(table) == 0


def test_only_the_bucket_with_our_id_is_split() -> None:
    """A full bucket elsewhere keeps its nodes and lets the ninth wait."""
    table = full_table(8)

    assert table.responded(far(8), 8.0) is CACHED
    assert [table.responded(near(n), 9.0) for n in range(1, 10)] == [ADDED] * 9

    assert table.buckets(9.0)[-1] == BucketInfo(HALF, 2 * HALF, 1, nodes=8, good=8, bad=0, replacements=1)
    assert len(table) == 17
    table.check()


def test_table_of_closest_possible_neighbours_stays_bounded() -> None:
    """One node at each distance 2**n splits down to pairs of ids: 160 buckets and no more."""
    table = new_table(Scope.LOOPBACK, bucket_size=1)

    for bit in range(160):
        contact = Contact(as_id(as_int(OWN) ^ (1 << bit)), Address("127.0.0.1", 1000 + bit))
        assert table.responded(contact, 0.0) is ADDED
        table.check()

    assert len(table.buckets(0.0)) == 160
    assert len(table) == 160


def test_second_node_of_one_ip_is_refused_in_the_whole_table() -> None:
    """The same IP on another port counts as the same node, whatever bucket its id is in."""
    table = full_table(8)
    table.responded(near(1), 9.0)
    other = near(2, far(0).address.host, port=7000)

    assert table.queried(other, 9.0) is False
    assert table.responded(other, 9.0) is REFUSED


def test_second_node_of_one_network_is_refused_in_its_bucket_only() -> None:
    """One node per /24 holds within a bucket; another bucket takes a second one."""
    table = full_table(8, waiting=1)

    assert table.responded(far(20, "21.0.0.2"), 9.0) is REFUSED
    assert table.responded(near(1, "21.0.0.2"), 9.0) is ADDED
    assert table.responded(near(2, "21.0.0.3"), 9.0) is REFUSED


@pytest.mark.parametrize(
    ("host", "expected"),
    [("2a00:0:0:1::2", REFUSED), ("2a00:0:0:2::1", ADDED)],
    ids=["same /64", "next /64"],
)
def test_ipv6_networks_are_counted_by_their_64_bit_prefix(host: str, expected: InsertOutcome) -> None:
    """The IPv6 table counts /64 networks, where IPv4 counts /24."""
    table = RoutingTable(OWN, Family.IPV6, Scope.PUBLIC)
    table.responded(far(1, "2a00:0:0:1::1"), 0.0)

    assert table.responded(far(2, host), 0.0) is expected


def test_loopback_counts_endpoints_instead_of_addresses() -> None:
    """A whole test network may live on 127.0.0.1."""
    table = new_table(Scope.LOOPBACK)

    outcomes = [table.responded(far(port, "127.0.0.1", port), 0.0) for port in range(1, 9)]

    assert outcomes == [ADDED] * 8


def test_known_id_keeps_its_address() -> None:
    """Nobody takes over an id by answering under it from elsewhere."""
    table = full_table(3)
    thief = far(1, "23.0.0.1")

    assert table.queried(thief, 3.0) is False
    assert table.responded(thief, 3.0) is REFUSED
    assert table.get(far(1).address) is not None
    assert table.get(thief.address) is None


def test_id_of_a_bad_node_may_move_to_another_address() -> None:
    """When the old address no longer answers, the new one is believed."""
    table = full_table(3)
    moved = far(1, "23.0.0.1")
    fail(table, far(1), 3.0)

    assert table.queried(moved, 4.0) is True
    assert table.responded(moved, 4.0) is ADDED
    assert table.get(far(1).address) is None
    assert table.contacts(include_bad=True) == [far(0), far(2), moved]


def test_bad_node_gives_its_ip_to_a_newcomer_in_another_bucket() -> None:
    """A node that came back under a new port and id is not locked out by its own past."""
    table = full_table(8)
    table.responded(near(1), 8.0)
    fail(table, far(3), 9.0)
    reborn = near(2, far(3).address.host, port=7000)

    assert table.responded(reborn, 10.0) is ADDED
    assert far(3) not in table.contacts(include_bad=True)
    table.check()


def test_address_that_answers_under_another_id_is_evicted() -> None:
    """The old entry is wrong for certain; no id of that host is taken until it may be trusted again."""
    table = full_table(8, waiting=1)
    changed = Contact(as_id(HALF + 99), far(0).address)

    assert table.responded(changed, 9.0) is ID_CHANGED
    assert table.get(changed.address) is None
    assert far(8) in table.contacts()  # the waiting node moved up

    assert table.queried(changed, 10.0) is False
    assert table.responded(changed, 10.0) is REFUSED
    assert table.responded(far(0, port=7000), 10.0) is REFUSED
    assert table.queried(changed, 9.0 + DISTRUST_FOR) is True
    assert table.responded(changed, 9.0 + DISTRUST_FOR) is CACHED


def test_first_change_to_a_conforming_id_is_no_reason_for_distrust() -> None:
    """It is how a node begins that has to find out its own address; the next change is."""
    table = full_table(3)
    contact, other = secure(1), secure_id("24.0.1.1", b"x" * 20)
    table.responded(Contact(as_id(HALF + 99), contact.address), 0.0)

    assert table.responded(contact, 1.0) is ID_CHANGED
    assert table.responded(contact, 2.0) is ADDED
    assert table.responded(Contact(other, contact.address), 3.0) is ID_CHANGED
    assert table.responded(Contact(other, contact.address), 4.0) is REFUSED


def test_share_of_conforming_nodes_leaves_out_bad_ones() -> None:
    """An empty table lets us expect nobody."""
    table = new_table()
    assert table.compliant_share() == 0.0

    for contact in (far(0), far(1), far(2), secure(1), secure(2)):
        table.responded(contact, 0.0)
    fail(table, far(0), 1.0)
    assert table.compliant_share() == 0.5


def test_memory_for_changed_ids_is_bounded() -> None:
    """Whoever has many addresses pushes out the oldest, and nothing grows."""
    table = new_table()
    for number in range(MAX_DISTRUSTED + 1):
        host = f"25.{number >> 8}.{number & 255}.1"
        table.responded(near(1, host), 0.0)
        assert table.responded(near(2, host), 0.0) is ID_CHANGED
    table.check()

    assert table.responded(near(3, "25.0.1.1"), 1.0) is REFUSED
    assert table.responded(near(3, "25.0.0.1"), 1.0) is ADDED


def test_conforming_newcomer_replaces_a_questionable_node_that_does_not_conform() -> None:
    """The one silent longest goes; others that conform, or are good, stay."""
    table = full_table(7)
    table.responded(secure(1), 0.0)
    table.responded(far(0), 50.0)
    now = 3.0 + GOOD_FOR
    assert table.responded(far(9), now) is CACHED  # it does not conform itself

    assert table.queried(secure(2), now) is True
    assert table.responded(secure(2), now) is ADDED

    assert set(table.contacts()) == {far(0), *(far(n) for n in range(2, 7)), secure(1), secure(2)}
    assert table.get(far(1).address) is None
    assert table.stale_ranges(now + 899.0, 900.0) == [(0, HALF)]
    table.check()


def test_half_of_a_bucket_is_for_nodes_that_conform_where_most_do() -> None:
    """Those good nodes wait instead that came last; beyond that, BEP 5 keeps who is known to be there."""
    table = full_table(8)
    secure_elsewhere(table, 8)
    table.closest_compact(as_id(HALF), 9.0)

    assert table.queried(secure(1), 9.0) is True
    assert [table.responded(secure(n), 9.0) for n in range(1, 6)] == [ADDED] * 4 + [CACHED]

    nodes = [*(far(n) for n in range(4)), *(secure(n) for n in range(1, 5))]
    assert table.contacts()[-8:] == nodes
    assert set(unpack_contacts(table.closest_compact(as_id(HALF), 9.0), Family.IPV4)) == set(nodes)
    assert all(table.get(far(n).address).waiting for n in range(4, 8))
    assert (HALF, 2 * HALF) not in table.stale_ranges(908.0, 900.0)
    table.check()


def test_fewer_places_are_for_nodes_that_conform_where_fewer_do() -> None:
    """As many as are to be expected: who does not conform is as good a node otherwise."""
    table = full_table(8)

    assert [table.responded(secure(n), 9.0) for n in range(1, 5)] == [CACHED, ADDED, ADDED, CACHED]

    table.check()


def test_sybils_that_wait_make_room_for_a_node_that_had_to_leave_its_place() -> None:
    """Or one of them would, whoever answered longest ago; nobody waits beyond the bound."""
    table = full_table(8, waiting=8)
    secure_elsewhere(table, 8)

    assert table.responded(secure(1), 16.0) is ADDED

    assert table.get(far(7).address) is None  # of those that would wait, it answered longest ago
    assert table.buckets(16.0)[-1].replacements == 8
    table.check()


def test_conforming_node_moves_up_before_a_fresher_one() -> None:
    """Of those that wait, it is preferred."""
    table = half_secure_table()
    table.responded(secure(5), 9.0)
    table.responded(far(8), 10.0)

    fail(table, far(0), 11.0)

    assert table.contacts()[-1] == secure(5)


def test_conforming_newcomer_waits_in_place_of_a_node_that_does_not_conform() -> None:
    """The oldest of those gives way though it is good; one that conforms never does while it is."""
    table = half_secure_table()
    for number in range(8, 16):
        table.responded(far(number), float(number))

    assert table.queried(secure(5), 16.0) is True
    assert [table.responded(secure(n), 16.0) for n in range(5, 13)] == [CACHED] * 8
    assert table.queried(secure(13), 17.0) is False
    assert table.responded(secure(13), 17.0) is NO_PLACE
    assert table.responded(far(16), 17.0) is NO_PLACE

    assert all(table.get(secure(n).address) is not None for n in range(1, 13))
    table.check()


def test_renewed_id_keeps_whom_there_is_room_for() -> None:
    """Buckets near the old id melt into one; around the new one there is room for everybody."""
    table = full_table(8, waiting=2)
    nearby = [near(1 << bit, f"23.0.{bit}.1") for bit in range(20)]
    for contact in nearby:
        table.responded(contact, 20.0)
    own = as_id(HALF + 15)

    table.renew_id(own, 30.0)

    table.check()
    assert table.node_id == own
    assert [bucket.nodes for bucket in table.buckets(30.0)[:1]] == [8]  # of those near the old id
    assert table.buckets(30.0)[0].replacements == 8
    assert {far(n) for n in range(10)} <= set(table.contacts())  # those that waited have a place now
    assert table.responded(Contact(own, far(99).address), 31.0) is REFUSED
    assert table.responded(Contact(OWN, near(99).address), 31.0) is NO_PLACE  # an id like any other


def test_renewed_id_prefers_good_nodes_then_conforming_ones() -> None:
    """Who waits and who goes is decided as if all had come at once, the best first."""
    table = RoutingTable(as_id(HALF), Family.IPV4, Scope.PUBLIC, bucket_size=2, good_for=GOOD_FOR)
    late = 100.0 + GOOD_FOR
    fresh, older = far(1 << 20, "23.0.1.1"), far(1 << 100, "23.0.2.1")
    answers = [(far(1), 0.0), (far(3), 0.0), (secure(1), late), (fresh, late), (older, 101.0)]
    for contact, at in answers:
        assert table.responded(contact, at) is ADDED
    fail(table, far(3), late)

    table.renew_id(ZERO_ID, late)

    table.check()
    assert set(table.contacts()) == {secure(1), fresh}
    waiting = [
        info.contact for contact, _ in answers if (info := table.get(contact.address)) and info.waiting
    ]
    assert waiting == [far(1), older]
    assert table.get(far(3).address) is None


def test_renewed_id_makes_new_ranges_stale() -> None:
    """Of the parts of the id space that are buckets now, little is known."""
    table = full_table(8)
    table.responded(near(1), 8.0)

    table.renew_id(as_id(as_int(OWN) ^ 3), 10.0)
    assert table.stale_ranges(10.0, 900.0) == []  # the same two halves

    table.renew_id(as_id(HALF + 999), 10.0)
    table.responded(far(9), 11.0)  # splits the upper half
    table.renew_id(OWN, 12.0)
    table.check()
    assert table.stale_ranges(12.0, 900.0) == [(HALF, 2 * HALF)]


def test_node_turns_bad_after_two_failures_in_a_row() -> None:
    """A bad node is not handed out, saved or pinged, but keeps its place."""
    table = full_table(2)

    table.failed(far(1).address, 2.0)
    after_one = table.contacts()
    table.failed(far(1).address, 3.0)

    assert after_one == [far(0), far(1)]
    assert table.closest(OWN, 3.0) == [far(0)]
    assert table.closest_compact(OWN, 3.0) == pack_contact(far(0))
    assert table.contacts() == [far(0)]
    assert table.questionable(3.0 + GOOD_FOR) == [far(0)]
    assert table.contacts(include_bad=True) == [far(0), far(1)]
    assert len(table) == 2


def test_node_is_questionable_from_its_first_failure_to_its_next_answer() -> None:
    """Most silent nodes are gone; the others answer the next ping, for which they come first."""
    table = full_table(8, waiting=1)
    table.responded(near(1), 8.0)
    target = as_id(HALF)
    before = table.closest_compact(target, 9.0)

    table.failed(near(1).address, 9.0)
    table.failed(far(3).address, 10.0)

    others = [far(n) for n in range(8) if n != 3]
    assert table.questionable(10.0) == [far(3), near(1)]
    assert table.closest(target, 10.0, 7) == others
    assert table.closest(target, 10.0) == sorted([*others, far(3)])  # it fills up, and no more
    assert table.queried(far(3), 11.0) is False
    assert table.questionable(11.0) == [far(3), near(1)]  # its query may be forged

    table.responded(far(3), 12.0)
    assert table.questionable(12.0) == [near(1)]
    assert table.closest_compact(target, 12.0) == before


def test_failure_of_a_silent_node_does_not_make_it_good_for_longer() -> None:
    """Its time was over before."""
    table = full_table(1)

    table.failed(far(0).address, GOOD_FOR + 5.0)

    assert table.get(far(0).address).good_until == GOOD_FOR


def test_answer_between_two_failures_keeps_a_node() -> None:
    """Only failures in a row count."""
    table = full_table(1)

    table.failed(far(0).address, 1.0)
    outcome = table.responded(far(0), 2.0)
    table.failed(far(0).address, 3.0)

    assert outcome is UPDATED
    assert table.closest(OWN, 3.0) == [far(0)]


def test_bad_node_is_good_again_after_an_answer() -> None:
    """An outage of our own is over for a node with its first answer."""
    table = full_table(1)
    fail(table, far(0), 1.0)

    outcome = table.responded(far(0), 2.0)

    assert outcome is UPDATED
    assert table.closest(OWN, 2.0) == [far(0)]
    table.failed(far(0).address, 3.0)
    assert table.closest(OWN, 3.0) == [far(0)]


def test_freshest_waiting_node_replaces_a_bad_one() -> None:
    """Of those that wait, the one that answered last is the likeliest to be there."""
    table = full_table(8, waiting=3)
    assert table.responded(far(9), 20.0) is CACHED  # answered again while waiting

    fail(table, far(4), 21.0)

    assert table.contacts() == [far(n) for n in (0, 1, 2, 3, 5, 6, 7, 9)]
    assert table.get(far(4).address) is None
    table.check()


def test_query_of_a_waiting_node_does_not_make_it_fresher() -> None:
    """A forged query must not win a place in the table."""
    table = full_table(8, waiting=2)
    assert table.queried(far(8), 20.0) is False

    fail(table, far(0), 21.0)

    assert table.contacts()[-1] == far(9)


def test_newcomer_takes_the_place_of_the_bad_node_silent_longest() -> None:
    """With nobody waiting, bad nodes keep their places until somebody answers."""
    table = full_table(8)
    fail(table, far(5), 10.0)
    fail(table, far(2), 11.0)

    assert table.queried(far(8), 12.0) is True
    assert table.responded(far(8), 12.0) is ADDED

    assert table.contacts(include_bad=True) == [far(n) for n in (0, 1, 3, 4, 5, 6, 7, 8)]


def test_bad_node_is_replaced_before_the_bucket_is_split() -> None:
    """BEP 5 splits a bucket that is full of nodes worth keeping."""
    table = full_table(8)
    fail(table, far(0), 10.0)

    table.responded(near(1), 11.0)

    assert len(table.buckets(11.0)) == 1


def test_losing_our_network_does_not_empty_the_table() -> None:
    """When nobody answers, all are bad, none is handed out, and all are still known."""
    table = full_table(8)

    for number in range(8):
        fail(table, far(number), 10.0)

    assert table.closest(OWN, 10.0) == []
    assert table.contacts(include_bad=True) == [far(n) for n in range(8)]
    assert table.queried(far(3), 11.0) is True  # perhaps the network is back


def test_waiting_node_leaves_at_its_first_failure() -> None:
    """A replacement that does not answer is none."""
    table = full_table(8, waiting=1)

    table.failed(far(8).address, 9.0)

    assert table.get(far(8).address) is None
    assert len(table) == 8


def test_newcomer_is_turned_away_while_enough_good_nodes_wait() -> None:
    """At most a bucketful waits, and while all of it is good nobody is better."""
    table = full_table(8, waiting=8)

    assert table.queried(far(16), 16.0) is False  # not worth a ping
    assert table.responded(far(16), 16.0) is NO_PLACE

    assert table.buckets(16.0)[-1].replacements == 8
    assert table.get(far(16).address) is None


def test_stalest_waiting_node_gives_way_when_it_is_good_no_longer() -> None:
    """It answered too long ago."""
    table = full_table(8, waiting=8)
    now = 8.0 + GOOD_FOR

    assert table.responded(far(16), now - 0.1) is NO_PLACE
    assert table.responded(far(16), now) is CACHED

    assert table.buckets(now)[-1].replacements == 8
    assert table.get(far(8).address) is None
    assert table.get(far(9).address) is not None


def test_waiting_node_gives_way_to_another_of_its_network() -> None:
    """Of two candidates from one /24, the one that answered last waits."""
    table = full_table(8, waiting=1)
    newcomer = far(20, "21.0.8.2")

    assert table.queried(newcomer, 9.0) is False  # but it is not worth a ping of its own
    assert table.responded(newcomer, 9.0) is CACHED
    assert table.get(far(8).address) is None


def test_query_of_a_known_node_keeps_it_good() -> None:
    """A node that ever answered is good while it asks (BEP 5)."""
    table = full_table(1)

    worth_a_ping = table.queried(far(0), 800.0)

    assert worth_a_ping is False
    assert table.questionable(1000.0) == []
    assert table.questionable(800.0 + GOOD_FOR) == [far(0)]


def test_query_does_not_make_a_bad_node_good() -> None:
    """It may be forged; what it earns is a ping."""
    table = full_table(1)
    fail(table, far(0), 1.0)

    assert table.queried(far(0), 2.0) is True
    assert table.closest(OWN, 2.0) == []


def test_query_from_a_known_address_under_another_id_changes_nothing() -> None:
    """Otherwise a forged packet could evict anybody, or have us ping them."""
    table = full_table(1)
    before = table.get(far(0).address)

    worth_a_ping = table.queried(Contact(as_id(HALF + 99), far(0).address), 1.0)

    assert worth_a_ping is False
    assert table.get(far(0).address) == before


def test_newcomer_is_worth_a_ping_while_a_place_to_wait_is_free() -> None:
    """In a full bucket of nodes that all answer, a replacement is still wanted."""
    assert full_table(8, waiting=7).queried(far(50), 60.0) is True
    assert full_table(8, waiting=8).queried(far(50), 60.0) is False


def test_newcomer_near_us_is_always_worth_a_ping() -> None:
    """The bucket with our own id can be split."""
    table = new_table()
    for number in range(1, 9):
        table.responded(near(number), 0.0)

    assert table.queried(near(9), 1.0) is True


def test_closest_prefers_good_nodes_and_sorts_by_distance() -> None:
    """A questionable node is named only when good ones run out, a bad one never."""
    table = full_table(6)
    fail(table, far(2), 10.0)
    for number in (1, 3, 5):
        table.responded(far(number), 500.0)
    now = GOOD_FOR + 10.0
    target = as_id(HALF)

    assert table.closest(target, now, 2) == [far(1), far(3)]
    assert table.closest(target, now, 4) == [far(0), far(1), far(3), far(5)]
    assert table.closest(target, now) == [far(0), far(1), far(3), far(4), far(5)]
    assert table.closest(target, now, 0) == []


def test_closest_crosses_buckets() -> None:
    """The target's own bucket comes first, then those whose ranges are next nearest."""
    table = full_table(8)
    members = [far(n) for n in range(8)]
    for number in (1, 2, 3, 1 << 20, 1 << 100, 1 << 150, 1 << 158):
        member = Contact(as_id(as_int(OWN) ^ number), Address(f"23.0.{len(members)}.1", 1))
        assert table.responded(member, 9.0) is ADDED
        members.append(member)

    for target in (OWN, *(member.node_id for member in members), as_id((1 << 160) - 1), ZERO_ID):
        ordered = sorted(members, key=lambda member: distance(member.node_id, target))
        for count in (1, 7, 9, 14):
            assert table.closest(target, 9.0, count) == ordered[:count]


def test_kept_bytes_end_when_a_node_stops_being_good() -> None:
    """A reply made from kept bytes never names a questionable node in place of a good one."""
    table = full_table(8)
    table.responded(near(1), 100.0)
    target = as_id(HALF)

    early = table.closest_compact(target, 100.0)
    late = table.closest_compact(target, GOOD_FOR + 0.5)

    assert set(unpack_contacts(early, Family.IPV4)) == {far(n) for n in range(8)}
    assert set(unpack_contacts(late, Family.IPV4)) == {near(1), *(far(n) for n in range(1, 8))}


@pytest.mark.parametrize("how", ["failed", "evicted", "id changed"])
def test_kept_bytes_end_when_the_bucket_changes(how: str) -> None:
    """A node that left is not named again, and the one that came instead is."""
    table = full_table(8, waiting=1)
    target = as_id(HALF)
    table.closest_compact(target, 9.0)

    match how:
        case "failed":
            fail(table, far(0), 9.0)
        case "evicted":
            table.evict(far(0).address)
        case _:
            table.responded(Contact(as_id(HALF + 99), far(0).address), 9.0)

    assert set(unpack_contacts(table.closest_compact(target, 9.0), Family.IPV4)) == {
        far(n) for n in range(1, 9)
    }


def test_questionable_nodes_come_least_recently_seen_first() -> None:
    """A node for whose place another waits is asked before all others."""
    table = full_table(8, waiting=1)
    table.responded(near(1), -50.0)
    table.queried(far(0), 8.5)

    assert table.questionable(GOOD_FOR + 8.0) == [*(far(n) for n in range(1, 8)), near(1)]
    assert table.questionable(GOOD_FOR + 9.0) == [*(far(n) for n in range(1, 8)), far(0), near(1)]


def test_questionable_at_a_later_time_are_those_who_will_be() -> None:
    """So silent nodes can be asked before their time is over; in doubt comes before silent for long."""
    table = full_table(3)
    table.failed(far(2).address, 3.0)

    assert table.questionable(4.0) == [far(2)]
    assert table.questionable(GOOD_FOR) == [far(2), far(0)]
    assert set(table.closest(OWN, 4.0, 2)) == {far(0), far(1)}


def test_questionable_is_empty_while_all_are_good() -> None:
    """A node stops being good exactly when its time is over."""
    table = full_table(1)

    assert table.questionable(GOOD_FOR - 0.001) == []
    assert table.questionable(GOOD_FOR) == [far(0)]


def test_bucket_is_stale_until_something_in_it_changes() -> None:
    """A new table is stale at once; an answer, also of a known node, resets the clock."""
    table = new_table()
    whole = [(0, 2 * HALF)]
    assert table.stale_ranges(0.0, 900.0) == whole

    table.responded(far(1), 10.0)
    table.responded(far(1), 20.0)

    assert table.stale_ranges(919.0, 900.0) == []
    assert table.stale_ranges(920.0, 900.0) == whole


def test_halves_of_a_split_bucket_keep_the_time_of_its_last_change() -> None:
    """A split tells nothing about the network; the newcomer's half changes with the newcomer."""
    table = full_table(8)

    table.responded(near(1), 100.0)

    assert table.stale_ranges(906.0, 900.0) == []
    assert table.stale_ranges(907.0, 900.0) == [(HALF, 2 * HALF)]


def test_query_and_failure_do_not_refresh_a_bucket() -> None:
    """BEP 5 counts answers, additions and replacements only."""
    table = full_table(8, waiting=1)  # the last addition was at 7: far 8 only waits

    table.queried(far(0), 100.0)
    table.failed(far(0).address, 100.0)
    table.responded(far(8), 100.0)
    assert (HALF, 2 * HALF) in table.stale_ranges(907.0, 900.0)

    table.failed(far(0).address, 200.0)  # far 8 replaces it
    assert (HALF, 2 * HALF) not in table.stale_ranges(907.0, 900.0)


def test_bucket_marked_as_refreshed_is_not_stale() -> None:
    """A range in which nobody answers is not refreshed over and over."""
    table = full_table(8)
    table.responded(near(1), 8.0)
    assert [low for low, _ in table.stale_ranges(2000.0, 900.0)] == [0, HALF]

    table.mark_refreshed(HALF, 2000.0)

    assert table.stale_ranges(2000.0, 900.0) == [(0, HALF)]


def test_evicted_node_is_forgotten_and_a_waiting_one_moves_up() -> None:
    """Unknown addresses are ignored."""
    table = full_table(8, waiting=1)

    table.evict(far(0).address)
    table.evict(far(70).address)

    assert table.contacts() == [far(n) for n in range(1, 9)]
    assert table.get(far(0).address) is None


def test_buckets_counts_every_kind_of_node() -> None:
    """Statistics tell good, questionable, bad and waiting nodes apart."""
    table = full_table(8, waiting=2)
    table.responded(near(1), 500.0)
    table.responded(near(2), 500.0)
    fail(table, near(2), 501.0)

    assert table.buckets(GOOD_FOR + 1.5) == [
        BucketInfo(0, HALF, 1, nodes=2, good=1, bad=1, replacements=0),
        BucketInfo(HALF, 2 * HALF, 1, nodes=8, good=6, bad=0, replacements=2),
    ]


def move_to_wrong_bucket(table: RoutingTable) -> None:
    lower, upper = table._partition
    lower.nodes.append(upper.nodes.pop())


def forget_an_address(table: RoutingTable) -> None:
    del table._by_address[far(0).address]


def leave_a_gap(table: RoutingTable) -> None:
    del table._partition._buckets[HALF]


def split_a_foreign_bucket(table: RoutingTable) -> None:
    table._partition.split(table._partition.bucket_of(HALF))


def keep_stale_bytes(table: RoutingTable) -> None:
    table.closest_compact(as_id(HALF), 9.0)
    table._partition.bucket_of(HALF).nodes.reverse()


def call_a_good_node_bad(table: RoutingTable) -> None:
    table._partition.bucket_of(HALF).nodes[0].bad = True


@pytest.mark.parametrize(
    "damage",
    [
        move_to_wrong_bucket,
        forget_an_address,
        leave_a_gap,
        split_a_foreign_bucket,
        keep_stale_bytes,
        call_a_good_node_bad,
    ],
)
def test_check_finds_damage(damage: Callable[[RoutingTable], None]) -> None:
    """The check that the walks below rely on is able to fail."""
    table = full_table(8)
    table.responded(near(1), 9.0)
    table.check()

    damage(table)

    with pytest.raises(AssertionError, match="broken rule"):
        table.check()


def test_table_of_real_size_answers_as_a_full_scan_would() -> None:
    """Thousands of answers, failures and queries; both faces of `closest` agree with sorting all."""
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


def newcomer_conforms(contact: Contact) -> bool:
    return is_compliant(contact.node_id, contact.address.host)


@dataclass
class Record:
    """What the model remembers of one node in the table or waiting for it."""

    contact: Contact
    last_answer: float
    last_query: float | None = None
    failures: int = 0

    @property
    def is_bad(self) -> bool:
        return self.failures >= 2

    @property
    def conforms(self) -> bool:
        return newcomer_conforms(self.contact)

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
LAST_BYTES = st.integers(0, 7)  # of ids that conform: each leads to another part of the id space
PLACES = st.tuples(st.integers(1, 8), st.integers(1, 2), st.integers(0, 2))
PICKS = st.integers(0, 10_000)


class TableWalk(RuleBasedStateMachine):
    """Do anything to a table and compare it, after every step, with a list that knows the rules."""

    @initialize(
        family=st.sampled_from(Family),
        scope=st.sampled_from(Scope),
        size=st.sampled_from([1, 2, 3]),
    )
    def start(self, family: Family, scope: Scope, size: int) -> None:
        self.scope = scope
        self.size = size
        self.template = HOSTS[scope][family]
        self.own = OWN
        self.table = RoutingTable(OWN, family, scope, bucket_size=size, good_for=GOOD_FOR, bad_after=2)
        self.distrusted: dict[str, float] = {}
        self.now = 0.0
        self.records: dict[Address, Record] = {}

    def address(self, place: tuple[int, int, int]) -> Address:
        network, host, port = place
        return Address(self.template.format(network, host), port)

    def pick(self, number: int) -> Contact:
        known = sorted(self.records)
        return self.records[known[number % len(known)]].contact

    def is_waiting(self, address: Address) -> bool:
        info = self.table.get(address)
        return info is not None and info.waiting

    def in_bucket(self, node_id: NodeId, *, waiting: bool) -> list[Record]:
        bucket = self.bucket_info(node_id)
        return [
            record
            for address, record in self.records.items()
            if self.is_waiting(address) == waiting
            and bucket.low <= as_int(record.contact.node_id) < bucket.high
        ]

    def is_distrusted(self, contact: Contact) -> bool:
        return self.now < self.distrusted.get(self.scope.host_key(contact.address), 0.0)

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
            if old.conforms or not newcomer_conforms(contact):
                self.distrusted[self.scope.host_key(contact.address)] = self.now + DISTRUST_FOR
        else:
            assert gone <= (set() if outcome in (REFUSED, UPDATED, NO_PLACE) else expendable)
        for address in gone:
            del self.records[address]
        if outcome in (ADDED, CACHED, UPDATED):
            last_query = old.last_query if old else None
            self.records[contact.address] = Record(contact, self.now, last_query)
            assert self.is_waiting(contact.address) == (outcome is CACHED)
        if outcome is CACHED:
            bucket = self.bucket_info(contact.node_id)
            assert (bucket.nodes, bucket.bad) == (self.size, 0)
            assert not bucket.low <= as_int(self.own) < bucket.high

    def expendable_for(self, newcomer: Contact) -> set[Address]:
        """Return who may have to go: clashing or bad ones, and those that wait or count for less."""
        waiting = self.in_bucket(newcomer.node_id, waiting=True)
        weaker = [record for record in waiting if not record.is_good(self.now)]
        if newcomer_conforms(newcomer):
            weaker += [record for record in waiting if not record.conforms]
            nodes = self.in_bucket(newcomer.node_id, waiting=False)
            weaker += self.questionable_for(newcomer)[:1] or [r for r in nodes if not r.conforms]
        clashing = [r for r in self.clashes(newcomer) if r.is_bad or self.is_waiting(r.contact.address)]
        bad = [record for record in self.records.values() if record.is_bad]
        return {record.contact.address for record in (*weaker, *clashing, *bad)}

    def questionable_for(self, newcomer: Contact) -> list[Record]:
        """Return the nodes that have to fear a conforming newcomer, that to go first first."""
        nodes = self.in_bucket(newcomer.node_id, waiting=False)
        found = [r for r in nodes if not (r.is_good(self.now) or r.is_bad or r.conforms)]
        oldest = min((record.last_answer for record in found), default=0.0)
        return sorted(found, key=lambda record: record.last_answer > oldest)

    def has_right(self, newcomer: Contact) -> bool:
        """Return whether a conforming newcomer may make a good node wait."""
        nodes = self.in_bucket(newcomer.node_id, waiting=False)
        share = sum(record.conforms for record in self.records.values()) / max(1, len(self.records))
        others = [record for record in nodes if not record.conforms and not record.is_bad]
        return bool(others) and len(nodes) - len(others) < min(self.size // 2, int(self.size * share))

    def expected_outcomes(self, contact: Contact, old: Record | None) -> set[InsertOutcome]:
        if old is not None:
            if old.contact.node_id != contact.node_id:
                return {ID_CHANGED}
            return {CACHED if self.is_waiting(contact.address) else UPDATED}
        if self.has_no_place(contact):
            return {NO_PLACE}
        if not self.is_eligible(contact) or self.is_distrusted(contact):
            return {REFUSED}
        clashes = self.clashes(contact)
        if not all(record.is_bad or self.is_waiting(record.contact.address) for record in clashes):
            return {REFUSED}
        bucket = self.bucket_info(contact.node_id)
        if newcomer_conforms(contact) and self.questionable_for(contact):
            return {ADDED}
        return {ADDED} if bucket.nodes < self.size or bucket.bad else {ADDED, CACHED}

    def has_no_place(self, contact: Contact) -> bool:
        waiting = self.in_bucket(contact.node_id, waiting=True)
        if len(waiting) < self.size or not all(record.is_good(self.now) for record in waiting):
            return False
        return not self.displaces(contact)

    def displaces(self, contact: Contact) -> bool:
        if not newcomer_conforms(contact):
            return False
        waiting = self.in_bucket(contact.node_id, waiting=True)
        if self.questionable_for(contact) or self.has_right(contact):
            return True
        return not all(record.conforms for record in waiting)

    def query(self, contact: Contact) -> None:
        record = self.records.get(contact.address)
        expected = record.is_bad if record else self.is_wanted(contact)

        worth_a_ping = self.table.queried(contact, self.now)

        assert worth_a_ping == expected
        if record and record.contact == contact:
            record.last_query = self.now

    def is_wanted(self, contact: Contact) -> bool:
        bucket = self.bucket_info(contact.node_id)
        has_place = bucket.nodes < self.size or bucket.bad > 0 or bucket.replacements < self.size
        can_split = bucket.low <= as_int(self.own) < bucket.high
        return (
            self.is_eligible(contact)
            and not self.is_distrusted(contact)
            and (has_place or can_split or self.displaces(contact))
            and all(record.is_bad for record in self.clashes(contact))
        )

    @rule(node_id=IDS, place=PLACES)
    def anybody_answers(self, node_id: NodeId, place: tuple[int, int, int]) -> None:
        self.respond(Contact(node_id, self.address(place)))

    @rule(node_id=IDS, place=PLACES)
    def anybody_asks(self, node_id: NodeId, place: tuple[int, int, int]) -> None:
        self.query(Contact(node_id, self.address(place)))

    @rule(place=PLACES, last_byte=LAST_BYTES)
    def conforming_node_answers_and_asks(self, place: tuple[int, int, int], last_byte: int) -> None:
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
            elif self.is_waiting(address):
                nodes = self.in_bucket(record.contact.node_id, waiting=False)
                assert all(self.rank(node) <= rank for node in nodes)

    def rank(self, record: Record) -> tuple[bool, bool, bool, float]:
        """Sort the best first."""
        return record.is_bad, not record.is_good(self.now), not record.conforms, -record.last_answer

    def may_go(self, record: Record, rank: tuple[bool, bool, bool, float]) -> bool:
        """Tell whether a renewed id is a reason to lose a node."""
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
        was_waiting, was_bad = self.is_waiting(address), record.is_bad
        waiting = self.in_bucket(record.contact.node_id, waiting=True)
        bucket = self.bucket_info(record.contact.node_id)
        record.failures += 1

        self.table.failed(address, self.now)

        leaves = was_waiting or (record.is_bad and not was_bad and bucket.replacements > 0)
        assert (self.table.get(address) is None) == leaves
        if leaves:
            del self.records[address]
        if leaves and not was_waiting:
            best = max((other.conforms, other.last_answer) for other in waiting)
            moved_up = [other for other in waiting if not self.is_waiting(other.contact.address)]
            assert [(other.conforms, other.last_answer) for other in moved_up] == [best]

    @rule(place=PLACES)
    def anybody_fails(self, place: tuple[int, int, int]) -> None:
        if self.address(place) in self.records:
            self.fail_once(self.address(place))
        else:
            self.table.failed(self.address(place), self.now)

    @precondition(lambda self: self.records)
    @rule(number=PICKS)
    def known_node_is_evicted(self, number: int) -> None:
        address = self.pick(number).address

        self.table.evict(address)

        del self.records[address]

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
            assert info.conforms == record.conforms
        nodes = {r.contact for address, r in self.records.items() if not self.is_waiting(address)}
        assert set(self.table.contacts(include_bad=True)) == nodes
        assert len(self.table) == len(nodes)

    @invariant()
    def closest_is_what_a_full_scan_finds(self) -> None:
        records = [r for address, r in self.records.items() if not self.is_waiting(address)]
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
            if not (record.is_good(self.now) or record.is_bad or self.is_waiting(address))
        }
        assert len(asked_for) == len(expected)
        assert set(asked_for) == expected


TestTableWalk = TableWalk.TestCase
# Derandomized, so that the suite gives the same verdict twice.
TestTableWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
