"""Lookups among unresponsive nodes: retries, queries about subtrees, and their bounds."""

import pytest

from dhtnode.addresses import Address, Contact
from dhtnode.ids import as_id
from dhtnode.lookup.lookup import BOOTSTRAP_ATTEMPTS, Lookup
from tests.lookup.test_lookup import address, answer_subtree_queries, at, new_lookup, query_all


def stalled_lookup(*stalled: int, attempts: int, parallelism: int = 5, answering: int = 8) -> Lookup:
    """Return a lookup in which the nodes at 101, 102, ... have answered, and the given ones have stalled."""
    lookup = new_lookup(parallelism=parallelism, attempts=attempts)
    lookup.add_contacts(map(at, [*stalled, *range(101, 101 + answering)]))
    while asked := query_all(lookup):
        for one in asked:
            if one.host in {address(number).host for number in stalled}:
                lookup.on_stall(one)
            else:
                lookup.on_response(one, as_id(int(one.host.split(".")[2])), [])
    return lookup


def stall_all(lookup: Lookup) -> list[Address]:
    """Let no more answers come, late ones included, and return the addresses that were queried."""
    asked = []
    while taken := query_all(lookup):
        asked.extend(taken)
        for one in taken:
            lookup.on_stall(one)
    return asked


def test_stalled_nodes_of_the_closest_are_queried_up_to_the_limit() -> None:
    lookup = stalled_lookup(1, 2, 150, attempts=3)
    answer_subtree_queries(lookup)
    assert stall_all(lookup) == [address(n) for n in (1, 2, 1, 2)]


def test_no_node_is_retried_while_others_may_answer() -> None:
    lookup = new_lookup(parallelism=2, attempts=2)
    lookup.add_contacts([at(1), at(2)])
    query_all(lookup)
    lookup.on_stall(address(1))
    before = query_all(lookup)
    lookup.on_response(address(2), as_id(2), [])
    assert (before, lookup.is_finished, query_all(lookup)) == ([], False, [address(1)])


def test_answer_to_an_earlier_attempt_counts() -> None:
    lookup = stalled_lookup(1, attempts=4, parallelism=1)
    answer_subtree_queries(lookup)
    for _ in range(2):
        lookup.on_stall(address(1))
        assert query_all(lookup) == [address(1)]
    counted = lookup.on_response(address(1), as_id(1), [at(2)])
    assert (counted, lookup.closest()[0], query_all(lookup)) == (True, at(1), [address(2)])
    assert not lookup.on_response(address(1), as_id(1), [])
    lookup.on_stall(address(1))
    lookup.on_timeout(address(1))
    lookup.on_response(address(2), as_id(2), [])
    assert (lookup.is_finished, lookup.answers, lookup.queries) == (True, 10, 13)


def test_node_is_passed_over_after_its_last_attempt_and_first_timeout() -> None:
    lookup = stalled_lookup(1, attempts=2)
    answer_subtree_queries(lookup)
    asked = stall_all(lookup)
    before = lookup.is_finished
    lookup.on_timeout(address(1))
    assert (asked, before, lookup.is_finished) == ([address(1)], False, True)


def test_single_attempt_may_be_answered_until_the_timeout() -> None:
    lookup = stalled_lookup(1, attempts=1)
    answer_subtree_queries(lookup)
    before = lookup.is_finished
    lookup.on_timeout(address(1))
    assert (before, lookup.is_finished, query_all(lookup)) == (False, True, [])


def test_all_retries_together_are_bounded() -> None:
    """The 30 unresponsive nodes are from our own table, so no source can be rejected."""
    lookup = stalled_lookup(*range(1, 31), attempts=7)
    answer_subtree_queries(lookup)
    assert len(stall_all(lookup)) == 90
    for number in range(1, 31):
        lookup.on_timeout(address(number))
    assert lookup.is_finished


def test_contacts_of_a_rejected_source_are_not_retried() -> None:
    lookup = new_lookup(attempts=7, parallelism=16)
    lookup.add_contacts(map(at, range(101, 109)))
    query_all(lookup)
    for number in range(101, 109):
        named = [at(n) for n in range(1, 9)] if number == 101 else []
        lookup.on_response(address(number), as_id(number), named)
    invented = query_all(lookup)
    for one in invented:
        lookup.on_stall(one)
    answer_subtree_queries(lookup)
    for one in invented[:4]:
        lookup.on_timeout(one)

    assert len(invented) == 8
    assert query_all(lookup) == []
    lookup.add_contacts([at(7)], address(102))
    assert stall_all(lookup) == [address(7)] * 6
    lookup.on_response(address(8), as_id(8), [])
    answer_subtree_queries(lookup)
    assert query_all(lookup) == [address(n) for n in (1, 2, 3, 4, 5, 6)]


def test_source_of_contacts_that_have_answered_is_not_rejected() -> None:
    """Otherwise a source queried late would be rejected: all its live contacts are known by then."""
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts(map(at, (1000, 2000)))
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [])
    query_all(lookup)
    lookup.on_response(address(2000), as_id(2000), [at(n) for n in (1, 2, 3, 4, 5, 1000)])
    for number in range(1, 5):
        assert query_all(lookup) == [address(number)]
        lookup.on_failure(address(number))
    assert query_all(lookup) == [address(5)]


def test_network_of_a_stalled_node_may_be_queried_at_another_address() -> None:
    neighbour = Contact(as_id(2), Address("21.0.1.77", 6881))
    lookup = stalled_lookup(1, attempts=3)
    answer_subtree_queries(lookup)
    lookup.add_contacts([neighbour])
    assert query_all(lookup) == [neighbour.address, address(1)]
    lookup.on_timeout(address(1))
    lookup.on_stall(address(1))
    lookup.on_timeout(address(1))
    lookup.on_response(neighbour.address, neighbour.node_id, [])
    answer_subtree_queries(lookup)
    assert (query_all(lookup), lookup.is_finished) == ([], True)


def test_neighbours_are_queried_about_their_subtree_when_some_are_unresponsive() -> None:
    lookup = stalled_lookup(1, attempts=1, parallelism=1)
    query = lookup.take_subtree_query()
    assert query is not None
    assert (query.address, query.target) == (address(101), as_id(64))
    taken_meanwhile = lookup.take_subtree_query(), query_all(lookup)
    lookup.on_subtree_response(query, [at(64)])
    assert (taken_meanwhile, lookup.queries) == ((None, []), 10)
    assert query_all(lookup) == [address(64)]


def test_neighbours_are_not_queried_about_subtrees_when_all_have_answered() -> None:
    lookup = stalled_lookup(attempts=3)
    assert (lookup.take_subtree_query(), lookup.is_finished) == (None, True)


def test_lookup_waits_for_subtree_queries() -> None:
    lookup = stalled_lookup(1, attempts=1)
    lookup.on_timeout(address(1))
    attempts = 0
    while (query := lookup.take_subtree_query()) is not None:
        assert not lookup.is_finished
        lookup.on_subtree_timeout(query)
        attempts += 1
    assert (attempts, lookup.is_finished, lookup.sent_and_lost()) == (7, True, (6,) * 2)


@pytest.mark.parametrize("limit", [9, 10, 11])
def test_query_limit_holds_for_all_kinds_of_queries(limit: int) -> None:
    lookup = new_lookup(query_limit=limit, attempts=7)
    lookup.add_contacts(map(at, [1, *range(101, 109)]))
    while asked := query_all(lookup):
        for one in asked:
            if one == address(1):
                lookup.on_stall(one)
            else:
                lookup.on_response(one, as_id(int(one.host.split(".")[2])), [])
        while (query := lookup.take_subtree_query()) is not None:
            lookup.on_subtree_timeout(query)
    for _ in range(7):
        lookup.on_timeout(address(1))

    assert (lookup.queries, lookup.is_finished) == (limit, True)


def test_only_way_in_is_queried_until_it_answers() -> None:
    lookup = new_lookup()
    lookup.add_bootstrap_nodes([address(7)])
    for _ in range(BOOTSTRAP_ATTEMPTS - 1):
        assert query_all(lookup) == [address(7)]
        lookup.on_stall(address(7))
        lookup.on_timeout(address(7))
    assert (query_all(lookup), lookup.is_finished) == ([address(7)], False)
    assert lookup.on_response(address(7), as_id(700), [at(10)])
    assert query_all(lookup) == [address(10)]


def test_bootstrap_nodes_without_an_answer_are_given_up_after_their_last_attempt() -> None:
    lookup = new_lookup()
    lookup.add_bootstrap_nodes([address(7), address(8)])
    asked = stall_all(lookup)
    assert asked == BOOTSTRAP_ATTEMPTS * [address(7), address(8)]
    for one in asked:
        assert not lookup.is_finished
        lookup.on_timeout(one)
    assert (lookup.is_finished, query_all(lookup)) == (True, [])


def test_late_answer_of_a_bootstrap_node_ends_the_attempts_of_the_others() -> None:
    lookup = new_lookup()
    lookup.add_bootstrap_nodes([address(7), address(8)])
    query_all(lookup)
    lookup.on_stall(address(8))
    assert query_all(lookup) == [address(8)]
    lookup.on_stall(address(8))
    assert lookup.on_response(address(7), as_id(700), [])
    for _ in range(2):
        lookup.on_timeout(address(8))
    assert (query_all(lookup), lookup.is_finished) == ([], True)
