"""Fuzz target: the fast path to a reply beside the slow path, query after query."""

from collections.abc import Hashable
from functools import cache
from math import inf

from dhtnode.addresses import Address, Family, pack_host
from dhtnode.settings import NodeSettings
from tests.fuzz.findings import require
from tests.fuzz.seeds import SWARM
from tests.fuzz.steps import TOKEN_MARK, Step, cut
from tests.fuzz.world import SWARMS, Faults, World, family_of, known_address, new_address

LOOK_EVERY = 64  # inputs between two looks at everything
SETTINGS = NodeSettings(
    max_swarms=3, max_peers_per_swarm=40, max_peers=90, max_amplification=5.0, host_rate=inf, network_rate=inf
)
KEYS = (b"1:eli", b"5:nodes", b"6:nodes6", b"5:token", b"6:values", b"4:BFpe")
PAUSES = [0.0] * 12 + [0.5, 9.0, 200.0, 1000.0]


class ResponderTarget:
    """Feed two nodes that differ in nothing but the fast path with the same queries."""

    name = "responder"
    life = 2000

    def __init__(self) -> None:
        self._faults = Faults()
        self._short = World(SETTINGS)
        self._long = World(SETTINGS)
        for endpoint in self._long.endpoints.values():
            endpoint._inbound._fast_path = None
        self._now = 0.0
        self._inputs = 0

    def run(self, data: bytes) -> Hashable:
        """Let both nodes handle each step and compare what they send and what they remember."""
        outcome = tuple(self._take(step) for step in cut(data))
        self._inputs += 1
        if self._inputs % LOOK_EVERY == 0:
            self.end()
        return outcome[-1] if outcome else None

    def end(self) -> None:
        require(self._state(self._short) == self._state(self._long), "both ways leave the same state")

    def _take(self, step: Step) -> Hashable:
        self._now += PAUSES[step.clock & 15]
        family = family_of(step.action)
        source = _source(family, step.source)
        packet = step.packet
        if TOKEN_MARK in packet:
            token = self._short.tokens.issue(pack_host(source.host), SWARM, self._now)
            require(
                token == self._long.tokens.issue(pack_host(source.host), SWARM, self._now),
                "both ways use up the same randomness",
            )
            packet = packet.replace(TOKEN_MARK, token)
        for world in (self._short, self._long):
            world.wires[family].sent.clear()
            world.endpoints[family].receiver.handle_untrusted([(packet, source)], self._now)
        self._faults.check()
        short, long = (world.wires[family].sent for world in (self._short, self._long))
        require(short == long, "both ways send the same bytes")
        statistics = self._short.peers.statistics()
        require(statistics == self._long.peers.statistics(), "both ways store the same")
        sent = short[0][0] if short else b""
        parts = tuple(key in sent for key in KEYS)
        return family, len(sent) // 32, parts, statistics.swarms, statistics.peers // 30

    def _state(self, world: World) -> object:
        infos = [
            endpoint.table.get(contact.address)
            for endpoint in world.endpoints.values()
            for contact in endpoint.table.contacts(include_bad=True)
        ]
        counts = [endpoint.receiver.counts for endpoint in world.endpoints.values()]
        filters = [world.peers.filters(swarm, None, self._now) for swarm in SWARMS]
        return infos, counts, filters, world.peers.statistics()


@cache
def _source(family: Family, number: int) -> Address:
    """Return one of a few sources, so that they come again: some of them are in the table."""
    return known_address(family, number) if number < 24 else new_address(family, number)
