"""The contacts that are handed out."""

import pytest

from dhtnode.addresses import Address, Contact, Family
from dhtnode.ids import ZERO_ID, as_id, as_int, distance
from dhtnode.krpc.compact import unpack_contacts
from tests.routing.tables import ADDED, GOOD_FOR, HALF, OWN, fail, far, full_table, near


def test_closest_prefers_good_nodes_and_sorts_by_distance() -> None:
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


def test_compact_bytes_end_when_a_node_stops_being_good() -> None:
    table = full_table(8)
    table.responded(near(1), 100.0)
    target = as_id(HALF)
    early = table.closest_compact(target, 100.0)
    late = table.closest_compact(target, GOOD_FOR + 0.5)
    assert set(unpack_contacts(early, Family.IPV4)) == {far(n) for n in range(8)}
    assert set(unpack_contacts(late, Family.IPV4)) == {near(1), *(far(n) for n in range(1, 8))}


@pytest.mark.parametrize("how", ["failed", "id changed"])
def test_compact_bytes_end_when_the_bucket_changes(how: str) -> None:
    table = full_table(8, replacements=1)
    target = as_id(HALF)
    table.closest_compact(target, 9.0)
    if how == "failed":
        fail(table, far(0), 9.0)
    else:
        table.responded(Contact(as_id(HALF + 99), far(0).address), 9.0)
    assert set(unpack_contacts(table.closest_compact(target, 9.0), Family.IPV4)) == {
        far(n) for n in range(1, 9)
    }
