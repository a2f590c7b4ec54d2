"""How late tasks wake: the first sign of a machine that is too busy, or of code that blocks.

A task sleeps for a second and looks by how much it overslept.  Every answer of the node waits as
long.  The clock is Trio's, which on Linux stands still while the machine is suspended, so a sleep
of the machine is not taken for one of ours.
"""

import logging
from collections import deque
from math import inf

import trio

logger = logging.getLogger(__name__)

PERIOD = 1.0  # seconds between two looks
REMEMBERED = 60  # looks of which the worst is shown
WARN_AGAIN_AFTER = 60.0  # seconds


class Canary:
    """Measure the delay of scheduling, in seconds.

    `late` counts how often it was above `late_after`, which may be changed at any time.
    """

    def __init__(self, late_after: float) -> None:
        self.late_after = late_after
        self.late = 0
        self._delays: deque[float] = deque([0.0], maxlen=REMEMBERED)
        self._warned_at = -inf
        self._late_then = 0

    @property
    def last(self) -> float:
        """Return the delay at the last look."""
        return self._delays[-1]

    @property
    def worst(self) -> float:
        """Return the longest delay of the last minute."""
        return max(self._delays)

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            due = trio.current_time() + PERIOD
            await trio.sleep_until(due)
            now = trio.current_time()
            self.woke(now - due, now)

    def woke(self, delay: float, now: float) -> None:
        """Take note of one look; warn when it was late, at most once a minute."""
        self._delays.append(max(0.0, delay))
        if delay <= self.late_after:
            return
        self.late += 1
        if now - self._warned_at < WARN_AGAIN_AFTER:
            return
        times = self.late - self._late_then
        self._warned_at, self._late_then = now, self.late
        logger.warning(
            "a task woke %.3f s late (times since the last such line: %d);"
            " answers wait as long: the machine is too busy, or stood still",
            delay,
            times,
        )
