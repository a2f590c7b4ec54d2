"""A clock for Trio that goes on while the machine sleeps.

Trio's own clock stands still while a machine is suspended, on Linux and on macOS.  A node that goes
by it would take tokens and peers of yesterday for fresh ones.  Under this clock a sleep is what a
stopped process sees too: all at once much time has passed, and whatever was due is due now.

No clock here can be set: corrections of the wall clock change nothing.
"""

import time
from collections.abc import Callable

import trio

# CLOCK_MONOTONIC leaves out the sleep on Linux, but counts it on macOS, which has no other.
_COUNTING_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_start() -> float:
    """Return the seconds since the machine was started, those that it slept included; 0.1 us."""
    return time.clock_gettime(_COUNTING_SLEEP)


class ElapsedClock(trio.abc.Clock):
    """Count elapsed time: `trio.run(main, clock=ElapsedClock())`.

    After a sleep Trio wakes with the first datagram, or when the rest of its wait is over.
    """

    def __init__(self, read: Callable[[], float] = seconds_since_start) -> None:
        """Take the time from `read`, which must never go back."""
        self._read = read

    def start_clock(self) -> None:
        """Do nothing: the clock is there already."""

    def current_time(self) -> float:
        """Return the elapsed seconds."""
        return self._read()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to wait for a deadline if the machine stays awake."""
        return deadline - self._read()
