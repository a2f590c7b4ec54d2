"""The nodes of one family as occasions of capture: how many peers each told of, how many all together.

And from that whether further nodes should be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, hypot, log, log1p, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import ScrapeFilter, hosts_between, union_of
from dhtnode.swarm.announcer_mixture import FEWEST_STORES, Mixture, mixture_size
from dhtnode.swarm.capture_recapture import MAX_SPREAD, DarrochEstimate, darroch, pair_ratio
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.full_stores import (
    FEWEST,
    FEWEST_ZERO_BITS,
    NEAREST,
    Parts,
    is_clear_of_caps,
    is_little_above_cap,
    is_near_cap,
    parts_of,
)
from dhtnode.swarm.replies import Observation

UNLIKELY = 0.05
"""Undetected peers to be expected below which none is: the chance that there is one after all."""

ALIKE = 0.45
"""Posterior weight of peers that are all alike below which they are not."""

FEWEST_PEERS = 50.0
"""Peers below which the bits of a few stores say too little of how unequal they are."""

EXTENDED_TO = 16
"""Nodes queried in one family when part of the swarm is not seen: as far as announces reach, in practice."""

MOST_QUERIED = 32
"""Nodes queried in one family when the stores are full: those farther away hear of fewer peers."""

UNSEEN_SHARE = 0.01
"""Share of a swarm that may stay unseen: less than the noise of one filter."""

UNSEEN_PEERS = 2.0
"""Peers that may stay unseen in any case, so that a peer more or less costs no 8 queries."""

SATURATED_ABOVE = 5000
"""Peers from which a filter only says "at least"; BEP 33 warns from 6000 on."""

APART = 0.8
"""Share of the sizes of all stores that their union has where full ones are no first comers of one order."""

KNOWN_BUT_FOR = 0.1
"""Share of a swarm that stores beside full ones may miss together, to tell what these and they miss."""

NEXT_TO_NOTHING = 0.03
"""Share of the largest store below which one does not count for the mixture."""

ONE_SIDED = 1.645 / NORMAL_95
"""Width of one side when only that side errs, in 5 % of cases, by that when both do."""


class Margins(NamedTuple):
    """How far the ends of an interval are from its estimate."""

    below: float
    above: float


class Combined(NamedTuple):
    """A weighted mean of two estimates with its 95 % interval, and the weight of the pair ratio in it."""

    interval: Interval
    pair_share: float


# Not slotted, for the cached results: whether more nodes are wanted is asked before the estimate is made.
@dataclass(frozen=True)
class CaptureHistory:
    """The captures of one family: what each node told of, and all of them together.

    `total` is the filter of all peers that any of them told of and `seen` how many these are; `sizes` is
    how many each node told of.  `stores` are the filters of the nodes that sent them.  With `parts` other
    than `ALL`, nodes that are full or only listed peers are left out, and full ones are `beside`; `nodes` is
    how many there were with them, `full` how many of these were full.  Where full stores seem to be random
    parts `rest` is what the others alone tell: the interval spans both, as few stores do not tell for sure.
    """

    total: ScrapeFilter
    seen: Interval
    sizes: tuple[float, ...]
    stores: tuple[ScrapeFilter, ...]
    beside: tuple[ScrapeFilter, ...]
    nodes: int
    full: int
    parts: Parts
    rest: "CaptureHistory | None" = None

    @cached_property
    def captured(self) -> ScrapeFilter:
        """Return the filter of all that stores tell of, those beside them included."""
        return union_of((self.total, *self.beside)) if self.beside else self.total

    @cached_property
    def by_sizes(self) -> DarrochEstimate | None:
        """Estimate the swarm from the sizes of the stores and of their union."""
        return darroch(self.seen.estimate, self.sizes)

    @cached_property
    def by_pairs(self) -> Interval | None:
        """Estimate the swarm from the overlaps of stores."""
        return pair_ratio(self.stores, self.beside)

    @cached_property
    def recapture(self) -> Combined | None:
        """Estimate the swarm from both; None when nothing is known about what was not seen.

        The better each is known, the more it counts.  Nothing is known when the interval would be wider
        than `MAX_SPREAD`: the overlap may be chance.
        """
        if self.parts is Parts.NONE:
            return None
        by_sizes, by_pairs = self.by_sizes, self.by_pairs
        pairs_alone = Combined(by_pairs, 1.0) if by_pairs else None
        if by_sizes is None or not by_sizes.estimate or self.is_union_full:
            return pairs_alone
        noise = (self.seen.high - self.seen.low) / 2 / NORMAL_95 / by_sizes.estimate
        deviation = hypot(noise * by_sizes.slope, by_sizes.deviation / by_sizes.estimate)
        if NORMAL_95 * deviation > log(MAX_SPREAD):
            return pairs_alone
        # Both err by the noise of the same filters: where the union has all, the pair ratio has no weight.
        if by_pairs is None or by_sizes.estimate == self.seen.estimate:
            return Combined(_interval(by_sizes.estimate, deviation), 0.0)
        pairs = _Estimate(by_pairs.estimate, log(by_pairs.high / by_pairs.estimate) / NORMAL_95)
        return _weighted_mean(_Estimate(by_sizes.estimate, deviation), pairs, noise)

    @cached_property
    def mixture(self) -> Mixture | None:
        """Estimate the swarm with peers that announce unequally, where it is large enough to tell."""
        # A store of next to nothing is no occasion: it stands for a node that was just found, or for a liar.
        most = max((store.estimate() for store in self.stores), default=0.0)
        stores = [store for store in self.stores if store.estimate() > NEXT_TO_NOTHING * most]
        if self.parts is Parts.NONE or len(stores) < FEWEST_STORES or self.seen.estimate < FEWEST_PEERS:
            return None
        return None if self.is_union_full else mixture_size(stores)

    @property
    def is_unequal(self) -> bool:
        """Return whether the mixture decides."""
        found = self.mixture
        return found is not None and found.jackknife is not None and found.equal < ALIKE

    @property
    def whole(self) -> Interval | None:
        """Return the size of the swarm: where peers are not alike, that of the mixture and the jackknife."""
        if self.mixture is not None and self.is_unequal:
            return self.mixture.all_three
        found = self.recapture and self.recapture.interval
        without = self.rest and self.rest.recapture and self.rest.recapture.interval
        if not (found and without):
            return found
        # Full stores of the first comers share more than random parts do: they make a swarm smaller only.
        return found._replace(high=max(found.high, without.high))

    @property
    def is_union_full(self) -> bool:
        """Return whether the union of all filters reads less than was put in: more of them make it worse."""
        return self.total.zero_bits < FEWEST_ZERO_BITS

    @property
    def tells_no_end(self) -> bool:
        """Return whether nothing bounds the swarm: full stores, or a full union, without overlaps."""
        holds_back = self.full > 0 or self.is_union_full
        return self.parts is Parts.NONE or (holds_back and self.recapture is None)

    @property
    def holds_little(self) -> bool:
        """Return whether full stores share next to nothing, and so hold little of the swarm."""
        stores = (*self.stores, *self.beside)
        if not self.tells_no_end or len(stores) < FEWEST:
            return False
        return union_of(stores).estimate() > APART * sum(store.estimate() for store in stores)

    def may_hold_back(self, peers: float) -> bool:
        """Return whether full stores may hold a size back: others tell it, or it is a little above a cap."""
        return self.parts is Parts.REST or (self.full > 0 and is_little_above_cap(peers))

    @property
    def undetected(self) -> float:
        """Return how many more peers there are than were seen."""
        if self.whole is None:
            return 0.0
        beside = hosts_between(self.total.zero_bits, self.captured.zero_bits)
        undetected = self.whole.estimate - self.seen.estimate - beside
        if self.parts is Parts.REST:
            undetected = max(undetected, self._not_beside(self.whole.estimate))
        return undetected if undetected >= UNLIKELY else 0.0

    def _not_beside(self, peers: float) -> float:
        """Return how many peers no store has, of those that full ones have not and the others nearly all."""
        missed = exp(sum(log1p(-size / peers) for size in self.sizes if size < peers))
        if missed > KNOWN_BUT_FOR:
            return 0.0
        outside = hosts_between(union_of(self.beside).zero_bits, self.captured.zero_bits)
        return outside * missed / (1 - missed)

    @property
    def margins(self) -> Margins:
        """Return how far the ends of the interval are off, as far as that is not by the union."""
        whole = self.whole
        if whole is None or not (self.undetected or self.is_unequal):
            return Margins(0.0, 0.0)
        by_filters = (self.seen.high - self.seen.low) / 2
        if self.is_unequal or self.rest:
            below, above = whole.estimate - whole.low, whole.high - whole.estimate
        else:
            below = above = (whole.high - whole.low) / 2
        found = [sqrt(max(end**2 - by_filters**2, 0.0)) for end in (below, above)]
        # When all that were seen were named, the lower end is certain: the upper one has all 5 % to err.
        return Margins(*found) if by_filters or self.is_unequal else Margins(*(ONE_SIDED * x for x in found))


class _Estimate(NamedTuple):
    """An estimate with its relative standard deviation."""

    estimate: float
    deviation: float


def _weighted_mean(union: _Estimate, pairs: _Estimate, common: float) -> Combined:
    """Return the mean with the least variance of two estimates that have the noise `common` in common."""
    shared = min(common, union.deviation, pairs.deviation) ** 2
    apart = union.deviation**2 + pairs.deviation**2 - 2 * shared
    share = (union.deviation**2 - shared) / apart if apart > 0 else 0.0
    estimate = exp((1 - share) * log(union.estimate) + share * log(pairs.estimate))
    variance = ((1 - share) * union.deviation) ** 2 + (share * pairs.deviation) ** 2
    return Combined(_interval(estimate, sqrt(variance + 2 * share * (1 - share) * shared)), share)


def capture_history(observations: Sequence[Observation]) -> CaptureHistory:
    """Return what the nodes of one family told of; costs 4 us per node.

    A node is counted with its filters when it sent both, else with the peers it named: a filter of
    leechers alone is no part of the whole swarm.  When no node sent both, any filter counts.
    """
    is_store = [node.has_both_filters for node in observations]
    if not any(is_store):
        is_store = [node.has_filters for node in observations]
    nodes = [node for node, yes in zip(observations, is_store, strict=True) if yes]
    sizes = [node.peers_told for node in nodes]
    filled = [place for place, size in enumerate(sizes) if size > 0]
    nearest = {id(node) for node in observations[:NEAREST]}
    near = sum(id(nodes[place]) in nearest for place in filled)
    parts = parts_of([nodes[place].told for place in filled], [sizes[place] for place in filled], near)
    full = sum(map(is_near_cap, sizes))
    listed = [node for node, yes in zip(observations, is_store, strict=True) if not yes]
    clear = [is_clear_of_caps(size) for size in sizes]
    beside = tuple(nodes[place].told for place in filled if not clear[place])
    # What a list is drawn from may be full too.
    others = [nodes[place] for place in filled if clear[place]]
    if parts is not Parts.ALL:
        return _history(others, [], beside, parts, len(observations), full)
    whole = _history(nodes, listed, (), parts, len(observations), full)
    if not full or len(others) < FEWEST:
        return whole
    return replace(whole, rest=_history(others, [], beside, Parts.REST, len(observations), full))


def _history(
    nodes: Sequence[Observation],
    listed: Sequence[Observation],
    beside: tuple[ScrapeFilter, ...],
    parts: Parts,
    count: int,
    full: int,
) -> CaptureHistory:
    counted = [*nodes, *listed]
    named = union_of(node.named for node in counted)
    known = len(frozenset[bytes]().union(*(node.host_hashes for node in counted)))
    stores = tuple(node.told for node in nodes)
    total = union_of((named, *stores))
    sizes = [node.peers_told for node in nodes] + [float(len(node.host_hashes)) for node in listed]
    return CaptureHistory(
        total, union_interval(total, named, known), tuple(sizes), stores, beside, count, full, parts
    )


def more_nodes_wanted(history: CaptureHistory) -> int:
    """Return how many further nodes should be queried for a good estimate: 0 when it is enough.

    Pass what all nodes of one family said that were queried so far; the next nodes are the next closest.
    More are wanted where the overlap of what they said tells that they did not say all, or where
    there is no overlap to tell; where too few sent filters to tell whether peers are alike; and where
    stores are full, because those of nodes farther away may not be.
    """
    missing = EXTENDED_TO - history.nodes
    if history.parts is Parts.NONE or (history.full > 1 and len(history.stores) - history.full < FEWEST):
        return missing if missing > 0 else _for_stores_not_full(history)
    if missing <= 0:
        return 0
    if history.seen.estimate >= FEWEST_PEERS and 0 < len(history.stores) < FEWEST_STORES:
        return missing
    seen, whole = history.seen.estimate, history.whole if history.is_unequal else history.by_sizes
    undetected = seen if whole is None else whole.estimate - seen
    return missing if undetected > max(UNSEEN_PEERS, UNSEEN_SHARE * (seen + undetected)) else 0


def _for_stores_not_full(history: CaptureHistory) -> int:
    return max(MOST_QUERIED - history.nodes, 0) if history.parts is Parts.NONE else 0


def lists_wanted(history: CaptureHistory) -> bool:
    """Return whether nodes should be asked for their peers several times, because filters tell too little."""
    if history.recapture is None:
        return history.holds_little or history.seen.estimate > SATURATED_ABOVE
    return history.recapture.interval.estimate > SATURATED_ABOVE


def _interval(estimate: float, deviation: float) -> Interval:
    """Return an interval from a relative standard deviation, on a scale of logarithms."""
    spread = exp(NORMAL_95 * deviation)
    return Interval(estimate, estimate / spread, estimate * spread)
