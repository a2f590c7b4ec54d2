"""Queries about the subtrees around a target, and the losses that they show."""

from dhtnode.addresses import Address, Contact
from dhtnode.ids import ZERO_ID, as_id
from dhtnode.lookup.subtrees import SubtreeQuery, Subtrees

TARGET = ZERO_ID  # so that an id, read as a number, is its distance


def at(number: int) -> Contact:
    return Contact(as_id(number), Address(f"21.0.{number}.1", 6881))


def asked(subtrees: Subtrees, *numbers: int) -> SubtreeQuery:
    query = subtrees.next([at(number) for number in numbers])
    assert query is not None
    subtrees.on_sent(query)
    return query


def test_two_widest_subtrees_are_queried_for_their_id_nearest_to_the_target() -> None:
    subtrees, closest = Subtrees(TARGET), (1, 2, 3, 9, 12, 40, 50)
    widest, second = asked(subtrees, *closest), asked(subtrees, *closest)
    assert widest == SubtreeQuery(6, 1, at(40).address, as_id(32))
    assert second == SubtreeQuery(4, 1, at(9).address, as_id(8))
    assert (subtrees.next(list(map(at, closest))), subtrees.in_flight) == (None, 2)


def test_each_attempt_goes_to_another_node() -> None:
    subtrees, turns = Subtrees(TARGET), []
    while subtrees.next([at(40), at(50)]) is not None:
        query = asked(subtrees, 40, 50)
        turns.append(query.address)
        subtrees.on_timeout(query)
    assert turns == [at(40).address, at(50).address] * 3 + [at(40).address]
    assert len(turns) == 7
    assert subtrees.in_flight == 0


def test_answered_subtree_is_not_queried_again() -> None:
    subtrees = Subtrees(TARGET)
    first = asked(subtrees, 40, 50)
    subtrees.on_timeout(first)
    second = asked(subtrees, 40, 50)
    subtrees.on_answer(first)
    subtrees.on_timeout(first)
    subtrees.on_timeout(second)
    assert (subtrees.next([at(40), at(50)]), subtrees.in_flight) == (None, 0)


def test_late_timeout_of_an_earlier_attempt_changes_nothing() -> None:
    subtrees = Subtrees(TARGET)
    first = asked(subtrees, 40)
    subtrees.on_timeout(first)
    asked(subtrees, 40)
    subtrees.on_timeout(first)
    assert subtrees.in_flight == 1


def test_closer_nodes_make_other_subtrees_the_widest() -> None:
    subtrees = Subtrees(TARGET)
    for _ in range(2):
        subtrees.on_answer(asked(subtrees, 3, 9, 40))
    assert subtrees.next([at(3), at(9), at(40)]) is None
    assert subtrees.next([at(3), at(9)]) == SubtreeQuery(2, 1, at(3).address, as_id(2))


def test_node_with_the_target_as_id_has_no_subtree() -> None:
    assert Subtrees(TARGET).next([at(0)]) is None


def test_losses_are_those_before_the_answers() -> None:
    subtrees = Subtrees(TARGET)
    for lost in (2, 0):
        for _ in range(lost):
            subtrees.on_timeout(asked(subtrees, 9, 40))
        subtrees.on_answer(asked(subtrees, 9, 40))
    early = asked(subtrees, 3)
    subtrees.on_timeout(early)
    asked(subtrees, 3)
    subtrees.on_answer(early)
    for _ in range(3):
        subtrees.on_timeout(asked(subtrees, 1))
    assert subtrees.sent_and_lost() == (3 + 1 + 1 + 2, 2 + 0 + 0 + 2)
