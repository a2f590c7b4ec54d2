"""How long to wait: bounds, percentiles, and following the line as it changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.net.round_trips import (
    FIRST_STALL,
    FIRST_TIMEOUT,
    MAX_STALL,
    MAX_TIMEOUT,
    MIN_STALL,
    MIN_TIMEOUT,
    WINDOW,
    RetryPolicy,
    RoundTripTimes,
)


def times_after(*rtts: float) -> RoundTripTimes:
    times = RoundTripTimes()
    for rtt in rtts:
        times.add(rtt)
    return times


def limits(times: RoundTripTimes) -> tuple[float, float]:
    return round(times.stall, 6), round(times.timeout, 6)


def test_first_limits_hold_until_enough_is_known() -> None:
    """Three answers tell nothing yet; the fourth is believed, or a short program would live by guesses."""
    few, enough = times_after(*[0.01] * 3), times_after(*[0.01] * 4)
    assert [limits(few), limits(enough)] == [(FIRST_STALL, FIRST_TIMEOUT), (0.11, MIN_TIMEOUT)]


@pytest.mark.parametrize(
    ("rtts", "stall", "timeout"),
    [
        ([0.0] * 16, MIN_STALL, MIN_TIMEOUT),
        ([0.3] * 16, 0.4, MIN_TIMEOUT),
        ([0.6] * 16, 0.7, 1.8),
        ([0.2] * 14 + [1.0] * 2, 1.0, 3.0),
        ([0.2] * 15 + [1.0], 0.3, 3.0),
        ([9.0] * 16, MAX_STALL, MAX_TIMEOUT),
        ([0.05] * 15 + [9.0], 0.15, MAX_TIMEOUT),
    ],
)
def test_limits_follow_the_answers(rtts: list[float], stall: float, timeout: float) -> None:
    """The stall is the 90th percentile, or 0.1 s above the fast ones; the timeout thrice the 99th."""
    assert limits(times_after(*rtts)) == (stall, timeout)


@given(st.lists(st.floats(0, 60), max_size=600))
def test_limits_keep_their_bounds_and_their_order(rtts: list[float]) -> None:
    times = times_after(*rtts)
    assert MIN_STALL <= times.stall <= MAX_STALL
    assert MIN_TIMEOUT <= times.timeout <= MAX_TIMEOUT
    assert times.stall < times.timeout


def test_limits_forget_what_is_long_past() -> None:
    """After a window of slow answers nothing is left of the fast ones, and the other way round."""
    slow = times_after(*[0.05] * 1024, *[1.0] * WINDOW)
    fast = times_after(*[1.0] * 1024, *[0.05] * WINDOW)
    assert [limits(slow), limits(fast)] == [(1.1, 3.0), (0.15, MIN_TIMEOUT)]


@given(st.lists(st.floats(0, 12), min_size=1, max_size=600))
def test_answers_of_one_moment_count_like_single_ones(rtts: list[float]) -> None:
    """The limits of single ones may be of some answers before."""
    together, one_by_one = RoundTripTimes(), times_after(*rtts)
    together.add_all(rtts)
    assert together.quantiles() == one_by_one.quantiles()
    if sum(rtt <= MAX_TIMEOUT for rtt in rtts) in (4, 8, 16, 32, 256):
        assert limits(together) == limits(one_by_one)


def test_few_answers_of_one_moment_are_believed_from_the_fourth_on() -> None:
    few, enough = RoundTripTimes(), RoundTripTimes()
    few.add_all([0.01] * 3)
    enough.add_all([0.01] * 5)
    assert [limits(few), limits(enough)] == [(FIRST_STALL, FIRST_TIMEOUT), (0.11, MIN_TIMEOUT)]


def test_answer_later_than_any_timeout_has_waited_for_us() -> None:
    assert times_after(10.001).quantiles() == {}
    assert times_after(10.0).quantiles() == {"median": 10.0, "p90": 10.0}


def persistence_after(*seen: tuple[int, int], most: int = 7) -> RetryPolicy:
    persistence = RetryPolicy(most)
    for asks, lost in seen:
        persistence.add(asks, lost)
    return persistence


@pytest.mark.parametrize(
    ("seen", "asks"),
    [
        ([], 2),
        ([(0, 0)], 2),
        ([(20, 2)], 3),
        ([(100, 0)], 2),
        ([(100, 0)] * 40, 1),
        ([(100, 10)] * 10, 4),
        ([(100, 20)] * 10, 5),
        ([(100, 36)] * 10, 7),
        ([(1, 1)] * 1000, 7),
    ],
)
def test_asks_follow_the_losses(seen: list[tuple[int, int]], asks: int) -> None:
    """So many that a node that is there is missed in one of 2000 cases; two before anything is known."""
    assert persistence_after(*seen).attempts == asks


def test_asks_keep_to_what_the_caller_allows() -> None:
    assert persistence_after((1000, 500), most=4).attempts == 4
    assert persistence_after(most=1).attempts == 1


def test_old_losses_are_forgotten() -> None:
    """A line that has become better, or worse, is known as such after some hundred asks."""
    better = persistence_after(*[(10, 4)] * 200, *[(10, 0)] * 200)
    worse = persistence_after(*[(10, 0)] * 200, *[(10, 4)] * 50)
    assert (better.attempts, worse.attempts) == (2, 7)


@given(st.lists(st.integers(1, 60).flatmap(lambda asks: st.tuples(st.just(asks), st.integers(0, asks)))))
def test_asks_stay_within_bounds(seen: list[tuple[int, int]]) -> None:
    assert 1 <= persistence_after(*seen).attempts <= 7
