"""The gateway that the servers of all protocols share, and its lookups in the DHT."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite

import trio

from dhtnode.addresses import Address, Family
from dhtnode.api.node import Node
from dhtnode.errors import DhtError
from dhtnode.gateway import GatewayCore, GatewaySettings
from dhtnode.gateway.clients import Client
from dhtnode.gateway.core import BOTH
from dhtnode.gateway.swarm import GatewaySwarm
from dhtnode.gateway.swarms import SWEEP
from dhtnode.gateway_server.statistics import GatewayStatistics
from dhtnode.ids import InfoHash
from dhtnode.swarm.estimate import SwarmEstimate
from dhtnode.trackers.messages import AnnounceAnswer, AnnounceRequest, ScrapeAnswer

LOOK_EVERY = 5.0
"""Seconds between two looks at our external addresses, and at what is to be announced."""

LOOKUP_TIMEOUT = 60.0
"""Seconds after which a lookup is given up."""


class Gateway:
    """What a request of any protocol is answered by; made by `open_gateway`."""

    def __init__(self, node: Node, core: GatewayCore) -> None:
        self.core = core
        self.listeners: list[tuple[str, str]] = []
        """What is served, and where: protocol and URL."""

        self.on_lookup_end: list[Callable[[InfoHash, float], None]] = []
        """Called with the swarm and the time when a lookup has ended."""

        self._node = node
        self._ended: dict[InfoHash, trio.Event] = {}
        self._wanted = trio.Event()
        self._families = frozenset(address.family for address in node.addresses)

    @property
    def settings(self) -> GatewaySettings:
        """Return the settings, of which the lists of info-hashes may change."""
        return self.core.settings

    @property
    def has_both_families(self) -> bool:
        """Return whether peers of both families are looked up."""
        return len(self._families) == len(Family)

    def statistics(self) -> GatewayStatistics:
        """Return a snapshot; constant cost."""
        core = self.core
        return GatewayStatistics(
            len(core.swarms.by_hash),
            core.swarms.host_count,
            core.swarms.peer_count,
            core.lookups,
            len(core.announces_due),
            dict(core.counts),
        )

    def change_lists(self, allow: frozenset[InfoHash] | None, deny: frozenset[InfoHash]) -> None:
        """Serve other swarms from now on, and forget those that are not any more."""
        self.core.change_lists(replace(self.core.settings, allow=allow, deny=deny))

    def count(self, event: str) -> None:
        """Add 1 to the count of an event, as `http: no request`."""
        self.core.counts[event] += 1

    def check(self, host: str) -> None:
        """Raise `Refusal` unless a client may ask."""
        self.core.check(self.core.clients.named(host))

    def peer_id(self, info_hash: InfoHash, address: Address) -> bytes | None:
        """Return the peer id of a client in a swarm; peers of the DHT have none that is known."""
        return self.core.peer_id(info_hash, address)

    async def announce(
        self,
        request: AnnounceRequest,
        host: str,
        *,
        lifetime: float | None = None,
        families: Sequence[Family] = BOTH,
    ) -> AnnounceAnswer:
        """Take in what a client says and return peers, after 4 s at most; raises `Refusal`.

        `lifetime` is after how many seconds it is forgotten, by default two intervals.  A negative number
        wanted is the default; with 0 wanted nothing is looked up.
        """
        client, now = self.core.clients.named(host), trio.current_time()
        self.core.check(client)
        self.core.take(client, now)
        swarm = self.core.announce(request, client, now, lifetime)
        self.start_lookups()
        # What it is told after it has stopped is the counts.
        wanted = 0 if request.event == "stopped" else request.wanted
        if self.core.is_awaited(swarm, request):
            await self._wait(request.info_hash)
        return self._answer(swarm, client, request.port, wanted, families)

    async def find(
        self, info_hash: InfoHash, host: str, wanted: int = -1, *, families: Sequence[Family] = BOTH
    ) -> AnnounceAnswer:
        """Return peers of a swarm to a client that is not in it; as `announce`."""
        client, now = self.core.clients.named(host), trio.current_time()
        self.core.check(client)
        self.core.take(client, now)
        swarm = self.core.find(info_hash, client, now)
        self.start_lookups()
        if wanted and not swarm.is_looked_up and swarm.collecting is not None:
            await self._wait(info_hash)
        return self._answer(swarm, client, 0, wanted, families)

    def scrape(self, info_hashes: Sequence[InfoHash], host: str) -> ScrapeAnswer:
        """Return the counts of swarms, zeros for one that is not known; raises `Refusal`."""
        client = self.core.clients.named(host)
        self.core.check(client)
        self.core.take(client, trio.current_time())
        return self.core.scrape(info_hashes, client)

    def start_lookups(self) -> None:
        """Have the task look that starts lookups; also from outside of tasks."""
        if self.core.to_look_up:
            self._wanted.set()

    async def keep_looking_up(self, nursery: trio.Nursery) -> None:
        """Start the lookups that are wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while self.core.to_look_up:
                info_hash = self.core.to_look_up.popleft()
                swarm = self.core.swarms.by_hash.get(info_hash)
                if swarm is None or swarm.collecting is None:
                    # It was forgotten meanwhile, as one that is denied now.
                    self.core.lookups -= 1
                    self._end(info_hash)
                else:
                    nursery.start_soon(self._look_up, info_hash, swarm, name="gateway lookup")

    async def keep_sweeping(self) -> None:
        """Drop what is over, until cancelled."""
        while True:
            await trio.sleep(SWEEP)
            self.core.sweep(trio.current_time())
            self.start_lookups()

    async def keep_announcing(self, nursery: trio.Nursery) -> None:
        """Announce our own clients in the DHT, and see at which addresses others see us, until cancelled."""
        while True:
            now = trio.current_time()
            seen = [one.external_address for one in self._node.statistics().sockets]
            self.core.set_external(frozenset(each.host for each in seen if each), now)
            for info_hash, family, port, seed in self.core.take_announces(now):
                if family in self._families:
                    nursery.start_soon(self._announce, info_hash, family, port, seed, name="gateway announce")
            await trio.sleep(LOOK_EVERY)

    async def _announce(self, info_hash: InfoHash, family: Family, port: int, seed: bool) -> None:
        self.count("announces in the DHT")
        try:
            await self._node.announce(info_hash, port, seed=seed, family=family)
        except DhtError:
            self.count("announces in the DHT failed")

    async def _look_up(self, info_hash: InfoHash, swarm: GatewaySwarm) -> None:
        core = self.core
        try:
            with trio.move_on_after(LOOKUP_TIMEOUT):
                try:
                    async with self._node.get_peers(info_hash) as stream:
                        async for peer in stream:
                            swarm.on_found((peer,))
                except DhtError:
                    self.count("lookups failed")
            core.end_lookup(swarm, trio.current_time())
        finally:
            if swarm.collecting is not None:
                core.cancel_lookup(swarm)
            self._end(info_hash)
        await self._measure(info_hash, swarm)

    def _end(self, info_hash: InfoHash) -> None:
        """Have all answered who have waited for a lookup."""
        if (ended := self._ended.pop(info_hash, None)) is not None:
            ended.set()
        for answer in self.on_lookup_end:
            answer(info_hash, trio.current_time())

    async def _measure(self, info_hash: InfoHash, swarm: GatewaySwarm) -> None:
        if trio.current_time() - swarm.measured_at < self.core.settings.refresh_after:
            return
        with trio.move_on_after(LOOKUP_TIMEOUT):
            try:
                measured = await self._node.scrape(info_hash)
            except DhtError:
                self.count("measurements failed")
            else:
                seeds, leechers = _counts(measured.estimate)
                self.core.on_measured(info_hash, swarm, seeds, leechers, trio.current_time())

    async def _wait(self, info_hash: InfoHash) -> None:
        ended = self._ended.setdefault(info_hash, trio.Event())
        with trio.move_on_after(self.core.settings.wait):
            await ended.wait()

    def _answer(
        self, swarm: GatewaySwarm, client: Client, port: int, wanted: int, families: Sequence[Family]
    ) -> AnnounceAnswer:
        return self.core.answer(swarm, client, port, wanted, trio.current_time(), families)


def _counts(estimate: SwarmEstimate) -> tuple[float, float]:
    """Return seeds and leechers; where no node tells them apart, all are leechers."""
    if estimate.seeds is None or estimate.leechers is None:
        return 0.0, estimate.peers if isfinite(estimate.peers) else 0.0
    return estimate.seeds, estimate.leechers
