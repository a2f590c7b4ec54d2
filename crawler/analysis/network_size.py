"""How many nodes a network has, from what one crawl counted and from distances between ids.

Pure functions of numbers, without I/O.  Two ways that share nothing but the crawl:

- `size_from_crawl` adds to the nodes that answered those that were missed, because their packets
  were lost or because nobody named them, each estimated from what happened to the others;
- `size_from_distances` reads the density of ids off the distance from random targets to the k-th
  closest node that answered.

Each has a 95 % interval.  `chapman`, `chao1`, `improved_chao1` and `extrapolated` estimate the nodes that
nobody named; docs/explanation/network_size.md says which of them is the headline, and by what evidence.
Nodes that are silent towards everybody, behind a firewall say, are not nodes here.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import median

from crawler.analysis.distributions import beta_tails, binomial_tails, gamma_quantile

LOW_95, HIGH_95 = 0.025, 0.975

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

EXACT_REFERRERS = 4
"""Up to how many distinct referrers `CrawlCounts.named` tells exactly; a last entry holds the rest."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """Hold an estimate of a number of nodes, its variance, and the ends of its 95 % interval.

    `low` and `high` need not lie symmetrically.  `counted` of the nodes are certain: they answered.
    """

    estimate: float
    low: float
    high: float
    variance: float
    counted: int = 0


@dataclass(frozen=True, slots=True)
class OutsideNamings:
    """Hold how many answered nodes lie in parts that 1, 2, 3 and 4 nodes outside of them named.

    `together` is how many nodes such a part has, the mean over its nodes: that many are found or missed
    at once, and so much larger are variances than those of single nodes.
    """

    named: tuple[int, int, int, int]
    together: float


@dataclass(frozen=True, slots=True)
class CrawlCounts:
    """Hold what a crawl has to count for its size to be estimated; nodes are those that answered.

    All counts are of one address family and of one zone: nodes outside of it, and what they name,
    do not count.

    - `answered`: nodes that answered a first query, under the id that they were named by.
    - `by_a`, `by_b`, `by_both`: answered nodes that were named by some answering node of half A, of
      half B, of both.  A keyed hash of its id puts a node into one half.
    - `named`: answered nodes with 1, 2, 3, 4 distinct answering referrers, and with 5 or more.
      Distinct by endpoint: two replies of one node count once.
    - `recovered`: answered nodes that were silent at their first visit and answered at the second.
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
    """Say how large a network is by a crawl.

    `unnamed` nodes were named by nobody who answered, `lost` ones were asked and their packets were
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

    The missed of a zone are those that nobody named, one by one by `improved_chao1` of `named`, together by
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
        fewest, most = _negative_binomial_95(mean, variance)
        whole = counts.answered
        size = NetworkSize(inside, whole + fewest, whole + most, variance, counts.answered)
    return CrawlSize(size, _unnamed(counts, _sources(counts)), _lost(_sources(counts)), found, found_variance)


def joint_size(sizes: Sequence[NetworkSize]) -> NetworkSize:
    """Add the sizes of networks that have no node in common: the families IPv4 and IPv6.

    Sizes add and variances add.  What is not `counted` gets the interval of the negative binomial
    or, as it is no missed node but a share of a zone, of the Gamma distribution.
    """
    counted = sum(size.counted for size in sizes)
    mean = sum(size.estimate for size in sizes)
    variance = sum(size.variance for size in sizes)
    if any(size.estimate and not size.counted for size in sizes):
        low, high = _gamma_95(mean, variance)
        return NetworkSize(mean, max(low, counted), high, variance, counted)
    fewest, most = _negative_binomial_95(mean - counted, variance)
    return NetworkSize(mean, counted + fewest, counted + most, variance, counted)


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
    fewest, most = _negative_binomial_95(estimate - seen, variance)
    return NetworkSize(estimate, seen + fewest, seen + most, variance, seen)


def chao1(once: float, twice: float) -> float:
    """Return how many nodes nobody named, from those that one and that two named (Chao 1984).

    `f1 (f1 - 1) / (2 (f2 + 1))`, a lower bound for any mixture of Poisson means.
    """
    return max(0.0, once * (once - 1)) / (2 * (twice + 1))


def improved_chao1(named: Sequence[float]) -> float:
    """Return how many nodes nobody named, from those with 1, 2, 3 and 4 referrers.

    Chiu, Wang, Walther and Chao (2014): `chao1` and `f3 / (4 f4) * max(0, f1 - f2 f3 / (2 f4))`,
    which is a lower bound too, and a closer one.
    """
    once, twice, thrice, four_times = named[:EXACT_REFERRERS]
    ratio = thrice / max(four_times, 1.0)
    return chao1(once, twice) + ratio / 4 * max(0.0, once - twice * ratio / 2)


def extrapolated(named: Sequence[float], together: float = 1.0) -> float:
    """Return how many nodes nobody named, if counts grow by one factor with each referrer from 0 to 4.

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


def named_from_outside(
    ids: Sequence[int], referrers: Sequence[Sequence[int]], most: int, id_bits: int = 160
) -> OutsideNamings:
    """Return how many nodes lie in parts of the id space that hardly anybody outside of them named.

    A few nodes alone in their part of the id space, beside parts that are full, are named by each other
    only, but for the rare reply that goes that far: they are found together or missed together.  So the
    nodes of a part count together, and namings within it do not count.

    - `ids`: of the nodes that answered, sorted;
    - `referrers`: for each of them, the ids of the answering nodes that named it; of many, the five
      that share the fewest bits with it do;
    - `most`: nodes in a part, the largest aligned ones that have no more: about as many of 8 contacts
      as answer (`8 * answered // sighted`), since 8 are what a node names of its own part.

    Costs some 5 us per id.
    """
    hanging = [0] * (EXACT_REFERRERS + 1)
    squares = 0
    waiting = [(0, len(ids), id_bits)]
    while waiting:
        low, high, bits = waiting.pop()
        if high - low > max(most, 1) and bits:
            middle = bisect_left(ids, ((ids[low] >> bits) << bits) + (1 << bits - 1), low, high)
            waiting += (low, middle, bits - 1), (middle, high, bits - 1)
        elif high > low:
            part = ids[low] >> bits
            outside = {each for named in referrers[low:high] for each in named if each >> bits != part}
            if 0 < len(outside) <= EXACT_REFERRERS:
                hanging[len(outside)] += high - low
                squares += (high - low) ** 2
    _, once, twice, thrice, four_times = hanging
    return OutsideNamings((once, twice, thrice, four_times), squares / sum(hanging) if squares else 1.0)


def sample_coverage(named: Sequence[int]) -> float:
    """Return the share of all namings that fall on nodes named at least once (Good and Turing).

    `1 - f1 / sum(i f_i)`; the last entry of `named` counts as if it were exact, so the result is at
    most the coverage.  0 without any.  It is a share of namings, not of nodes: those whom few name
    weigh little in it.
    """
    namings = sum(times * nodes for times, nodes in enumerate(named, start=1))
    return 1 - named[0] / namings if namings else 0.0


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


def size_of_zones(inside: float, variance: float, zone_bits: int) -> NetworkSize:
    """Return the size of a network of which a zone has so many nodes, known with that variance."""
    zones = 2**zone_bits
    total_variance = zones**2 * (variance + inside * (1 - 1 / zones))
    low, high = _gamma_95(zones * inside, total_variance, zones / 2)
    return NetworkSize(zones * inside, low, high, total_variance)


def _gamma_95(mean: float, variance: float, half: float = 0.0) -> tuple[float, float]:
    """Return the quantiles of the Gamma distribution with this mean, plus `half`, and variance."""
    middle = mean + half
    if variance <= 0 or middle <= 0:
        return mean, mean
    shape = middle * middle / variance
    scale = middle / shape
    return scale * gamma_quantile(shape, LOW_95), scale * gamma_quantile(shape, HIGH_95)


def _negative_binomial_95(mean: float, variance: float) -> tuple[int, int]:
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


@dataclass(frozen=True, slots=True)
class Distances:
    """Hold how far the k-th closest node that answers is from each of some random targets.

    XOR distances as shares of the id space, 0 to 1.  Targets have to lie in different regions, as
    those of `spread_targets` for `targets_for` their nodes; `found` is the share of all nodes that answer
    and were found, with its variance (`CrawlSize.found`).
    """

    values: tuple[float, ...]
    k: int
    found: float = 1.0
    found_variance: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ValueError` unless there is something to estimate from."""
        if not self.values or self.k < 1 or min(self.values) <= 0 or not 0 < self.found <= 1:
            raise ValueError(f"{len(self.values)} distances to node {self.k}: nothing to estimate from")


def size_from_distances(distances: Distances) -> NetworkSize:
    """Estimate a network from distances: `N = (Lk - 1) / sum(d_k) / found`.

    `2 N sum(d_k)` is chi-square with 2Lk degrees of freedom for a Poisson field of ids, which gives
    the exact interval.  Two things change the degrees of freedom, by the variance that they bring:
    a network of few nodes, of which Lk were looked at, varies less by the share seen (the sum is
    Beta(Lk, N + 1 - Lk)); an uncertain `found` varies more.  Unbiased for every N.
    """
    count = len(distances.values) * distances.k
    total = sum(distances.values)
    answering = max((count - 1) / total, count)
    estimate = answering / distances.found
    relative = (1 - count / (answering + 1)) / count + distances.found_variance / distances.found**2
    if relative <= 0:
        return NetworkSize(estimate, estimate, estimate, 0.0)
    shape = 1 / relative
    scale = count / total / distances.found / shape
    low, high = (scale * gamma_quantile(shape, share) for share in (LOW_95, HIGH_95))
    return NetworkSize(estimate, low, high, estimate**2 * relative)


def size_from_median(distances: Distances) -> NetworkSize:
    """Estimate a network from the median distance, which stands if less than half are polluted.

    `N = m / median(d_k) / found` with m the median of Gamma(k), `k - 1/3` nearly.  The interval is
    that of order statistics (David and Nagaraja, 7.1): at least 95 % whatever the distribution; with
    fewer than 6 distances its ends are 0 and infinity.  The uncertainty of `found` is left out.
    """
    ordered = sorted(distances.values)
    count = len(ordered)
    middle = gamma_quantile(distances.k, 0.5) / distances.found
    # So many of the smallest, and of the largest, are outside with at most 2.5 % on each side.
    outside = bisect_left(
        range(count // 2), True, key=lambda each: binomial_tails(count, 0.5, each)[0] > LOW_95
    )
    estimate = middle / median(ordered)
    if not outside:
        return NetworkSize(estimate, 0.0, inf, inf)
    low, high = middle / ordered[count - outside], middle / ordered[outside - 1]
    # Asymptotic, of the median of a Gamma variable on logarithms, for those who add variances.
    variance = estimate**2 * 1.571 / (count * distances.k)
    return NetworkSize(estimate, low, high, variance)


def targets_for(nodes: int, k: int) -> int:
    """Return for how many targets the regions of their k closest nodes meet hardly ever.

    A power of two, with 3 to 6 k nodes to each part: a part is then a prefix, and what is closer to its
    target than a part is wide lies within it.  With 24 nodes expected, one part in 20,000 has fewer than 8.
    """
    return 1 << max(0, (nodes // (3 * k)).bit_length() - 1)


def spread_targets(count: int, shares: Sequence[float], id_bits: int = 160) -> list[int]:
    """Return a target in each of `count` equal parts of the id space, at the given shares of a part.

    With random `shares`, 0 <= share < 1, one for each part, these are random targets whose regions
    seldom meet (`targets_for`).
    """
    return [int((part + share) * 2**53) * 2**id_bits // (count * 2**53) for part, share in enumerate(shares)]


def kth_distance(ids: Sequence[int], target: int, k: int, id_bits: int = 160) -> float | None:
    """Return the XOR distance from a target to the k-th closest of sorted ids, as a share of the space.

    None when there are fewer than k.  Costs some 10 us.
    """
    if len(ids) < k:
        return None
    height = 0
    low = high = bisect_left(ids, target)
    # From a part as large as k ids need on average, to the smallest around the target that holds k.
    while high - low < k:
        height = height + 1 if height else max(1, id_bits - (len(ids) // k).bit_length())
        base = target >> height << height
        low, high = bisect_left(ids, base), bisect_left(ids, base + (1 << height))
    return float(sorted(each ^ target for each in ids[low:high])[k - 1] / 2**id_bits)
