"""One swarm as the gateway knows it: clients that announced themselves, and what the DHT told.

Addresses are kept compact, in lists by family and by the networks from which they can be reached; what an
answer takes is cut out of them.  Of a public host only one client is handed out, for others believe in one
peer for each address; in a network of one's own, and on loopback, each port is a client.
"""

from collections.abc import Iterable
from random import Random
from struct import Struct

from dhtnode.addresses import Address
from dhtnode.gateway.clients import Reach, reach_of
from dhtnode.gateway.compact_lists import place_of, some_of, with_one, without
from dhtnode.krpc.compact import pack_address
from dhtnode.trackers.messages import SwarmCounts

MAX_FOUND = 300
"""Peers of one family that are kept of a lookup."""

SIZES = (6, 18)  # of compact addresses
_ROW = Struct(">III")  # seeds, downloads, leechers

# The lists that a client may get peers of, by its reach and the size of the addresses.
_LISTS = {
    (reach, size): tuple(32 * within + size for within in range(reach, -1, -1))
    for reach in (Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK)
    for size in SIZES
}


class LocalPeer:
    """A client in a swarm; `is_partial` for one that wants no more, and does not have all (BEP 21)."""

    __slots__ = (
        "compact",
        "expires_at",
        "host",
        "is_own",
        "is_partial",
        "is_seed",
        "key",
        "peer_id",
        "reach",
    )

    def __init__(self, host: str, compact: bytes, reach: int, peer_id: bytes, key: int) -> None:
        self.host = host
        self.compact = compact
        self.reach = reach
        self.peer_id = peer_id
        self.key = key
        self.is_seed = self.is_partial = self.is_own = False
        self.expires_at = 0.0

    @property
    def list_key(self) -> int:
        """Return which list it is in."""
        return 32 * self.reach + len(self.compact)

    @property
    def listed_by(self) -> bytes:
        """Return the first bytes that no other address in its list has."""
        return self.compact[:-2] if self.reach == Reach.PUBLIC else self.compact


class GatewaySwarm:
    """The clients in a swarm, and the result of the last lookup."""

    __slots__ = (
        "_listed",
        "collecting",
        "downloaded",
        "empty_in_a_row",
        "found",
        "found_leechers",
        "found_seeds",
        "is_looked_up",
        "leechers",
        "looked_up_at",
        "lookup_due",
        "measured_at",
        "partial",
        "peers",
        "seeds",
    )

    def __init__(self) -> None:
        self.peers: dict[bytes, LocalPeer] = {}
        self.seeds = self.leechers = self.partial = self.downloaded = 0
        self.found_seeds = self.found_leechers = 0
        self._listed: dict[int, bytes] = {}
        self.found: dict[int, bytes] = {}
        """Compact peers of the DHT, without those who are clients here."""

        self.collecting: dict[bytes, tuple[int, bytes]] | None = None
        """What the lookup under way has found, with its reach, by what no other peer has."""

        self.is_looked_up = False
        """Whether a lookup has ended: before that, an answer waits for one."""

        self.looked_up_at = self.lookup_due = self.measured_at = float("-inf")
        self.empty_in_a_row = 0

    @property
    def counts(self) -> SwarmCounts:
        """Return what a scrape tells: clients, and what nodes of the DHT know of others."""
        leechers = self.leechers + self.found_leechers
        downloaders = leechers - self.partial
        return SwarmCounts(self.seeds + self.found_seeds, leechers, self.downloaded, downloaders)

    @property
    def row(self) -> bytes:
        """Return the same as in a scrape over UDP."""
        return _ROW.pack(self.seeds + self.found_seeds, self.downloaded, self.leechers + self.found_leechers)

    def put(self, peer: LocalPeer, random: Random) -> None:
        """Add a client whose address is not here."""
        self.peers[peer.compact] = peer
        self._count(peer, 1)
        listed = self._listed.get(peer.list_key, b"")
        size = len(peer.compact)
        if place_of(listed, peer.listed_by, size) < 0:
            self._listed[peer.list_key] = with_one(listed, peer.compact, random)
        if found := self.found.get(peer.list_key):
            self.found[peer.list_key] = without(found, peer.listed_by, size)

    def change(self, peer: LocalPeer, *, is_seed: bool, is_partial: bool) -> None:
        """Take in what a client has now."""
        self._count(peer, -1)
        peer.is_seed, peer.is_partial = is_seed, is_partial
        self._count(peer, 1)

    def drop(self, peer: LocalPeer, random: Random, *, is_last: bool) -> None:
        """Remove a client; unless it is the last at its host, another one is listed in its place."""
        del self.peers[peer.compact]
        self._count(peer, -1)
        listed, size = self._listed.get(peer.list_key, b""), len(peer.compact)
        if place_of(listed, peer.compact, size) >= 0:
            listed = without(listed, peer.compact, size)
            if peer.reach == Reach.PUBLIC and not is_last:
                other = next(each for each in self.peers.values() if each.host == peer.host)
                listed = with_one(listed, other.compact, random)
            self._listed[peer.list_key] = listed

    def choose(self, reach: int, size: int, own: bytes, wanted: int, random: Random) -> bytes:
        """Return up to `wanted` compact addresses: clients first, then peers of the DHT; not `own`."""
        keys = _LISTS[reach, size]
        chosen = b""
        for lists in (self._listed, self.found):
            for key in keys:
                if peers := lists.get(key):
                    # One more than wanted, for the one who asks may be among them.
                    chosen += some_of(peers, wanted + 1 - len(chosen) // size, size, random)
                    if own in chosen:
                        chosen = without(chosen, own, size)
                    if len(chosen) >= wanted * size:
                        return chosen[: wanted * size]
        return chosen

    def begin_lookup(self) -> None:
        """Take in that the swarm is being looked up."""
        self.collecting = {}

    def on_found(self, peers: Iterable[Address]) -> None:
        """Take in peers that nodes of the DHT have told."""
        if self.collecting is None:
            return
        for peer in peers:
            reach, compact = reach_of(peer.host), pack_address(peer)
            key = compact[:-2] if reach == Reach.PUBLIC else compact
            if len(self.collecting) < MAX_FOUND * len(SIZES):
                # Peers that no one can reach are told on loopback only, by networks that are tests.
                self.collecting.setdefault(key, (Reach.LOOPBACK if reach < 0 else reach, compact))

    def read_collected(self, random: Random) -> None:
        """Hand out what was found, and forget what was found before."""
        if self.collecting is None:
            return
        local = {peer.listed_by for peer in self.peers.values()}
        lists: dict[int, list[bytes]] = {}
        for key, (reach, compact) in self.collecting.items():
            if key not in local:
                lists.setdefault(32 * reach + len(compact), []).append(compact)
        for each in lists.values():
            random.shuffle(each)
        self.found = {key: b"".join(each[:MAX_FOUND]) for key, each in lists.items()}

    def _count(self, peer: LocalPeer, number: int) -> None:
        if peer.is_seed:
            self.seeds += number
        else:
            self.leechers += number
            self.partial += number * peer.is_partial
