"""One estimate from what several vantages were told about a swarm at about the same time.

Filters of the same node are ORed before anything is estimated: a node asked twice is one store, and as
two with the same peers it would make the swarm look small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dhtnode import Address, Contact, NodeId, ScrapeFilter, ScrapeReply, estimate_swarm


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
    suspect to anybody.  Peers that were named one by one are not stored, so it is raised to the most
    that one sample counted.  Where fewer nodes have filters than in one of the samples, because they
    were deleted or never sent, the sample with the most stands for all.  Some 1 ms for 24 replies.
    """
    liars = {reply.node for reply in replies if reply.is_suspect}
    stores = _stores([reply for reply in replies if reply.node not in liars])
    best = max(samples, key=_worth)
    answered = max(len({reply.node for reply in replies}), best.nodes_answered)
    named = max(sample.distinct_peers for sample in samples)
    fewest = best.nodes_with_filters - len(liars)
    if not stores or len(stores) < fewest:
        return Single(
            *(best.seeds, best.leechers, best.peers, best.peers_low, best.peers_high),
            *(best.method, best.saturated, answered, best.nodes_with_filters, named),
        )
    estimate = estimate_swarm(stores)
    return Single(
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=max(estimate.peers, named),
        peers_low=max(estimate.peers_low, named),
        peers_high=max(estimate.peers_high, named),
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_answered=answered,
        nodes_with_filters=estimate.nodes_with_filters,
        distinct_peers=named,
    )


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
