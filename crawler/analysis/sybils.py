"""Alarms for many ids in one hand: on one host, in one zone, around one target.

Pure functions of counts and distances, without I/O.  Each returns a p-value (how often honest nodes
would look like this, or worse) and whether that is an alarm at a stated rate of false alarms.  An
alarm is for people to look at: an attacker just under the limits of all tests is not found, and hosts
behind one address are honest more often than not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log, log2
from random import Random

from crawler.analysis.distance_size import Distances
from crawler.analysis.distributions import binomial_tails, f_tails, gamma_tails

FALSE_ALARMS = 0.01
"""Share of honest networks in which a whole test, over all its hosts or zones, raises an alarm."""

FEW_IDS = 4
"""Ids on one host that are never an alarm: people share addresses, and clients change their ids."""

KL_BINS = 10


@dataclass(frozen=True, slots=True)
class Alarm:
    """The result of a test of one host, zone or neighbourhood.

    `subject` is the host or the number of the zone, `score` what was measured, `expected` what honest
    nodes would show on average.
    """

    subject: str | int
    score: float
    expected: float
    p_value: float
    is_suspect: bool


@dataclass(frozen=True, slots=True)
class ZoneReport:
    """The zones with too many ids, densest first, and a test of all zones together.

    `dispersion` is the variance of the counts over that of honest nodes, about 1, with its p-value.
    """

    suspects: tuple[Alarm, ...]
    expected: float
    dispersion: float
    dispersion_p_value: float


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which p-values to believe so that at most `rate` of those believed are false, on average.

    Benjamini and Hochberg (1995): the i-th smallest of m is compared with `rate i / m`, and the largest
    that passes takes all smaller ones with it.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    passed = [
        place for place, index in enumerate(order, 1) if p_values[index] <= rate * place / len(p_values)
    ]
    believed = set(order[: max(passed, default=0)])
    return [index in believed for index in range(len(p_values))]


def crowded_hosts(
    hosts_with: Mapping[int, int], crowded: Mapping[str, int], rate: float = FALSE_ALARMS
) -> list[Alarm]:
    """Return the hosts with more than `FEW_IDS` ids, most first, and whether that is an alarm.

    `hosts_with` counts the hosts with so many ids, `crowded` has the ids of those above `FEW_IDS`.

    How many share an address differs from network to network, so honest hosts are the measure: of
    those with one id or two, a share has two; a further id is taken to be no more likely than that
    (geometric tail `share**(ids - 1)`, the share from above: one more in the numerator).  Bonferroni
    over all hosts.
    """
    once, twice = hosts_with.get(1, 0), hosts_with.get(2, 0)
    more = (twice + 1) / (once + twice + 2)
    hosts = sum(hosts_with.values())
    alarms = []
    for host, ids in crowded.items():
        p_value = more ** (ids - 1)
        alarms.append(Alarm(host, ids, 1 / (1 - more), p_value, p_value * hosts <= rate))
    return sorted(alarms, key=lambda alarm: -alarm.score)


def dense_zones(counts: Sequence[int], rate: float = FALSE_ALARMS) -> ZoneReport:
    """Return which zones of equal size hold more ids than chance would put there.

    Each count against Binomial(all, 1 / zones), which is Poisson for many zones, with Bonferroni over the
    zones; all together by `sum((c - mean)**2) / mean`, chi-square with one degree less than zones.
    The mean is taken without the suspects, found one after the other from the densest on, or a large
    attack would hide behind the mean that it raises.  Costs some 0.2 ms, and 0.1 ms per suspect.
    """
    zones = len(counts)
    if zones < 2:
        raise ValueError("one zone alone is neither dense nor sparse")
    order = sorted(range(zones), key=lambda zone: -counts[zone])
    rest, suspects = sum(counts), []
    for place, zone in enumerate(order[:-1]):
        # The largest of those left is compared with the mean of the others.
        others = zones - place
        _, p_value = binomial_tails(rest, 1 / others, counts[zone])
        if p_value * zones > rate:
            break
        rest -= counts[zone]
        suspects.append((zone, p_value))
    expected = rest / (zones - len(suspects))
    alarms = tuple(Alarm(zone, counts[zone], expected, p_value, True) for zone, p_value in suspects)
    mean = sum(counts) / zones
    if not mean:
        return ZoneReport((), 0.0, 1.0, 1.0)
    square = sum((count - mean) ** 2 for count in counts) / mean
    return ZoneReport(alarms, expected, square / (zones - 1), gamma_tails((zones - 1) / 2, square / 2)[1])


def distance_test(
    distance: float, k: int, background: Distances, *, rate: float = 0.001, target: str = ""
) -> Alarm:
    """Test whether the k closest to a target lie closer than chance would have it; exact.

    `F = (d_k / k) / (S / (L k')) ~ F(2k, 2 L k')`, lower tail, where S is the sum of the L distances to
    the k'-th closest of other targets.  `distance` is d_k as a share of the id space; both have to be
    found in the same way, as nodes missed cancel only then.
    """
    count = len(background.values) * background.k
    ratio = distance * count / sum(background.values) / k
    p_value = f_tails(2 * k, 2 * count, ratio)[0]
    return Alarm(target, ratio, 1.0, p_value, p_value <= rate)


def kl_divergence(prefix_lengths: Sequence[int], nodes: float) -> float:
    """Return how far the prefixes that the k closest share with a target are from those of chance.

    Cholez et al. (2011): `sum M(i) ln(M(i) / T(i))` over 10 lengths i from `b = floor(log2(nodes / k))`,
    M the share of the k that has i bits in common, T the expected one: that with at least i bits is
    `min(1, nodes 2**-i / k)`.  Shorter prefixes count as b, longer ones as the last.
    """
    k = len(prefix_lengths)
    shortest, expected = _expected_shares(nodes, k)
    seen = Counter(min(max(length - shortest, 0), KL_BINS - 1) for length in prefix_lengths)
    return sum(times / k * log(times / k / expected[bits]) for bits, times in seen.items())


def _expected_shares(nodes: float, k: int) -> tuple[int, list[float]]:
    """Return the shortest length, and the shares of the k closest that have it, one bit more, and so on."""
    shortest = floor(log2(nodes / k))
    at_least = [min(1.0, nodes / k * 2.0 ** -(shortest + bits)) for bits in range(KL_BINS)]
    # Exactly nodes = k 2**b leaves some for the first length too, if only just.
    return shortest, [
        max(here - more, 1e-9) for here, more in zip(at_least, [*at_least[1:], 0.0], strict=True)
    ]


def kl_of_chance(nodes: float, k: int, random: Random, draws: int = 10_000) -> tuple[float, ...]:
    """Return the sorted divergences of the k closest in so many honest networks.

    The distances are the first k points of a Poisson process.  The result depends on `nodes` through the
    fraction of `log2(nodes / k)`: for k = 8 the median lies between 0.35 and 0.76, so it has to be made for
    the network at hand.  Costs 1 us per draw.
    """
    import numpy as np

    shortest, expected = _expected_shares(nodes, k)
    steps = np.random.default_rng(random.getrandbits(128)).exponential(1 / nodes, (draws, k))
    lengths = np.floor(-np.log2(steps.cumsum(axis=1))).astype(int)
    bins = np.clip(lengths - shortest, 0, KL_BINS - 1) + KL_BINS * np.arange(draws)[:, None]
    shares = np.bincount(bins.ravel(), minlength=draws * KL_BINS).reshape(draws, KL_BINS) / k
    # Where the share is 0, so is the term.
    terms = shares * np.log(np.where(shares > 0, shares, 1.0) / expected)
    return tuple(np.sort(np.where(shares > 0, terms, 0.0).sum(axis=1)).tolist())


def kl_test(
    prefix_lengths: Sequence[int],
    nodes: float,
    chance: Sequence[float],
    *,
    rate: float = 0.001,
    target: str = "",
) -> Alarm:
    """Test the prefixes of the k closest to a target against `chance`, which is from `kl_of_chance`.

    The p-value is the share of honest networks that diverge as much, `(1 + worse) / (1 + draws)`: it is
    never below 1 / (1 + draws), so a rate needs some ten times as many draws as its inverse.
    """
    score = kl_divergence(prefix_lengths, nodes)
    worse = sum(each >= score for each in chance)
    p_value = (1 + worse) / (1 + len(chance))
    return Alarm(target, score, sum(chance) / len(chance), p_value, p_value <= rate)
