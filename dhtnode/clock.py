"""A clock for Trio that includes the time while the machine was suspended.

Trio's own clock stops while a machine is suspended, on Linux and on macOS.  A node under that clock
would take tokens and peers of yesterday for fresh ones.  Under this clock much time has passed at
once, as for a process that was stopped, and all that was due is due now.

Corrections of the wall clock change nothing here.
"""

import time
from collections.abc import Callable

import trio

# CLOCK_MONOTONIC leaves out suspension on Linux, but includes it on macOS, which has no BOOTTIME.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_start() -> float:
    """Return the seconds since the machine was started, suspension included; 0.1 us."""
    return time.clock_gettime(_CLOCK)


class BoottimeClock(trio.abc.Clock):
    """A clock that includes suspension: `trio.run(main, clock=BoottimeClock())`.

    After a suspension Trio wakes with the first datagram, or when the rest of its wait is over.
    """

    def __init__(self, read: Callable[[], float] = seconds_since_start) -> None:
        """Read the time with `read`, which must never go back."""
        self._read = read

    def start_clock(self) -> None:
        """Do nothing: the clock runs already."""

    def current_time(self) -> float:
        """Return the seconds since the machine was started."""
        return self._read()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to wait for a deadline if the machine stays awake."""
        return deadline - self._read()
