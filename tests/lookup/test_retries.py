"""Lookups among silent nodes: who is asked again, how often, what for, and what a liar can make of it."""

import pytest

from dhtnode.addresses import Address, Contact
from dhtnode.ids import as_id
from dhtnode.lookup.candidates import DISTRUST_AFTER
from dhtnode.lookup.lookup import MOST_AGAIN, Lookup
from dhtnode.lookup.subtrees import MOST_ASKS
from tests.lookup.test_lookup import address, answer_questions, ask_all, at, new_lookup


def silent_lookup(*silent: int, asks: int, parallelism: int = 5, answering: int = 8) -> Lookup:
    """Return a lookup in which the nodes at 101, 102, ... have answered, and the silent ones have stalled."""
    lookup = new_lookup(parallelism=parallelism, asks=asks)
    lookup.add_contacts(map(at, [*silent, *range(101, 101 + answering)]))
    while asked := ask_all(lookup):
        for one in asked:
            if one.host in {address(number).host for number in silent}:
                lookup.on_stall(one)
            else:
                lookup.on_response(one, as_id(int(one.host.split(".")[2])), [])
    return lookup


def stall_all(lookup: Lookup) -> list[Address]:
    """Let nobody answer any more, late answers included, and return who was asked."""
    asked = []
    while taken := ask_all(lookup):
        asked.extend(taken)
        for one in taken:
            lookup.on_stall(one)
    return asked


def test_silent_ones_among_the_closest_are_asked_so_many_times_in_all() -> None:
    """The least asked first; nobody beyond the closest is asked again."""
    lookup = silent_lookup(1, 2, 150, asks=3)
    answer_questions(lookup)

    assert stall_all(lookup) == [address(n) for n in (1, 2, 1, 2)]


def test_nobody_is_asked_again_while_others_may_answer() -> None:
    """Until 8 have answered it is not known who is among the closest."""
    lookup = new_lookup(parallelism=2, asks=2)
    lookup.add_contacts([at(1), at(2)])
    ask_all(lookup)
    lookup.on_stall(address(1))

    before = ask_all(lookup)
    lookup.on_response(address(2), as_id(2), [])

    assert (before, lookup.finished, ask_all(lookup)) == ([], False, [address(1)])


def test_answer_to_an_earlier_ask_counts_for_the_later() -> None:
    """And the slots are right afterwards."""
    lookup = silent_lookup(1, asks=4, parallelism=1)
    answer_questions(lookup)
    for _ in range(2):
        lookup.on_stall(address(1))
        assert ask_all(lookup) == [address(1)]

    counted = lookup.on_response(address(1), as_id(1), [at(2)])

    assert (counted, lookup.closest()[0], ask_all(lookup)) == (True, at(1), [address(2)])
    assert not lookup.on_response(address(1), as_id(1), [])
    lookup.on_stall(address(1))
    lookup.on_timeout(address(1))
    lookup.on_response(address(2), as_id(2), [])
    assert (lookup.finished, lookup.answers, lookup.queries) == (True, 10, 13)


def test_silent_one_is_given_up_when_asked_enough_and_no_answer_can_be_only_late() -> None:
    """The last ask has stalled, the first has timed out; it still counts as silent nearby."""
    lookup = silent_lookup(1, asks=2)
    answer_questions(lookup)
    asked = stall_all(lookup)
    before = lookup.finished

    lookup.on_timeout(address(1))

    assert (asked, before, lookup.finished, lookup.silent_nearby()) == ([address(1)], False, True, 1)


def test_who_is_asked_once_may_answer_until_the_timeout() -> None:
    """Where nothing gets lost, the limit is time alone."""
    lookup = silent_lookup(1, asks=1)
    answer_questions(lookup)
    before = lookup.finished

    lookup.on_timeout(address(1))

    assert (before, lookup.finished, lookup.silent_nearby(), ask_all(lookup)) == (False, True, 1, [])


def test_all_asks_of_all_silent_nodes_are_bounded() -> None:
    """However many are named: 30 that never answer, found through us and so above suspicion."""
    lookup = silent_lookup(*range(1, 31), asks=7)
    answer_questions(lookup)

    assert len(stall_all(lookup)) == MOST_AGAIN
    for number in range(1, 31):
        lookup.on_timeout(address(number))
    assert lookup.finished


def test_contacts_of_a_source_that_names_silent_ones_only_are_not_asked_again() -> None:
    """A liar costs no more than without asking again; another source, or one that answers, clears them."""
    lookup = new_lookup(asks=7, parallelism=16)
    lookup.add_contacts(map(at, range(101, 109)))
    ask_all(lookup)
    for number in range(101, 109):
        named = [at(n) for n in range(1, 9)] if number == 101 else []
        lookup.on_response(address(number), as_id(number), named)
    invented = ask_all(lookup)
    for one in invented:
        lookup.on_stall(one)
    answer_questions(lookup)
    for one in invented[:DISTRUST_AFTER]:
        lookup.on_timeout(one)

    assert len(invented) == 8
    assert ask_all(lookup) == []
    lookup.add_contacts([at(7)], address(102))
    assert stall_all(lookup) == [address(7)] * 6
    lookup.on_response(address(8), as_id(8), [])
    answer_questions(lookup)
    assert ask_all(lookup) == [address(n) for n in (1, 2, 3, 4, 5, 6)]


def test_source_that_names_who_has_answered_is_believed() -> None:
    """Otherwise whoever is asked last would be a liar: all the living it names are known by then."""
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts(map(at, (1000, 2000)))
    ask_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [])
    ask_all(lookup)
    lookup.on_response(address(2000), as_id(2000), [at(n) for n in (1, 2, 3, 4, 5, 1000)])
    for number in range(1, DISTRUST_AFTER + 1):
        assert ask_all(lookup) == [address(number)]
        lookup.on_failure(address(number))

    assert ask_all(lookup) == [address(5)]


def test_node_of_a_silent_network_gets_its_chance_and_then_keeps_it() -> None:
    """One network gets one query at a time, and one answer: the silent one is not asked any more."""
    neighbour = Contact(as_id(2), Address("21.0.1.77", 6881))
    lookup = silent_lookup(1, asks=3)
    answer_questions(lookup)
    lookup.add_contacts([neighbour])
    assert ask_all(lookup) == [address(1)]

    lookup.on_timeout(address(1))
    lookup.on_stall(address(1))
    lookup.on_timeout(address(1))

    assert ask_all(lookup) == [neighbour.address]
    lookup.on_response(neighbour.address, neighbour.node_id, [])
    answer_questions(lookup)
    assert (ask_all(lookup), lookup.finished) == ([], True)


def test_neighbours_are_asked_for_their_part_when_some_are_silent() -> None:
    """Whom they name is asked like any other."""
    lookup = silent_lookup(1, asks=1, parallelism=1)
    question = lookup.take_question()
    assert question is not None
    assert (question.address, question.target) == (address(101), as_id(64))
    taken_meanwhile = lookup.take_question(), ask_all(lookup)

    lookup.on_part(question, [at(64)])

    assert (taken_meanwhile, lookup.queries) == ((None, []), 10)
    assert ask_all(lookup) == [address(64)]


def test_neighbours_are_not_asked_for_their_part_when_all_have_answered() -> None:
    """A healthy network is not asked more than it was."""
    lookup = silent_lookup(asks=3)

    assert (lookup.take_question(), lookup.finished) == (None, True)


def test_lookup_waits_for_parts_until_they_are_silent_too() -> None:
    """Each is asked a few times, then the lookup ends without."""
    lookup = silent_lookup(1, asks=1)
    lookup.on_timeout(address(1))
    asks = 0

    while (question := lookup.take_question()) is not None:
        assert not lookup.finished
        lookup.on_part_silence(question)
        asks += 1

    assert (asks, lookup.finished, lookup.asked_and_lost()) == (MOST_ASKS, True, (MOST_ASKS - 1,) * 2)


@pytest.mark.parametrize("limit", [9, 10, 11])
def test_query_limit_holds_for_all_kinds_of_queries(limit: int) -> None:
    """First asks, asks again and questions about parts count alike."""
    lookup = new_lookup(query_limit=limit, asks=7)
    lookup.add_contacts(map(at, [1, *range(101, 109)]))
    while asked := ask_all(lookup):
        for one in asked:
            if one == address(1):
                lookup.on_stall(one)
            else:
                lookup.on_response(one, as_id(int(one.host.split(".")[2])), [])
        while (question := lookup.take_question()) is not None:
            lookup.on_part_silence(question)
    for _ in range(7):
        lookup.on_timeout(address(1))

    assert (lookup.queries, lookup.finished) == (limit, True)
