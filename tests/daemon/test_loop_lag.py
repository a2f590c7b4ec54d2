"""The delay of scheduling, and what is said about it."""

import logging

import pytest

from dhtnode.daemon.loop_lag import REMEMBERED, LoopLag


def test_late_wake_is_seen():
    lag = LoopLag(late_after=0.5)
    for number, delay in enumerate((0.0, 0.25, 3.0, 0.0)):
        lag.woke(delay, float(number))
    assert (lag.last, lag.worst, lag.late) == (0.0, 3.0, 1)


def test_worst_is_that_of_the_last_minute():
    lag = LoopLag(late_after=10.0)
    lag.woke(3.0, 0.0)
    for number in range(REMEMBERED):
        assert lag.worst == 3.0
        lag.woke(0.5, float(number))
    assert lag.worst == lag.last == 0.5


def test_warning_comes_at_most_once_a_minute(caplog):
    """And says how often it was late since the one before."""
    lag = LoopLag(late_after=0.5)
    with caplog.at_level(logging.WARNING):
        for number in range(61):
            lag.woke(0.75, float(number))
            lag.woke(0.25, float(number))
    first, second = caplog.messages
    assert lag.late == 61
    assert "0.750 s late (times since the last such line: 1)" in first
    assert "(times since the last such line: 60)" in second


def test_threshold_can_be_changed():
    lag = LoopLag(late_after=0.5)
    lag.woke(1.0, 0.0)
    lag.late_after = 2.0
    lag.woke(1.0, 1.0)
    assert lag.late == 1


@pytest.mark.parametrize(("delay", "counts"), [(29.9, (1, 0)), (30.1, (0, 1))])
def test_half_a_minute_is_no_delay_any_more(delay, counts):
    lag = LoopLag(late_after=0.5)
    lag.woke(delay, 1.0)
    assert (lag.late, lag.suspended) == counts


def test_sleep_is_told_apart_from_delay(caplog):
    lag = LoopLag(late_after=0.5)
    with caplog.at_level(logging.WARNING):
        lag.woke(0.2, 1.0)
        lag.woke(8 * 3600.0 + 61.0, 30000.0)
    assert (lag.late, lag.suspended, lag.worst) == (0, 1, 0.2)
    assert [line.partition(":")[0] for line in caplog.messages] == ["stood still for 8 h 1 min 1 s"]
