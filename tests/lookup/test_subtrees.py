"""What neighbours of a target are asked about their part: which, whom, how often, and what that tells."""

from dhtnode.addresses import Address, Contact
from dhtnode.ids import ZERO_ID, as_id
from dhtnode.lookup.subtrees import MOST_ASKS, SubtreeQuery, Subtrees

TARGET = ZERO_ID  # so that an id, read as a number, is its distance


def at(number: int) -> Contact:
    """Return the contact at a distance from the target."""
    return Contact(as_id(number), Address(f"21.0.{number}.1", 6881))


def asked(parts: Subtrees, *numbers: int) -> SubtreeQuery:
    """Take the next question when the nodes at these distances are the closest."""
    question = parts.next([at(number) for number in numbers])
    assert question is not None
    parts.on_asked(question)
    return question


def test_the_two_widest_parts_are_asked_for_the_id_across() -> None:
    """The closest node of each is asked for the id in its part that is nearest to the target."""
    parts, closest = Subtrees(TARGET), (1, 2, 3, 9, 12, 40, 50)

    widest, second = asked(parts, *closest), asked(parts, *closest)

    assert widest == SubtreeQuery(6, 1, at(40).address, as_id(32))
    assert second == SubtreeQuery(4, 1, at(9).address, as_id(8))
    assert (parts.next(list(map(at, closest))), parts.under_way) == (None, 2)


def test_next_time_it_is_the_turn_of_another_node() -> None:
    """So no single one can be in the way; at most 7 asks, then the part is given up."""
    parts, turns = Subtrees(TARGET), []

    while parts.next([at(40), at(50)]) is not None:
        question = asked(parts, 40, 50)
        turns.append(question.address)
        parts.on_silence(question)

    assert turns == [at(40).address, at(50).address] * 3 + [at(40).address]
    assert len(turns) == MOST_ASKS
    assert parts.under_way == 0


def test_answered_part_is_not_asked_again() -> None:
    """Also when the answer comes after a second question was asked."""
    parts = Subtrees(TARGET)
    first = asked(parts, 40, 50)
    parts.on_silence(first)
    second = asked(parts, 40, 50)

    parts.on_answer(first)
    parts.on_silence(first)
    parts.on_silence(second)

    assert (parts.next([at(40), at(50)]), parts.under_way) == (None, 0)


def test_late_silence_of_an_earlier_question_frees_nothing() -> None:
    """The timeout of the first comes while the second is waited for."""
    parts = Subtrees(TARGET)
    first = asked(parts, 40)
    parts.on_silence(first)
    asked(parts, 40)

    parts.on_silence(first)

    assert parts.under_way == 1


def test_closer_nodes_make_other_parts_the_widest() -> None:
    """Once the farthest is no longer among the closest, the next part comes up."""
    parts = Subtrees(TARGET)
    for _ in range(2):
        parts.on_answer(asked(parts, 3, 9, 40))

    assert parts.next([at(3), at(9), at(40)]) is None
    assert parts.next([at(3), at(9)]) == SubtreeQuery(2, 1, at(3).address, as_id(2))


def test_node_with_the_id_that_is_looked_for_has_no_part() -> None:
    """There is nothing across from the target itself."""
    assert Subtrees(TARGET).next([at(0)]) is None


def test_losses_are_those_before_the_answers() -> None:
    """An answer to the first of two asks says that none was lost; a last ask without one says nothing."""
    parts = Subtrees(TARGET)
    for lost in (2, 0):
        for _ in range(lost):
            parts.on_silence(asked(parts, 9, 40))
        parts.on_answer(asked(parts, 9, 40))
    early = asked(parts, 3)
    parts.on_silence(early)
    asked(parts, 3)
    parts.on_answer(early)
    for _ in range(3):
        parts.on_silence(asked(parts, 1))

    assert parts.asked_and_lost() == (3 + 1 + 1 + 2, 2 + 0 + 0 + 2)
