"""The law of session lengths: Weibull, as rounds of visits show it, and fitted to what they show.

Pure functions, without I/O; times are in seconds.  All that visits see of sessions are integrals of the
law's survival, which are incomplete gamma functions: nothing is simulated or approximated.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, gamma, inf, lgamma, log, sqrt

from crawler.analysis.distributions import NORMAL_95, gamma_tails
from crawler.analysis.sessions import Stay

_SHAPES = log(0.15), log(6.0)  # among which a shape is looked for
_STEP = 1e-6  # of logarithms at which a search ends
_DIFFERENCE = 0.02  # of logarithms, for second derivatives


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


@dataclass(frozen=True, slots=True)
class WeibullFit:
    """The likeliest law of sessions, and 95 % intervals of its shape and mean."""

    law: Weibull
    sessions: int
    shape_low: float
    shape_high: float
    mean_low: float
    mean_high: float


def fit_weibull(stays: Iterable[Stay]) -> WeibullFit:
    """Fit the law of sessions to all those whose beginning was seen, wherever they began.

    Likelihood: a session begins anywhere between two rounds, is seen if it lasts until the next, and ends
    between two others, or is not over at the last.  Intervals are from the second derivatives, on
    logarithms.  Some 0.1 s for 50 rounds.  Raises `ValueError` for fewer than 10 sessions or 5 ends.
    """
    from scipy.optimize import minimize

    counts = Counter(
        (
            stay.first - stay.before,
            stay.last - stay.first,
            inf if stay.after is None else stay.after - stay.first,
        )
        for stay in stays
        if stay.before is not None
    )
    total, ends = counts.total(), sum(count for key, count in counts.items() if key[2] < inf)
    if total < 10 or ends < 5:
        raise ValueError(f"{total} sessions and {ends} ends are too few to fit a law to")
    shortest = min(before for before, _, _ in counts)
    longest = max(last + before for before, last, _ in counts)
    scales = log(shortest / 100), log(longest * 100)

    likelihood = _log_likelihood_of(counts)
    start = log(shortest + longest / 2), 0.0
    # The stubs of SciPy know no function with a float result here.
    best = minimize(  # type: ignore[call-overload]
        lambda at: -likelihood(at[0], at[1]), start, method="Nelder-Mead", bounds=[scales, _SHAPES], tol=_STEP
    )
    log_scale, log_shape = map(float, best.x)
    law = Weibull(exp(log_scale), exp(log_shape))
    shape_error, mean_error = _errors(likelihood, log_scale, log_shape)
    return WeibullFit(law, total, *_interval(law.shape, shape_error), *_interval(law.mean, mean_error))


def _interval(estimate: float, log_error: float) -> tuple[float, float]:
    ratio = exp(NORMAL_95 * log_error)
    return estimate / ratio, estimate * ratio


def _log_likelihood_of(counts: Counter[tuple[float, float, float]]) -> Callable[[float, float], float]:
    """Return the log likelihood as a function of the logarithms of scale and shape."""
    import numpy as np
    from scipy.special import gammaincc

    before, last, after = np.array(list(counts)).T
    times = np.array(list(counts.values()))
    moments = np.stack((last, last + before, after, after + before, before))

    def likelihood(log_scale: float, log_shape: float) -> float:
        """Return the log likelihood of one law, from the tails that `Weibull.uptime_tail` returns."""
        shape = exp(log_shape)
        lasted, lasted_more, ended, ended_more, unseen = gammaincc(
            1 / shape, (moments / exp(log_scale)) ** shape
        )
        chances = np.maximum(lasted - lasted_more - (ended - ended_more), 1e-300)
        return float(np.sum(times * np.log(chances / np.maximum(1 - unseen, 1e-300))))

    return likelihood


def _errors(
    likelihood: Callable[[float, float], float], log_scale: float, log_shape: float
) -> tuple[float, float]:
    """Return the standard errors of the logarithms of shape and mean."""
    step = _DIFFERENCE

    def at(scale_steps: int, shape_steps: int) -> float:
        return likelihood(log_scale + scale_steps * step, log_shape + shape_steps * step)

    middle, square = at(0, 0), step * step
    by_scale = (2 * middle - at(1, 0) - at(-1, 0)) / square
    by_shape = (2 * middle - at(0, 1) - at(0, -1)) / square
    by_both = (at(1, -1) + at(-1, 1) - at(1, 1) - at(-1, -1)) / (4 * square)
    determinant = by_scale * by_shape - by_both**2
    if determinant <= 0 or by_shape <= 0:
        return inf, inf
    scale_variance, shape_variance = by_shape / determinant, by_scale / determinant
    covariance = -by_both / determinant
    # d log(mean) / d log(shape), by a difference.
    slope = (lgamma(1 + exp(-log_shape - step)) - lgamma(1 + exp(-log_shape + step))) / (2 * step)
    mean_variance = scale_variance + 2 * slope * covariance + slope**2 * shape_variance
    return sqrt(shape_variance), sqrt(max(0.0, mean_variance))
