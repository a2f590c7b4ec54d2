"""Rate limits as pure arithmetic: the time is an argument, and nothing waits."""

# Without the margin, rounding could leave a caller that waited for `wait_time` a hair short for ever.
_ENOUGH = 1.0 - 1e-9


class TokenBucket:
    """A limit of `rate` actions per second on average and `burst` at once."""

    __slots__ = ("_burst", "_level", "_rate", "_updated_at")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._updated_at = now

    def take(self, now: float) -> bool:
        """Use up one action and return True, or return False when none is left."""
        self._refill(now)
        if self._level < _ENOUGH:
            return False
        self._level -= 1.0
        return True

    def change(self, rate: float, burst: float, now: float) -> None:
        """Change the rate; what is left of the old burst stays, up to the new one."""
        self._refill(now)
        self._rate = rate
        self._burst = burst
        self._level = min(self._level, burst)

    def spend(self, now: float) -> None:
        """Use up one action that happens in any case; later ones wait for what is overdrawn."""
        self._refill(now)
        self._level -= 1.0

    def wait_time(self, now: float) -> float:
        """Return the seconds until `take` will succeed; 0.0 when it would now."""
        self._refill(now)
        return 0.0 if self._level >= _ENOUGH else (1.0 - self._level) / self._rate

    def _refill(self, now: float) -> None:
        if now > self._updated_at:
            self._level = min(self._burst, self._level + (now - self._updated_at) * self._rate)
            self._updated_at = now
