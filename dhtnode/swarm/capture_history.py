"""What the nodes of one family told of a swarm, as captures: how many each, how many together."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt

from dhtnode.krpc.scrape_filter import ScrapeFilter, hosts_between, union_of
from dhtnode.swarm.capture_recapture import MAX_SPREAD, DarrochEstimate, darroch, pair_ratio
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.replies import Observation


@dataclass(frozen=True, slots=True)
class Combined:
    """Hold an estimate made of two, with its 95 % interval, and the share that the pair ratio has in it."""

    interval: Interval
    pair_share: float


@dataclass(frozen=True, slots=True)
class CaptureHistory:
    """Hold the captures of one family.

    `total` holds all that they told of and `seen` says how many that is; `sizes` how many each node
    told of.  `stores` are the filters of those that sent them.
    """

    total: ScrapeFilter
    seen: Interval
    sizes: tuple[float, ...]
    stores: tuple[ScrapeFilter, ...]

    def whole(self) -> DarrochEstimate | None:
        """Estimate the swarm from the sizes of the stores and of their union."""
        return darroch(self.seen.estimate, self.sizes)

    def pair_ratio(self) -> Interval | None:
        """Estimate the swarm from the overlaps of stores."""
        return pair_ratio(self.stores)

    def recapture(self, whole: DarrochEstimate | None, pairs: Interval | None) -> Combined | None:
        """Estimate the swarm from both; None when nothing is known about what was not seen.

        The better each is known, the more it counts.  Both err by the noise of the same filters,
        so the pair ratio has no weight where the union has all, whatever noise it shows.  Nothing is
        known when the interval would be wider than `MAX_SPREAD`: the overlap may be chance.
        """
        if whole is None or not whole.estimate:
            return Combined(pairs, 1.0) if pairs else None
        known = (self.seen.high - self.seen.low) / 2 / NORMAL_95 / whole.estimate
        by_union = hypot(known * whole.slope, whole.deviation / whole.estimate)
        if NORMAL_95 * by_union > log(MAX_SPREAD):
            return Combined(pairs, 1.0) if pairs else None
        if pairs is None or whole.estimate == self.seen.estimate:
            return Combined(_interval(whole.estimate, by_union), 0.0)
        by_pairs = log(pairs.high / pairs.estimate) / NORMAL_95
        return _blend(_Estimate(whole.estimate, by_union), _Estimate(pairs.estimate, by_pairs), known)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Hold an estimate and its relative standard deviation."""

    estimate: float
    deviation: float


def _blend(union: _Estimate, pairs: _Estimate, common: float) -> Combined:
    """Return the mean with the least variance of two guesses that have the noise `common` in common."""
    shared = min(common, union.deviation, pairs.deviation) ** 2
    apart = union.deviation**2 + pairs.deviation**2 - 2 * shared
    share = (union.deviation**2 - shared) / apart if apart > 0 else 0.0
    estimate = exp((1 - share) * log(union.estimate) + share * log(pairs.estimate))
    variance = ((1 - share) * union.deviation) ** 2 + (share * pairs.deviation) ** 2
    return Combined(_interval(estimate, sqrt(variance + 2 * share * (1 - share) * shared)), share)


def capture_history(evidence: Sequence[Observation]) -> CaptureHistory:
    """Return what the nodes told of; costs 4 us per node.

    A node is counted with its filters when it sent both, else with the peers it named: a filter of
    leechers alone is no part of the whole swarm.  When no node sent both, any filter counts.
    """
    is_full = [node.has_both_filters for node in evidence]
    if not any(is_full):
        is_full = [node.has_filters for node in evidence]
    full = [node for node, yes in zip(evidence, is_full, strict=True) if yes]
    others = [node for node, yes in zip(evidence, is_full, strict=True) if not yes]
    named = union_of(node.named_filter for node in evidence)
    known = len(frozenset[bytes]().union(*(node.named for node in evidence)))
    stores = tuple(node.stored | node.named_filter for node in full)
    sizes = [
        len(node.named) + hosts_between(node.named_filter.zero_bits, store.zero_bits)
        for node, store in zip(full, stores, strict=True)
    ]
    sizes += [len(node.named) for node in others]
    total = union_of((named, *stores))
    return CaptureHistory(total, union_interval(total, named, known), tuple(sizes), stores)


def _interval(estimate: float, deviation: float) -> Interval:
    """Return an interval from a relative standard deviation, on a scale of logarithms."""
    spread = exp(NORMAL_95 * deviation)
    return Interval(estimate, estimate / spread, estimate * spread)
