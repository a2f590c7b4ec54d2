"""How ids lie in the id space: counts by prefix, distances of neighbours, and what sizes follow from them.

Pure functions of sorted ids, without I/O.  Honest ids are uniform, which makes counts Poisson and
distances Gamma; what departs from that is missed, or put there.
"""

from collections.abc import Sequence
from math import exp, lgamma, log
from random import Random

from crawler.analysis.distance_size import Distances, kth_distance, size_from_distances, spread_targets
from dhtnode.ids import ID_BITS


def prefix_counts(ids: Sequence[int], bits: int) -> list[int]:
    """Return how many ids each part of the space has, by their first `bits` bits, 0 first."""
    counts = [0] * (1 << bits)
    for each in ids:
        counts[each >> ID_BITS - bits] += 1
    return counts


def poisson_chance(mean: float, count: int) -> float:
    """Return the probability of a count."""
    return exp(count * log(mean) - mean - lgamma(count + 1)) if mean else float(count == 0)


def gamma_density(shape: int, value: float) -> float:
    """Return the density of Gamma(shape, scale 1), that of `N d_k` for the k-th closest of N nodes."""
    return exp((shape - 1) * log(value) - value - lgamma(shape)) if value > 0 else float(shape == 1)


def random_targets(count: int, random: Random) -> list[int]:
    """Return random targets, one in each of `count` equal parts, so that their regions hardly ever meet."""
    drawn = spread_targets(count, [random.random() for _ in range(count)], ID_BITS)
    return [each ^ random.getrandbits(64) for each in drawn]


def neighbour_distances(ids: Sequence[int], target: int, k: int) -> list[float]:
    """Return the distances to the 1st to k-th closest of sorted ids, as shares of the space.

    Fewer where there are not so many.
    """
    found = (kth_distance(ids, target, place, ID_BITS) for place in range(1, k + 1))
    return [distance for distance in found if distance is not None]


def size_draws(ids: Sequence[int], k: int, lookups: int, draws: int, random: Random) -> list[float]:
    """Return so many estimates of the size of a network, each from other lookups among its sorted ids.

    Some 15 us for each lookup.  Raises `ValueError` for fewer than k ids.
    """
    if len(ids) < k:
        raise ValueError(f"{len(ids)} ids have no {k} closest")
    return [_size_of(ids, k, random_targets(lookups, random)) for _ in range(draws)]


def _size_of(ids: Sequence[int], k: int, targets: Sequence[int]) -> float:
    found = (kth_distance(ids, target, k, ID_BITS) for target in targets)
    distances = tuple(distance for distance in found if distance is not None)
    return size_from_distances(Distances(distances, k)).estimate
