"""The swarms of a synthetic network: how large they are, and which nodes store which peers.

Nothing is held for a swarm but its info-hash: sizes follow a law, peers are numbers with an address
each in 198.18.0.0/15, and which of them a node stores is drawn when a query comes (see `stores`), the
same each time.  Peers were announced to the honest nodes closest to the info-hash, to each of the first 8
with one probability, to each of the next 8 with another.  Where nodes come and go, those are the closest
that were there at the last announce; times are seconds since the network began.

Swarms may change: a third of them fade, a third grow, the others stay as they are.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from crawler.synthetic.kinds import KINDS
from crawler.synthetic.population import Population, mix
from crawler.synthetic.presence import Presence
from crawler.synthetic.settings import MAX_SWARM
from crawler.synthetic.stores import Stored, StoreRules
from dhtnode.ids import ID_BYTES

CLOSEST = 8
HOLDERS = 16  # nodes to which a peer may have been announced
_REGION = 128  # members around a node: all that may be closer to what it stores are among them
_KEPT_HOLDERS = 20_000  # swarms whose holders are remembered, 300 bytes each
_KEPT_PEERS = 500_000  # peers in stores that are remembered, 50 bytes each
_FIRST_PEER = 198 << 24 | 18 << 16
_IPV6 = bytes.fromhex("2a000000c6120000c6120000")  # and the IPv4 address of the same peer behind it
PEER_LIFETIME = 45 * 60.0  # seconds
MAX_PEERS = 100_000  # announced by real programs, in all; more are counted and dropped

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class SyntheticSwarm:
    """The truth about one swarm."""

    info_hash: bytes
    seeds: int
    leechers: int

    @property
    def peers(self) -> int:
        """Return the number of addresses in the swarm."""
        return self.seeds + self.leechers


class Swarms:
    """All swarms: their sizes, the nodes that store them, and the peers that each stores."""

    def __init__(self, population: Population, presence: Presence | None = None) -> None:
        """Draw the info-hashes; 28 bytes for each."""
        settings = population.settings
        self._population = population
        self._presence = presence or Presence(population)
        self._settings = settings
        random = Random(f"swarms {settings.seed}")
        self._salt = random.getrandbits(64)
        drawn = random.randbytes(ID_BYTES * settings.swarms)
        hashes = [drawn[at : at + ID_BYTES] for at in range(0, len(drawn), ID_BYTES)]
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        self._numbers = array("I", order)  # by place in the order of info-hashes: 0 is the largest swarm
        self._hashes = b"".join(map(hashes.__getitem__, order))
        self._prefixes = array("Q", [int.from_bytes(hashes[number][:8], "big") for number in order])
        self._holders: _Cache[tuple[int, float], tuple[int, ...]] = _Cache(_KEPT_HOLDERS)
        self._rules = StoreRules(settings)
        self._drawn: _Cache[tuple[int, int], tuple[list[float] | None, list[float] | None]] = _Cache(
            _KEPT_PEERS
        )
        self._stored: _Cache[tuple[int, int, int, int], Stored] = _Cache(_KEPT_PEERS)

    def __iter__(self) -> Iterator[SyntheticSwarm]:
        """Yield all swarms, in order of info-hashes."""
        return map(self.swarm, range(len(self._numbers)))

    def find(self, info_hash: bytes) -> int | None:
        """Return the place of a swarm in the order of info-hashes, or None."""
        place = bisect_left(self._prefixes, int.from_bytes(info_hash[:8], "big"))
        while place < len(self._prefixes) and self.info_hash(place)[:8] == info_hash[:8]:
            if self.info_hash(place) == info_hash:
                return place
            place += 1
        return None

    def info_hash(self, place: int) -> bytes:
        """Return the 20 bytes that name a swarm."""
        return self._hashes[place * ID_BYTES : (place + 1) * ID_BYTES]

    def swarm(self, place: int, age: float = 0.0) -> SyntheticSwarm:
        """Return the truth about a swarm, as of the last announce.

        Between a tenth and nine tenths of the peers are seeds, always the same share of a swarm.
        """
        number = self._numbers[place]
        peers = self._first_size(number)
        if self._settings.half_life:
            peers = max(1, round(peers * self._growth(number, self._presence.announced_at(age))))
        peers = min(peers, MAX_SWARM)
        share = 0.1 + 0.8 * mix(number ^ self._salt, 1) / (1 << 64)
        seeds = round(peers * share)
        return SyntheticSwarm(self.info_hash(place), seeds, peers - seeds)

    def _first_size(self, number: int) -> int:
        largest, swarms = self._settings.largest, self._settings.swarms
        match self._settings.sizes:
            case "same":
                return largest
            case "log":
                return int(largest ** (1 - number / max(swarms - 1, 1)) + 0.5)
        return max(1, largest // (number + 1))

    def _growth(self, number: int, announced_at: float) -> float:
        """Return what a swarm has for each peer at the beginning: towards 0, towards 2, or 1 for ever."""
        left = 2.0 ** (-announced_at / self._settings.half_life)
        return (left, 2.0 - left, 1.0)[mix(number ^ self._salt, 3) % 3]

    def draw(self, place: int, use: int) -> int:
        """Return 64 random bits of a swarm, always the same for a use."""
        return mix(self._numbers[place] ^ self._salt, use)

    def peers(self, place: int, numbers: Iterable[int]) -> list[bytes]:
        """Return the compact addresses of peers of a swarm; a number is below `MAX_SWARM`."""
        step, shift = self._addresses(place)
        return [_peer(number, step, shift) for number in numbers]

    def holders(self, place: int, age: float = 0.0) -> tuple[int, ...]:
        """Return the ranks of the 16 honest nodes closest to a swarm, closest first."""
        announced_at = self._presence.announced_at(age)
        holders = self._holders.get((place, announced_at))
        if holders is None:
            holders = self._find_holders(self._prefixes[place], announced_at)
            self._holders.put((place, announced_at), holders, 1)
        return holders

    def stored(self, place: int, rank: int, age: float = 0.0) -> Stored | None:
        """Return what a node stores of a swarm, or None; the cost is linear in what it stores."""
        holders = self.holders(place, age)
        if rank not in holders:
            return None
        position = holders.index(rank)
        swarm = self.swarm(place, age)
        key = place, rank, position, swarm.peers
        stored = self._stored.get(key)
        if stored is None:
            stored = self._draw(place, swarm, rank, position)
            self._stored.put(key, stored, 1 + len(stored.seeds) + len(stored.leechers))
        return stored if stored.seeds or stored.leechers else None

    def at(self, rank: int, age: float = 0.0) -> list[int]:
        """Return the places of all swarms that a node stores peers of."""
        start, end = self._region(rank)
        low = bisect_left(self._prefixes, start)
        high = bisect_left(self._prefixes, end)
        return [place for place in range(low, high) if self.stored(place, rank, age) is not None]

    def _region(self, rank: int) -> tuple[int, int]:
        """Return the part of the id space in which swarms lie that a node may store."""
        own = self._population.prefixes[rank]
        bits = 64 - self._population.cell_bits
        while bits < 64:
            low, high = self._population.bounds(own >> bits << bits, bits)
            if high - low >= _REGION / self._presence.share:
                break
            bits += 1
        start = own >> bits << bits
        return start, start + (1 << bits)

    def _find_holders(self, target: int, announced_at: float) -> tuple[int, ...]:
        population, is_present = self._population, self._presence.is_present
        bits = 64 - population.cell_bits
        while True:
            low, high = (
                population.bounds(target >> bits << bits, bits) if bits < 64 else (0, population.members)
            )
            numbers = population.numbers[low:high]
            honest = [
                rank
                for rank, number in enumerate(numbers, low)
                if population.is_honest(number) and is_present(number, announced_at)
            ]
            if len(honest) >= HOLDERS or bits >= 64:
                prefixes = population.prefixes
                return tuple(sorted(honest, key=lambda rank: prefixes[rank] ^ target)[:HOLDERS])
            bits += 1

    def _draw(self, place: int, swarm: SyntheticSwarm, rank: int, position: int) -> Stored:
        """Draw which peers were announced to a node, and which of them it had capacity for."""
        random = Random(mix(self._numbers[place] ^ self._salt, 100 + position))
        chance = self._settings.announce if position < CLOSEST else self._settings.announce_next
        reaches, arrivals = self._drawn_once(place, swarm.peers)
        capacity = self._capacity(self._population.numbers[rank])
        kept = self._rules.kept(swarm.peers, chance, capacity, random, reaches=reaches, arrivals=arrivals)
        step, shift = self._addresses(place)
        silent = round(swarm.seeds * self._settings.silent_seeds)  # the first of the seeds
        roles = [silent <= peer < swarm.seeds for peer in kept]
        peers = [_peer(peer, step, shift) for peer in kept]
        # Drawn from the address, so that a peer is in both families at all nodes.
        other = [self._is_dual_stack(peer) for peer in peers]
        return Stored(
            tuple(peer for peer, seeds in zip(peers, roles, strict=True) if seeds),
            tuple(peer for peer, seeds in zip(peers, roles, strict=True) if not seeds),
            tuple(
                _IPV6 + peer[:4]
                for peer, seeds, both in zip(peers, roles, other, strict=True)
                if seeds and both
            ),
            tuple(
                _IPV6 + peer[:4]
                for peer, seeds, both in zip(peers, roles, other, strict=True)
                if both and not seeds
            ),
            tuple(peers),
        )

    def _drawn_once(self, place: int, peers: int) -> tuple[list[float] | None, list[float] | None]:
        """Return how well the peers of a swarm announce and when they came, the same for all of its nodes."""
        drawn = self._drawn.get((place, peers))
        if drawn is None:
            random = Random(mix(self._numbers[place] ^ self._salt, 4))
            drawn = self._rules.reaches(peers, random), self._rules.arrivals(peers, random)
            self._drawn.put((place, peers), drawn, 1 + (0 if drawn == (None, None) else peers))
        return drawn

    def _capacity(self, number: int) -> int:
        """Return how many peers of a swarm a node stores."""
        settings = self._settings
        if self._population.has("capped", number):
            return settings.cap or MAX_SWARM
        if settings.cap_others is None:
            return KINDS[self._population.kinds[number]].max_peers
        return settings.cap_others or MAX_SWARM

    def _is_dual_stack(self, peer: bytes) -> bool:
        share = self._settings.dual_stack
        return bool(share) and mix(int.from_bytes(peer[:4], "big") ^ self._salt, 5) < share * (1 << 64)

    def _addresses(self, place: int) -> tuple[int, int]:
        """Return factor and shift of the permutation that gives the peers of a swarm addresses."""
        drawn = mix(self._numbers[place] ^ self._salt, 2)
        step = 1 + drawn % MAX_SWARM
        while math.gcd(step, MAX_SWARM) > 1:
            step += 1
        return step, drawn >> 32


class Announced:
    """The peers that real programs announced, by node and info-hash; `MAX_PEERS` in all."""

    def __init__(self, limit: int = MAX_PEERS) -> None:
        self.dropped = 0
        self._limit = limit
        self._held = 0
        self._peers: dict[tuple[int, bytes], dict[bytes, tuple[float, bool]]] = {}

    def __len__(self) -> int:
        """Return how many are held, those included whose time is over but who were not looked at."""
        return self._held

    def store(self, number: int, info_hash: bytes, peer: bytes, now: float, *, seed: bool) -> None:
        """Store a compact peer of 6 bytes, or renew it."""
        swarm = self._peers.get((number, info_hash), {})
        if peer not in swarm:
            if self._held >= self._limit:
                self.dropped += 1
                return
            self._held += 1
        swarm[peer] = now + PEER_LIFETIME, seed
        self._peers[number, info_hash] = swarm

    def forget(self, number: int, info_hash: bytes, peer: bytes) -> None:
        """Drop a peer that says that it is gone."""
        if self._peers.get((number, info_hash), {}).pop(peer, None) is not None:
            self._held -= 1

    def peers(self, number: int, info_hash: bytes, now: float) -> tuple[list[bytes], list[bytes]]:
        """Return seeds and leechers, after those whose time is over were forgotten."""
        swarm = self._peers.get((number, info_hash))
        if swarm is None:
            return [], []
        for peer in [peer for peer, (until, _) in swarm.items() if until <= now]:
            del swarm[peer]
            self._held -= 1
        if not swarm:
            del self._peers[number, info_hash]
        seeds = [peer for peer, (_, seed) in swarm.items() if seed]
        return seeds, [peer for peer, (_, seed) in swarm.items() if not seed]


class _Cache(Generic[K, V]):
    """The values used last, up to a total of weights."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._entries: dict[K, tuple[V, int]] = {}

    def get(self, key: K) -> V | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._entries[key] = entry  # at the end: the one used last is forgotten last
        return entry[0]

    def put(self, key: K, value: V, weight: int) -> None:
        self._entries[key] = value, weight
        self._total += weight
        while self._total > self._limit and len(self._entries) > 1:
            self._total -= self._entries.pop(next(iter(self._entries)))[1]


def _peer(peer: int, step: int, shift: int) -> bytes:
    host = 1 + (peer * step + shift) % MAX_SWARM
    return (_FIRST_PEER + host).to_bytes(4, "big") + (1024 + mix(host, step) % 64000).to_bytes(2, "big")
