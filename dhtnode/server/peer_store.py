"""The peers that were announced to us, per info-hash, with ageing and caps.

One entry per info-hash and IP (BEP 33), holding the port and whether the peer is a seed; a new
announce from the same IP replaces the old one.  An entry lives for a fixed time after its last
announce.  Three caps bound the store: info-hashes, peers per info-hash, peers in all; what does
not fit is refused and counted, and never displaces what is there, so a flood of announces cannot
wash out a swarm.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random

from dhtnode.addresses import Address, Family
from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask
from dhtnode.server.infohash_sample import SampleAnswer, SampleKeeper

_PREFIXES = {family: b"%d:" % family.address_bytes for family in Family}
_FAMILIES = {family.address_bytes: family for family in Family}

VALUE_BYTES = {family: len(prefix) + family.address_bytes for family, prefix in _PREFIXES.items()}
"""What one peer takes in the `values` of a reply: 8 bytes, or 21."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a peer store holds, and what it refused since it was made."""

    swarms: int
    peers: int
    refused: int
    expired: int


class PeerStore:
    """Announced peers of both families; `swarms` is for others to look up info-hashes in."""

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
        self.swarms: dict[InfoHash, _Swarm] = {}
        # A heap: each swarm once, with a time before which none of its peers is over.
        self._due: list[tuple[float, InfoHash, _Swarm]] = []
        self._sampler = SampleKeeper(random, interval=sample_interval)
        self._count = 0
        self._refused = 0
        self._expired = 0

    def statistics(self) -> StoreStatistics:
        """Return the sizes and counters of the store."""
        return StoreStatistics(len(self.swarms), self._count, self._refused, self._expired)

    def has_capacity(self, info_hash: InfoHash, host: str) -> bool:
        """Return whether an announce from `host` would be stored; if not, no token is given."""
        swarm = self.swarms.get(info_hash)
        if swarm is not None and host in swarm.peers:
            return True
        if self._count >= self._max_peers:
            return False
        if swarm is None:
            return len(self.swarms) < self._max_swarms
        return len(swarm.peers) < self._max_peers_per_swarm

    def announce(self, info_hash: InfoHash, peer: Address, now: float, *, seed: bool) -> bool:
        """Store a peer or renew it; return False when a cap is reached."""
        return self.store(info_hash, peer.host, pack_address(peer), now, seed=seed)

    def store(self, info_hash: InfoHash, host: str, compact: bytes, now: float, *, seed: bool) -> bool:
        """Store or renew a peer at a host, in compact form; return False when a cap is reached."""
        if not self.has_capacity(info_hash, host):
            self._refused += 1
            return False
        swarm = self.swarms.get(info_hash)
        if swarm is None:
            swarm = self.swarms[info_hash] = _Swarm()
            heappush(self._due, (now + self._lifetime, info_hash, swarm))
        self._count += swarm.put(host, compact, seed, now + self._lifetime, self._random)
        return True

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
        return self._sampler.sample(self.swarms.keys(), now)

    def expire(self, now: float) -> None:
        """Drop every peer whose time is over; cost: constant, and linear in swarms and peers concerned."""
        while self._due and self._due[0][0] <= now:
            _, info_hash, known = heappop(self._due)
            # One that was dropped meanwhile, and is known again, has another entry.
            if self.swarms.get(info_hash) is known and self._fresh(info_hash, now) is not None:
                heappush(self._due, (known.first_expiry, info_hash, known))

    def _fresh(self, info_hash: InfoHash, now: float) -> "_Swarm | None":
        swarm = self.swarms.get(info_hash)
        if swarm is None or now < swarm.first_expiry:
            return swarm
        dropped = swarm.expire(now)
        self._count -= dropped
        self._expired += dropped
        if swarm.peers:
            return swarm
        del self.swarms[info_hash]
        return None


@dataclass(slots=True)
class _Peer:
    compact: bytes
    seed: bool
    expires_at: float

    @property
    def family(self) -> Family:
        return _FAMILIES[len(self.compact)]


class _Swarm:
    """The peers of one info-hash by host, the one to expire first in front.

    No peer is over before `first_expiry`.
    """

    __slots__ = ("_filters", "_lists", "first_expiry", "peers")

    def __init__(self) -> None:
        self.first_expiry = -inf
        self.peers: dict[str, _Peer] = {}
        self._lists: dict[Family, _PeerList] = {}
        self._filters: dict[Family | None, tuple[ScrapeFilter, ScrapeFilter]] = {}

    def put(self, host: str, compact: bytes, seed: bool, expires_at: float, random: Random) -> int:
        """Add or renew a peer and return by how many the swarm has grown."""
        # So that a renewed peer goes to the end.
        old = self.peers.pop(host, None)
        if old is not None and old.compact == compact and old.seed is seed:
            # Most announces bring no news.
            old.expires_at = expires_at
            self.peers[host] = old
            return 0
        new = self.peers[host] = _Peer(compact, seed, expires_at)
        if old is None or old.compact != compact:
            self._list(host, new, random)
        if self._filters:
            self._update_filters(old, new)
        return old is None

    def sample(self, family: Family, count: int, random: Random) -> bytes:
        peers = self._lists.get(family)
        return b"" if peers is None else peers.sample(count, random)

    def _list(self, host: str, peer: _Peer, random: Random) -> None:
        family = peer.family
        if family not in self._lists:
            self._lists[family] = _PeerList(VALUE_BYTES[family])
        self._lists[family].put(host, _PREFIXES[family] + peer.compact, random)

    def _update_filters(self, old: _Peer | None, new: _Peer) -> None:
        # So that an announce before every scrape does not make scrapes dear.
        if old is None:
            self._filters = {family: _with_peer(pair, new, family) for family, pair in self._filters.items()}
        elif old.seed is not new.seed:
            # A bit that is set cannot be taken back.
            self._filters.clear()

    def expire(self, now: float) -> int:
        """Drop what is over and return how many; announces come in the order of their expiry."""
        dropped = []
        for host, peer in self.peers.items():
            if peer.expires_at > now:
                self.first_expiry = peer.expires_at
                break
            dropped.append(host)
        for host in dropped:
            self._lists[self.peers.pop(host).family].remove(host)
        if dropped:
            self._filters.clear()
        return len(dropped)

    def filters(self, family: Family | None) -> tuple[ScrapeFilter, ScrapeFilter]:
        if family not in self._filters:
            pair = _EMPTY_FILTERS
            for peer in self.peers.values():
                pair = _with_peer(pair, peer, family)
            self._filters[family] = pair
        return self._filters[family]


_EMPTY_FILTERS = (ScrapeFilter(), ScrapeFilter())


def _with_peer(
    pair: tuple[ScrapeFilter, ScrapeFilter], peer: _Peer, family: Family | None
) -> tuple[ScrapeFilter, ScrapeFilter]:
    """Return the filters of seeds and of others with one more peer, if it is of the family."""
    if family not in (None, peer.family):
        return pair
    seeds, others = pair
    added = ScrapeFilter(host_mask(peer.compact[:-2]))
    return (seeds | added, others) if peer.seed else (seeds, others | added)


class _PeerList:
    """The peers of one swarm and family, encoded as `6:......` or `18:......`, in a random order.

    A reply lists a share of the peers.  Cutting a piece out of a sequence in random order is as good as
    drawing them one by one, and costs a copy of bytes.  The order of each node is its own, so that
    samples of different nodes are independent.
    """

    __slots__ = ("_encoded", "_hosts", "_item_bytes", "_slots")

    def __init__(self, item_bytes: int) -> None:
        """Begin empty; items have that many bytes each, the length prefix included."""
        self._item_bytes = item_bytes
        self._encoded = bytearray()
        self._hosts: list[str] = []
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def put(self, host: str, item: bytes, random: Random) -> None:
        """Add a peer at a random place, or overwrite what was known of its host."""
        slot = self._slots.get(host)
        if slot is None:
            last = len(self._hosts)
            slot = random.randrange(last + 1)
            self._hosts.append(host)
            self._encoded += item
            self._move(slot, last)
            self._hosts[slot] = host
            self._slots[host] = slot
        self._write(slot, item)

    def remove(self, host: str) -> None:
        """Take a peer out; the last one gets its place."""
        slot = self._slots.pop(host, None)
        if slot is None:
            return
        last = len(self._hosts) - 1
        if slot != last:
            self._move(last, slot)
        self._hosts.pop()
        del self._encoded[last * self._item_bytes :]

    def sample(self, count: int, random: Random) -> bytes:
        """Return up to `count` items, each peer as likely as any other, none twice."""
        size = self._item_bytes
        if count >= len(self._hosts):
            return bytes(self._encoded)
        start = int(random.random() * len(self._hosts)) * size
        end = start + count * size
        piece = bytes(self._encoded[start:end])
        return piece + self._encoded[: end - len(self._encoded)] if end > len(self._encoded) else piece

    def _move(self, source: int, target: int) -> None:
        host = self._hosts[source]
        self._hosts[target] = host
        self._slots[host] = target
        size = self._item_bytes
        self._write(target, self._encoded[source * size : (source + 1) * size])

    def _write(self, slot: int, item: bytes | bytearray) -> None:
        size = self._item_bytes
        self._encoded[slot * size : (slot + 1) * size] = item
