"""How many info-hashes a network holds, from samples of what its nodes store (BEP 51).

Pure functions of numbers, without I/O.  A node says how many info-hashes it stores (`num`) and shows
a few of them, 20 as a rule; an info-hash lies with several nodes.  So each that was shown stands for as many
as there are for one shown: 1 over the chance that any of its holders shows it (Horvitz and Thompson 1952).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, floor, log, sqrt
from statistics import mean

from crawler.analysis.distributions import NORMAL_95
from crawler.analysis.species_richness import NetworkSize
from dhtnode.swarm import chao1

REPLICAS = 8  # nodes that an info-hash is announced to (BEP 5)
_TIMES = 5
# Of what was not shown, where it cannot be told of any node whether it holds an info-hash: these differ.
UNTOLD_ERROR = 0.35
AS_OTHERS = 8.0  # holders, by which an info-hash is held to lie with as many nodes as others do


@dataclass(frozen=True, slots=True)
class NearStore:
    """A node that may hold an info-hash: one of the closest to it, by its rank, that gave a sample.

    It shows a `share` of what it stores.  `holds` is None where it cannot be told whether the info-hash is
    among that; `shows` says whether it is among what was shown.  A node without a rank is farther away.
    """

    rank: int | None
    share: float
    shows: bool
    holds: bool | None


@dataclass(frozen=True, slots=True)
class ShownInfohash:
    """An info-hash that was shown: how likely that was, and that it has one holder only, or two.

    Of its holders to be expected, of a share `untold` it cannot be told whether they hold it.
    """

    chance: float
    one: float = 0.0
    two: float = 0.0
    untold: float = 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much is known: the share of what further samples will show, with its 95 % interval."""

    share: float
    low: float
    high: float


def sample_coverage(once: int, twice: int, shown: int) -> Coverage:
    """Return which share of the next info-hashes shown will be known ones (Good 1953, Turing).

    `C = 1 - f1 / n`: n shown in all, f1 info-hashes of them once and f2 twice; the normal interval has
    variance `(f1 (1 - f1/n) + 2 f2) / n**2` (Esty 1983).  This is no share of all info-hashes: those
    that many nodes hold weigh more in it.
    """
    if shown <= 0:
        return Coverage(0.0, 0.0, 1.0)
    share = 1 - once / shown
    error = NORMAL_95 * sqrt(once * share + 2 * twice) / shown
    return Coverage(share, max(0.0, share - error), min(1.0, share + error))


def shown_infohashes(looked_up: Sequence[Sequence[NearStore]]) -> list[ShownInfohash]:
    """Return how likely each of some info-hashes was shown, from the nodes that may hold it.

    A node of which it cannot be told whether it holds an info-hash does so as often as others of its rank:
    `(those that hold theirs + those that show theirs) / (those told + shares of the others)`.  Each info-hash
    weighs as much as the number that it stands for, which follows from this, so it is done a few times.
    """
    found = [ShownInfohash(1.0) for _ in looked_up]
    for _ in range(_TIMES):
        shares = _holding_shares(looked_up, found)
        found = [_shown(stores, shares) for stores in looked_up]
    return found


def _holding_shares(
    looked_up: Sequence[Sequence[NearStore]], found: Sequence[ShownInfohash]
) -> dict[int | None, float]:
    told, holding = dict[int | None, float](), dict[int | None, float]()
    for stores, shown in zip(looked_up, found, strict=True):
        weight = 1 / max(shown.chance, 1e-9)
        for each in stores:
            is_told = each.holds is not None
            holds = each.holds if is_told else each.shows
            told[each.rank] = told.get(each.rank, 0.0) + weight * (1.0 if is_told else each.share)
            holding[each.rank] = holding.get(each.rank, 0.0) + weight * bool(holds)
    return {rank: min(1.0, holding[rank] / told[rank]) for rank in told if told[rank]}


def _shown(stores: Sequence[NearStore], shares: dict[int | None, float]) -> ShownInfohash:
    missing, one, two, none, guessed = 1.0, 0.0, 0.0, 1.0, 0.0
    told = [each for each in stores if each.holds is not None]
    # One that lies with more of the nodes that tell than others do lies with more of the rest too.
    expected = sum(shares.get(each.rank, 0.0) for each in told)
    reach = (AS_OTHERS + sum(bool(each.holds) for each in told)) / (AS_OTHERS + expected)
    for each in stores:
        if each.holds is None:
            before = min(1.0, reach * shares.get(each.rank, 0.0))
            missing *= 1 - before * each.share
            # One that does not show it holds it less likely.
            holds = 1.0 if each.shows else before * (1 - each.share) / max(1 - before * each.share, 1e-9)
            guessed += 0.0 if each.shows else holds
        else:
            missing *= 1 - each.holds * each.share
            holds = float(each.holds)
        none, one, two = none * (1 - holds), one * (1 - holds) + none * holds, two * (1 - holds) + one * holds
    known = sum(each.shows or bool(each.holds) for each in stores)
    return ShownInfohash(1 - missing, one, two, guessed / max(guessed + known, 1e-9))


def population(
    showings: Sequence[int], looked_up: Sequence[ShownInfohash], *, zone_bits: int = 0
) -> NetworkSize | None:
    """Estimate the info-hashes of a network, or of all its zones from one, from those shown.

    `showings` counts the info-hashes shown, and those of them shown by one node and by two; `looked_up` are
    a random part of them.  To those shown come

    - `sum(1 / chance - 1)` of what is held by nodes that gave samples, but was not shown;
    - what none of these nodes holds, by Chao1 from how many hold the others: a lower bound;
    - in place of both, if it is more, Chao1 from how many nodes showed each.

    Their variance is that of the info-hashes shown, of the part looked up (linearised), of Chao1 (each counts
    by its weight squared) and `UNTOLD_ERROR`.  The
    interval of what was not shown is log-normal, so the whole interval lies above what was.  A zone of z bits
    adds the variance of a binomial share of all.  None when no info-hash was looked up.
    """
    distinct, once, twice = showings
    looked_up = [each for each in looked_up if each.chance > 0]
    weights = [1 / each.chance for each in looked_up]
    if not weights:
        return None
    scale, count = distinct / len(looked_up), len(weights)
    unseen = scale * sum(weight - 1 for weight in weights)
    variance = scale * sum(weight * (weight - 1) for weight in weights)
    spread = sum((weight - mean(weights)) ** 2 for weight in weights) / max(count - 1, 1)
    variance += distinct**2 * spread / count * max(0.0, 1 - len(looked_up) / distinct)
    ones = scale * sum(each.one / each.chance for each in looked_up)
    twos = scale * sum(each.two / each.chance for each in looked_up)
    weight = sum(each.one / each.chance**2 for each in looked_up) * scale / ones if ones else 1.0
    untold = sum(each.untold / each.chance for each in looked_up) / sum(weights)
    variance += (UNTOLD_ERROR * untold * unseen) ** 2
    unseen += _unheld(ones, twos)
    variance += weight * scale * _unheld_variance(ones, twos)
    if _unheld(once, twice) > unseen:
        unseen, variance = _unheld(once, twice), _unheld_variance(once, twice)
    here = distinct + unseen
    if zone_bits:
        size = _log_normal(2**zone_bits * here, variance / here**2 + (1 - 2.0**-zone_bits) / here)
        return NetworkSize(size.estimate, max(size.low, distinct), size.high, size.variance, distinct)
    beyond = _log_normal(unseen, variance / unseen**2) if unseen else NetworkSize(0, 0, 0, 0)
    return NetworkSize(here, distinct + floor(beyond.low), distinct + ceil(beyond.high), variance, distinct)


def _unheld(once: float, twice: float) -> float:
    """Return how many no node has, given how many one has and two have (Chao 1987), of `REPLICAS` at most."""
    return (1 - 1 / REPLICAS) * chao1(once, twice)


def _unheld_variance(once: float, twice: float) -> float:
    """Return the variance of Chao1 (Chao 1987)."""
    ratio = once / max(twice, 1.0)
    return max(twice, 1.0) * (ratio**2 / 2 + ratio**3 + ratio**4 / 4)


def _log_normal(estimate: float, relative_variance: float) -> NetworkSize:
    spread = exp(NORMAL_95 * sqrt(log(1 + relative_variance)))
    return NetworkSize(estimate, estimate / spread, estimate * spread, estimate**2 * relative_variance)


def least_population(distinct: int, once: int, twice: int) -> float:
    """Return at least how many info-hashes there are, by Chao1 over the nodes that showed each."""
    return distinct + chao1(once, twice)
