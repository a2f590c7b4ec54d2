"""How many addresses the bits of a filter stand for, and how surely (BEP 33)."""

from bisect import bisect_left
from functools import lru_cache
from math import exp, log1p, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import (
    FILTER_BITS,
    FILTER_HASHES,
    LOG_MISSED_BY_ONE_HOST,
    ScrapeFilter,
    hosts_between,
)

NORMAL_95 = 1.96
"""Standard deviations that hold 95 % of a normal distribution."""

_UNION_LIMIT = 1 << 14
"""Peers above which even the last zero bit of a filter is too unlikely to have been seen."""

_LOG_TWO_MISSED = FILTER_HASHES * log1p(-2 / FILTER_BITS)
"""Log of the chance that one address leaves two given bits alone."""

_KEPT_ENDS = 1 << 14  # pairs of numbers of zero bits, 200 bytes each


class Interval(NamedTuple):
    """An estimate in peers with the ends of its 95 % interval.

    The ends are whole peers that are known to be there, so an estimate below one peer lies outside.
    """

    estimate: float
    low: float
    high: float


class Moments(NamedTuple):
    """The mean and the variance of a random count."""

    mean: float
    variance: float


def union_interval(total: ScrapeFilter, named: ScrapeFilter, named_count: int) -> Interval:
    """Estimate the peers in the union of all filters, of which `named_count` are known one by one.

    Known peers are counted, only the others are estimated, from the bits that `named` lacks.  So
    the result is never below the known ones, and exact when they are all.  With none known this is
    the formula of BEP 33.

    The ends are the fewest and the most whole peers that explain the zero bits, each tested with
    the exact moments at 2.5 % and a continuity correction.  Plus and minus 1.96 standard errors
    would not do for small swarms, where a single collision decides.  Coverage, computed exactly
    for one filter: above 0.95 for every n up to 300; one single number for nearly every n up to 10.
    A full filter has no upper end; it gets that of a filter with one zero bit.
    """
    before, after = named.zero_bits, total.zero_bits
    fewest, most = _ends(before, after)
    return Interval(named_count + hosts_between(before, after), named_count + fewest, named_count + most)


@lru_cache(maxsize=_KEPT_ENDS)  # the same few are asked for several times in each estimate
def _ends(before: int, after: int) -> tuple[int, int]:
    """Return the fewest and the most hosts that explain the one number of zero bits after the other."""

    def suffices(hosts: int) -> bool:
        mean, variance = _moments(hosts, before)
        return mean - after - 0.5 <= NORMAL_95 * sqrt(variance)

    def is_too_many(hosts: int) -> bool:
        mean, variance = _moments(hosts, before)
        return max(after, 1) - mean - 0.5 > NORMAL_95 * sqrt(variance)

    fewest = bisect_left(range(_UNION_LIMIT), True, key=suffices)
    most = bisect_left(range(_UNION_LIMIT), True, key=is_too_many) - 1
    # An odd number of bits may be explained by no whole number at all: 1 bit for 1 peer, say.
    return fewest, max(fewest, most)


def zero_bits_after(hosts: float, zero_bits: int = FILTER_BITS) -> Moments:
    """Return how many of the zero bits of a filter stay zero when `hosts` more are put in.

    Exact, not a limit for large filters: bits are not independent, each throw hits one of them.
    """
    return Moments(*_moments(hosts, zero_bits))


def _moments(hosts: float, zero_bits: int) -> tuple[float, float]:
    """Return mean and variance: the value above costs twice the time to make, and 200 may be needed."""
    mean = zero_bits * exp(hosts * LOG_MISSED_BY_ONE_HOST)
    variance = mean + zero_bits * (zero_bits - 1) * exp(hosts * _LOG_TWO_MISSED) - mean * mean
    return mean, variance if variance > 0 else 0.0


def relative_error(hosts: float) -> float:
    """Return the standard error of a filter's estimate as a share of `hosts`, which is above 0.

    About 0.016 up to 500 peers, 0.023 at 2000, 0.07 at 6000.
    """
    expected = zero_bits_after(hosts)
    return sqrt(expected.variance) / (expected.mean * -LOG_MISSED_BY_ONE_HOST * hosts)
