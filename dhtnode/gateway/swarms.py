"""All swarms of the gateway: who announced to it, bounded per host, network and swarm, and in all."""

from collections import Counter
from random import Random

from dhtnode.addresses import pack_host
from dhtnode.gateway.clients import Client
from dhtnode.gateway.refusals import Refusal, RefusalKind
from dhtnode.gateway.settings import GatewaySettings
from dhtnode.gateway.swarm import GatewaySwarm, LocalPeer
from dhtnode.ids import InfoHash
from dhtnode.server.shares import network_of
from dhtnode.trackers.messages import AnnounceRequest, Event

SWEEP = 30.0
"""Seconds between two looks for what is over."""

_NO_KEY = 0


class GatewaySwarms:
    """The swarms by their info-hash; `rows` has those that have any count, as a scrape over UDP tells them.

    A client is dropped at the first sweep after its time, so that none is older than two intervals.
    """

    def __init__(self, settings: GatewaySettings, random: Random, counts: Counter[str]) -> None:
        self.by_hash: dict[InfoHash, GatewaySwarm] = {}
        self.rows: dict[bytes, bytes] = {}
        self.peer_count = 0
        self.lifetime = 2 * settings.interval - SWEEP
        self._settings = settings
        self._random = random
        self._counts = counts
        self._hosts: dict[str, dict[InfoHash, int]] = {}
        self._networks: Counter[bytes] = Counter()

    @property
    def host_count(self) -> int:
        """Return at how many addresses the clients are."""
        return len(self._hosts)

    def swarm(self, info_hash: InfoHash) -> GatewaySwarm:
        """Return a swarm, a new one if it was not known; raises `Refusal`."""
        swarm = self.by_hash.get(info_hash)
        if swarm is None:
            if len(self.by_hash) >= self._settings.max_swarms:
                raise self._full("swarms")
            swarm = self.by_hash[info_hash] = GatewaySwarm()
        return swarm

    def announce(
        self, request: AnnounceRequest, client: Client, now: float, lifetime: float | None = None
    ) -> LocalPeer | None:
        """Add, renew, change or drop a client, and return it unless it is gone; raises `Refusal`."""
        swarm = self.swarm(request.info_hash)
        compact = client.packed + request.port.to_bytes(2, "big")
        peer = swarm.peers.get(compact)
        if request.event is Event.STOPPED:
            if peer is not None:
                self._drop(request.info_hash, swarm, peer)
            return None
        if peer is None:
            peer = self._new_peer(request, client, swarm, compact)
        elif peer.peer_id != request.peer_id:
            # Another program at the same place, or the same one after it was started again.
            peer.peer_id, peer.key = request.peer_id, request.key
        self._take_state(swarm, peer, request)
        peer.is_own = client.is_own
        peer.expires_at = now + (self.lifetime if lifetime is None else lifetime)
        self.write_row(request.info_hash, swarm)
        return peer

    def write_row(self, info_hash: InfoHash, swarm: GatewaySwarm) -> None:
        """Take in that the counts of a swarm have changed."""
        if any(row := swarm.row):
            self.rows[info_hash] = row
        else:
            self.rows.pop(info_hash, None)

    def sweep(self, now: float, keep_found: float) -> None:
        """Drop clients that did not come again, and swarms that none is in; linear in both.

        What a lookup has found is kept for `keep_found` seconds.
        """
        for info_hash, swarm in list(self.by_hash.items()):
            over = [peer for peer in swarm.peers.values() if peer.expires_at <= now]
            for peer in over:
                self._counts["clients expired"] += 1
                self._drop(info_hash, swarm, peer)
            is_used = swarm.collecting is not None or now - swarm.looked_up_at < keep_found
            if not (swarm.peers or is_used):
                self.forget(info_hash)

    def forget(self, info_hash: InfoHash) -> None:
        """Drop a swarm with all who are in it."""
        if (swarm := self.by_hash.get(info_hash)) is not None:
            for peer in list(swarm.peers.values()):
                self._drop(info_hash, swarm, peer)
            del self.by_hash[info_hash]
            self.rows.pop(info_hash, None)

    def _new_peer(
        self, request: AnnounceRequest, client: Client, swarm: GatewaySwarm, compact: bytes
    ) -> LocalPeer:
        self._replace(request, swarm, compact)
        self._check_bounds(request.info_hash, client, swarm)
        host, network = self._hosts.setdefault(client.host, {}), network_of(client.packed)
        host[request.info_hash] = host.get(request.info_hash, 0) + 1
        self._networks[network] += 1
        self.peer_count += 1
        peer = LocalPeer(client.host, compact, client.reach, request.peer_id, request.key)
        peer.is_seed = request.left == 0
        swarm.put(peer, self._random)
        return peer

    def _replace(self, request: AnnounceRequest, swarm: GatewaySwarm, compact: bytes) -> None:
        """Drop the same client where it was before: the key tells that (BEP 7), in each family."""
        if request.key == _NO_KEY:
            return
        for peer in swarm.peers.values():
            if (peer.key, peer.peer_id, len(peer.compact)) == (request.key, request.peer_id, len(compact)):
                self._drop(request.info_hash, swarm, peer)
                return

    def _check_bounds(self, info_hash: InfoHash, client: Client, swarm: GatewaySwarm) -> None:
        settings, host = self._settings, self._hosts.get(client.host, {})
        if info_hash in host:
            if host[info_hash] >= settings.max_clients_per_host:
                raise self._full("clients of one address in a swarm")
        elif len(host) >= settings.max_swarms_per_host:
            raise self._full("swarms of one address")
        if self._networks[network_of(client.packed)] >= settings.max_peers_per_network:
            raise self._full("clients of one network")
        if len(swarm.peers) >= settings.max_peers_per_swarm:
            raise self._full("clients in a swarm")
        if self.peer_count >= settings.max_peers:
            raise self._full("clients")

    def _full(self, of: str) -> Refusal:
        self._counts[f"refused: too many {of}"] += 1
        return Refusal(RefusalKind.BUSY, f"too many {of}")

    def _take_state(self, swarm: GatewaySwarm, peer: LocalPeer, request: AnnounceRequest) -> None:
        is_seed = request.left == 0
        if request.event is Event.COMPLETED and is_seed and not peer.is_seed:
            swarm.downloaded += 1
        # A client says that it is paused in every announce (BEP 21).
        is_partial = request.event is Event.PAUSED and not is_seed
        if (is_seed, is_partial) != (peer.is_seed, peer.is_partial):
            swarm.change(peer, is_seed=is_seed, is_partial=is_partial)

    def _drop(self, info_hash: InfoHash, swarm: GatewaySwarm, peer: LocalPeer) -> None:
        network = network_of(pack_host(peer.host))
        self._networks[network] -= 1
        if not self._networks[network]:
            del self._networks[network]
        host = self._hosts[peer.host]
        host[info_hash] -= 1
        is_last = not host[info_hash]
        if is_last:
            del host[info_hash]
            if not host:
                del self._hosts[peer.host]
        self.peer_count -= 1
        swarm.drop(peer, self._random, is_last=is_last)
        self.write_row(info_hash, swarm)
