"""How many peers a swarm has, from what nodes answered to a scrape (BEP 33).

Pure functions from `Observation` to a `SwarmEstimate`.  The headline is the union of all that nodes told
of, and what recapture says is missing in it: nothing where stores are complete, most of the
swarm where they are cut.  docs/explanation/swarm_size.md has formulas, evidence and limits.

One host is one peer here, whatever its ports: filters cannot tell more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot, sqrt

from dhtnode.addresses import Family
from dhtnode.krpc.scrape_filter import ScrapeFilter, hosts_between, union_of
from dhtnode.swarm.capture_history import CaptureHistory, Combined, capture_history
from dhtnode.swarm.capture_recapture import DarrochEstimate, NamedPeers, chao2, good_turing
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.replies import Observation, ScrapeReply, observe
from dhtnode.swarm.seeds import SeedsAndLeechers, seeds_and_leechers

SATURATED_ABOVE = 5000
"""Peers from which a filter only says "at least"; BEP 33 warns from 6000 on."""

UNSEEN_AT_LEAST = 0.5
"""Unseen peers from which the headline is called a recapture and not a union: one after rounding."""

UNLIKELY = 0.05
"""Unseen peers to be expected below which none is: the chance that there is one after all."""

ONE_SIDED = 1.645 / NORMAL_95
"""Width of one side when only that side errs, in 5 % of cases, by that when both do."""

MOST_OF_IT = 0.5
"""Share of the pair ratio in the headline from which the headline is called by its name."""

_ROUNDING = 1e-6  # peers; sums of whole numbers come out a little beside them


@dataclass(frozen=True, slots=True)
class MethodEstimate:
    """Hold what one method says about one subject: "peers", "seeds" or "leechers".

    Methods that give no interval have both ends at the estimate.
    """

    subject: str
    method: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SwarmEstimate:
    """Say how large a swarm is and how that was found.

    `peers` is the headline, `peers_low` and `peers_high` its 95 % interval in whole peers, rounded
    outward.  Seeds and leechers need not add up to it: a peer that finished while nodes still
    remember it as a leecher is in both.

    `method` says where the headline is from: "union" (of all that nodes told of), "recapture" (with the
    peers that the sizes of stores show to be missing), "pair-ratio" (as much or more by the overlaps of
    pairs), "chao2" (by how many peers were named once and twice), "distinct" (the peers named, when no
    node sent filters) or "none" (nothing was found out).
    A "distinct" headline is a lower bound, and so are both ends of its interval.  `saturated` says that
    the headline is above what a filter can tell: it rests on overlaps then, or is an "at least".

    `overlap` is how many peers are in both counts, seeds and leechers, at least 0.  `coverage` is the
    share of all namings that new names would repeat (Good and Turing): 1 when every peer was named
    twice, 0 when none was, or none was named.  `estimates` holds every method side by side.
    """

    seeds: int
    leechers: int
    peers: int
    peers_low: int
    peers_high: int
    saturated: bool
    method: str
    nodes_with_filters: int
    distinct_peers: int
    union: Interval
    pair_ratio: Interval | None
    chao2: Interval | None
    seeds_low: int
    seeds_high: int
    leechers_low: int
    leechers_high: int
    overlap: int
    coverage: float
    estimates: tuple[MethodEstimate, ...]


@dataclass(frozen=True, slots=True)
class _FamilyResult:
    """Hold what is known about the peers of one family beyond those that were seen."""

    captures: CaptureHistory
    whole: DarrochEstimate | None
    pairs: Interval | None
    blend: Combined | None

    @property
    def unseen(self) -> float:
        """Return how many more peers there are than were seen."""
        if self.blend is None:
            return 0.0
        unseen = self.blend.interval.estimate - self.captures.seen.estimate
        return unseen if unseen >= UNLIKELY else 0.0

    @property
    def doubt(self) -> float:
        """Return half the width of the interval, as far as it is not that of the union.

        When all that were seen were named, the lower end is certain, and the upper one alone has the
        5 % to err.
        """
        if self.blend is None or not self.unseen:
            return 0.0
        seen, all_of_them = self.captures.seen, self.blend.interval
        by_filters, by_both = (seen.high - seen.low) / 2, (all_of_them.high - all_of_them.low) / 2
        doubt = sqrt(max(by_both**2 - by_filters**2, 0.0))
        return doubt if by_filters else doubt * ONE_SIDED


def estimate_swarm(replies: Sequence[ScrapeReply]) -> SwarmEstimate:
    """Estimate the size of a swarm from the replies of different nodes, all of them believed."""
    return estimate_observations(observe(replies))


def estimate_observations(evidence: Sequence[Observation]) -> SwarmEstimate:
    """Estimate the size of a swarm from what different nodes said.

    Never below the distinct peers named.
    """
    namings = NamedPeers.of([node.named for node in evidence if node.named])
    known = namings.hosts.total()
    named = union_of(node.named_filter for node in evidence)
    seen = union_of((named, *(node.stored for node in evidence)))
    union = union_interval(seen, named, known)
    families = _by_family(evidence)
    recaptured = chao2(namings)
    with_filters = sum(node.has_filters for node in evidence)
    method, headline = _headline(union, families, recaptured, seen if with_filters else None)
    low, peers, high = _whole_peers(headline)
    unseen = max(headline.estimate - union.estimate, 0.0)
    roles = seeds_and_leechers(evidence, headline, seen, unseen, _doubt(families))
    seeds, leechers = _whole_peers(roles.seeds), _whole_peers(roles.leechers)
    return SwarmEstimate(
        seeds=min(seeds[1], peers),
        leechers=min(leechers[1], peers),
        peers=peers,
        peers_low=low,
        peers_high=high,
        saturated=peers > SATURATED_ABOVE,  # as with any full filter, which reads 7806
        method=method,
        nodes_with_filters=with_filters,
        distinct_peers=known,
        union=union,
        pair_ratio=_highest([family.pairs for family in families]),
        chao2=recaptured,
        seeds_low=min(seeds[0], peers),
        seeds_high=seeds[2],
        leechers_low=min(leechers[0], peers),
        leechers_high=leechers[2],
        overlap=max(seeds[1] + leechers[1] - peers, 0),
        coverage=good_turing(namings),
        estimates=_side_by_side(union, families, recaptured, known, headline, roles),
    )


def _by_family(evidence: Sequence[Observation]) -> list[_FamilyResult]:
    """Look at each family alone: nodes of the other may hold none of its peers (libtorrent)."""
    found = []
    for family in Family:
        nodes = [node for node in evidence if node.family is family]
        if nodes:
            captures = capture_history(nodes)
            whole, pairs = captures.whole(), captures.pair_ratio()
            found.append(_FamilyResult(captures, whole, pairs, captures.recapture(whole, pairs)))
    return found


def _headline(
    union: Interval,
    families: Sequence[_FamilyResult],
    recaptured: Interval | None,
    seen: ScrapeFilter | None,
) -> tuple[str, Interval]:
    """Add to what was seen what was not; without any filter, when `seen` is None, take Chao2.

    The interval of the union is exact, and stays as it is where nothing is missing; what recapture
    is unsure of widens it.
    """
    if seen is None:
        if recaptured is not None:
            return "chao2", recaptured
        return ("distinct" if union.estimate else "none"), union
    captured = union_of(family.captures.total for family in families)
    elsewhere = hosts_between(captured.zero_bits, seen.zero_bits)
    unseen = max(sum(family.unseen for family in families) - elsewhere, 0.0)
    doubt = _doubt(families)
    base = min(max(union.estimate, union.low), union.high)
    low = max(base + unseen - hypot(base - union.low, doubt), union.low)
    high = base + unseen + hypot(union.high - base, doubt)
    if union.low == union.high and recaptured and recaptured.estimate > union.estimate + unseen:
        # All were named, so it is known who was named by one node only: peers that announce badly.
        return "chao2", Interval(recaptured.estimate, low, max(high, recaptured.high))
    return _name(families, unseen), Interval(union.estimate + unseen, low, high)


def _doubt(families: Sequence[_FamilyResult]) -> float:
    return hypot(*(family.doubt for family in families))


def _name(families: Sequence[_FamilyResult], unseen: float) -> str:
    if unseen < UNSEEN_AT_LEAST:
        return "union"
    most = max(families, key=lambda family: family.unseen)
    return "pair-ratio" if most.blend and most.blend.pair_share >= MOST_OF_IT else "recapture"


def _highest(found: Sequence[Interval | None]) -> Interval | None:
    return max((each for each in found if each), key=lambda each: each.estimate, default=None)


def _whole_peers(interval: Interval) -> tuple[int, int, int]:
    """Return low end, estimate and high end in whole peers, rounded outward."""
    low, high = floor(interval.low + _ROUNDING), ceil(interval.high - _ROUNDING)
    return low, min(max(round(interval.estimate), low), high), high


def _side_by_side(
    union: Interval,
    families: Sequence[_FamilyResult],
    recaptured: Interval | None,
    distinct: int,
    headline: Interval,
    roles: SeedsAndLeechers,
) -> tuple[MethodEstimate, ...]:
    """Return one row for each method that came to something."""
    found: list[tuple[str, str, Interval | None]] = [
        ("peers", "headline", headline),
        ("peers", "union", union),
        ("peers", "recapture", _highest([each.blend.interval for each in families if each.blend])),
        ("peers", "pair-ratio", _highest([each.pairs for each in families])),
        ("peers", "chao2", recaptured),
        ("peers", "distinct", Interval(distinct, distinct, distinct)),
        ("seeds", "headline", roles.seeds),
        ("seeds", "union", roles.seen_seeds),
        ("leechers", "headline", roles.leechers),
        ("leechers", "union", roles.seen_leechers),
    ]
    return tuple(
        MethodEstimate(subject, method, interval.estimate, interval.low, interval.high)
        for subject, method, interval in found
        if interval is not None
    )
