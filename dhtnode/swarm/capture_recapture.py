"""How many peers no node told us of, from how often the others were told of.

Each node is an occasion on which some of the swarm were caught.  The estimators here know sizes and
overlaps only; that a node's store is a random part of the swarm is what they all assume.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations
from math import exp, hypot, log, log1p, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import FILTER_BITS, ScrapeFilter, hosts_between, union_of
from dhtnode.swarm.filter_size import NORMAL_95, Interval, relative_error
from dhtnode.swarm.full_stores import FEWEST_ZERO_BITS

MAX_SPREAD = 3.0
"""Factor from an estimate to the ends of its interval beyond which it means nothing.

Stores without a common peer share a few bits by chance; one in five such sets would pass for a
swarm 10 to 30 times as large as what was seen, with this limit one in fifty.
"""

FEW = 2
"""Stores, random parts, from which the overlap with others beside them tells a size."""

# Of Newton's method; 5 do for most.
_STEPS = 60
# Of the number of peers.
_PRECISION = 1e-7
# Times what was seen: nothing that two stores share can tell so much.
_FAR = 1000


class DarrochEstimate(NamedTuple):
    """The size of a swarm of which a part was seen.

    `slope` is how much the estimate moves when one more peer is seen, `deviation` the standard
    deviation that comes from who happened to be stored where, without that of the filters.
    """

    estimate: float
    slope: float
    deviation: float


def darroch(seen: float, sizes: Sequence[float]) -> DarrochEstimate | None:
    """Estimate a swarm from the peers seen and from how many each node told of (Darroch 1958).

    The maximum likelihood when each node holds a random part of its own size: the number N of which
    the N * (1 - s1/N) * (1 - s2/N) * ... that no node would have told of are just those not seen.
    None without overlap.
    """
    caught = [min(size, seen) for size in sizes if size > 0]
    if seen <= 0 or max(caught, default=seen) >= seen:
        return DarrochEstimate(seen, 1.0, 0.0)
    if sum(caught) <= seen * (1 + _PRECISION):
        return None
    peers = seen
    for _ in range(_STEPS):
        missed, slope = _missed(peers, caught)
        step = (seen - peers * (1 - missed)) * slope
        peers = max(peers + step, seen)
        if peers > _FAR * seen:
            return None
        if abs(step) < _PRECISION * peers:
            break
    missed, slope = _missed(peers, caught)
    if not missed:
        return DarrochEstimate(peers, 1.0, 0.0)
    information = 1 / missed - 1 - sum(size / (peers - size) for size in caught)
    if information <= 0:
        return None
    return DarrochEstimate(peers, slope, sqrt(peers / information))


def _missed(peers: float, caught: Sequence[float]) -> tuple[float, float]:
    """Return the share that no node tells of, and how fast the whole grows with the peers seen."""
    missed = exp(sum(log1p(-size / peers) for size in caught))
    return missed, 1 / max(1 - missed * (1 + sum(size / (peers - size) for size in caught)), 1e-9)


def pair_ratio(stores: Sequence[ScrapeFilter], beside: Sequence[ScrapeFilter] = ()) -> Interval | None:
    """Estimate a swarm from the overlap of stores (Petersen, pooled over all pairs of nodes).

    Holds when every node keeps a random part of the swarm, however small; where all nodes favour
    the same peers, early comers or well connected ones, it is too low.  None with fewer than three
    stores that hold something, or with so little overlap that one node decides or that the interval
    is wider than `MAX_SPREAD`: 8 nodes that keep 500 each reach to about 20,000 peers.

    The interval is a jackknife over nodes, on logarithms because the overlap is in the denominator;
    the noise of the filters themselves, which is common to all nodes, is added.
    `stores` are random parts of the swarm; those `beside` them may be any part: they are compared with the
    others and not with each other.  Costs 3 us per pair.
    """
    filled = [store for store in stores if not store.is_empty]
    if len(filled) == FEW and beside:
        return _ratio_of_few(filled, union_of(beside))
    if len(filled) <= FEW:
        return None
    random_parts = len(filled)
    filled += beside
    products, shared = _sums_of_pairs(filled, random_parts)
    product, overlap = sum(products) / 2, sum(shared) / 2
    without_one = [(product - products[node], overlap - shared[node]) for node in range(len(filled))]
    if min(min(each) for each in without_one) <= _PRECISION:
        return None
    estimate = product / overlap
    logs = [log(part_product / part_overlap) for part_product, part_overlap in without_one]
    mean = sum(logs) / len(logs)
    jackknife = sqrt((1 - 1 / len(logs)) * sum((value - mean) ** 2 for value in logs))
    if beside:  # few decide then: the variance of Student's t for their number
        jackknife *= sqrt(random_parts / (random_parts - 2))
    filter_noise = relative_error(union_of(filled).estimate())
    spread = exp(NORMAL_95 * hypot(jackknife, filter_noise))
    return Interval(estimate, estimate / spread, estimate * spread) if spread <= MAX_SPREAD else None


def _ratio_of_few(stores: Sequence[ScrapeFilter], beside: ScrapeFilter) -> Interval | None:
    """Estimate a swarm from two stores that are random parts of it, and any other part beside them.

    Too few for a jackknife: the error is that of how many peers are shared, and of the bits.
    """
    logs, weights = [], []
    for one, other in ((*stores,), (stores[0], beside), (stores[1], beside)):
        union = one | other
        sizes = one.estimate(), other.estimate()
        shared = sum(sizes) - union.estimate()
        if union.zero_bits < FEWEST_ZERO_BITS or shared <= 0:
            continue
        odds = [FILTER_BITS / each.zero_bits - 1 for each in (one, other)]
        noise = FILTER_BITS / 4 * odds[0] * odds[1] + 1
        logs.append(log(sizes[0] * sizes[1] / shared))
        weights.append(1 / (max(1 - shared / min(sizes), 0.0) / shared + noise / shared**2))
    if len(logs) < FEW:
        return None
    # The pairs have stores in common: their mean is not known better than the best of them.
    mean = sum(weight * each for weight, each in zip(weights, logs, strict=True)) / sum(weights)
    spread = exp(NORMAL_95 / sqrt(max(weights)))
    return Interval(exp(mean), exp(mean) / spread, exp(mean) * spread) if spread <= MAX_SPREAD else None


def _sums_of_pairs(stores: Sequence[ScrapeFilter], random_parts: int) -> tuple[list[float], list[float]]:
    """Return for each store the products of its size with the others', and the peers shared, added up.

    Of each pair at least one is of the first `random_parts`.
    """
    sizes, bits = [store.estimate() for store in stores], [store.bits for store in stores]
    products, shared = [0.0] * len(stores), [0.0] * len(stores)
    for i, j in combinations(range(len(stores)), 2):
        if i >= random_parts:
            break
        zero_bits = FILTER_BITS - (bits[i] | bits[j]).bit_count()
        if zero_bits < FEWEST_ZERO_BITS:
            continue
        overlap = sizes[i] + sizes[j] - hosts_between(FILTER_BITS, zero_bits)
        product = sizes[i] * sizes[j]
        products[i] += product
        products[j] += product
        shared[i] += overlap
        shared[j] += overlap
    return products, shared


class ListedHosts(NamedTuple):
    """The numbers of hosts listed by one node, by two, and so on, of `nodes` that listed any."""

    nodes: int
    hosts: Counter[int]

    @classmethod
    def of(cls, occasions: Sequence[AbstractSet[Hashable]]) -> "ListedHosts":
        """Count how often each host was listed; 0.1 us for each time."""
        times = Counter[Hashable]()
        for hosts in occasions:
            times.update(hosts)
        return cls(len(occasions), Counter(times.values()))


def good_turing(listed: ListedHosts) -> float:
    """Return the share of all listings that are of hosts listed at least twice (Good and Turing).

    It estimates how likely the next listed host is a known one: the coverage of the lists, not of
    the swarm when each node lists a part only.  0 when none was listed.
    """
    total = sum(times * hosts for times, hosts in listed.hosts.items())
    return 1 - listed.hosts[1] / total if total else 0.0


def chao1(once: float, twice: float, factor: float = 1.0) -> float:
    """Return how many were never seen, from those seen once and those seen twice (Chao 1984, bias-corrected).

    `f1 (f1 - 1) / (2 (f2 + 1))`, a lower bound for any mixture of Poisson means.  With k occasions, the
    `factor` of Chao2 is `1 - 1 / k`.
    """
    return max(0.0, factor * once * (once - 1)) / (2 * (twice + 1))


def chao2(listed: ListedHosts) -> Interval | None:
    """Estimate a swarm from the hosts that each node listed (Chao2, log-normal interval).

    A lower bound: peers that are harder to see than others are under-counted.  None with fewer than
    two nodes.
    """
    if listed.nodes < 2:
        return None
    return chao2_interval(listed.hosts.total(), listed.hosts[1], listed.hosts[2], listed.nodes)


def chao2_interval(seen: float, once: float, twice: float, occasions: int) -> Interval:
    """Return Chao2 and its log-normal interval, from how many were seen, and how many once and twice.

    The variance is that of the bias-corrected form, and where none was seen twice that of its own
    (EstimateS 9, equations 6 and 8).
    """
    factor = 1 - 1 / occasions
    unseen = chao1(once, twice, factor)
    if not unseen:
        return Interval(seen, seen, seen)
    more = twice + 1
    variance = (
        factor * once * (once - 1) / (2 * more)
        + factor**2 * once * (2 * once - 1) ** 2 / (4 * more**2)
        + factor**2 * once**2 * twice * (once - 1) ** 2 / (4 * more**4)
    )
    if not twice:
        variance -= factor**2 * once**4 / (4 * (seen + unseen))
    spread = exp(NORMAL_95 * sqrt(log(1 + variance / unseen**2)))
    return Interval(seen + unseen, seen + unseen / spread, seen + unseen * spread)
