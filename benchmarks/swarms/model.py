"""Swarms of known size, and what nodes say about them: a model without sockets, for estimators.

A swarm has `peers` addresses, a share of them seeds.  Nodes are asked from the closest on.  Each peer was
announced to each of the first 8 honest nodes with probability `announce`, to each of the next 8 with
`announce_next`, to those beyond with `announce_far`, each times what `reach` says of the peer.  A node that
was told of more than it stores keeps a random part, or with `keeps` "first" those that came first: in one
order at all nodes, as libtorrent does.  A node with BEP 33 sends filters, one of seven of them only that
of leechers; half of them keep back their list of peers and are asked again.  Datagrams get lost, each way;
who does not answer is passed over.  A share of the nodes may be hostile (`benchmarks.swarms.liars`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.swarms.liars import Liar, Said, Style
from dhtnode import Address, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.krpc.compact import pack_address, unpack_address
from dhtnode.krpc.scrape_filter import FILTER_BITS
from dhtnode.swarm import Reply

CLOSEST = 8
CUT = 500
ROOM = 2048
ASKED_AT_MOST = 60  # nodes that may be asked of, far beyond those that know anything
WITHHOLDS = 0.5  # share of nodes with filters that list no peer beside them
LONE_FILTER = 0.15  # share of nodes with filters that send one only
VALUES = (50, 100)
_PORT = (6881).to_bytes(2, "big")
_POOR = 0.15  # reach of the worse of two classes
_POOR_SHARE = 0.2

_Chances: TypeAlias = NDArray[np.float64]
_Generator: TypeAlias = np.random.Generator

REACHES: Mapping[str, Callable[[_Generator, int], _Chances]] = {
    "equal": lambda _, peers: np.ones(peers),
    "beta": lambda random, peers: random.beta(1.2, 0.8, peers),
    "beta21": lambda random, peers: random.beta(2.0, 1.0, peers),
    "uniform": lambda random, peers: random.random(peers),
    "two-classes": lambda random, peers: np.where(random.random(peers) < _POOR_SHARE, _POOR, 1.0),
    "lognormal": lambda random, peers: np.minimum(random.lognormal(-0.35, 0.6, peers), 1.0),
}
"""How well the announces of each peer arrive, times the chance of the node."""


@dataclass(frozen=True, slots=True)
class SwarmModel:
    """The properties of swarms and of the nodes around them."""

    announce: float = 0.9
    announce_next: float = 0.5
    announce_far: float = 0.0
    capped: float = 0.7
    cut: int = CUT
    room: int = ROOM
    keeps: str = "random"
    """What a full store keeps: "random", or "first", in one order at all nodes."""

    bep33: float = 0.6
    loss: float = 0.02
    hostile: float = 0.0
    reach: str = "equal"
    """How peers differ: a name in `REACHES`."""


class ModelSwarm:
    """One swarm, and the nodes around it."""

    def __init__(self, model: SwarmModel, peers: int, random: Random) -> None:
        self.model = model
        self.peers = peers
        self.seeds = round(peers * random.uniform(0.1, 0.9))
        self._random = random
        self._draw = np.random.default_rng(random.getrandbits(64))
        self.hosts = invented_hosts(peers, self._draw)
        self._bits = _bits_of(self.hosts)
        self._reach = REACHES[model.reach](self._draw, peers)
        # The places of peers in the order in which they came; seeds are no earlier than others.
        self._order = self._draw.permutation(peers)
        self._honest = self._answered = 0
        self._liar = Liar(random)
        self._last_style: Style | None = None
        self.liars = set[int]()

    def replies(self) -> Iterator[Reply]:
        """Yield what nodes answer, the closest first; those that do not are left out.

        `liars` holds the places of those that lie.
        """
        for rank in range(ASKED_AT_MOST):
            is_liar = self._random.random() < self.model.hostile
            said = self._honest_words(is_liar)
            if said is not None:
                self._last_style = None
                if is_liar:
                    self.liars.add(self._answered)
                    self._last_style = self._liar.draw()
                    said = self._last_style(said)
                self._answered += 1
                yield reply_of(rank, *said)

    def answers_anything(self) -> bool:
        """Return whether the node that answered last names peers of a random info-hash."""
        if self._last_style is None:
            return False
        seeds, leechers, values = self._liar.on_anything(self._last_style)
        return bool(values) or any(each is not None and not each.is_empty for each in (seeds, leechers))

    def _honest_words(self, is_liar: bool) -> Said | None:
        """Return what the next node has to say, or None when it does not answer.

        A liar knows what an honest node in its place would, and peers do not count it among those
        to announce to.
        """
        model, random = self.model, self._random
        chances = model.announce, model.announce_next, model.announce_far
        chance = chances[min(self._honest // CLOSEST, 2)]
        self._honest += not is_liar
        room = model.cut if random.random() < model.capped else model.room
        has_filters = random.random() < model.bep33
        if self._is_lost():
            return None
        stored = self._stored(chance, room)
        listed = self._draw.choice(stored, min(len(stored), random.choice(VALUES)), replace=False)
        if has_filters and random.random() < WITHHOLDS and self._is_lost():
            listed = listed[:0]
        values = tuple(unpack_address(self.hosts[peer].tobytes() + _PORT) for peer in listed)
        seeds = leechers = None
        if has_filters and len(stored):
            leechers = self._filter_of(stored[stored >= self.seeds])
            if random.random() >= LONE_FILTER:
                seeds = self._filter_of(stored[stored < self.seeds])
        return seeds, leechers, values

    def _stored(self, chance: float, room: int) -> NDArray[np.int64]:
        """Return the peers that the next node stores."""
        told = np.flatnonzero(self._draw.random(self.peers) < chance * self._reach)
        if len(told) <= room:
            return told
        if self.model.keeps == "first":
            return told[np.argsort(self._order[told])[:room]]
        return self._draw.choice(told, room, replace=False)

    def _filter_of(self, peers: NDArray[np.int64]) -> ScrapeFilter:
        bits = np.zeros(FILTER_BITS, np.uint8)
        bits[self._bits[peers].ravel()] = 1
        return ScrapeFilter.from_bytes(np.packbits(bits, bitorder="little").tobytes())

    def _is_lost(self) -> bool:
        """Return whether a query or the response to it gets lost."""
        return self._random.random() > (1 - self.model.loss) ** 2


def reply_of(
    rank: int,
    seeds: ScrapeFilter | None,
    leechers: ScrapeFilter | None,
    values: tuple[Address, ...],
) -> Reply:
    """Return the reply of the node of a rank."""
    packed = [None if each is None else each.to_bytes() for each in (seeds, leechers)]
    address = Address(f"9.0.0.{rank + 1}", 6881)
    return Reply(NodeId(rank.to_bytes(20, "big")), address, rank, *packed, tuple(map(pack_address, values)))


def invented_hosts(count: int, random: _Generator) -> NDArray[Any]:
    """Return different addresses of 11.0.0.0 to 74.255.255.255, which are none of special use, in 4 bytes."""
    drawn = np.unique(random.integers(0, 1 << 30, count + count // 50 + 10))
    numbers = (random.permutation(drawn)[:count] + (11 << 24)).astype(">u4")
    return numbers.view(np.uint8).reshape(count, 4)


def _bits_of(hosts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the two bits of each host (BEP 33)."""
    digests = b"".join(sha1(host.tobytes(), usedforsecurity=False).digest()[:4] for host in hosts)
    return np.frombuffer(digests, "<u2").reshape(len(hosts), 2).astype(np.int64) % FILTER_BITS
