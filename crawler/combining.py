"""One estimate from what several vantages were told about a swarm at about the same time.

Filters of the same node are ORed before anything is estimated: a node asked twice is one store, and as
two with the same peers it would make the swarm look small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dhtnode import Address, Contact, NodeId, ScrapeFilter, ScrapeReply, estimate_swarm

SEEN = ("union", "distinct")
"""Methods that count peers which somebody stores."""


@dataclass(frozen=True, slots=True)
class Single:
    """Hold what one sample has come to; `peers` and its interval are None where nothing could be said."""

    seeds: float | None
    leechers: float | None
    peers: float | None
    peers_low: float | None
    peers_high: float | None
    method: str
    saturated: bool
    nodes_answered: int
    nodes_with_filters: int
    distinct_peers: int


@dataclass(frozen=True, slots=True)
class StoredReply:
    """Hold what a node said in one sample, as the database has it: its id in hex, filters or None.

    `named_filter` has the bits of peers that it named and that are no known seeds.
    """

    node_id: str
    host: str
    port: int
    seeds_filter: bytes | None
    peers_filter: bytes | None
    named_filter: bytes | None
    is_suspect: bool

    @property
    def node(self) -> tuple[str, str, int]:
        """Return the key of the node."""
        return self.node_id, self.host, self.port


def combine(samples: Sequence[Single], replies: Sequence[StoredReply]) -> Single:
    """Return what samples of one swarm and window come to together; the order does not matter.

    The estimate is that of `estimate_swarm` over the filters of all nodes, without those that were
    suspect to anybody.  Where fewer nodes have filters than in one of the samples, because they were
    deleted or never sent, the sample with the most stands for all.  Some 1 ms for 24 replies.
    """
    liars = {reply.node for reply in replies if reply.is_suspect}
    stores = _stores([reply for reply in replies if reply.node not in liars])
    best = max(samples, key=_worth)
    answered = max(len({reply.node for reply in replies}), best.nodes_answered)
    named = max(sample.distinct_peers for sample in samples)
    if not stores or len(stores) < best.nodes_with_filters - len(liars):
        return replace(best, nodes_answered=answered, distinct_peers=named)
    estimate = estimate_swarm(stores)
    found = Single(
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=estimate.peers,
        peers_low=estimate.peers_low,
        peers_high=estimate.peers_high,
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_answered=answered,
        nodes_with_filters=estimate.nodes_with_filters,
        distinct_peers=named,
    )
    return found if liars else _sharpened(found, samples)


def _sharpened(found: Single, samples: Sequence[Single]) -> Single:
    """Take from the samples what they know better than filters can tell.

    A sample counts the peers that nodes named one by one, which are not stored; filters alone are off
    by 1 or 2 of 100.  All together have seen no less than each of them: so of those that the others do
    not rule out the one with the narrowest interval is believed.
    """
    seen = [sample for sample in samples if sample.method in SEEN and sample.peers is not None]
    low = max([found.distinct_peers, *(each.peers_low or 0 for each in (found, *seen))])
    if found.method in SEEN:
        fitting = [each for each in (found, *seen) if (each.peers_high or 0) >= low]
        sharpest = min(fitting or [found], key=_width)
        found = replace(found, peers=sharpest.peers, peers_high=sharpest.peers_high)
    return replace(
        found,
        peers=max(found.peers or 0, low),
        peers_low=low,
        peers_high=max(found.peers_high or 0, low),
    )


def _width(sample: Single) -> tuple[float, float]:
    """Return the relative width of an interval; of equal ones the higher comes first."""
    peers = sample.peers or 0
    return ((sample.peers_high or 0) - (sample.peers_low or 0)) / max(peers, 1), -peers


def _worth(sample: Single) -> tuple[object, ...]:
    """Return what a sample is judged by when one is to stand for all: equal ones are equal in all."""
    counts = (sample.nodes_with_filters, sample.nodes_answered, sample.distinct_peers)
    sizes = (sample.peers, sample.peers_low, sample.peers_high, sample.seeds, sample.leechers)
    return (*counts, *(-1.0 if size is None else size for size in sizes), sample.method, sample.saturated)


def _stores(replies: Sequence[StoredReply]) -> list[ScrapeReply]:
    """Return one reply for each node that sent filters, in the order of their keys."""
    filters: dict[tuple[str, str, int], tuple[ScrapeFilter, ScrapeFilter]] = {}
    for reply in replies:
        packed = (reply.seeds_filter, reply.peers_filter, reply.named_filter)
        if packed != (None, None, None):
            seeds, peers = filters.get(reply.node, (ScrapeFilter(), ScrapeFilter()))
            more_seeds, more_peers, named = map(_filter, packed)
            filters[reply.node] = seeds | more_seeds, peers | more_peers | named
    return [
        ScrapeReply(Contact(NodeId(bytes.fromhex(node_id)), Address(host, port)), 0.0, seeds, peers, (), None)
        for (node_id, host, port), (seeds, peers) in sorted(filters.items())
    ]


def _filter(packed: bytes | None) -> ScrapeFilter:
    return ScrapeFilter() if packed is None else ScrapeFilter.from_bytes(packed)
