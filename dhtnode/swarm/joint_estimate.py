"""One swarm in both families: a peer with an address in each is stored as two, and counts once.

Nodes tell of the hosts of the family that asks, and nothing that they say joins the two addresses of one
peer.  So the families are estimated apart.  All peers of the smaller one may be in the larger, or none: the
whole is from the larger to the sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, sqrt
from typing import Any

from dhtnode.addresses import Family
from dhtnode.krpc.scrape_filter import FILTER_BITS, ScrapeFilter, union_of
from dhtnode.swarm.capture_history import CaptureHistory
from dhtnode.swarm.capture_recapture import ListedHosts, good_turing
from dhtnode.swarm.estimate import MethodEstimate, SwarmEstimate, estimate_family
from dhtnode.swarm.methods import AT_LEAST, FAMILIES
from dhtnode.swarm.replies import Observation

SHARED_AT_LEAST = 0.2
"""Share of the smaller family that the filters of both have, from which stores hold both families."""

_SIGNIFICANT = 5.0  # standard deviations of the bits that two filters share by chance


def estimate_swarm(
    observations: Sequence[Observation],
    histories: Mapping[Family, CaptureHistory] | None = None,
    *,
    silent_share: float | None = None,
) -> SwarmEstimate:
    """Estimate the size of a swarm from what different nodes said, all of them believed.

    Never below the distinct peers named in one family.  Where the nodes of both told of peers, the estimate
    takes those of the smaller family for the same as in the larger, and the interval goes up to the sum.
    `histories` are the `capture_histories` of the same nodes, if they are known already; `silent_share`
    is that of the peers whose client never says that it seeds.
    """
    told = {
        family: [each for each in observations if each.family is family]
        for family in Family
        if any(each.told.bits for each in observations if each.family is family)
    }
    if len(told) < len(Family):
        return estimate_family(observations, histories, silent_share=silent_share)
    parts = {
        family: estimate_family(nodes, histories and {family: histories[family]}, silent_share=silent_share)
        for family, nodes in told.items()
    }
    lists = [each.host_hashes for each in observations if each.host_hashes]
    joint = _joint(list(parts.values()), good_turing(ListedHosts.of(lists)))
    rows = [
        MethodEstimate("peers", FAMILIES[family].name, each.estimate, each.low, each.high)
        for family, part in parts.items()
        for each in part.estimates
        if (each.subject, each.method) == ("peers", "headline")
    ]
    joint = replace(joint, estimates=(*joint.estimates, *rows))
    unions = [union_of(each.told for each in nodes) for nodes in told.values()]
    if not _hold_the_same(unions[0], unions[1]):
        return joint
    return _halved(joint, max(part.distinct_peers for part in parts.values()))


def _joint(parts: Sequence[SwarmEstimate], coverage: float) -> SwarmEstimate:
    """Return what two families come to: no fewer than the larger has, no more than both."""
    larger = max(parts, key=lambda part: (part.peers, part.peers_low))
    seeds, leechers = _known(parts, "seeds"), _known(parts, "leechers")
    peers = max(part.peers for part in parts)
    ends: dict[str, Any] = {
        f"{subject}_{end}": _combined([getattr(part, f"{subject}_{end}") for part in parts], how)
        for subject in ("peers", "seeds", "leechers")
        for end, how in (("low", max), ("high", sum))
    }
    if ends["peers_high"] is None:
        peers = ends["peers_low"]
        seeds, leechers = (
            None if part is None else ends[f"{name}_low"]
            for name, part in (("seeds", seeds), ("leechers", leechers))
        )
        larger = replace(larger, peers=peers, method=AT_LEAST.name)
    return replace(
        larger,
        seeds=seeds,
        leechers=leechers,
        overlap=None if seeds is None or leechers is None else max(seeds + leechers - peers, 0),
        saturated=any(part.saturated for part in parts),
        nodes_with_filters=sum(part.nodes_with_filters for part in parts),
        distinct_peers=sum(part.distinct_peers for part in parts),
        coverage=coverage,
        estimates=tuple(_joint_rows(parts)),
        **ends,
    )


def _known(parts: Sequence[SwarmEstimate], role: str) -> int | None:
    found = [getattr(part, role) for part in parts]
    return None if None in found else max(found)


def _combined(values: Sequence[int | None], how: Callable[[Sequence[int]], int]) -> int | None:
    """Return the ends of both together; None is no end."""
    known = [value for value in values if value is not None]
    return how(known) if len(known) == len(values) else None


def _joint_rows(parts: Sequence[SwarmEstimate]) -> list[MethodEstimate]:
    """Return each method over both families, by the same rule."""
    rows: dict[tuple[str, str], list[MethodEstimate]] = {}
    for part in parts:
        for each in part.estimates:
            rows.setdefault((each.subject, each.method), []).append(each)
    return [
        MethodEstimate(
            *key,
            max(each.estimate for each in found),
            max(each.low for each in found),
            sum(each.high for each in found),
        )
        for key, found in rows.items()
    ]


def _hold_the_same(one: ScrapeFilter, other: ScrapeFilter) -> bool:
    """Return whether the filters of two families have hosts in common, which no two addresses are."""
    sizes = one.estimate(), other.estimate()
    shared = sum(sizes) - (one | other).estimate()
    odds = [(FILTER_BITS - each.zero_bits) / max(each.zero_bits, 1) for each in (one, other)]
    noise = sqrt(FILTER_BITS / 4 * odds[0] * odds[1] + 1)
    return shared > max(SHARED_AT_LEAST * min(sizes), _SIGNIFICANT * noise)


def _halved(joint: SwarmEstimate, named: int) -> SwarmEstimate:
    """Return the estimate when stores hold both families together: a peer is in them twice at most."""
    low = max(ceil(joint.peers_low / 2), named)
    peers = low if joint.is_at_least else max(ceil(joint.peers / 2), low)
    seeds, leechers = (None if each is None else min(each, peers) for each in (joint.seeds, joint.leechers))
    return replace(
        joint,
        peers=peers,
        peers_low=low,
        seeds=seeds,
        leechers=leechers,
        seeds_low=joint.seeds_low // 2,
        leechers_low=joint.leechers_low // 2,
    )
