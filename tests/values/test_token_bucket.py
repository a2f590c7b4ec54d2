"""Rate limits, told the time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.token_bucket import TokenBucket


def taken(bucket: TokenBucket, now: float, tries: int = 100) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_burst_is_there_at_once_and_the_rate_afterwards() -> None:
    bucket = TokenBucket(rate=2.0, burst=10.0, now=5.0)
    counts = [taken(bucket, now) for now in (5.0, 5.0, 5.5, 6.0, 8.0, 1000.0)]
    assert counts == [10, 0, 1, 1, 4, 10]


def test_time_that_goes_backwards_gives_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=10.0)
    assert [bucket.take(now) for now in (10.0, 5.0, 10.5, 11.0)] == [True, False, False, True]


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 60)), max_size=40),
)
def test_never_more_than_the_burst_and_what_time_brought(
    rate: float, burst: int, attempts: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    now, total = 0.0, 0
    for pause, tries in attempts:
        now += pause
        total += taken(bucket, now, tries)
        assert total <= burst + rate * now + 1e-6


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_steady_takers_get_the_whole_rate(rate: float, pauses: list[float]) -> None:
    bucket = TokenBucket(rate, 1001.0, 0.0)
    taken(bucket, 0.0, 2000)
    now, total = 0.0, 0
    for pause in pauses:
        now += pause
        total += taken(bucket, now, 1001)
    assert total >= rate * now - 1 - 1e-6


@pytest.mark.parametrize(("now", "expected"), [(0.0, 0.5), (0.25, 0.25), (0.5, 0.0), (9.0, 0.0)])
def test_wait_time_tells_when_the_next_is_due(now: float, expected: float) -> None:
    bucket = TokenBucket(rate=2.0, burst=1.0, now=0.0)
    bucket.take(0.0)
    assert (bucket.wait_time(now), bucket.wait_time(now)) == (expected, expected)


def test_client_that_waited_as_stated_may_take() -> None:
    # A clock that moves only while we sleep (virtual time) would never pass a wait of 1e-17 s.
    bucket = TokenBucket(rate=27.7868533677714, burst=1.0, now=0.0)
    stuck = []
    for step in range(2000):
        now = 0.0973 * step
        bucket.take(now)
        later = now + 0.01 + step % 7 / 1000
        later += bucket.wait_time(later)
        if not bucket.take(later):
            stuck.append(later)
    assert stuck == []


def test_changed_bucket_keeps_what_is_left_up_to_the_new_burst():
    bucket = TokenBucket(1.0, 10.0, 0.0)
    for _ in range(6):
        bucket.take(0.0)
    bucket.change(2.0, 3.0, 1.0)
    assert [bucket.take(1.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_time(1.0) == 0.5


def test_changed_bucket_gets_no_more_by_a_larger_burst():
    bucket = TokenBucket(1.0, 4.0, 0.0)
    for _ in range(3):
        bucket.take(0.0)
    bucket.change(1.0, 9.0, 0.0)
    assert [bucket.take(0.0) for _ in range(2)] == [True, False]
