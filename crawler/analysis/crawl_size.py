"""How many nodes a network has, from what one crawl counted.

Pure functions of numbers, without I/O.  `size_from_crawl` adds to the nodes that answered those that
were missed, because their packets were lost or because no node returned them, each estimated from what
happened to the others; docs/explanation/network_size.md has the evidence.
Nodes that answer no query at all, behind a firewall say, are not nodes here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from crawler.analysis.species_richness import (
    EXACT_REFERRERS,
    NetworkSize,
    improved_chao1,
    negative_binomial_95,
    size_of_zones,
)

UNNAMED_MODEL_ERROR = 0.5
"""Standard error of the estimate of unnamed nodes beside chance, as a share of it.

Chao1 is a lower bound, and how many nodes are missed together is a guess (docs/explanation/network_size.md).
"""

MISSED_TOGETHER = 0.001
"""Share of nodes taken to be missed in groups of `TYPICAL_GROUP` when nothing is known of groups.

About as many were missed so in networks of every kind that was simulated (docs/explanation/network_size.md).
"""

TYPICAL_GROUP = 3.5
TYPICAL_GROWTH, TYPICAL_PARTS = 1.75, 4
"""By which factor parts become more with each referrer, and as how many parts seen that counts."""


@dataclass(frozen=True, slots=True)
class OutsideNamings:
    """The answered nodes in parts that 1, 2, 3 and 4 nodes outside of them returned.

    `together` is how many nodes such a part has, the mean over its nodes: that many are found or missed
    at once, and so much larger are variances than those of single nodes.
    """

    named: tuple[int, int, int, int]
    together: float


@dataclass(frozen=True, slots=True)
class CrawlCounts:
    """The counts of a crawl from which its size is estimated; nodes are those that answered.

    All counts are of one address family and of one zone: nodes outside of it, and what they name,
    do not count.

    - `answered`: nodes that answered a first query, under the id that they were named by.
    - `by_a`, `by_b`, `by_both`: answered nodes that were named by some answering node of half A, of
      half B, of both.  A keyed hash of its id puts a node into one half.
    - `named`: answered nodes with 1, 2, 3, 4 distinct answering referrers, and with 5 or more.
      Distinct by endpoint: two replies of one node count once.
    - `recovered`: answered nodes that timed out at their first visit and answered at the second.
    - `second_sent`, `second_unanswered`: queries to nodes that had just answered one, and those of
      them that no answer came to.
    - `zone_bits`: length of the prefix crawled; 0 for the whole network.
    - `outside`: `named_from_outside` of the same crawl; without it, nodes that are missed together are
      taken to be `MISSED_TOGETHER`.
    """

    answered: int
    by_a: int
    by_b: int
    by_both: int
    named: tuple[int, int, int, int, int]
    recovered: int
    second_sent: int
    second_unanswered: int
    zone_bits: int = 0
    outside: OutsideNamings | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` where the counts contradict each other."""
        counts = (self.by_both, self.recovered, self.second_unanswered, self.zone_bits, *self.named)
        if (
            len(self.named) != EXACT_REFERRERS + 1
            or min(counts) < 0
            or self.by_both > min(self.by_a, self.by_b)
            or self.by_a + self.by_b - self.by_both > self.answered
            or max(sum(self.named), self.recovered) > self.answered
            or self.second_unanswered > self.second_sent
            or (self.outside is not None and min(self.outside.named) < 0)
        ):
            raise ValueError(f"counts of a crawl that contradict each other: {self}")

    @property
    def loss(self) -> float:
        """Return the share of queries to live nodes that stay without an answer.

        With half a query added to each kind: without second queries it is 1/2, and never 0.
        """
        return (self.second_unanswered + 0.5) / (self.second_sent + 1)


@dataclass(frozen=True, slots=True)
class CrawlSize:
    """The size of a network by a crawl.

    `unnamed` nodes were returned by no node that answered, `lost` ones were queried and their packets were
    lost; both are estimates for the zone crawled.  `found` is the share of the zone's nodes that
    answered, with the variance `found_variance`.
    """

    size: NetworkSize
    unnamed: float
    lost: float
    found: float
    found_variance: float


def size_from_crawl(counts: CrawlCounts) -> CrawlSize:
    """Estimate the nodes of a network from a crawl of it, or of one zone of it.

    The missed of a zone are those never returned, one by one by `improved_chao1` of `named`, together by
    `extrapolated` of `outside`: each is blind to the other kind, so the higher, after a correction for
    loss; those named once whose only query
    was lost, and those named more often of whose two queries both were: `f1 q / (1 - q) + r q / (1 - q)`,
    where q is `counts.loss`, f1 the nodes named once, and r the nodes recovered at a second visit.
    The variance is that of all counts by the delta method, plus that of the missed themselves (Poisson;
    the unnamed come in groups of `together`), plus `UNNAMED_MODEL_ERROR`.

    The whole network: what answered is certain, the missed are negative binomial with that mean
    and variance.  A zone of z bits: `2**z` times the zone's nodes, which are a binomial share of
    all; interval from the Gamma distribution with that mean and variance (exact for a Poisson count,
    but for half a count).
    """
    mean, variance = _missed(counts)
    inside = counts.answered + mean
    found = counts.answered / inside if inside else 1.0
    # The derivative of answered / (answered + missed).
    found_variance = (found / inside) ** 2 * variance if inside else 0.0
    if counts.zone_bits:
        size = size_of_zones(inside, variance, counts.zone_bits)
    else:
        fewest, most = negative_binomial_95(mean, variance)
        whole = counts.answered
        size = NetworkSize(inside, whole + fewest, whole + most, variance, counts.answered)
    return CrawlSize(size, _unnamed(counts, _sources(counts)), _lost(_sources(counts)), found, found_variance)


def extrapolated(named: Sequence[float], together: float = 1.0) -> float:
    """Return how many nodes were never returned, if counts grow by one factor with each referrer from 0 to 4.

    The factor is the likeliest for the nodes with 1, 2, 3 and 4 referrers, which come in parts of
    `together`, and for `TYPICAL_PARTS` more that are as usual: a few parts would fit nearly any factor.
    Where few are named from far away, counts come near to this (docs/explanation/network_size.md);
    it uses all four, and varies less than Chao1, which squares the smallest.
    """
    nodes, usual = sum(named[:EXACT_REFERRERS]), TYPICAL_PARTS * together
    if not nodes:
        return 0.0
    times = sum(count * referrers for referrers, count in enumerate(named[:EXACT_REFERRERS], start=1))
    mean = (times + usual * _mean_referrers(TYPICAL_GROWTH)) / (nodes + usual)
    low, high = 1 / TYPICAL_GROWTH**8, TYPICAL_GROWTH**8
    while high / low > 1 + 1e-9:
        growth = sqrt(low * high)
        low, high = (growth, high) if _mean_referrers(growth) < mean else (low, growth)
    return nodes / sum(low**referrers for referrers in range(1, EXACT_REFERRERS + 1))


def _mean_referrers(growth: float) -> float:
    """Return the mean of 1 to 4 where each number is so many times as frequent as the one before."""
    weights = [growth**referrers for referrers in range(1, EXACT_REFERRERS + 1)]
    return sum(referrers * weight for referrers, weight in enumerate(weights, start=1)) / sum(weights)


_Sources = tuple[float, ...]
"""What the missed follow from, 10 numbers.

Nodes with 1, 2, 3, 4 referrers; nodes in parts with as many outside (0 where not known); nodes of which
a query too many was nearly lost: named once, or recovered; and the loss.
"""


def _sources(counts: CrawlCounts) -> _Sources:
    outside = counts.outside.named if counts.outside else (0, 0, 0, 0)
    return *counts.named[:EXACT_REFERRERS], *outside, counts.named[0] + counts.recovered, counts.loss


def _together(counts: CrawlCounts) -> float:
    return counts.outside.together if counts.outside else TYPICAL_GROUP


def _unnamed_alone(sources: _Sources) -> float:
    return improved_chao1(_despite(sources[-1], sources[:EXACT_REFERRERS]))


def _unnamed_together(counts: CrawlCounts, sources: _Sources) -> float:
    if counts.outside is None:
        return MISSED_TOGETHER * counts.answered
    return extrapolated(_despite(sources[-1], sources[EXACT_REFERRERS:-2]), counts.outside.together)


def _despite(loss: float, named: Sequence[float]) -> list[float]:
    """Return the counts that there would be without loss."""
    asked_twice = 1 - loss * loss
    return [named[0] / (1 - loss), *(nodes / asked_twice for nodes in named[1:])]


def _unnamed(counts: CrawlCounts, sources: _Sources) -> float:
    return max(_unnamed_alone(sources), _unnamed_together(counts, sources))


def _lost(sources: _Sources) -> float:
    *_, nearly_lost, loss = sources
    return nearly_lost * loss / (1 - loss)


def _missed(counts: CrawlCounts) -> tuple[float, float]:
    """Return mean and variance of the nodes of a zone that are there and did not answer."""
    sources, together, loss = _sources(counts), _together(counts), counts.loss
    unnamed = _unnamed(counts, sources)
    mean = unnamed + _lost(sources)
    # A count of 0 is not certain either: one node, or one part of them, more could have been seen.
    variances = [count + 1 for count in sources[:-1]]
    variances[EXACT_REFERRERS:-1] = (together * (count + together) for count in sources[EXACT_REFERRERS:-2])
    variances.append(loss * (1 - loss) / (counts.second_sent + 1))
    chance = sum(
        variance
        * _slope(lambda each: _unnamed(counts, each) + _lost(each), sources, index, sqrt(variance)) ** 2
        for index, variance in enumerate(variances)
    )
    groups = (together - 1) * _unnamed_together(counts, sources)
    return mean, mean + groups + chance + (UNNAMED_MODEL_ERROR * unnamed) ** 2


def _slope(function: Callable[[_Sources], float], at: _Sources, index: int, width: float) -> float:
    """Return the slope of a function along one argument, between half a `width` below and above."""
    low, high = max(0.0, at[index] - width / 2), at[index] + width / 2
    if index == len(at) - 1:
        high = min(high, (1 + at[index]) / 2)  # a loss of 1 would leave nothing to learn from
    below, above = ((*at[:index], end, *at[index + 1 :]) for end in (low, high))
    return (function(above) - function(below)) / (high - low)
