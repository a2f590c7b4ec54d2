"""How late tasks wake: the first sign of a machine that is too busy, or of code that blocks.

A task that sleeps for some seconds tells by how much it overslept.  Every answer of the node waits as
long.  A delay so long that the process was stopped, or the machine asleep (which only a
`BoottimeClock` shows), counts apart: it is no lack of processor time.
"""

import logging
from collections import deque
from math import inf

from dhtnode.daemon.status import duration

logger = logging.getLogger(__name__)

REMEMBERED = 12  # looks of which the worst is shown: those of a minute
WARN_AGAIN_AFTER = 60.0  # seconds
SUSPENDED_AFTER = 30.0  # seconds of delay


class LoopLag:
    """The delay of scheduling, in seconds.

    `late` counts how often it was above `late_after`, which may be changed at any time; `suspended`
    how often nothing ran at all for half a minute or longer, which is no delay.
    """

    def __init__(self, late_after: float) -> None:
        self.late_after = late_after
        self.late = 0
        self.suspended = 0
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

    def woke(self, delay: float, now: float) -> None:
        """Record one delay; warn when it is long, at most once a minute."""
        if delay > SUSPENDED_AFTER:
            self.suspended += 1
            logger.warning(
                "stood still for %s: the machine slept, or the process was stopped;"
                " checking contacts and joining again",
                duration(delay),
            )
            return
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
