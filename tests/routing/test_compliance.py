"""Preference for nodes whose ids go with their addresses (BEP 42)."""

from dhtnode.addresses import Address, Contact, Family
from dhtnode.bep42 import secure_id
from dhtnode.ids import as_id, as_int
from dhtnode.krpc.compact import unpack_contacts
from dhtnode.routing import RoutingTable
from tests.routing.tables import (
    ADDED,
    CACHED,
    GOOD_FOR,
    HALF,
    ID_CHANGED,
    NO_SLOT,
    REFUSED,
    fail,
    far,
    full_table,
    new_table,
    secure,
)


def secure_elsewhere(table: RoutingTable, count: int) -> None:
    """Let so many compliant nodes in the lower half answer at 0."""
    for number in range(count):
        host = f"26.0.{number}.1"
        drawn = (secure_id(host, bytes([number]) * 19 + bytes([last])) for last in range(8))
        node_id = next(node_id for node_id in drawn if as_int(node_id) < HALF)
        assert table.responded(Contact(node_id, Address(host, 6881)), 0.0) is ADDED


def half_secure_table() -> RoutingTable:
    """Return a table where far 0 to 3 and secure 1 to 4 fill the upper half, without replacements."""
    table = full_table(4)
    for number in range(1, 5):
        table.responded(secure(number), 4.0)
    return table


def test_first_change_to_a_compliant_id_is_accepted() -> None:
    table = full_table(3)
    contact, other = secure(1), secure_id("24.0.1.1", b"x" * 20)
    table.responded(Contact(as_id(HALF + 99), contact.address), 0.0)
    assert table.responded(contact, 1.0) is ID_CHANGED
    assert table.responded(contact, 2.0) is ADDED
    assert table.responded(Contact(other, contact.address), 3.0) is ID_CHANGED
    assert table.responded(Contact(other, contact.address), 4.0) is REFUSED


def test_compliant_share_leaves_out_bad_nodes() -> None:
    table = new_table()
    assert table.compliant_share() == 0.0
    for contact in (far(0), far(1), far(2), secure(1), secure(2)):
        table.responded(contact, 0.0)
    fail(table, far(0), 1.0)
    assert table.compliant_share() == 0.5


def test_compliant_newcomer_replaces_a_questionable_node_that_is_not() -> None:
    table = full_table(7)
    table.responded(secure(1), 0.0)
    table.responded(far(0), 50.0)
    now = 3.0 + GOOD_FOR
    assert table.responded(far(9), now) is CACHED
    assert table.queried(secure(2), now) is True
    assert table.responded(secure(2), now) is ADDED
    assert set(table.contacts()) == {far(0), *(far(n) for n in range(2, 7)), secure(1), secure(2)}
    assert table.get(far(1).address) is None
    assert table.stale_ranges(now + 899.0, 900.0) == [(0, HALF)]
    table.check()


def test_half_of_a_bucket_is_reserved_where_most_nodes_are_compliant() -> None:
    table = full_table(8)
    secure_elsewhere(table, 8)
    table.closest_compact(as_id(HALF), 9.0)
    assert table.queried(secure(1), 9.0) is True
    assert [table.responded(secure(n), 9.0) for n in range(1, 6)] == [ADDED] * 4 + [CACHED]
    nodes = [*(far(n) for n in range(4)), *(secure(n) for n in range(1, 5))]
    assert table.contacts()[-8:] == nodes
    assert set(unpack_contacts(table.closest_compact(as_id(HALF), 9.0), Family.IPV4)) == set(nodes)
    assert all(table.get(far(n).address).replacement for n in range(4, 8))
    assert (HALF, 2 * HALF) not in table.stale_ranges(908.0, 900.0)
    table.check()


def test_fewer_slots_are_reserved_where_fewer_nodes_are_compliant() -> None:
    table = full_table(8)
    assert [table.responded(secure(n), 9.0) for n in range(1, 5)] == [CACHED, ADDED, ADDED, CACHED]
    table.check()


def test_full_cache_of_replacements_takes_a_displaced_node() -> None:
    table = full_table(8, replacements=8)
    secure_elsewhere(table, 8)
    assert table.responded(secure(1), 16.0) is ADDED
    assert table.get(far(7).address) is None  # the replacement that answered longest ago
    assert table.buckets(16.0)[-1].replacements == 8
    table.check()


def test_compliant_replacement_is_promoted_before_a_fresher_one() -> None:
    table = half_secure_table()
    table.responded(secure(5), 9.0)
    table.responded(far(8), 10.0)
    fail(table, far(0), 11.0)
    assert table.contacts()[-1] == secure(5)


def test_compliant_newcomer_takes_the_place_of_a_replacement_that_is_not() -> None:
    table = half_secure_table()
    for number in range(8, 16):
        table.responded(far(number), float(number))
    assert table.queried(secure(5), 16.0) is True
    assert [table.responded(secure(n), 16.0) for n in range(5, 13)] == [CACHED] * 8
    assert table.queried(secure(13), 17.0) is False
    assert table.responded(secure(13), 17.0) is NO_SLOT
    assert table.responded(far(16), 17.0) is NO_SLOT
    assert all(table.get(secure(n).address) is not None for n in range(1, 13))
    table.check()
