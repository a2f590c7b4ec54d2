"""Good, questionable and bad nodes, and the replacements of bad ones."""

from dhtnode.addresses import Contact
from dhtnode.ids import as_id
from dhtnode.krpc.compact import pack_contact
from tests.routing.tables import CACHED, GOOD_FOR, HALF, OWN, UPDATED, fail, far, full_table, near


def test_node_turns_bad_after_two_failures_in_a_row() -> None:
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
    table = full_table(8, replacements=1)
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


def test_failure_does_not_make_a_questionable_node_good_for_longer() -> None:
    table = full_table(1)
    table.failed(far(0).address, GOOD_FOR + 5.0)
    assert table.get(far(0).address).good_until == GOOD_FOR


def test_answer_between_two_failures_keeps_a_node() -> None:
    table = full_table(1)
    table.failed(far(0).address, 1.0)
    outcome = table.responded(far(0), 2.0)
    table.failed(far(0).address, 3.0)
    assert outcome is UPDATED
    assert table.closest(OWN, 3.0) == [far(0)]


def test_bad_node_is_good_again_after_an_answer() -> None:
    table = full_table(1)
    fail(table, far(0), 1.0)
    outcome = table.responded(far(0), 2.0)
    assert outcome is UPDATED
    assert table.closest(OWN, 2.0) == [far(0)]
    table.failed(far(0).address, 3.0)
    assert table.closest(OWN, 3.0) == [far(0)]


def test_replacement_that_answered_last_replaces_a_bad_node() -> None:
    table = full_table(8, replacements=3)
    assert table.responded(far(9), 20.0) is CACHED  # answered again as a replacement
    fail(table, far(4), 21.0)
    assert table.contacts() == [far(n) for n in (0, 1, 2, 3, 5, 6, 7, 9)]
    assert table.get(far(4).address) is None
    table.check()


def test_query_of_a_replacement_does_not_make_it_fresher() -> None:
    table = full_table(8, replacements=2)
    assert table.queried(far(8), 20.0) is False
    fail(table, far(0), 21.0)
    assert table.contacts()[-1] == far(9)


def test_losing_our_network_does_not_empty_the_table() -> None:
    table = full_table(8)
    for number in range(8):
        fail(table, far(number), 10.0)
    assert table.closest(OWN, 10.0) == []
    assert table.contacts(include_bad=True) == [far(n) for n in range(8)]
    assert table.queried(far(3), 11.0) is True  # perhaps the network is back


def test_replacement_leaves_at_its_first_failure() -> None:
    table = full_table(8, replacements=1)
    table.failed(far(8).address, 9.0)
    assert table.get(far(8).address) is None
    assert len(table) == 8


def test_query_of_a_known_node_keeps_it_good() -> None:
    table = full_table(1)
    worth_a_ping = table.queried(far(0), 800.0)
    assert worth_a_ping is False
    assert table.questionable(1000.0) == []
    assert table.questionable(800.0 + GOOD_FOR) == [far(0)]


def test_query_does_not_make_a_bad_node_good() -> None:
    table = full_table(1)
    fail(table, far(0), 1.0)
    assert table.queried(far(0), 2.0) is True
    assert table.closest(OWN, 2.0) == []


def test_query_from_a_known_address_under_another_id_changes_nothing() -> None:
    """Otherwise a forged packet could remove any node, or have us ping it."""
    table = full_table(1)
    before = table.get(far(0).address)
    worth_a_ping = table.queried(Contact(as_id(HALF + 99), far(0).address), 1.0)
    assert worth_a_ping is False
    assert table.get(far(0).address) == before


def test_questionable_nodes_come_least_recently_seen_first() -> None:
    table = full_table(8, replacements=1)
    table.responded(near(1), -50.0)
    table.queried(far(0), 8.5)
    assert table.questionable(GOOD_FOR + 8.0) == [*(far(n) for n in range(1, 8)), near(1)]
    assert table.questionable(GOOD_FOR + 9.0) == [*(far(n) for n in range(1, 8)), far(0), near(1)]


def test_questionable_at_a_later_time_are_those_that_will_be() -> None:
    table = full_table(3)
    table.failed(far(2).address, 3.0)
    assert table.questionable(4.0) == [far(2)]
    assert table.questionable(GOOD_FOR) == [far(2), far(0)]
    assert set(table.closest(OWN, 4.0, 2)) == {far(0), far(1)}


def test_questionable_is_empty_while_all_are_good() -> None:
    table = full_table(1)
    assert table.questionable(GOOD_FOR - 0.001) == []
    assert table.questionable(GOOD_FOR) == [far(0)]
