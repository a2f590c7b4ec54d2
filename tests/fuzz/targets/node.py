"""Fuzz target: a whole node that asks and answers, under a stream of packets from everywhere."""

from collections import deque
from collections.abc import Hashable
from typing import Any

import trio

from dhtnode.addresses import Address
from dhtnode.errors import QueryError
from dhtnode.ids import ID_BITS
from dhtnode.krpc.messages import AnnouncePeer, FindNode, GetPeers, Method, Ping
from dhtnode.lookup.candidates import MAX_CANDIDATES
from dhtnode.net.round_trips import MAX_TIMEOUT
from dhtnode.net.transactions import Answer
from dhtnode.node.checks import VERIFY_BURST
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.socket_node import SocketNode
from dhtnode.routing.bucket import BucketInfo
from dhtnode.server.sources import RecentSources
from dhtnode.settings import NodeSettings
from tests.fuzz.exchange import Exchange
from tests.fuzz.findings import require
from tests.fuzz.seeds import SWARM
from tests.fuzz.steps import TRANSACTION_MARK, Step, cut
from tests.fuzz.world import (
    KNOWN,
    OWN,
    Faults,
    HandClock,
    World,
    family_of,
    forbidden_address,
    known_address,
    new_address,
)

LOOK_EVERY = 64  # inputs between two looks at everything
MAX_LOOKUPS = 4
SOURCES = 200  # remembered at once: few, so that a node forgets in the middle of a conversation
MAX_COUNTERS = 60  # kinds of events there may be: none may be named by a remote
SETTINGS = NodeSettings(
    lookup_query_limit=40,
    max_pending=48,
    max_swarms=4,
    max_peers_per_swarm=30,
    max_peers=36,
    max_amplification=4.0,
    peer_lifetime=5000.0,
    host_rate=2.0,
    host_burst=5.0,
    network_rate=8.0,
    network_burst=16.0,
    reply_rate=5_000.0,
    reply_burst=5_000.0,
)
PAUSES = [0.0] * 144 + [0.01] * 64 + [0.5] * 40 + [3.0] * 5 + [20.0] * 2 + [60.0]
LONG_PAUSE = 3000.0  # longer than anything is kept


class NodeTarget:
    """Run one node of two families through whatever an input tells."""

    name = "node"
    life = 2000

    def __init__(self) -> None:
        clock = trio.lowlevel.current_clock()
        require(isinstance(clock, HandClock), "this target runs under a clock moved by hand")
        assert isinstance(clock, HandClock)
        self._clock = clock
        self._clock.now = 0.0
        self._faults = Faults()
        self._world = World(SETTINGS)
        self._exchanges = {
            family: Exchange(endpoint, self._world.wires[family], self._world.tokens)
            for family, endpoint in self._world.endpoints.items()
        }
        for endpoint in self._world.endpoints.values():
            _remember_less(endpoint)
        self._lookups: deque[LookupDriver] = deque()
        self._asked = 0
        self._told = 0
        self._inputs = 0
        self._newcomers = 0

    def run(self, data: bytes) -> Hashable:
        """Take all steps of one input and look whether the node is still what it promises to be."""
        outcome: Hashable = None
        for step in cut(data):
            outcome = self._take(step)
        self._faults.check()
        self._check_bounds()
        self._inputs += 1
        if self._inputs % LOOK_EVERY == 0:
            self._check_all()
        return outcome

    def end(self) -> None:
        while self._lookups:
            self._lookups.popleft().cancel()
        # A node that is silent is pinged again until it is bad; and what is held back for one that has
        # answered before waits for as long as that counts.
        for _ in range(SETTINGS.bad_after + 1 + int(SETTINGS.good_for / MAX_TIMEOUT)):
            self._pass_time(MAX_TIMEOUT)
        self._faults.check()
        require(
            not any(endpoint.rpc.pending for endpoint in self._world.endpoints.values()),
            "every query comes to its end",
        )
        require(self._asked == self._told, "who asks is told the outcome, once")
        self._check_all()

    def _take(self, step: Step) -> Hashable:
        family = family_of(step.action)
        exchange = self._exchanges[family]
        pause = PAUSES[step.clock]
        if step.action == 253 and step.source < 4:
            pause = LONG_PAUSE
        if pause:
            self._pass_time(pause)
        exchange.wire.is_full = step.action == 254
        if 200 <= step.action < 250:
            self._act(step.action, exchange)
        source = self._source(step, exchange)
        outcome = exchange.deliver(source, step.packet, self._clock.now)
        exchange.wire.is_full = False
        return family, *outcome

    def _source(self, step: Step, exchange: Exchange) -> Address:
        """Return who sends: one we asked, one we know, one of a few, a new one, or none at all."""
        family, number = exchange.endpoint.family, step.source
        if number < 64 or (number < 220 and TRANSACTION_MARK in step.packet):
            asked = exchange.asked(number)
            if asked is not None:
                return asked
        if number < 128:
            return known_address(family, number % KNOWN)
        if number < 160:
            return new_address(family, number)
        if number < 240:
            self._newcomers += 1
            return new_address(family, 256 + self._newcomers)
        return forbidden_address(family, number + self._newcomers)

    def _act(self, action: int, exchange: Exchange) -> None:
        """Do what a program or the upkeep of the node would do."""
        endpoint = exchange.endpoint
        kind, number = action >> 1 & 7, action
        if kind < 2:
            self._look_up(endpoint, FindNode(OWN) if kind else GetPeers(SWARM))
        elif kind == 2:
            self._ask(endpoint, Ping(), known_address(endpoint.family, number % KNOWN))
        elif kind == 3:
            method = AnnouncePeer(SWARM, 6881, b"token", seed=True)
            self._ask(endpoint, method, new_address(endpoint.family, number))
        elif kind == 4:
            endpoint.checks.ping_silent(self._clock.now)
        elif kind == 5:
            self._world.peers.expire(self._clock.now)
        elif self._lookups:
            self._lookups.popleft().cancel()

    def _look_up(self, endpoint: SocketNode, method: FindNode | GetPeers) -> None:
        target = method.target if isinstance(method, FindNode) else method.info_hash
        driver = endpoint.new_lookup(target, method, _read_peers)
        driver.lookup.add_contacts(endpoint.table.closest(target, self._clock.now))
        driver.start()
        self._lookups.append(driver)
        if len(self._lookups) > MAX_LOOKUPS:
            self._lookups.popleft().cancel()

    def _ask(self, endpoint: SocketNode, method: Method, address: Address) -> None:
        if endpoint.rpc.send_query(method, address, self._on_done) is not None:
            self._asked += 1

    def _on_done(self, _result: Answer | QueryError, _now: float) -> None:
        self._told += 1

    def _pass_time(self, seconds: float) -> None:
        self._clock.now += seconds
        for endpoint in self._world.endpoints.values():
            endpoint.rpc.end_overdue(self._clock.now)

    def _check_bounds(self) -> None:
        stored = self._world.peers.statistics()
        require(0 <= stored.swarms <= SETTINGS.max_swarms, "swarms are bounded")
        require(0 <= stored.peers <= SETTINGS.max_peers, "peers are bounded")
        require(self._told <= self._asked, "no callback is called twice")
        for endpoint in self._world.endpoints.values():
            rpc = endpoint.rpc
            require(rpc.pending <= SETTINGS.max_pending, "queries under way are bounded")
            require(len(endpoint.checks._verifying) <= rpc.pending, "who is verified is being asked")
            require(not rpc.events["internal errors"], "no error of our own")

    def _check_all(self) -> None:
        for endpoint in self._world.endpoints.values():
            endpoint.table.check()
            buckets: list[BucketInfo] = endpoint.table.buckets(self._clock.now)
            require(len(buckets) <= ID_BITS, "buckets are bounded")
            require(max(map(len, _memories(endpoint))) <= SOURCES, "sources are bounded")
            require(len(endpoint.receiver.counts) <= MAX_COUNTERS, "kinds of events are few and fixed")
            require(len(endpoint.checks._verifying) <= VERIFY_BURST + 100, "verifications are bounded")
        for driver in self._lookups:
            known = len(driver.lookup._candidates)
            require(known <= MAX_CANDIDATES + 2 * SETTINGS.lookup_query_limit, "candidates are bounded")


def _memories(endpoint: SocketNode) -> list[RecentSources[Any, Any]]:
    sources = endpoint.rpc.sources
    return [sources, sources._hosts, sources._networks]


def _remember_less(endpoint: SocketNode) -> None:
    for memory in _memories(endpoint):
        memory._half = SOURCES // 2


def _read_peers(answer: Answer) -> None:
    answer.response.peers()
