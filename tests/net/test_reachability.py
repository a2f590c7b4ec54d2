"""What answers and timeouts tell about our own network: arithmetic, with the time given."""

import pytest

from dhtnode.addresses import Scope
from dhtnode.net.reachability import (
    COUNTED_IN_A_ROW,
    CUT_OFF_AFTER,
    DEAF_AFTER,
    HUSH,
    KNOWN_FOR,
    Reachability,
)
from dhtnode.server.sources import Source, Sources


def sources(count: int) -> list[Source]:
    known = Sources(Scope.PUBLIC)
    return [known.get((f"21.0.{number}.1", 6881)) for number in range(count)]


def answered(one: Source, now: float) -> Reachability:
    reachability = Reachability()
    reachability.answered(one, now)
    return reachability


def test_constants_are_those_that_scenes_were_tuned_with() -> None:
    assert (COUNTED_IN_A_ROW, CUT_OFF_AFTER, DEAF_AFTER, HUSH, KNOWN_FOR) == (3, 8, 2.0, 10.0, 900.0)


def test_eight_timeouts_in_a_row_mean_that_we_are_cut_off() -> None:
    """Whether they timed out or could not even leave; one answer ends it."""
    first, *others = sources(9)
    reachability = answered(first, 0.0)
    for one in others[:4]:
        assert reachability.timed_out(one, 1.0, 6.0)
        reachability.not_sent()
        assert reachability.is_cut_off is (one is others[3])
    reachability.answered(first, 7.0)
    assert not reachability.is_cut_off


def test_first_three_count_against_nodes_though_nothing_came_in() -> None:
    reachability = Reachability()
    counted = []
    for one in sources(5):
        reachability.timed_out(one, 1.0, 6.0)
        counted.append(reachability.counts_against(1.0))
    assert counted == [True, True, True, False, False]
    reachability.received(7.0)
    assert [reachability.counts_against(sent_at) for sent_at in (7.0, 7.1)] == [True, False]


@pytest.mark.parametrize(
    ("row", "more", "counts"), [(0, 3, True), (0, 4, False), (2, 1, True), (2, 2, False)]
)
def test_those_that_would_time_out_are_counted_with_those_that_did(row: int, more: int, counts: bool) -> None:
    reachability = Reachability()
    for _ in range(row):
        reachability.not_sent()
    assert reachability.would_count(more) is counts


def test_timeout_of_a_query_that_another_node_outlived_is_none_in_a_row() -> None:
    first, *others = sources(20)
    reachability = answered(first, 5.0)
    assert not any(reachability.timed_out(one, sent_at, 9.0) for one in others for sent_at in (1.0, 5.0))
    assert not reachability.is_cut_off


def test_node_that_times_out_again_counts_once_within_the_time_of_a_table() -> None:
    first, one = sources(2)
    reachability = answered(first, 0.0)
    assert [reachability.timed_out(one, sent_at, sent_at + 5.0) for sent_at in (1.0, 4.0, HUSH)] == [
        True,
        False,
        False,
    ]
    assert reachability.timed_out(one, HUSH + 0.1, HUSH + 5.0)
    reachability.answered(one, 20.0)
    assert reachability.timed_out(one, 21.0, 26.0)
    reachability.answered(first, 26.0 + KNOWN_FOR)
    assert reachability.timed_out(one, 27.0 + KNOWN_FOR, 32.0 + KNOWN_FOR)


def test_we_were_deaf_when_nothing_came_in_for_more_than_two_seconds() -> None:
    reachability = Reachability()
    assert [reachability.received(now) for now in (0.0, 1.0, 3.0, 5.1)] == [True, False, False, True]
