"""How many of a swarm's peers are seeds, and how many are not, from filters (BEP 33)."""

from collections.abc import Sequence
from math import hypot, inf, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import ScrapeFilter, hosts_between, union_of_packed
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.replies import Observation

_EMPTY = ScrapeFilter()


class Part(NamedTuple):
    """A part of a swarm with its 95 % interval; None for an estimate where nothing tells of roles."""

    estimate: float | None
    low: float
    high: float


class SeedsAndLeechers(NamedTuple):
    """Seeds and leechers of the whole swarm, and as the union of all filters has them."""

    seeds: Part
    leechers: Part
    seen_seeds: Interval
    seen_leechers: Interval


def seeds_and_leechers(
    observations: Sequence[Observation],
    peers: Interval,
    seen: ScrapeFilter,
    undetected: float,
    half_width: float,
    silent_share: float = 0.0,
) -> SeedsAndLeechers:
    """Split a swarm of `peers` into seeds and leechers.

    `seen` holds all peers that any node told of, `undetected` is how many more the estimate has, and
    `half_width` that of an interval around it.  Peers in no filter are split as those in filters are:
    whether a peer seeds has nothing to do with which node heard of it.  We depart from BEP 33, which
    takes all of them for leechers: where few nodes send filters, or stores are cut, that counts
    seeds as leechers.  Where no node sent both filters, with any peer in them, both parts are unknown:
    from what a lone filter holds to the whole swarm.

    Clients that never send `seed` are leechers here.  `silent_share` is the share of the peers that have
    such a client, as far as it is known, and leaves room for all of them to be seeds.
    """
    seeds = union_of_packed(node.seeds_filter for node in observations)
    leechers = union_of_packed(node.peers_filter for node in observations)
    unplaced = union_of_packed(node.unplaced_filter for node in observations)
    seen_seeds = union_interval(seeds, _EMPTY, 0)
    seen_leechers = union_interval(leechers | unplaced, _EMPTY, 0)
    whole = [node for node in observations if node.has_both_filters and not node.stored.is_empty]
    if not whole:
        seen_leechers = union_interval(leechers, _EMPTY, 0)
        parts = [_unknown(part, peers) for part in (seen_seeds, seen_leechers)]
        return SeedsAndLeechers(parts[0], parts[1], seen_seeds, seen_leechers)
    if len(whole) < sum(not node.stored.is_empty for node in observations):
        seeds = union_of_packed(node.seeds_filter for node in whole)
        leechers = union_of_packed(node.peers_filter for node in whole)
    placed = seeds | leechers
    rest = hosts_between(placed.zero_bits, (placed | seen).zero_bits) + undetected
    split = [_share(part, placed, rest, half_width, peers.high) for part in (seeds, leechers)]
    # Of a swarm without an end those that were seen; the upper end of the seeds is none then.
    silent = silent_share * (peers.estimate if peers.high == inf else peers.high)
    return SeedsAndLeechers(
        split[0]._replace(high=min(split[0].high + silent, peers.high)),
        split[1]._replace(low=max(split[1].low - silent, 0.0)),
        seen_seeds,
        seen_leechers,
    )


def _share(part: ScrapeFilter, placed: ScrapeFilter, rest: float, half_width: float, most: float) -> Part:
    """Return a part of the swarm: what is in its filter, and its share of the peers in no filter.

    `rest` is how many these are, `half_width` that of an interval around it.
    """
    own, total = union_interval(part, _EMPTY, 0), placed.estimate()
    share = min(part.estimate() / total, 1.0) if total else 0.0
    # Half a peer more on both sides, so that a share of nothing or all is not taken for certain.
    likely = (share * total + 0.5) / (total + 1)
    drawn = NORMAL_95 * sqrt(rest * likely * (1 - likely) * (1 + rest / total)) if total else rest
    error = hypot(drawn, share * half_width)
    base = min(max(own.estimate, own.low), own.high) + share * rest
    low = max(base - hypot(base - share * rest - own.low, error), own.low)
    high = base + hypot(own.high + share * rest - base, error)
    return Part(min(base, most), min(low, most), min(high, most))


def _unknown(seen: Interval, peers: Interval) -> Part:
    """Return a part of which no node tells all it stores; known all the same where that is the swarm."""
    low = min(seen.low, peers.high)
    return Part(low if low == peers.high else None, low, peers.high)
