"""Which nodes enter the table, and which they replace."""

import pytest

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.ids import ZERO_ID, as_id, as_int
from dhtnode.routing import BucketInfo, InsertOutcome, NodeInfo, RoutingTable
from tests.routing.tables import (
    ADDED,
    CACHED,
    GOOD_FOR,
    HALF,
    ID_CHANGED,
    NO_SLOT,
    OWN,
    REFUSED,
    fail,
    far,
    full_table,
    near,
    new_table,
)


def test_node_that_answered_is_handed_out() -> None:
    table = new_table()
    outcome = table.responded(far(1), 10.0, rtt=0.05)
    assert outcome is ADDED
    assert table.closest(OWN, 10.0) == [far(1)]
    assert table.get(far(1).address) == NodeInfo(
        far(1), 10.0, None, 10.0 + GOOD_FOR, 0, bad=False, replacement=False, rtt=0.05, compliant=False
    )
    assert len(table) == 1


def test_node_that_only_sent_a_query_is_not_added() -> None:
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
    table = new_table()
    assert table.queried(contact, 0.0) is False
    assert table.responded(contact, 0.0) is REFUSED
    assert len(table) == 0


def test_only_the_bucket_with_our_id_is_split() -> None:
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
    table = full_table(8)
    table.responded(near(1), 9.0)
    other = near(2, far(0).address.host, port=7000)
    assert table.queried(other, 9.0) is False
    assert table.responded(other, 9.0) is REFUSED


def test_second_node_of_one_network_is_refused_in_its_bucket_only() -> None:
    table = full_table(8, replacements=1)
    assert table.responded(far(20, "21.0.0.2"), 9.0) is REFUSED
    assert table.responded(near(1, "21.0.0.2"), 9.0) is ADDED
    assert table.responded(near(2, "21.0.0.3"), 9.0) is REFUSED


@pytest.mark.parametrize(
    ("host", "expected"), [("2a00:0:0:1::2", REFUSED), ("2a00:0:0:2::1", ADDED)], ids=["same /64", "next /64"]
)
def test_ipv6_networks_are_counted_by_their_64_bit_prefix(host: str, expected: InsertOutcome) -> None:
    table = RoutingTable(OWN, Family.IPV6, Scope.PUBLIC)
    table.responded(far(1, "2a00:0:0:1::1"), 0.0)
    assert table.responded(far(2, host), 0.0) is expected


def test_loopback_counts_endpoints_instead_of_addresses() -> None:
    table = new_table(Scope.LOOPBACK)
    outcomes = [table.responded(far(port, "127.0.0.1", port), 0.0) for port in range(1, 9)]
    assert outcomes == [ADDED] * 8


def test_known_id_keeps_its_address() -> None:
    table = full_table(3)
    thief = far(1, "23.0.0.1")
    assert table.queried(thief, 3.0) is False
    assert table.responded(thief, 3.0) is REFUSED
    assert table.get(far(1).address) is not None
    assert table.get(thief.address) is None


def test_id_of_a_bad_node_may_move_to_another_address() -> None:
    table = full_table(3)
    moved = far(1, "23.0.0.1")
    fail(table, far(1), 3.0)
    assert table.queried(moved, 4.0) is True
    assert table.responded(moved, 4.0) is ADDED
    assert table.get(far(1).address) is None
    assert table.contacts(include_bad=True) == [far(0), far(2), moved]


def test_bad_node_gives_its_ip_to_a_newcomer_in_another_bucket() -> None:
    table = full_table(8)
    table.responded(near(1), 8.0)
    fail(table, far(3), 9.0)
    reborn = near(2, far(3).address.host, port=7000)
    assert table.responded(reborn, 10.0) is ADDED
    assert far(3) not in table.contacts(include_bad=True)
    table.check()


def test_address_that_answers_under_another_id_is_removed_and_rejected() -> None:
    table = full_table(8, replacements=1)
    changed = Contact(as_id(HALF + 99), far(0).address)
    assert table.responded(changed, 9.0) is ID_CHANGED
    assert table.get(changed.address) is None
    assert far(8) in table.contacts()  # the replacement was promoted
    assert table.queried(changed, 10.0) is False
    assert table.responded(changed, 10.0) is REFUSED
    assert table.responded(far(0, port=7000), 10.0) is REFUSED
    assert table.queried(changed, 1808.9) is False
    assert table.queried(changed, 1809.0) is True
    assert table.responded(changed, 1809.0) is CACHED


def test_memory_for_changed_ids_is_bounded() -> None:
    table = new_table()
    for number in range(1025):
        host = f"25.{number >> 8}.{number & 255}.1"
        table.responded(near(1, host), 0.0)
        assert table.responded(near(2, host), 0.0) is ID_CHANGED
    table.check()
    assert table.responded(near(3, "25.0.1.1"), 1.0) is REFUSED
    assert table.responded(near(3, "25.0.0.1"), 1.0) is ADDED


def test_newcomer_replaces_the_bad_node_that_answered_longest_ago() -> None:
    table = full_table(8)
    fail(table, far(5), 10.0)
    fail(table, far(2), 11.0)
    assert table.queried(far(8), 12.0) is True
    assert table.responded(far(8), 12.0) is ADDED
    assert table.contacts(include_bad=True) == [far(n) for n in (0, 1, 3, 4, 5, 6, 7, 8)]


def test_bad_node_is_replaced_before_the_bucket_is_split() -> None:
    table = full_table(8)
    fail(table, far(0), 10.0)
    table.responded(near(1), 11.0)
    assert len(table.buckets(11.0)) == 1


def test_newcomer_is_refused_while_the_cache_is_full_of_good_nodes() -> None:
    table = full_table(8, replacements=8)
    assert table.queried(far(16), 16.0) is False  # not worth a ping
    assert table.responded(far(16), 16.0) is NO_SLOT
    assert table.buckets(16.0)[-1].replacements == 8
    assert table.get(far(16).address) is None


def test_stalest_replacement_gives_way_when_it_is_no_longer_good() -> None:
    table = full_table(8, replacements=8)
    now = 8.0 + GOOD_FOR
    assert table.responded(far(16), now - 0.1) is NO_SLOT
    assert table.responded(far(16), now) is CACHED
    assert table.buckets(now)[-1].replacements == 8
    assert table.get(far(8).address) is None
    assert table.get(far(9).address) is not None


def test_replacement_gives_way_to_another_node_of_its_network() -> None:
    table = full_table(8, replacements=1)
    newcomer = far(20, "21.0.8.2")
    assert table.queried(newcomer, 9.0) is False  # but it is not worth a ping of its own
    assert table.responded(newcomer, 9.0) is CACHED
    assert table.get(far(8).address) is None


def test_newcomer_is_worth_a_ping_while_the_cache_has_capacity() -> None:
    assert full_table(8, replacements=7).queried(far(50), 60.0) is True
    assert full_table(8, replacements=8).queried(far(50), 60.0) is False


def test_newcomer_near_us_is_always_worth_a_ping() -> None:
    table = new_table()
    for number in range(1, 9):
        table.responded(near(number), 0.0)
    assert table.queried(near(9), 1.0) is True
