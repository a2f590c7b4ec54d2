"""How long nodes stay, and how often they come, from rounds of visits to all nodes of a zone.

Pure functions of times, without I/O.  A round is a census of the zone; a node that answered in it was
there.  Between two rounds nothing is known, so lengths are known to intervals only, and a session that fits
between two rounds is never seen: the fit (`weibull`) allows for both.  Stutzbach and Rejaie (2006) say
why only sessions whose beginning was seen may count: who is met in the midst of one stays longer than most.
Times are in seconds.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import exp, inf, lgamma, log, sqrt
from statistics import mean, median, variance

from crawler.analysis.distributions import NORMAL_95


@dataclass(frozen=True, slots=True)
class Stay:
    """One session as rounds show it.

    It answered from the round at `first` to that at `last`; `before` is the round before, when it was not
    there, None if there was none that tells; `after` is the round after, None if it may still be there.
    """

    before: float | None
    first: float
    last: float
    after: float | None

    @property
    def midpoint(self) -> float:
        """Return the middle of what its length may be; infinity where an end was not seen."""
        if self.before is None or self.after is None:
            return inf
        return (self.last - self.first + self.after - self.before) / 2


class NodeClass(StrEnum):
    """What the whole window shows of a node."""

    OFFLINE = "offline"
    """Named, and never there."""

    ONE_OFF = "one-off"
    """There once, neither at the beginning nor at the end."""

    ONLINE = "online"
    LEFT = "left"
    ENTERED = "entered"
    DANGLING = "dangling"
    """There more than once."""


def stays_of(answered: Sequence[int], times: Sequence[float], misses: int = 1) -> list[Stay]:
    """Return the sessions of a node that answered in these rounds, numbers into `times`, in order.

    So many misses in a row are an end: with a chance q that a visit to a node that is there fails, a share
    `q**misses` of all visits ends a session falsely; absences shorter than that many rounds are not seen.
    Raises `ValueError` for less than one.
    """
    if misses < 1:
        raise ValueError(f"{misses} misses end no session")
    stays: list[Stay] = []
    for place, number in enumerate(answered):
        if place and number - answered[place - 1] <= misses:
            stays[-1] = _until(stays[-1], number, times, misses)
        else:
            before = times[number - 1] if number >= misses else None
            stays.append(_until(Stay(before, times[number], 0.0, None), number, times, misses))
    return stays


def _until(stay: Stay, number: int, times: Sequence[float], misses: int) -> Stay:
    after = times[number + 1] if number + misses < len(times) else None
    return Stay(stay.before, stay.first, times[number], after)


def class_of(stays: Sequence[Stay]) -> NodeClass:
    """Return the class of a node with these sessions."""
    if len(stays) != 1:
        return NodeClass.DANGLING if stays else NodeClass.OFFLINE
    match stays[0].before is None, stays[0].after is None:
        case True, True:
            return NodeClass.ONLINE
        case True, False:
            return NodeClass.LEFT
        case False, True:
            return NodeClass.ENTERED
    return NodeClass.ONE_OFF


def single_miss_share(answered: Iterable[Sequence[int]]) -> float:
    """Return how often a node missed one round between two that it answered: no less than q.

    True absences of one round are among them.  0 when no node answered twice.
    """
    gaps = Counter(later - earlier for each in answered for earlier, later in pairwise(each))
    return gaps[2] / (gaps[1] + 2 * gaps[2]) if gaps[1] + gaps[2] else 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a group that is left after a time, with Wilson's 95 % interval."""

    time: float
    share: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share (Wilson 1927); raises `ValueError` without trials."""
    if not 0 <= successes <= trials or not trials:
        raise ValueError(f"{successes} of {trials} is no share")
    square = NORMAL_95**2
    middle = (successes + square / 2) / (trials + square)
    spread = NORMAL_95 / (trials + square) * sqrt(successes * (trials - successes) / trials + square / 4)
    # Exact where nothing or all succeeded, whatever rounding does.
    low = max(0.0, middle - spread) if successes else 0.0
    return low, min(1.0, middle + spread) if successes < trials else 1.0


def created(stays: Iterable[Stay], times: Sequence[float]) -> list[Stay]:
    """Return the sessions that were seen to begin in the first half of the window (create-based method).

    Each of them was watched for the other half at least, so all lengths up to that have the same chance
    to be seen whole.
    """
    middle = (times[0] + times[-1]) / 2
    return [stay for stay in stays if stay.before is not None and stay.first <= middle]


def still_there(stays: Sequence[Stay], times: Sequence[float]) -> list[Share]:
    """Return the share that still answered so long after its first answer, up to half the window.

    `stays` are those `created`.  One point for each round of that half.  This is survival as visits see it,
    to be compared with `weibull.Weibull.still_there`.  Empty without sessions.
    """
    seen = sorted(stay.last - stay.first for stay in stays)
    if not seen:
        return []
    half = (times[-1] - times[0]) / 2
    points = []
    for elapsed in (time - times[0] for time in times if time - times[0] <= half):
        left = len(seen) - bisect_left(seen, elapsed * (1 - 1e-9))
        points.append(Share(elapsed, left / len(seen), *wilson(left, len(seen))))
    return points


def arrivals(stays: Iterable[Stay], times: Sequence[float]) -> list[int]:
    """Return how many sessions were seen to begin in each round but the first."""
    counts = Counter(stay.first for stay in stays if stay.before is not None)
    return [counts[time] for time in times[1:]]


@dataclass(frozen=True, slots=True)
class NegativeBinomial:
    """A law of counts: Poisson with a mean that varies; `size` is infinite where it does not."""

    mean: float
    size: float

    def chance(self, count: int) -> float:
        """Return the probability of a count."""
        if not self.mean:
            return float(count == 0)
        if self.size == inf:
            return exp(count * log(self.mean) - self.mean - lgamma(count + 1))
        size, total = self.size, self.size + self.mean
        ways = lgamma(count + size) - lgamma(size) - lgamma(count + 1)
        return exp(ways + size * log(size / total) + count * log(self.mean / total))


def fit_negative_binomial(counts: Sequence[int]) -> NegativeBinomial:
    """Fit by moments: `size = mean**2 / (variance - mean)`; Poisson where they vary no more than that.

    Raises `ValueError` for fewer than two counts.
    """
    if len(counts) < 2:
        raise ValueError("one count alone does not vary")
    average, spread = mean(counts), variance(counts)
    return NegativeBinomial(average, average**2 / (spread - average) if spread > average else inf)


def mean_by_little(
    present: Sequence[int], arrived: Sequence[int], spacing: float, seen_share: float
) -> float:
    """Return the mean session by Little's law, nodes present over arrivals per second.

    Shares nothing with the fit but `seen_share`, the share of arrivals that rounds `spacing` apart see.
    Infinite without arrivals.
    """
    rate = mean(arrived) / spacing / seen_share
    return mean(present) / rate if rate else inf


@dataclass(frozen=True, slots=True)
class Age:
    """How long a node has been there at a moment, and how long it stays; infinite if not seen."""

    elapsed: float
    remaining: float


def ages_at(stays: Iterable[Stay], moment: float) -> list[Age]:
    """Return the ages of all who were there at a moment, to the middle of what they may be."""
    ages = []
    for stay in stays:
        if stay.first <= moment <= stay.last:
            began = -inf if stay.before is None else (stay.before + stay.first) / 2
            ended = inf if stay.after is None else (stay.last + stay.after) / 2
            ages.append(Age(moment - began, ended - moment))
    return ages


def median_remaining(ages: Iterable[Age], bounds: Sequence[float]) -> list[tuple[int, float]]:
    """Return for each interval between bounds of elapsed time how many are in it and how long half stay.

    The median is infinite when more than half were still there at the end, and NaN for an empty interval.
    """
    groups: list[list[float]] = [[] for _ in bounds[1:]]
    for age in ages:
        place = bisect_right(bounds, age.elapsed) - 1
        if 0 <= place < len(groups):
            groups[place].append(age.remaining)
    return [(len(group), median(group) if group else float("nan")) for group in groups]
