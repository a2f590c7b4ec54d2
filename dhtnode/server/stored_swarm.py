"""The peers of one info-hash as a store keeps them: by host, in the order of their expiry, and encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from dhtnode.addresses import Family
from dhtnode.ids import InfoHash
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask

MAX_LOOKS = 300  # peers that are looked at for some that are no seeds

_PREFIXES = {family: b"%d:" % family.address_bytes for family in Family}
_FAMILIES = {family.address_bytes: family for family in Family}

VALUE_BYTES = {family: len(prefix) + family.address_bytes for family, prefix in _PREFIXES.items()}
"""What one peer takes in the `values` of a reply: 8 bytes, or 21."""


@dataclass(slots=True)
class StoredPeer:
    """A peer as it was announced last, and when that is over."""

    compact: bytes
    seed: bool
    expires_at: float

    @property
    def family(self) -> Family:
        """Return the family of its address."""
        return _FAMILIES[len(self.compact)]


class StoredSwarm:
    """The peers of one info-hash by host, the one to expire first in front.

    No peer is over before `first_expiry`.
    """

    __slots__ = ("_filters", "_lists", "first_expiry", "info_hash", "peers", "place")

    def __init__(self, info_hash: InfoHash, place: int) -> None:
        """Begin without peers; `place` is where the store has listed it."""
        self.info_hash = info_hash
        self.place = place
        self.first_expiry = -inf
        self.peers: dict[str, StoredPeer] = {}
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
        new = self.peers[host] = StoredPeer(compact, seed, expires_at)
        if old is None or old.compact != compact:
            self._list(host, new, random)
        if self._filters:
            self._update_filters(old, new)
        return old is None

    def sample(self, family: Family, count: int, random: Random) -> bytes:
        """Return up to `count` peers of one family, encoded, each as likely as any other, none twice."""
        peers = self._lists.get(family)
        return b"" if peers is None else peers.sample(count, random)

    def sample_without_seeds(self, family: Family, count: int, random: Random) -> list[bytes]:
        """Return up to `count` peers of one family that are no seeds, of `MAX_LOOKS` at most."""
        peers = self._lists.get(family)
        if peers is None:
            return []
        found: list[bytes] = []
        total = len(peers)
        start = int(random.random() * total)
        for place in range(start, start + min(total, MAX_LOOKS)):
            peer = self.peers[peers.host(place % total)]
            if not peer.seed:
                found.append(peer.compact)
                if len(found) == count:
                    break
        return found

    def _list(self, host: str, peer: StoredPeer, random: Random) -> None:
        family = peer.family
        if family not in self._lists:
            self._lists[family] = _PeerList(VALUE_BYTES[family])
        self._lists[family].put(host, _PREFIXES[family] + peer.compact, random)

    def _update_filters(self, old: StoredPeer | None, new: StoredPeer) -> None:
        # So that an announce before every scrape does not make scrapes dear.
        if old is None:
            self._filters = {family: _with_peer(pair, new, family) for family, pair in self._filters.items()}
        elif old.seed is not new.seed:
            # A bit that is set cannot be taken back.
            self._filters.clear()

    def expire(self, now: float) -> list[StoredPeer]:
        """Drop and return what is over; announces come in the order of their expiry."""
        over = []
        for host, peer in self.peers.items():
            if peer.expires_at > now:
                self.first_expiry = peer.expires_at
                break
            over.append(host)
        return [self.drop(host) for host in over]

    def drop(self, host: str) -> StoredPeer:
        """Drop the peer at a host, and return it."""
        peer = self.peers.pop(host)
        self._lists[peer.family].remove(host)
        self._filters.clear()
        return peer

    def draw(self, count: int, random: Random) -> list[str]:
        """Return the hosts of up to `count` peers, drawn at random, none twice."""
        hosts = [listed.host(at) for listed in self._lists.values() for at in listed.draw(count, random)]
        return hosts if len(hosts) <= count else random.sample(hosts, count)

    def filters(self, family: Family | None) -> tuple[ScrapeFilter, ScrapeFilter]:
        """Return the filters of seeds and of others; linear in the peers after a change."""
        if family not in self._filters:
            pair = _EMPTY_FILTERS
            for peer in self.peers.values():
                pair = _with_peer(pair, peer, family)
            self._filters[family] = pair
        return self._filters[family]


_EMPTY_FILTERS = (ScrapeFilter(), ScrapeFilter())


def _with_peer(
    pair: tuple[ScrapeFilter, ScrapeFilter], peer: StoredPeer, family: Family | None
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

    def draw(self, count: int, random: Random) -> Sequence[int]:
        """Return up to `count` places, drawn at random, none twice."""
        places = range(len(self._hosts))
        return places if count >= len(places) else random.sample(places, count)

    def host(self, place: int) -> str:
        """Return the host at a place."""
        return self._hosts[place]

    def _move(self, source: int, target: int) -> None:
        host = self._hosts[source]
        self._hosts[target] = host
        self._slots[host] = target
        size = self._item_bytes
        self._write(target, self._encoded[source * size : (source + 1) * size])

    def _write(self, slot: int, item: bytes | bytearray) -> None:
        size = self._item_bytes
        self._encoded[slot * size : (slot + 1) * size] = item
