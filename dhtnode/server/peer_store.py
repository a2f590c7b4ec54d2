"""The peers that were announced to us, per info-hash, with ageing, caps and shares.

One entry per info-hash and IP (BEP 33), holding the port and whether the peer is a seed; a new
announce from the same IP replaces the old one.  An entry lives for a fixed time after its last
announce.  Three caps bound the store: info-hashes, peers per info-hash, peers in all; and no host or
network may hold more than its share (`shares`).  At a cap, what one of the networks that hold most has
announced gives way to one that holds less; all else is refused and counted.

A swarm counts as held by the one of its peers' networks that holds least: one that others announce
too is not washed out together with those of a flood.  Who holds most is looked for among a few
entries drawn at random: a flood that matters is a large part of the store.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from random import Random

from dhtnode.addresses import Address, Family, pack_host
from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.server.infohash_sample import SampleAnswer, SampleKeeper
from dhtnode.server.shares import Refusals, RefusedNetwork, Shares, network_of
from dhtnode.server.stored_swarm import VALUE_BYTES as VALUE_BYTES
from dhtnode.server.stored_swarm import StoredPeer, StoredSwarm

TOO_MANY_SWARMS = "too many swarms"
SWARM_IS_FULL = "too many peers of one swarm"
STORE_IS_FULL = "too many peers"

_CAPS = frozenset({TOO_MANY_SWARMS, SWARM_IS_FULL, STORE_IS_FULL})

DRAWN = 32  # entries looked at for one that gives way: an eighth of the store is met 98 times of 100
DRAWN_OF_SWARM = 8  # peers looked at for whose a swarm is
SPARE_DUE = 1024  # entries of the heap for swarms that are gone, beside as many as there are swarms


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a peer store holds, and what it did since it was made.

    `refused` counts announces, `withheld` tokens that were not given since an announce would be refused,
    `displaced` peers that gave way to others.  `reasons` has both kinds of refusals by reason, and
    `refused_most` the networks that met most of them.
    """

    swarms: int
    peers: int
    refused: int
    expired: int
    withheld: int = 0
    displaced: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    refused_most: tuple[RefusedNetwork, ...] = ()


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
        max_peers_per_host: int = 1024,
        max_peers_per_network: int = 8192,
        sample_interval: float = MAX_INTERVAL,
    ) -> None:
        self._random = random
        self._lifetime = lifetime
        self._max_swarms = max_swarms
        self._max_peers_per_swarm = max_peers_per_swarm
        self._max_peers = max_peers
        self._shares = Shares(max_peers_per_host, max_peers_per_network)
        self.swarms: dict[InfoHash, StoredSwarm] = {}
        # The same in a list, to draw from.
        self._listed: list[StoredSwarm] = []
        # A heap: each swarm once, with a time before which none of its peers is over.  The number
        # keeps swarms of one moment apart.
        self._due: list[tuple[float, int, StoredSwarm]] = []
        self._made = 0
        self._sampler = SampleKeeper(random, interval=sample_interval)
        self._count = 0
        # Whether a host, a network or the whole may be at its limit: else no newcomer needs a second look.
        self._is_tight = max_peers <= 0 or self._shares.is_used_up
        self._refusals = Refusals()
        self._refused = 0
        self._withheld = 0
        self._displaced = 0
        self._expired = 0

    def statistics(self) -> StoreStatistics:
        """Return the sizes and counters of the store."""
        return StoreStatistics(
            len(self.swarms),
            self._count,
            self._refused,
            self._expired,
            self._withheld,
            self._displaced,
            dict(self._refusals.reasons),
            self._refusals.most(),
        )

    def has_capacity(self, info_hash: InfoHash, host: str) -> bool:
        """Return whether an announce from `host` would be stored; if not, no token is given.

        At a cap, True only says that something may give way.
        """
        swarm = self.swarms.get(info_hash)
        if swarm is None:
            if not self._is_tight and len(self.swarms) < self._max_swarms:
                return True
        elif host in swarm.peers or (not self._is_tight and len(swarm.peers) < self._max_peers_per_swarm):
            return True
        packed = pack_host(host)
        reason = self._shares.refusal(packed) or self._cap_reached(swarm)
        if reason is None or (reason in _CAPS and self._shares.may_displace(packed)):
            return True
        self._withheld += 1
        self._refusals.add(reason, packed)
        return False

    def announce(self, info_hash: InfoHash, peer: Address, now: float, *, seed: bool) -> bool:
        """Store a peer or renew it; return False when it is refused."""
        return self.store(info_hash, peer.host, pack_address(peer), now, seed=seed)

    def store(self, info_hash: InfoHash, host: str, compact: bytes, now: float, *, seed: bool) -> bool:
        """Store or renew a peer at a host, in compact form; return False when it is refused."""
        swarm = self.swarms.get(info_hash)
        if swarm is not None and host in swarm.peers:
            swarm.put(host, compact, seed, now + self._lifetime, self._random)
            return True
        if self._is_tight or (
            len(self.swarms) >= self._max_swarms
            if swarm is None
            else len(swarm.peers) >= self._max_peers_per_swarm
        ):
            reason = self._shares.refusal(compact) or self._make_room(swarm, compact)
            if reason is not None:
                self._refused += 1
                self._refusals.add(reason, compact)
                return False
            # It may have been the last peer of this swarm that gave way.
            swarm = self.swarms.get(info_hash)
        if swarm is None:
            swarm = self.swarms[info_hash] = StoredSwarm(info_hash, len(self._listed))
            self._listed.append(swarm)
            self._await(swarm, now + self._lifetime)
        swarm.put(host, compact, seed, now + self._lifetime, self._random)
        self._count += 1
        self._is_tight = self._shares.add(compact) or self._count >= self._max_peers
        return True

    def sample(
        self, info_hash: InfoHash, family: Family, count: int, now: float, *, noseed: bool = False
    ) -> list[bytes]:
        """Return up to `count` compact peers of one family, each as likely as any other, none twice.

        With `noseed`, seeds are left out (BEP 33): of a large swarm, some places are looked at for others.
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
        return swarm.sample_without_seeds(family, count, self._random)

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
        return self._sampler.sample(self.swarms.keys(), now, self._network_of)

    def expire(self, now: float) -> None:
        """Drop every peer whose time is over; cost: constant, and linear in swarms and peers concerned.

        Linear in all hosts when one of them may hold all that it is allowed to.
        """
        while self._due and self._due[0][0] <= now:
            _, _, swarm = heappop(self._due)
            # One that was dropped meanwhile, and is known again, has another entry.
            if self.swarms.get(swarm.info_hash) is swarm and self._fresh(swarm.info_hash, now) is not None:
                self._await(swarm, swarm.first_expiry)
        if self._is_tight:
            self._shares.measure()
            self._is_tight = self._count >= self._max_peers or self._shares.is_used_up

    def _fresh(self, info_hash: InfoHash, now: float) -> StoredSwarm | None:
        swarm = self.swarms.get(info_hash)
        if swarm is None or now < swarm.first_expiry:
            return swarm
        dropped = swarm.expire(now)
        self._expired += len(dropped)
        self._forget(dropped)
        if swarm.peers:
            return swarm
        self._end(swarm)
        return None

    def _await(self, swarm: StoredSwarm, due: float) -> None:
        self._made += 1
        heappush(self._due, (due, self._made, swarm))
        if len(self._due) > 2 * len(self._listed) + SPARE_DUE:
            self._due = [each for each in self._due if self.swarms.get(each[2].info_hash) is each[2]]
            heapify(self._due)

    def _end(self, swarm: StoredSwarm) -> None:
        """Drop a swarm that has no peers left; the last one gets its place in the list."""
        del self.swarms[swarm.info_hash]
        last = self._listed.pop()
        if last is not swarm:
            self._listed[swarm.place] = last
            last.place = swarm.place

    def _forget(self, peers: Iterable[StoredPeer]) -> None:
        for peer in peers:
            self._count -= 1
            self._shares.remove(peer.compact)

    def _cap_reached(self, swarm: StoredSwarm | None) -> str | None:
        """Return a cap that one more peer of a swarm would exceed; None is a swarm not known."""
        if swarm is None:
            if len(self.swarms) >= self._max_swarms:
                return TOO_MANY_SWARMS
        elif len(swarm.peers) >= self._max_peers_per_swarm:
            return SWARM_IS_FULL
        return STORE_IS_FULL if self._count >= self._max_peers else None

    def _make_room(self, swarm: StoredSwarm | None, newcomer: bytes) -> str | None:
        """Let something give way where a cap is reached; return the first cap where nothing does."""
        while (cap := self._cap_reached(swarm)) is not None:
            if not self._displace(cap, swarm, newcomer):
                return cap
            if swarm is not None and not swarm.peers:
                swarm = None
        return None

    def _displace(self, cap: str, swarm: StoredSwarm | None, newcomer: bytes) -> bool:
        """Drop what is held by the one that holds most among some drawn; False if it does not give way."""
        random = self._random
        if cap == SWARM_IS_FULL and swarm is not None:
            drawn = [(swarm, [host]) for host in swarm.draw(DRAWN, random)]
        else:
            swarms = random.sample(self._listed, min(DRAWN, len(self._listed)))
            count = DRAWN_OF_SWARM if cap == TOO_MANY_SWARMS else 1
            drawn = [(each, each.draw(count, random)) for each in swarms]
        if not drawn:
            return False
        (victim, hosts), holder = max(
            ((each, self._holder(*each)) for each in drawn), key=lambda pair: self._shares.held(pair[1])
        )
        if not self._shares.gives_way(holder, newcomer):
            return False
        gone = [victim.drop(host) for host in (list(victim.peers) if cap == TOO_MANY_SWARMS else hosts)]
        self._displaced += len(gone)
        self._forget(gone)
        if not victim.peers:
            self._end(victim)
        return True

    def _holder(self, swarm: StoredSwarm, hosts: Iterable[str]) -> bytes:
        """Return the peer whose network holds least."""
        return min((swarm.peers[host].compact for host in hosts), key=self._shares.held)

    def _network_of(self, info_hash: InfoHash) -> bytes:
        swarm = self.swarms[info_hash]
        return network_of(self._holder(swarm, swarm.draw(DRAWN_OF_SWARM, self._random)))
