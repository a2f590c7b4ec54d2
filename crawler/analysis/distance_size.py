"""How many nodes a network has, from the distances between random targets and the ids closest to them.

Pure functions of numbers, without I/O.  `size_from_distances` reads the density of ids off the distance
from random targets to the k-th closest node that answered: what lookups tell.  Of the ids that a crawl has
found all targets are averaged instead (`mean_distance`).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from crawler.analysis.distributions import gamma_quantile
from crawler.analysis.species_richness import HIGH_95, LOW_95, NetworkSize


@dataclass(frozen=True, slots=True)
class Distances:
    """The distances from random targets to the k-th closest node that answers.

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


def targets_for(nodes: int, k: int) -> int:
    """Return for how many targets the regions of their k closest nodes meet hardly ever.

    A power of two, with 3 to 6 k nodes to each part: a part is then a prefix, and what is closer to its
    target than a part is wide lies within it.  With 24 nodes expected, one part in 20,000 has fewer than 8.
    """
    return 1 << max(0, (nodes // (3 * k)).bit_length() - 1)


def spread_targets(count: int, shares: Sequence[float], id_bits: int = 160) -> list[int]:
    """Return a target in each of `count` equal parts of the id space, at the given shares of a part.

    With random `shares`, 0 <= share < 1, one for each part, these are random targets whose regions
    hardly ever meet (`targets_for`).
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
