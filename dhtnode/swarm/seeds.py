"""How many of a swarm's peers are seeds, and how many are not, from filters (BEP 33)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from dhtnode.krpc.scrape_filter import ScrapeFilter, hosts_between, union_of
from dhtnode.swarm.filter_size import NORMAL_95, Interval, union_interval
from dhtnode.swarm.replies import Observation

_EMPTY = ScrapeFilter()


@dataclass(frozen=True, slots=True)
class SeedsAndLeechers:
    """Hold seeds and leechers, of the whole swarm and as the union of all filters has them."""

    seeds: Interval
    leechers: Interval
    seen_seeds: Interval
    seen_leechers: Interval


def seeds_and_leechers(
    evidence: Sequence[Observation], peers: Interval, seen: ScrapeFilter, unseen: float, doubt: float
) -> SeedsAndLeechers:
    """Split a swarm of `peers` into seeds and leechers.

    `seen` holds all that any node told of, `unseen` is how many more the estimate has, and `doubt`
    half the width of an interval around that.  Peers in no filter are split as those in filters are:
    whether a peer seeds has nothing to do with which node heard of it.  We depart from BEP 33, which
    takes all of them for leechers: where few nodes send filters, or stores are cut, that counts
    seeds as leechers.  Where no node sent both filters, with anybody in them, we keep to the text, and
    an end of an interval that nothing is known about is that of the swarm.
    """
    seeds = union_of(node.seeds_filter for node in evidence)
    leechers = union_of(node.peers_filter for node in evidence)
    unplaced = union_of(node.unplaced_filter for node in evidence)
    seen_seeds, seen_leechers = (
        union_interval(seeds, _EMPTY, 0),
        union_interval(leechers | unplaced, _EMPTY, 0),
    )
    whole = [node for node in evidence if node.has_both_filters and not node.stored.is_empty]
    if not whole:
        return SeedsAndLeechers(
            _at_most(seen_seeds, peers.high), _at_most(seen_leechers, peers.high), seen_seeds, seen_leechers
        )
    seeds = union_of(node.seeds_filter for node in whole)
    leechers = union_of(node.peers_filter for node in whole)
    placed = seeds | leechers
    rest = hosts_between(placed.zero_bits, (placed | seen).zero_bits) + unseen
    split = [_share(part, placed, rest, doubt, peers.high) for part in (seeds, leechers)]
    return SeedsAndLeechers(split[0], split[1], seen_seeds, seen_leechers)


def _share(part: ScrapeFilter, placed: ScrapeFilter, rest: float, doubt: float, most: float) -> Interval:
    """Return a part of the swarm: what is in its filter, and its share of the peers in no filter.

    `rest` is how many these are, `doubt` half the width of an interval around that.
    """
    own, total = union_interval(part, _EMPTY, 0), placed.estimate()
    share = min(part.estimate() / total, 1.0) if total else 0.0
    # Half a peer more on both sides, so that a share of nothing or all is not taken for certain.
    likely = (share * total + 0.5) / (total + 1)
    drawn = NORMAL_95 * sqrt(rest * likely * (1 - likely) * (1 + rest / total)) if total else rest
    error = hypot(drawn, share * doubt)
    base = min(max(own.estimate, own.low), own.high) + share * rest
    low = max(base - hypot(base - share * rest - own.low, error), own.low)
    high = base + hypot(own.high + share * rest - base, error)
    return Interval(min(base, most), min(low, most), min(high, most))


def _at_most(part: Interval, most: float) -> Interval:
    return Interval(min(part.estimate, most), min(part.low, most), most)
