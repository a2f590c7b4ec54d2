"""The peers that were announced to us, per info-hash, with ageing and caps.

One entry per info-hash and IP (BEP 33), holding the port and whether the peer is a seed; a new
announce from the same IP replaces the old one.  An entry lives for a fixed time after its last
announce.  Three caps bound the store: info-hashes, peers per info-hash, peers in all; what does
not fit is refused and counted, and never displaces what is there, so a flood of announces cannot
wash out a swarm.
"""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from dhtnode.addresses import Address, Family
from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask
from dhtnode.server.infohash_sample import SampleAnswer, SampleKeeper
from dhtnode.server.peer_list import Listing

_PREFIXES = {family: b"%d:" % family.address_bytes for family in Family}
_FAMILIES = {family.address_bytes: family for family in Family}

VALUE_BYTES = {family: len(prefix) + family.address_bytes for family, prefix in _PREFIXES.items()}
"""What one peer takes in the `values` of a reply: 8 bytes, or 21."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Show what a peer store holds and what it turned away since it was made."""

    swarms: int
    peers: int
    refused: int
    expired: int


class PeerStore:
    """Hold announced peers of both families."""

    def __init__(
        self,
        random: Random,
        *,
        lifetime: float,
        max_swarms: int,
        max_peers_per_swarm: int,
        max_peers: int,
        sample_interval: float = MAX_INTERVAL,
    ) -> None:
        self._random = random
        self._lifetime = lifetime
        self._max_swarms = max_swarms
        self._max_peers_per_swarm = max_peers_per_swarm
        self._max_peers = max_peers
        self._swarms: dict[InfoHash, _Swarm] = {}
        self._sampler = SampleKeeper(random, interval=sample_interval)
        self._count = 0
        self._refused = 0
        self._expired = 0

    def statistics(self) -> StoreStatistics:
        """Return the sizes and counters of the store."""
        return StoreStatistics(len(self._swarms), self._count, self._refused, self._expired)

    def has_room(self, info_hash: InfoHash, host: str) -> bool:
        """Return whether an announce from `host` would be stored; without room no token is given."""
        swarm = self._swarms.get(info_hash)
        if swarm is not None and host in swarm.peers:
            return True
        if self._count >= self._max_peers:
            return False
        if swarm is None:
            return len(self._swarms) < self._max_swarms
        return len(swarm.peers) < self._max_peers_per_swarm

    def refuse(self) -> None:
        """Count an announce for which there was no room."""
        self._refused += 1

    def announce(self, info_hash: InfoHash, peer: Address, now: float, *, seed: bool) -> bool:
        """Store a peer or renew it; return False when there is no room."""
        if not self.has_room(info_hash, peer.host):
            self._refused += 1
            return False
        self.store(info_hash, peer.host, pack_address(peer), now, seed=seed)
        return True

    def store(self, info_hash: InfoHash, host: str, compact: bytes, now: float, *, seed: bool) -> None:
        """Store a peer for which there is room, given by its host and its compact form."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            swarm = self._swarms[info_hash] = _Swarm()
        self._count += swarm.put(host, _Peer(compact, seed, now + self._lifetime), self._random)

    def sample(
        self, info_hash: InfoHash, family: Family, count: int, now: float, *, noseed: bool = False
    ) -> list[bytes]:
        """Return up to `count` compact peers of one family, each as likely as any other, none twice.

        With `noseed`, seeds are left out (BEP 33), at a cost linear in the peers of the swarm.
        """
        if noseed:
            return self._sample_without_seeds(info_hash, family, count, now)
        encoded = self.sample_encoded(info_hash, family, count, now)
        size = VALUE_BYTES[family]
        prefix = size - family.address_bytes
        return [encoded[at + prefix : at + size] for at in range(0, len(encoded), size)]

    def sample_encoded(self, info_hash: InfoHash, family: Family, count: int, now: float) -> bytes:
        """Return the same as `sample`, bencoded one after the other; cost: a copy of the bytes."""
        swarm = self._fresh(info_hash, now)
        return b"" if swarm is None or count <= 0 else swarm.sample(family, count, self._random)

    def _sample_without_seeds(
        self, info_hash: InfoHash, family: Family, count: int, now: float
    ) -> list[bytes]:
        swarm = self._fresh(info_hash, now)
        if swarm is None or count <= 0:
            return []
        chosen = [peer.compact for peer in swarm.peers.values() if peer.family is family and not peer.seed]
        return chosen if len(chosen) <= count else self._random.sample(chosen, count)

    def filters(
        self, info_hash: InfoHash, family: Family | None, now: float
    ) -> tuple[ScrapeFilter, ScrapeFilter] | None:
        """Return the filters of seeds and of other peers, or None when the swarm is unknown (BEP 33).

        `family` limits them to one family; None means both.  Cost: linear in the peers of the swarm
        after a change, constant otherwise.
        """
        swarm = self._fresh(info_hash, now)
        return None if swarm is None else swarm.filters(family)

    def sample_info_hashes(self, now: float) -> SampleAnswer:
        """Return some of the info-hashes stored, the same ones for hours (BEP 51)."""
        return self._sampler.sample(self._swarms.keys(), now)

    def expire(self, now: float) -> None:
        """Drop every peer whose time is over; cost: linear in swarms and in peers dropped."""
        for info_hash in list(self._swarms):
            self._fresh(info_hash, now)

    def _fresh(self, info_hash: InfoHash, now: float) -> "_Swarm | None":
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return None
        dropped = swarm.expire(now)
        self._count -= dropped
        self._expired += dropped
        if swarm.peers:
            return swarm
        del self._swarms[info_hash]
        return None


class _Peer(NamedTuple):  # a tuple, because one is made for every announce
    compact: bytes
    seed: bool
    expires_at: float

    @property
    def family(self) -> Family:
        return _FAMILIES[len(self.compact)]


class _Swarm:
    """Keep the peers of one info-hash by host, the one to expire first in front."""

    __slots__ = ("_filters", "_listings", "peers")

    def __init__(self) -> None:
        self.peers: dict[str, _Peer] = {}
        self._listings: dict[Family, Listing] = {}
        self._filters: dict[Family | None, tuple[ScrapeFilter, ScrapeFilter]] = {}

    def put(self, host: str, new: _Peer, random: Random) -> int:
        """Add or renew a peer and return by how many the swarm has grown."""
        old = self.peers.pop(host, None)  # so that a renewed peer goes to the end
        self.peers[host] = new
        if old is None or old.compact != new.compact:
            self._list(host, new, random)
        if self._filters:
            self._update_filters(old, new)
        return old is None

    def sample(self, family: Family, count: int, random: Random) -> bytes:
        """Return up to `count` peers, encoded."""
        listing = self._listings.get(family)
        return b"" if listing is None else listing.sample(count, random)

    def _list(self, host: str, peer: _Peer, random: Random) -> None:
        family = peer.family
        if family not in self._listings:
            self._listings[family] = Listing(VALUE_BYTES[family])
        self._listings[family].put(host, _PREFIXES[family] + peer.compact, random)

    def _update_filters(self, old: _Peer | None, new: _Peer) -> None:
        """Keep filters current: an announce before every scrape must not make scrapes dear."""
        if old is None:
            self._filters = {family: _with_peer(pair, new, family) for family, pair in self._filters.items()}
        elif old.seed is not new.seed:
            self._filters.clear()  # a bit that is set cannot be taken back

    def expire(self, now: float) -> int:
        """Drop what is over and return how many; announces come in the order of their expiry."""
        dropped = []
        for host, peer in self.peers.items():
            if peer.expires_at > now:
                break
            dropped.append(host)
        for host in dropped:
            self._listings[self.peers.pop(host).family].remove(host)
        if dropped:
            self._filters.clear()
        return len(dropped)

    def filters(self, family: Family | None) -> tuple[ScrapeFilter, ScrapeFilter]:
        if family not in self._filters:
            pair = _NOBODY
            for peer in self.peers.values():
                pair = _with_peer(pair, peer, family)
            self._filters[family] = pair
        return self._filters[family]


_NOBODY = (ScrapeFilter(), ScrapeFilter())


def _with_peer(
    pair: tuple[ScrapeFilter, ScrapeFilter], peer: _Peer, family: Family | None
) -> tuple[ScrapeFilter, ScrapeFilter]:
    """Return the filters of seeds and of others with one more peer, if it is of the family."""
    if family not in (None, peer.family):
        return pair
    seeds, others = pair
    added = ScrapeFilter(host_mask(peer.compact[:-2]))
    return (seeds | added, others) if peer.seed else (seeds, others | added)
