"""Sorting all nodes again around a new id of our own."""

from dhtnode.addresses import Contact, Family, Scope
from dhtnode.ids import ZERO_ID, as_id, as_int
from dhtnode.routing import RoutingTable
from tests.routing.tables import (
    ADDED,
    GOOD_FOR,
    HALF,
    NO_SLOT,
    OWN,
    REFUSED,
    fail,
    far,
    full_table,
    near,
    secure,
)


def test_renewed_id_keeps_all_nodes_for_which_there_is_capacity() -> None:
    table = full_table(8, replacements=2)
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
    assert table.responded(Contact(OWN, near(99).address), 31.0) is NO_SLOT  # an id like any other


def test_renewed_id_prefers_good_nodes_then_compliant_ones() -> None:
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
    replacements = [
        info.contact for contact, _ in answers if (info := table.get(contact.address)) and info.replacement
    ]
    assert replacements == [far(1), older]
    assert table.get(far(3).address) is None


def test_renewed_id_makes_new_ranges_stale() -> None:
    table = full_table(8)
    table.responded(near(1), 8.0)
    table.renew_id(as_id(as_int(OWN) ^ 3), 10.0)
    assert table.stale_ranges(10.0, 900.0) == []  # the same two halves
    table.renew_id(as_id(HALF + 999), 10.0)
    table.responded(far(9), 11.0)  # splits the upper half
    table.renew_id(OWN, 12.0)
    table.check()
    assert table.stale_ranges(12.0, 900.0) == [(HALF, 2 * HALF)]
