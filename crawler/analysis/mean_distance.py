"""Whether the ids that a crawl has found are spread evenly: their density by distances, against their number.

Pure functions of ids, without I/O.  It is made of the ids that the crawl has counted, so it is no second
count of the network.  The distance from a target to the k-th closest id is averaged over all targets that
there are; none are drawn, so the same ids always give the same number.
"""

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from crawler.analysis.species_richness import NetworkSize, gamma_95

_ID_WORD = 64
# Bits below those that tell ids apart on average: the rest moves the mean by less than 1 in 100,000.
_MORE_BITS = 16
# Of the density over all targets, times the root of the ids: simulated for k = 8 and 16 to 16,000 ids.
_SPREAD = 0.44


def mean_distance(prefixes: NDArray[np.uint64], k: int, zone_bits: int = 0) -> float | None:
    """Return the mean XOR distance from a target to the k-th closest id, over all targets of a zone.

    It is exact, and a share of the id space.  `prefixes` are the first 64 bits of distinct ids of the zone,
    sorted.  None for fewer than k.  The j-th closest to a target lies in the same half of a part of the id
    space, where m are, or it is the (j - m)-th closest of the other half to a target that may be anywhere
    there.  Some 4 us for each id.
    """
    if len(prefixes) < k:
        return None
    depth = min(_ID_WORD, zone_bits + len(prefixes).bit_length() + _MORE_BITS)
    parts, counts = np.unique(prefixes >> np.uint64(_ID_WORD - depth), return_counts=True)
    ranks = np.arange(1, k + 1)
    # By part and rank; ids that are not told apart are anywhere in their part.
    means = np.where(ranks <= counts[:, None], 2.0**-depth / 2, np.inf)
    while depth > zone_bits:
        half, depth = 2.0**-depth, depth - 1
        above = parts >> np.uint64(1)
        starts = np.flatnonzero(np.concatenate([[True], above[1:] != above[:-1]]))
        has_two = np.diff(starts, append=len(parts)) == 2
        joined, joined_counts = means[starts] + half / 2, counts[starts].copy()
        one, other = starts[has_two], starts[has_two] + 1
        joined[has_two] = (
            _in_either(means, counts, one, other, half) + _in_either(means, counts, other, one, half)
        ) / 2
        joined_counts[has_two] += counts[other]
        means, counts, parts = joined, joined_counts, above[starts]
    return float(means[0, k - 1])


def _in_either(
    means: NDArray[np.float64],
    counts: NDArray[np.int64],
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    half: float,
) -> NDArray[np.float64]:
    """Return the means for targets in one half of each part, of which the other half has ids too."""
    ranks = np.arange(1, means.shape[1] + 1)
    left = ranks - counts[own][:, None]  # that are to be found in the other half
    beyond = np.take_along_axis(means[other], np.maximum(left - 1, 0), axis=1) + half
    return np.where(left <= 0, means[own], beyond)


@dataclass(frozen=True, slots=True)
class Evenness:
    """The size of a network by the density of its ids, and how likely evenly spread ids are as far off."""

    size: NetworkSize
    p_value: float


def evenness(
    distance: float, ids: int, k: int, *, zone_bits: int, found: float, found_variance: float
) -> Evenness:
    """Return what a mean distance to the k-th closest of `ids` says of evenly spread ones.

    `N = (k / distance - 1) / found`, for the share `found` of all nodes.  The spread of the density is
    `0.44 / sqrt(ids)`; those of the share and of the zone are added to the variance.  The p-value, two-sided
    and normal, is of the density against the number of `ids` alone: that test knows nothing of the share.
    """
    inside = k / distance / 2**zone_bits - 1
    relative = _SPREAD**2 / ids
    p_value = erfc(abs(inside / ids - 1) / sqrt(2 * relative))
    relative += found_variance / found**2 + (1 - 2.0**-zone_bits) / ids
    estimate = 2**zone_bits * inside / found
    low, high = gamma_95(estimate, estimate**2 * relative)
    return Evenness(NetworkSize(estimate, low, high, estimate**2 * relative), p_value)
