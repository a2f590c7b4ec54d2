"""How many peers a swarm has, from what nodes answered to a scrape (BEP 33).

Pure functions from `Observation` to a `SwarmEstimate`.  The headline is the union of all that nodes told
of, and what recapture says is missing in it: nothing where stores are complete, most of the
swarm where they are cut.  docs/explanation/swarm_size.md has formulas, evidence and limits.

One host is one peer here, whatever its ports: filters cannot tell more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, hypot, inf
from typing import NamedTuple

from dhtnode.addresses import Address, Family
from dhtnode.ids import ID_BYTES, NodeId
from dhtnode.krpc.scrape_filter import FILTER_BYTES, hosts_between, union_of
from dhtnode.swarm.capture_history import SATURATED_ABOVE, CaptureHistory, capture_history
from dhtnode.swarm.capture_recapture import ListedHosts, chao2, good_turing
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.full_stores import FEWEST_ZERO_BITS, is_near_cap
from dhtnode.swarm.methods import AT_LEAST, ESTIMATORS, HEADLINE, NONE, Evidence
from dhtnode.swarm.repeated_lists import are_random_parts, spread_of
from dhtnode.swarm.replies import Observation
from dhtnode.swarm.seeds import Part, SeedsAndLeechers, seeds_and_leechers
from dhtnode.swarm.store_overlap import lone_store

UNDETECTED_AT_LEAST = 0.5
"""Undetected peers from which the headline is a recapture and not a union: one after rounding."""

MOST_OF_IT = 0.5
"""Weight of the pair ratio in the headline from which the headline is called by its name."""

LIST_MAY_BE_FULL = 475.0
"""Peers from which lists alone, of stores of unknown size, may all be from full ones."""

OUTVOTED = 2.0
"""Factor from what all others tell to what one store alone adds, above which the others are believed."""

OF_BOUNDS = 3.0 / NORMAL_95
"""Width of what says that there is more, or that stores do not hold it back, by that of other intervals.

A size beside full stores, and a lower bound, hold for 997 of 1000: nothing tells when they do not.
"""

_ROUNDING = 1e-6  # peers; sums of whole numbers come out a little beside them


class MethodEstimate(NamedTuple):
    """The result of one method for one subject: "peers", "seeds" or "leechers".

    Methods that give no interval have both ends at the estimate; `high` is infinite where only a lower bound
    is known.
    """

    subject: str
    method: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SwarmEstimate:
    """The size of a swarm, and how it was found.

    `peers` is the headline, `peers_low` and `peers_high` its 95 % interval in whole peers, rounded
    outward.  Seeds and leechers need not add up to it: a peer that finished while nodes still
    remember it as a leecher is in both.

    `method` is the one that the headline comes from, a name in `METHODS`.  A "distinct" headline is a
    lower bound, and so are both ends of its interval.  `saturated` says that the headline is above what
    a filter can tell, and rests on overlaps, or that stores are full.

    An "at-least" headline is a lower bound and no size: then `peers` is `peers_low`, so for seeds and
    leechers, and the upper ends are None: there is none.

    Seeds are those whose client says so.  `seeds` and `leechers` are None where no node tells of roles, and
    so is `overlap`: how many peers are in both counts, at least 0.  `silent_share` is the share of the
    peers whose client never says that it seeds, as far as that is known, and what the intervals leave
    room for: otherwise it is None, and `seeds` are the peers that say it.  `coverage` is the
    share of all listings that new ones would repeat (Good and Turing): 1 when every peer was listed
    twice, 0 when none was, or none was listed.  `estimates` holds every method side by side.
    """

    seeds: int | None
    leechers: int | None
    peers: int
    peers_low: int
    peers_high: int | None
    method: str
    saturated: bool
    nodes_with_filters: int
    distinct_peers: int
    seeds_low: int
    seeds_high: int | None
    leechers_low: int
    leechers_high: int | None
    overlap: int | None
    coverage: float
    silent_share: float | None = None
    estimates: tuple[MethodEstimate, ...] = ()

    @property
    def is_at_least(self) -> bool:
        """Return whether `peers` is a lower bound and no size."""
        return self.peers_high is None

    def by(self, method: str, subject: str = "peers") -> Interval | None:
        """Return the estimate of one method, None when it came to nothing."""
        for each in self.estimates:
            if (each.subject, each.method) == (subject, method):
                return Interval(each.estimate, each.low, each.high)
        return None


def capture_histories(observations: Sequence[Observation]) -> dict[Family, CaptureHistory]:
    """Return the captures of each family: nodes of the other may hold none of its peers (libtorrent)."""
    nodes: dict[Family, list[Observation]] = {}
    for node in observations:
        nodes.setdefault(node.family, []).append(node)
    return {family: capture_history(nodes[family]) for family in Family if family in nodes}


def estimate_family(
    observations: Sequence[Observation],
    histories: Mapping[Family, CaptureHistory] | None = None,
    *,
    silent_share: float | None = None,
) -> SwarmEstimate:
    """Estimate the size of a swarm from what different nodes said of it in one family (see `estimate_swarm`).

    Never below the distinct peers named.  `histories` are the `capture_histories` of the same nodes, if
    they are known already; `silent_share` is that of the peers whose client never says that it seeds.
    """
    if not any(node.told.bits for node in observations):
        return _nothing_found(sum(node.has_filters for node in observations), silent_share)
    if histories is None:
        histories = capture_histories(observations)
    return _estimate(observations, histories, silent_share)


# Most swarms that are listed somewhere have no peer any more, and nothing but this is known of them.
@lru_cache(maxsize=64)
def _nothing_found(with_filters: int, silent_share: float | None) -> SwarmEstimate:
    node = Observation(NodeId(bytes(ID_BYTES)), Address("::", 0), peers_filter=bytes(FILTER_BYTES))
    return _estimate([node] * with_filters, {}, silent_share)


def _estimate(
    observations: Sequence[Observation],
    histories: Mapping[Family, CaptureHistory],
    silent_share: float | None,
) -> SwarmEstimate:
    evidence = _evidence_of(observations, histories)
    # Where the bits of the union are nearly all set, the last ones are with one store by chance.
    is_full = evidence.told.zero_bits < FEWEST_ZERO_BITS
    others = [] if is_full else _without_lone_store(observations)
    named_peers = evidence.named
    found = {each.name: each.estimate(evidence) for each in ESTIMATORS if each.estimate}
    method, headline = _best(evidence, found)
    if others:
        without = _evidence_of(others, capture_histories(others))
        headline = _spanned(headline, _headline(without, chao2(without.named))[1])
    low, peers, high = _whole_peers(headline)
    parts = _parts(evidence, headline, observations, others, silent_share or 0.0)
    seeds, leechers = _whole_part(parts.seeds, peers), _whole_part(parts.leechers, peers)
    return SwarmEstimate(
        seeds=seeds[1],
        leechers=leechers[1],
        peers=peers,
        peers_low=low,
        peers_high=high,
        method=method,
        saturated=peers > SATURATED_ABOVE or high is None,  # any full filter reads 7806
        nodes_with_filters=sum(node.has_filters for node in observations),
        distinct_peers=named_peers.hosts.total(),
        seeds_low=seeds[0],
        seeds_high=seeds[2],
        leechers_low=leechers[0],
        leechers_high=leechers[2],
        overlap=None if seeds[1] is None or leechers[1] is None else max(seeds[1] + leechers[1] - peers, 0),
        coverage=good_turing(named_peers),
        silent_share=silent_share,
        estimates=_side_by_side(headline, found, parts),
    )


def _best(evidence: Evidence, found: Mapping[str, Interval | None]) -> tuple[str, Interval]:
    """Return the headline and its method: repeated lists where these tell more than filters."""
    by_names = found["names"]
    if by_names and not are_random_parts(evidence.lists):
        return AT_LEAST.name, _at_least(evidence.union, evidence)
    method, headline = _headline(evidence, found["chao2"])
    if by_names and spread_of(by_names) < spread_of(headline):
        return "names", by_names
    return method, headline


def _spanned(headline: Interval, without: Interval) -> Interval:
    """Return the headline with room for what it is without the store that alone has peers of its own."""
    is_outvoted = headline.estimate > OUTVOTED * without.estimate
    estimate = without.estimate if is_outvoted else headline.estimate
    return Interval(estimate, min(headline.low, without.low), headline.high)


def _parts(
    evidence: Evidence,
    headline: Interval,
    observations: Sequence[Observation],
    others: Sequence[Observation],
    silent_share: float,
) -> SeedsAndLeechers:
    """Return seeds and leechers, with room for what they are to the `others`, without a lone store."""
    undetected = max(headline.estimate - evidence.union.estimate, 0.0)
    parts = seeds_and_leechers(
        observations, headline, evidence.told, undetected, evidence.margins.above, silent_share
    )
    if others:
        seen_by_others = union_of(node.told for node in others)
        fewer = seeds_and_leechers(others, headline, seen_by_others, 0.0, 0.0, silent_share)
        parts = parts._replace(
            seeds=_down_to(parts.seeds, fewer.seeds), leechers=_down_to(parts.leechers, fewer.leechers)
        )
    if headline.high == inf:
        parts = parts._replace(seeds=_at_least_part(parts.seeds), leechers=_at_least_part(parts.leechers))
    return parts


def _evidence_of(observations: Sequence[Observation], histories: Mapping[Family, CaptureHistory]) -> Evidence:
    named = union_of(node.named for node in observations)
    told = union_of(node.told for node in observations)
    hosts = ListedHosts.of([node.host_hashes for node in observations if node.host_hashes])
    union = union_interval(told, named, hosts.hosts.total())
    has_filters = any(node.has_filters for node in observations)
    lists = [node.host_hashes for node in observations]
    return Evidence(union, told, has_filters, hosts, list(histories.values()), lists)


def _without_lone_store(observations: Sequence[Observation]) -> list[Observation]:
    """Return the other nodes where one alone has peers of its own: true ones or invented."""
    lone = lone_store([node.told.bits for node in observations])
    return [] if lone is None else [node for place, node in enumerate(observations) if place != lone]


def _down_to(part: Part, less: Part) -> Part:
    return part._replace(low=min(part.low, less.low))


def _headline(evidence: Evidence, by_names: Interval | None) -> tuple[str, Interval]:
    """Add to what was seen what was not; without any filter, take Chao2.

    The interval of the union is exact, and stays as it is where nothing is missing; what recapture
    is unsure of widens it.
    """
    union, families = evidence.union, evidence.families
    if not evidence.has_filters:
        method, found = ("chao2", by_names) if by_names else ("distinct", union)
        if found.high >= LIST_MAY_BE_FULL:
            return AT_LEAST.name, _at_least(union, evidence)
        return (method if union.estimate else NONE.name), found
    if any(family.tells_no_end for family in families):
        return AT_LEAST.name, _at_least(union, evidence)
    wholes = [family.whole for family in families if family.is_union_full and family.whole]
    if wholes:
        # The union reads what its last bits are, and no longer what was put in.
        whole = max(wholes, key=lambda each: each.estimate)
        return "pair-ratio", whole._replace(low=max(whole.low, evidence.named.hosts.total()))
    captured = union_of(family.captured for family in families)
    elsewhere = hosts_between(captured.zero_bits, evidence.told.zero_bits)
    undetected = max(sum(family.undetected for family in families) - elsewhere, 0.0)
    margins = evidence.margins
    base = min(max(union.estimate, union.low), union.high)
    low = max(base + undetected - hypot(base - union.low, margins.below), union.low)
    high = base + undetected + hypot(union.high - base, margins.above)
    if union.low == union.high and by_names and by_names.estimate > union.estimate + undetected:
        # All were named, so it is known who was named by one node only: peers that announce badly.
        return "chao2", Interval(by_names.estimate, low, max(high, by_names.high))
    found = Interval(union.estimate + undetected, low, high)
    if is_near_cap(found.estimate) or any(family.may_hold_back(found.estimate) for family in families):
        found = _wider(found, evidence)
    return _name(families, undetected), found


def _name(families: Sequence[CaptureHistory], undetected: float) -> str:
    if undetected < UNDETECTED_AT_LEAST:
        return "union"
    most = max(families, key=lambda family: family.undetected)
    if most.is_unequal:
        return "mixture"
    return "pair-ratio" if most.recapture and most.recapture.pair_share >= MOST_OF_IT else "recapture"


def _at_least(seen: Interval, evidence: Evidence) -> Interval:
    """Return what is known of a whole of which only a part was seen."""
    low = _wider(seen, evidence).low
    return Interval(low, low, inf)


def _wider(found: Interval, evidence: Evidence) -> Interval:
    """Return an interval of three standard deviations, no lower than what was listed."""
    low = found.estimate - OF_BOUNDS * (found.estimate - found.low)
    high = found.estimate + OF_BOUNDS * (found.high - found.estimate)
    return found._replace(low=max(low, evidence.named.hosts.total()), high=high)


def _whole_peers(interval: Interval) -> tuple[int, int, int | None]:
    """Return low end, estimate and high end in whole peers, rounded outward; None for no end."""
    low = floor(interval.low + _ROUNDING)
    if interval.high == inf:
        return low, low, None
    high = ceil(interval.high - _ROUNDING)
    return low, min(max(round(interval.estimate), low), high), high


def _at_least_part(part: Part) -> Part:
    return Part(None if part.estimate is None else part.low, part.low, inf)


def _whole_part(part: Part, peers: int) -> tuple[int, int | None, int | None]:
    """Return low end, estimate and high end of a part of a swarm of `peers`."""
    if part.estimate is None:
        low, _, high = _whole_peers(Interval(part.low, part.low, part.high))
        return min(low, peers), None, high
    low, estimate, high = _whole_peers(Interval(part.estimate, part.low, part.high))
    return min(low, peers), min(estimate, peers), high


def _side_by_side(
    headline: Interval, found: dict[str, Interval | None], parts: SeedsAndLeechers
) -> tuple[MethodEstimate, ...]:
    """Return one row for each subject and method that came to something."""
    rows: list[tuple[str, str, Interval | Part | None]] = [
        ("peers", HEADLINE.name, headline),
        *(("peers", method, interval) for method, interval in found.items()),
        ("seeds", HEADLINE.name, parts.seeds),
        ("seeds", "union", parts.seen_seeds),
        ("leechers", HEADLINE.name, parts.leechers),
        ("leechers", "union", parts.seen_leechers),
    ]
    return tuple(
        MethodEstimate(subject, method, interval.estimate, interval.low, interval.high)
        for subject, method, interval in rows
        if interval is not None and interval.estimate is not None
    )
