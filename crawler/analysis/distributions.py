"""Tails and quantiles of the distributions that sizes and tests follow, by SciPy.

Both tails are returned, each with its full precision: far out, one of them is not 1 less the other.
The relative error is below 1e-9 for shapes up to 10,000 and tails down to 1e-150; at a shape of a
million, where only quantiles are used here, it is 4e-6 for a tail of 3e-7.
SciPy is imported when the first result is computed: that takes about half a second of CPU, and most
commands compute none.
"""

from math import inf
from statistics import NormalDist

NORMAL_95 = NormalDist().inv_cdf(0.975)
"""Standard deviations to each side that hold 95 % of a normal distribution."""


def gamma_tails(shape: float, x: float) -> tuple[float, float]:
    """Return P(X <= x) and P(X > x) for X ~ Gamma(shape, scale 1)."""
    from scipy.special import gammainc, gammaincc

    if shape <= 0 or x < 0:
        raise ValueError(f"Gamma({shape}) has no probability at {x}")
    return float(gammainc(shape, x)), float(gammaincc(shape, x))


def beta_tails(a: float, b: float, x: float, rest: float | None = None) -> tuple[float, float]:
    """Return P(X <= x) and P(X > x) for X ~ Beta(a, b).

    `rest` is 1 - x, for callers that know it more precisely than the difference of floats is.
    """
    from scipy.special import betainc, betaincc

    y = 1 - x if rest is None else rest
    if a <= 0 or b <= 0 or not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"Beta({a}, {b}) has no probability at {x}")
    # The smaller of the two has more digits.
    if y < x:
        return float(betaincc(b, a, y)), float(betainc(b, a, y))
    return float(betainc(a, b, x)), float(betaincc(a, b, x))


def f_tails(d1: float, d2: float, x: float) -> tuple[float, float]:
    """Return P(X <= x) and P(X > x) for X ~ F(d1, d2)."""
    if x < 0:
        raise ValueError(f"F has no probability at {x}")
    if x == inf:
        return 1.0, 0.0
    whole = d1 * x + d2
    return beta_tails(d1 / 2, d2 / 2, d1 * x / whole, d2 / whole)


def poisson_tails(mean: float, count: int) -> tuple[float, float]:
    """Return P(X <= count) and P(X >= count) for X ~ Poisson(mean): both include `count`."""
    at_most = gamma_tails(count + 1, mean)[1]
    return at_most, gamma_tails(count, mean)[0] if count > 0 else 1.0


def binomial_tails(trials: int, chance: float, count: int) -> tuple[float, float]:
    """Return P(X <= count) and P(X >= count) for X ~ Binomial(trials, chance): both include `count`."""
    if not 0 <= count <= trials:
        raise ValueError(f"{count} of {trials} is no share")
    at_most = beta_tails(count + 1, trials - count, chance)[1] if count < trials else 1.0
    return at_most, beta_tails(count, trials - count + 1, chance)[0] if count > 0 else 1.0


def gamma_quantile(shape: float, share: float) -> float:
    """Return the x with P(X <= x) = share for X ~ Gamma(shape, scale 1)."""
    from scipy.special import gammaincinv

    if not 0 < share < 1:
        raise ValueError(f"a quantile belongs to a share between 0 and 1, not to {share}")
    return float(gammaincinv(shape, share))
