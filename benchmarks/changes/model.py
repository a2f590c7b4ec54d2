"""A swarm that peers join and leave, and the filters of the nodes around it at two times: a model.

Peers come at random and stay for random times.  Each announces when it comes, and again after an interval of
its own, to the nodes closest to the info-hash; a node keeps it for `EXPIRY` after that.  Each announcement
reaches a node with the reach of the peer times that of the node; some pairs of peer and node never meet.
A store that was told of more than it keeps holds a random part.  A peer is there while any of its
announcements is younger than `EXPIRY`, heard or not: that is the truth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from dhtnode import Address, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.swarm import Observation

EXPIRY = 30.0
"""Minutes that a node keeps a peer after its last announcement (libtorrent)."""

BITS = 2048
NEAR = 8  # nodes that most announcements reach

REACHES: Mapping[str, Callable[[Random], float]] = {
    "equal": lambda _: 1.0,
    "beta(1.2, 0.8)": lambda random: random.betavariate(1.2, 0.8),
    "beta(2, 1)": lambda random: random.betavariate(2, 1),
    "two classes": lambda random: 0.2 if random.random() < 0.3 else 1.0,
}
"""How well the announcements of a peer arrive, drawn for each peer, by the name of the distribution."""


@dataclass(frozen=True, slots=True)
class ChangeModel:
    """The properties of a swarm and of the nodes around it; times are in minutes."""

    peers: int = 500
    """Peers at the first time."""

    hours: float = 1.0
    """Time between the two measurements."""

    leave: float = 0.0
    """Share of the peers that leaves in an hour."""

    join: float = 0.0
    """Peers that come in an hour, as a share of the swarm at the first time."""

    reach: str = "equal"
    announce: float = 0.9
    announce_next: float = 0.5
    never: float = 0.0
    """Share of the pairs of peer and node in which no announcement ever arrives."""

    announce_every: tuple[float, float] = (15.0, 30.0)
    nodes: int = 8
    loss: float = 0.05
    """Share of the nodes that does not answer, at each time."""

    replaced: float = 0.0
    """Share of the nodes of which another is in their place at the second time."""

    room: int = 0
    """Peers that a store keeps, a random part of those it was told of; 0 for all."""


@dataclass(frozen=True, slots=True)
class Change:
    """The true sizes, arrivals and departures, and what nodes said before and after."""

    before: int
    after: int
    arrivals: int
    departures: int
    first: tuple[Observation, ...]
    second: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class _Peer:
    """A peer: its bits, and at both times the nodes that have it, a bit each, and whether it is there."""

    mask: int
    heard: tuple[int, int]
    is_there: tuple[bool, bool]

    @classmethod
    def drawn(cls, model: ChangeModel, comes: float, random: Random, *, is_settled: bool = False) -> "_Peer":
        every, reach = random.uniform(*model.announce_every), REACHES[model.reach](random)
        times = 0.0, 60 * model.hours
        leaves = min(comes + random.expovariate(model.leave / 60) if model.leave else times[1], times[1])
        chances = [
            reach * (model.announce, model.announce_next)[place % model.nodes >= NEAR]
            if random.random() >= model.never
            else 0.0
            for place in range(2 * model.nodes)
        ]
        heard, is_there = [0, 0], [False, False]
        at = comes - random.uniform(0, every) if is_settled else comes
        while at <= leaves:
            known = [time - EXPIRY < at <= time for time in times]
            if any(known):
                arrived = sum(1 << place for place, chance in enumerate(chances) if random.random() < chance)
                heard = [old | arrived * new for old, new in zip(heard, known, strict=True)]
                is_there = [old or new for old, new in zip(is_there, known, strict=True)]
            at += every * random.uniform(0.95, 1.0)
        mask = 1 << random.randrange(BITS) | 1 << random.randrange(BITS)
        return cls(mask, (heard[0], heard[1]), (is_there[0], is_there[1]))


def draw_change(model: ChangeModel, random: Random) -> Change:
    """Draw a swarm at two times, and what the nodes around it say."""
    peers = [peer for peer in _peers(model, random) if any(peer.is_there)]
    nodes = list(range(model.nodes))
    later = [place + model.nodes * (random.random() < model.replaced) for place in nodes]
    before, after = (sum(peer.is_there[time] for peer in peers) for time in (0, 1))
    both = sum(all(peer.is_there) for peer in peers)
    return Change(
        before,
        after,
        after - both,
        before - both,
        _observations(model, [(peer.mask, peer.heard[0]) for peer in peers], nodes, random),
        _observations(model, [(peer.mask, peer.heard[1]) for peer in peers], later, random),
    )


def _peers(model: ChangeModel, random: Random) -> Iterator[_Peer]:
    """Yield those that are there when what nodes know at the first time begins, and those that come."""
    for _ in range(model.peers):
        yield _Peer.drawn(model, -EXPIRY, random, is_settled=True)
    at, rate = -EXPIRY, model.join * model.peers / 60
    while rate and (at := at + random.expovariate(rate)) < 60 * model.hours:
        yield _Peer.drawn(model, at, random)


def _observations(
    model: ChangeModel, peers: Sequence[tuple[int, int]], nodes: Sequence[int], random: Random
) -> tuple[Observation, ...]:
    """Return what nodes say, from the bits of all peers and the nodes that have them."""
    found = []
    for place, node in enumerate(nodes):
        if random.random() < model.loss:
            continue
        stored = [mask for mask, heard in peers if heard >> node & 1]
        if model.room and len(stored) > model.room:
            stored = random.sample(stored, model.room)
        bits = 0
        for mask in stored:
            bits |= mask
        address = Address(f"9.0.0.{node + 1}", 6881)
        packed = ScrapeFilter(bits).to_bytes()
        found.append(Observation(NodeId(node.to_bytes(20, "big")), address, place, peers_filter=packed))
    return tuple(found)
