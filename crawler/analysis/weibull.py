"""The law of session lengths, Weibull, and what rounds of visits see of it; times are in seconds."""

from dataclasses import dataclass
from math import exp, gamma

from crawler.analysis.distributions import gamma_tails


@dataclass(frozen=True, slots=True)
class Weibull:
    """A law of sessions, `S(t) = exp(-(t / scale)**shape)`."""

    scale: float
    shape: float

    @property
    def mean(self) -> float:
        """Return the mean length."""
        return self.scale * gamma(1 + 1 / self.shape)

    def survival(self, time: float) -> float:
        """Return the share of sessions that are longer."""
        return exp(-((time / self.scale) ** self.shape))

    def uptime_tail(self, time: float) -> float:
        """Return the share of those present at a moment who have been there for longer.

        `integral_t^inf S / mean`: long sessions are met more often than they begin.
        """
        return gamma_tails(1 / self.shape, (time / self.scale) ** self.shape)[1]

    def seen_share(self, spacing: float) -> float:
        """Return the share of sessions that answer in at least one of rounds so far apart."""
        return self.mean * (1 - self.uptime_tail(spacing)) / spacing

    def still_there(self, elapsed: float, spacing: float) -> float:
        """Return the share of the sessions seen that still answer so long after their first answer."""
        between = self.uptime_tail(elapsed) - self.uptime_tail(elapsed + spacing)
        return between / (1 - self.uptime_tail(spacing))
