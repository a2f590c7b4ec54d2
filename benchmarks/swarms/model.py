"""Swarms of known size, and what nodes say about them: a model without sockets, for estimators.

A swarm has `peers` addresses, a share of them seeds.  Nodes are asked from the closest on.  Each peer was
announced to each of the first 8 honest nodes with probability `announce`, to each of the next 8 with
`announce_next`; a node that was told of more than it stores keeps a random part.  A node with
BEP 33 sends filters, one of seven of them only that of leechers; half of them keep back their list
of peers and are asked again.  Datagrams get lost, each way; who does not answer is passed over.
A share of the nodes may be hostile
(`benchmarks.swarms.liars`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from benchmarks.swarms.liars import Liar, Said, Style
from dhtnode import Address, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.krpc.compact import pack_address
from dhtnode.swarm import Reply

CLOSEST = 8
CUT = 500
ROOM = 2048
ASKED_AT_MOST = 40  # nodes that may be asked of, far beyond those that know anything
WITHHOLDS = 0.5  # share of nodes with filters that list no peer beside them
LONE_FILTER = 0.15  # share of nodes with filters that send one only
VALUES = (50, 100)


@dataclass(frozen=True, slots=True)
class SwarmModel:
    """The properties of swarms and of the nodes around them."""

    announce: float = 0.9
    announce_next: float = 0.5
    capped: float = 0.7
    bep33: float = 0.6
    loss: float = 0.02
    hostile: float = 0.0
    unequal: bool = False
    """Whether peers differ in how well their announces arrive: beta(1.2, 0.8), each its own."""


class ModelSwarm:
    """One swarm, and the nodes around it."""

    def __init__(self, model: SwarmModel, peers: int, random: Random) -> None:
        self.model = model
        self.peers = peers
        self.seeds = round(peers * random.uniform(0.1, 0.9))
        self._random = random
        self._hosts = invented_hosts(peers, random)
        self._reach = [random.betavariate(1.2, 0.8) if model.unequal else 1.0 for _ in range(peers)]
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
        chance = (model.announce, model.announce_next, 0.0)[min(self._honest // CLOSEST, 2)]
        self._honest += not is_liar
        room = CUT if random.random() < model.capped else ROOM
        has_filters = random.random() < model.bep33
        if self._is_lost():
            return None
        stored = [peer for peer in range(self.peers) if random.random() < chance * self._reach[peer]]
        if len(stored) > room:
            stored = random.sample(stored, room)
        listed = random.sample(stored, min(len(stored), random.choice(VALUES)))
        if has_filters and random.random() < WITHHOLDS and self._is_lost():
            listed = []
        values = tuple(Address(self._hosts[peer], 6881) for peer in listed)
        seeds = leechers = None
        if has_filters and stored:
            leechers = filter_of(self._hosts[peer] for peer in stored if peer >= self.seeds)
            if random.random() >= LONE_FILTER:
                seeds = filter_of(self._hosts[peer] for peer in stored if peer < self.seeds)
        return seeds, leechers, values

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


def filter_of(hosts: Iterator[str]) -> ScrapeFilter:
    """Return the filter of IPv4 addresses."""
    return ScrapeFilter.of(bytes(map(int, host.split("."))) for host in hosts)


def invented_hosts(count: int, random: Random) -> list[str]:
    """Return different addresses of 11.0.0.0/8 to 74.255.255.255, which are none of special use."""
    return [
        f"{11 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        for number in random.sample(range(1 << 30), count)
    ]
