"""A watchdog: it bites when the work that should go on input by input stands still."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tests.fuzz.findings import Stuck

STUCK_AFTER = 5.0  # seconds of CPU time for one input, at least; twice that at most


class Watchdog:
    """Raise `Stuck` in whatever runs when `beat` was not called for long."""

    def __init__(self) -> None:
        self._beats = 0
        self._seen = -1

    def beat(self) -> None:
        self._beats += 1

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        # CPU time, so that a busy machine is no finding; and not the timer that pytest-timeout uses.
        before = signal.signal(signal.SIGVTALRM, self._look)
        signal.setitimer(signal.ITIMER_VIRTUAL, STUCK_AFTER, STUCK_AFTER)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
            signal.signal(signal.SIGVTALRM, before)

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        if self._seen == self._beats:
            self._seen = -1
            raise Stuck(f"one input takes more than {STUCK_AFTER} s of CPU time")
        self._seen = self._beats


WATCHDOG = Watchdog()
"""There is one timer per process, hence one of these."""
