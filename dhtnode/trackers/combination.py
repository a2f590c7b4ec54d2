"""One statement on a swarm from what several trackers say of it: an interval, never a sum or a mean."""

from collections.abc import Sequence
from typing import NamedTuple

from dhtnode.trackers.messages import SwarmCounts


class CombinedCounts(NamedTuple):
    """The least and the most peers that some lists can have in all, whose overlap is unknown.

    The least is one list that has all the others, the most are lists that share no peer.
    """

    seeds: tuple[int, int]
    leechers: tuple[int, int]
    peers: tuple[int, int]


def combine(lists: Sequence[SwarmCounts]) -> CombinedCounts:
    """Combine what trackers say, each address and family once, without those that invent."""
    seeds = [each.seeds for each in lists]
    leechers = [each.leechers for each in lists]
    peers = [one + other for one, other in zip(seeds, leechers, strict=True)]
    return CombinedCounts(*((max(each, default=0), sum(each)) for each in (seeds, leechers, peers)))
