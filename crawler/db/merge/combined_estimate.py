"""One estimate from what several vantages were told about a swarm at about the same time.

Filters of the same node are ORed before anything is estimated: a node asked twice is one store, and as
two with the same peers it would make the swarm look small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dhtnode import Family
from dhtnode.krpc import ScrapeFilter
from dhtnode.swarm import Observation, estimate_observations

SEEN = ("union", "distinct")
"""Methods that count peers which somebody stores."""


@dataclass(frozen=True, slots=True)
class Single:
    """Hold what one sample has come to; numbers and intervals are None where nothing could be said."""

    seeds: float | None
    leechers: float | None
    peers: float | None
    peers_low: float | None
    peers_high: float | None
    seeds_low: float | None
    seeds_high: float | None
    leechers_low: float | None
    leechers_high: float | None
    method: str
    saturated: bool
    nodes_answered: int
    nodes_with_filters: int
    distinct_peers: int


@dataclass(frozen=True, slots=True)
class CombinedReply:
    """Hold what a node said in the sample of that number, as the database has it: its id in hex.

    Filters are None where there are none; `tokens` stand for the peers that it named, 8 bytes each, and
    compare within a sample only.
    """

    node_id: str
    host: str
    port: int
    seeds_filter: bytes | None
    peers_filter: bytes | None
    named_filter: bytes | None
    unplaced_filter: bytes | None
    tokens: bytes | None
    sample: int
    is_suspect: bool

    @property
    def node(self) -> tuple[str, str, int]:
        """Return the key of the node."""
        return self.node_id, self.host, self.port


def combine(samples: Sequence[Single], replies: Sequence[CombinedReply]) -> Single:
    """Return what samples of one swarm and window come to together; the order does not matter.

    The estimate is that of `estimate_observations` over the filters of all nodes, without those that were
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
    estimate = estimate_observations(stores)
    found = Single(
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=estimate.peers,
        peers_low=estimate.peers_low,
        peers_high=estimate.peers_high,
        seeds_low=estimate.seeds_low,
        seeds_high=estimate.seeds_high,
        leechers_low=estimate.leechers_low,
        leechers_high=estimate.leechers_high,
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_answered=answered,
        nodes_with_filters=estimate.nodes_with_filters,
        distinct_peers=named,
    )
    return found if liars else _raised(found, samples)


def _raised(found: Single, samples: Sequence[Single]) -> Single:
    """Raise an estimate to what was counted: all together have seen no less than each of them."""
    seen = [sample.peers_low or 0 for sample in samples if sample.method in SEEN]
    low = max([found.peers_low or 0, found.distinct_peers, *seen])
    peers, high = max(found.peers or 0, low), max(found.peers_high or 0, low)
    return replace(found, peers=peers, peers_low=low, peers_high=high)


def _worth(sample: Single) -> tuple[object, ...]:
    """Return what a sample is judged by when one is to stand for all: equal ones are equal in all."""
    counts = (sample.nodes_with_filters, sample.nodes_answered, sample.distinct_peers)
    sizes = (sample.peers, sample.peers_low, sample.peers_high, sample.seeds, sample.leechers)
    ends = (sample.seeds_low, sample.seeds_high, sample.leechers_low, sample.leechers_high)
    known = (-1.0 if size is None else size for size in (*sizes, *ends))
    return (*counts, *known, sample.method, sample.saturated)


def _stores(replies: Sequence[CombinedReply]) -> list[Observation]:
    """Return the evidence of each node that said something, in the order of their keys.

    Peers are counted one by one in the sample that has the most of them; those that others named are
    bits of filters.
    """
    named: dict[int, set[bytes]] = {}
    for reply in replies:
        named.setdefault(reply.sample, set()).update(_tokens(reply))
    # Of samples with equally many, one is taken by what is in them: their numbers depend on the database.
    counted = max(
        named, key=lambda sample: (len(named[sample]), max(named[sample], default=b"")), default=None
    )
    nodes: dict[tuple[str, str, int], Observation] = {}
    for reply in replies:
        packed = (reply.seeds_filter, reply.peers_filter, reply.unplaced_filter)
        if packed != (None, None, None) or reply.tokens:
            before = nodes.get(reply.node, _NOTHING)
            is_counted = reply.sample == counted
            nodes[reply.node] = Observation(
                Family.IPV6 if ":" in reply.host else Family.IPV4,
                _or(before.seeds_filter, reply.seeds_filter),
                _or(before.peers_filter, reply.peers_filter),
                before.named.union(_tokens(reply) if is_counted else ()),
                _or(before.named_filter, reply.named_filter if is_counted else None) or ScrapeFilter(),
                _or(before.unplaced_filter, reply.unplaced_filter) or ScrapeFilter(),
            )
    return [evidence for _, evidence in sorted(nodes.items(), key=lambda item: item[0])]


_NOTHING = Observation(Family.IPV4, None, None, frozenset(), ScrapeFilter(), ScrapeFilter())


def _tokens(reply: CombinedReply) -> list[bytes]:
    tokens = reply.tokens or b""
    return [tokens[at : at + 8] for at in range(0, len(tokens), 8)]


def _or(before: ScrapeFilter | None, packed: bytes | None) -> ScrapeFilter | None:
    if packed is None:
        return before
    return (before or ScrapeFilter()) | ScrapeFilter.from_bytes(packed)
