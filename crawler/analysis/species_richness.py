"""How large a population is by those of it that were met once, twice or more: the classical estimators.

Pure functions of numbers, without I/O: capture and recapture (Chapman), species richness (Chao), and
the intervals that go with such estimates.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from crawler.analysis.distributions import beta_tails, gamma_quantile
from dhtnode.swarm import chao1

LOW_95, HIGH_95 = 0.025, 0.975

EXACT_REFERRERS = 4
"""Up to how many distinct referrers nodes are counted exactly; a last entry holds the rest."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """An estimate of a number of nodes, its variance, and the ends of its 95 % interval.

    `low` and `high` need not lie symmetrically.  `counted` of the nodes are certain: they answered.
    """

    estimate: float
    low: float
    high: float
    variance: float
    counted: int = 0


def chapman(caught_by_a: int, caught_by_b: int, caught_by_both: int) -> NetworkSize:
    """Estimate a population from two catches of it (Chapman 1951; Seber 1982, 3.1).

    `(a + 1)(b + 1)/(c + 1) - 1`, variance `(a+1)(b+1)(a-c)(b-c) / ((c+1)**2 (c+2))`.  Too low where
    some are harder to catch than others: for both, that is.  The variance of the formula is that of
    the estimate of a fixed population, so nothing is added to it.
    """
    a, b, both = caught_by_a, caught_by_b, caught_by_both
    seen = a + b - both
    estimate = (a + 1) * (b + 1) / (both + 1) - 1
    variance = (a + 1) * (b + 1) * (a - both) * (b - both) / ((both + 1) ** 2 * (both + 2))
    fewest, most = negative_binomial_95(estimate - seen, variance)
    return NetworkSize(estimate, seen + fewest, seen + most, variance, seen)


def improved_chao1(named: Sequence[float]) -> float:
    """Return how many nodes were never returned, from those with 1, 2, 3 and 4 referrers.

    Chiu, Wang, Walther and Chao (2014): `chao1` and `f3 / (4 f4) * max(0, f1 - f2 f3 / (2 f4))`,
    which is a lower bound too, and a closer one.
    """
    once, twice, thrice, four_times = named[:EXACT_REFERRERS]
    ratio = thrice / max(four_times, 1.0)
    return chao1(once, twice) + ratio / 4 * max(0.0, once - twice * ratio / 2)


def joint_size(sizes: Sequence[NetworkSize]) -> NetworkSize:
    """Add the sizes of networks that have no node in common: the families IPv4 and IPv6.

    Sizes add and variances add.  What is not `counted` gets the interval of the negative binomial
    or, as it is no missed node but a share of a zone, of the Gamma distribution.
    """
    counted = sum(size.counted for size in sizes)
    mean = sum(size.estimate for size in sizes)
    variance = sum(size.variance for size in sizes)
    if any(size.estimate and not size.counted for size in sizes):
        low, high = gamma_95(mean, variance)
        return NetworkSize(mean, max(low, counted), high, variance, counted)
    fewest, most = negative_binomial_95(mean - counted, variance)
    return NetworkSize(mean, counted + fewest, counted + most, variance, counted)


def size_of_zones(inside: float, variance: float, zone_bits: int) -> NetworkSize:
    """Return the size of a network of which a zone has so many nodes, known with that variance."""
    zones = 2**zone_bits
    total_variance = zones**2 * (variance + inside * (1 - 1 / zones))
    low, high = gamma_95(zones * inside, total_variance, zones / 2)
    return NetworkSize(zones * inside, low, high, total_variance)


def gamma_95(mean: float, variance: float, half: float = 0.0) -> tuple[float, float]:
    """Return the quantiles of the Gamma distribution with this mean, plus `half`, and variance."""
    middle = mean + half
    if variance <= 0 or middle <= 0:
        return mean, mean
    shape = middle * middle / variance
    scale = middle / shape
    return scale * gamma_quantile(shape, LOW_95), scale * gamma_quantile(shape, HIGH_95)


def negative_binomial_95(mean: float, variance: float) -> tuple[int, int]:
    """Return the whole numbers that hold 95 % of the negative binomial of this mean and variance.

    Below lie 2.5 % at most: where that is nothing, the upper end is nearer.
    """
    if mean <= 0:
        return 0, 0
    size = mean * mean / max(variance - mean, mean * 1e-6)  # beyond, it is Poisson for all purposes
    chance = size / (size + mean)

    def up_to(count: int) -> float:
        return beta_tails(size, count + 1, chance)[0] if count >= 0 else 0.0

    limit = range(ceil(mean + 20 * sqrt(max(variance, mean)) + 20))
    fewest = bisect_left(limit, True, key=lambda count: up_to(count) >= LOW_95)
    held = up_to(fewest - 1) + HIGH_95 - LOW_95
    return fewest, bisect_left(limit, True, key=lambda count: up_to(count) >= held)
