"""What the gateway decides: who is served, what it answers, and when the DHT is looked up.

One lookup of a swarm serves all who ask.  An answer waits for the first one; later ones are used as long as
they are fresh, and while a new one is under way.
"""

from collections import Counter, deque
from collections.abc import Sequence
from random import Random

from dhtnode.addresses import Address, Family
from dhtnode.gateway.clients import Client, Clients
from dhtnode.gateway.refusals import Refusal, RefusalKind
from dhtnode.gateway.settings import DEFAULT_WANTED, MOST_WANTED, GatewaySettings
from dhtnode.gateway.swarm import GatewaySwarm, LocalPeer
from dhtnode.gateway.swarms import GatewaySwarms
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.krpc.compact import pack_address, unpack_address
from dhtnode.token_bucket import TokenBucket
from dhtnode.trackers.messages import AnnounceAnswer, AnnounceRequest, Event, ScrapeAnswer

KEEP_FOUND = 1800.0
"""Seconds after which what a lookup has found is forgotten, where no client is in the swarm."""

BOTH = (Family.IPV4, Family.IPV6)


class GatewayCore:
    """The state of a gateway, without sockets and clocks; nothing in it reaches a disk or a log."""

    def __init__(self, settings: GatewaySettings, random: Random, secret: bytes, now: float) -> None:
        """Begin without clients; `secret` are 32 bytes that none of them can guess."""
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self.clients = Clients(settings, secret)
        self.swarms = GatewaySwarms(settings, random, self.counts)
        self.to_look_up: deque[InfoHash] = deque()
        """Swarms of which a lookup is to be made now."""

        self.lookups = 0
        """Lookups under way."""

        self.announces_due: dict[tuple[InfoHash, Family, int], float] = {}
        """When our own clients are to be announced in the DHT, by swarm, family and port."""

        self._random = random
        self._rate = TokenBucket(settings.lookup_rate, settings.lookup_rate, now)

    def check(self, client: Client, info_hash: InfoHash | None = None) -> None:
        """Raise `Refusal` unless a client may ask, and a swarm is served."""
        if not client.may_ask:
            raise self._refusal(RefusalKind.NOT_ALLOWED)
        allow = self.settings.allow
        if info_hash is not None and (
            info_hash in self.settings.deny or (allow is not None and info_hash not in allow)
        ):
            raise self._refusal(RefusalKind.NOT_TRACKED)

    def take(self, client: Client, now: float) -> None:
        """Count a request of a client; raise `Refusal` when it asks too often."""
        if not self.clients.takes(client, now):
            raise self._refusal(RefusalKind.BUSY, "too many requests of this address")

    def announce(
        self, request: AnnounceRequest, client: Client, now: float, lifetime: float | None = None
    ) -> GatewaySwarm:
        """Take in what a client says, and have the swarm looked up if that is due; raises `Refusal`."""
        self.check(client, request.info_hash)
        if not 0 < request.port < 65536:
            raise self._refusal(RefusalKind.INVALID, "no port")
        if len(request.peer_id) != ID_BYTES:
            raise self._refusal(RefusalKind.INVALID, "a peer id has 20 bytes")
        self.counts["announces"] += 1
        peer = self.swarms.announce(request, client, now, lifetime)
        swarm = self.swarms.by_hash[request.info_hash]
        if peer is not None:
            self._announce_own(request.info_hash, peer, now, again=request.event is Event.COMPLETED)
            if request.wanted:
                self.want_lookup(request.info_hash, swarm, now)
        return swarm

    def find(self, info_hash: InfoHash, client: Client, now: float) -> GatewaySwarm:
        """Have a swarm looked up if that is due, for one who is not in it; raises `Refusal`."""
        self.check(client, info_hash)
        self.counts["finds"] += 1
        swarm = self.swarms.swarm(info_hash)
        self.want_lookup(info_hash, swarm, now)
        return swarm

    def answer(
        self,
        swarm: GatewaySwarm,
        client: Client,
        port: int,
        wanted: int,
        now: float,
        families: Sequence[Family] = BOTH,
    ) -> AnnounceAnswer:
        """Return what a client is told now; `port` is its own, 0 for one who is not in the swarm."""
        most = min(MOST_WANTED, DEFAULT_WANTED if wanted < 0 else wanted)
        peers: list[Address] = []
        for family in families:
            size = family.address_bytes
            own = client.packed + port.to_bytes(2, "big")
            chosen = self.choose(swarm, client, size, own, most - len(peers))
            peers += [unpack_address(chosen[at : at + size]) for at in range(0, len(chosen), size)]
        interval = self.interval(swarm, now, has_peers=bool(peers) or not wanted)
        counts = swarm.counts
        return AnnounceAnswer(
            interval,
            tuple(peers),
            counts.seeds,
            counts.leechers,
            interval // 2,
            external_host=client.host,
        )

    def choose(self, swarm: GatewaySwarm, client: Client, size: int, own: bytes, wanted: int) -> bytes:
        """Return up to `wanted` compact peers of one size for a client, without itself."""
        if swarm.collecting is not None and not swarm.is_looked_up:
            # What has come so far; the next answer has the rest.
            swarm.read_collected(self._random)
        return swarm.choose(client.reach, size, own, wanted, self._random)

    def interval(self, swarm: GatewaySwarm, now: float, *, has_peers: bool) -> int:
        """Return after how many seconds a client is to come again."""
        if not swarm.is_looked_up and swarm.collecting is not None:
            return self.settings.first_interval
        if has_peers:
            return self.settings.interval
        return max(self.settings.first_interval, min(300, int(swarm.lookup_due - now)))

    def scrape(self, info_hashes: Sequence[InfoHash], client: Client) -> ScrapeAnswer:
        """Return the counts of swarms; of one that is not known, zeros."""
        self.check(client)
        self.counts["scrapes"] += 1
        known, none = self.swarms.by_hash, GatewaySwarm()
        return ScrapeAnswer({each: known.get(each, none).counts for each in info_hashes})

    def is_awaited(self, swarm: GatewaySwarm, request: AnnounceRequest) -> bool:
        """Return whether an answer is to wait for the lookup under way."""
        return (
            not swarm.is_looked_up
            and swarm.collecting is not None
            and request.wanted != 0
            and request.event is not Event.STOPPED
        )

    def want_lookup(self, info_hash: InfoHash, swarm: GatewaySwarm, now: float) -> None:
        """Have a swarm looked up unless the last result is fresh; raises `Refusal` if there is nothing."""
        if now < swarm.lookup_due or swarm.collecting is not None:
            return
        if self.lookups < self.settings.max_lookups and self._rate.take(now):
            self.lookups += 1
            self.counts["lookups"] += 1
            swarm.begin_lookup()
            self.to_look_up.append(info_hash)
        elif swarm.is_looked_up or len(swarm.peers) > 1:
            self.counts["lookups put off"] += 1
        else:
            raise self._refusal(RefusalKind.BUSY, "too many lookups")

    def end_lookup(self, swarm: GatewaySwarm, now: float) -> None:
        """Take in that a lookup has ended, with or without an answer."""
        self.lookups -= 1
        swarm.read_collected(self._random)
        swarm.empty_in_a_row = 0 if swarm.collecting else swarm.empty_in_a_row + 1
        swarm.collecting = None
        swarm.is_looked_up = True
        swarm.looked_up_at = now
        fresh_for = self.settings.fresh_for
        if swarm.empty_in_a_row:
            fresh_for = min(fresh_for, self.settings.empty_for * 2 ** min(10, swarm.empty_in_a_row - 1))
        swarm.lookup_due = now + fresh_for

    def cancel_lookup(self, swarm: GatewaySwarm) -> None:
        """Take in that a lookup was given up."""
        self.lookups -= 1
        swarm.collecting = None

    def on_measured(
        self, info_hash: InfoHash, swarm: GatewaySwarm, seeds: float, leechers: float, now: float
    ) -> None:
        """Take in how many peers the DHT knows, our own clients aside: they count one for each family."""
        ours = {len(peer.compact) for peer in swarm.peers.values() if peer.is_own}
        ours_done = {len(peer.compact) for peer in swarm.peers.values() if peer.is_own and peer.is_seed}
        swarm.found_seeds = max(0, round(seeds) - len(ours_done))
        swarm.found_leechers = max(0, round(leechers) - len(ours - ours_done))
        swarm.measured_at = now
        if info_hash in self.swarms.by_hash:
            self.swarms.write_row(info_hash, swarm)

    def sweep(self, now: float) -> None:
        """Drop what is over, and have swarms with clients looked up again; linear in all."""
        self.swarms.sweep(now, KEEP_FOUND)
        for info_hash, swarm in self.swarms.by_hash.items():
            if swarm.peers and now - swarm.looked_up_at >= self.settings.refresh_after:
                if self._rate.wait_time(now) or self.lookups >= self.settings.max_lookups:
                    break
                self.want_lookup(info_hash, swarm, now)

    def change_lists(self, settings: GatewaySettings) -> None:
        """Take in other lists of what is served, and forget the swarms that are not any more."""
        self.settings = settings
        allow = settings.allow
        for info_hash in list(self.swarms.by_hash):
            if info_hash in settings.deny or (allow is not None and info_hash not in allow):
                self.swarms.forget(info_hash)

    def set_external(self, hosts: frozenset[str], now: float) -> None:
        """Take in at which addresses others see us: clients that have one of them are our own."""
        if not self.clients.set_external(hosts):
            return
        for info_hash, swarm in self.swarms.by_hash.items():
            for peer in swarm.peers.values():
                peer.is_own = self.clients.is_own(peer.host)
                self._announce_own(info_hash, peer, now)

    def take_announces(self, now: float) -> list[tuple[InfoHash, Family, int, bool]]:
        """Return who is to be announced in the DHT now: swarm, family, port, and whether it is a seed.

        Only clients that have our own public address: nodes store the address of who announces.
        """
        due = [key for key, at in self.announces_due.items() if at <= now]
        taken = []
        for info_hash, family, port in due:
            swarm = self.swarms.by_hash.get(info_hash)
            peers = [] if swarm is None else _own_at(swarm, family, port)
            if not peers:
                del self.announces_due[info_hash, family, port]
            elif self._rate.take(now):
                self.announces_due[info_hash, family, port] = now + self.settings.refresh_after
                taken.append((info_hash, family, port, any(peer.is_seed for peer in peers)))
        return taken

    def peer_id(self, info_hash: InfoHash, address: Address) -> bytes | None:
        """Return the peer id of a client in a swarm."""
        swarm = self.swarms.by_hash.get(info_hash)
        peer = None if swarm is None else swarm.peers.get(pack_address(address))
        return None if peer is None else peer.peer_id

    def _announce_own(self, info_hash: InfoHash, peer: LocalPeer, now: float, *, again: bool = False) -> None:
        if not peer.is_own:
            return
        family = Family.IPV4 if len(peer.compact) == Family.IPV4.address_bytes else Family.IPV6
        key = info_hash, family, int.from_bytes(peer.compact[-2:], "big")
        # Nodes are told at once that it has become a seed.
        if again or key not in self.announces_due:
            self.announces_due[key] = now

    def _refusal(self, kind: RefusalKind, reason: str = "") -> Refusal:
        self.counts[f"refused: {reason or kind}"] += 1
        return Refusal(kind, reason)


def _own_at(swarm: GatewaySwarm, family: Family, port: int) -> list[LocalPeer]:
    """Return our own clients in a swarm that one announce tells of."""
    end, size = port.to_bytes(2, "big"), family.address_bytes
    return [
        peer
        for compact, peer in swarm.peers.items()
        if peer.is_own and len(compact) == size and compact[-2:] == end
    ]
