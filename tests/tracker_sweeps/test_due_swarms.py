"""Which swarms are due at which tracker, after sweeps of the same list and of others."""

from random import Random

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import TrackerTurn
from crawler.trackers.due_swarms import PAUSE, DueSwarms, list_of, turns_of
from dhtnode import InfoHash

NOW = 1_750_000_000.0
TEXT = utc_text(NOW)
PLACE = "192.0.2.7:6969 udp"


def hashes(*numbers):
    return [InfoHash(bytes([number]) * 20) for number in numbers]


def test_a_list_has_each_swarm_once_in_order_whatever_came():
    one, other = list_of(hashes(3, 1, 2, 1)), list_of(hashes(1, 2, 3))
    assert one == other
    assert one.info_hashes == hashes(1, 2, 3)
    assert list_of(hashes(1, 2)).digest != one.digest


def test_what_was_asked_for_is_not_due_in_another_list_either():
    swarms = list_of(hashes(*range(10))).info_hashes
    turns = list(turns_of(PLACE, [1, 2, 5], TEXT))
    assert [(turn.first, turn.last) for turn in turns] == [(1, 3), (5, 6)]
    due = DueSwarms(swarms, [(hashes(0, 5, 6, 7, 8, 9, 20), turns), (hashes(3), [])], NOW)
    # The places 1, 2 and 5 of the earlier list are the swarms 5, 6 and 9.
    assert list(due.of(PLACE)) == [0, 1, 2, 3, 4, 7, 8]
    assert list(due.of("elsewhere")) == list(range(10))


def test_turns_of_a_clock_that_was_ahead_hold_nothing_back():
    turn = TrackerTurn(PLACE, 0, 3, utc_text(NOW + 2 * PAUSE), utc_text(NOW + 3 * PAUSE))
    assert list(DueSwarms(hashes(0, 1, 2), [(hashes(0, 1, 2), [turn])], NOW).of(PLACE)) == [0, 1, 2]


def test_turns_are_the_places_and_nothing_else():
    random = Random(1)
    for _ in range(100):
        places = sorted(random.sample(range(60), random.randrange(60)))
        turns = list(turns_of(PLACE, places, TEXT))
        assert [place for turn in turns for place in range(turn.first, turn.last)] == places
        assert {turn.next_at for turn in turns} <= {utc_text(NOW + PAUSE)}
