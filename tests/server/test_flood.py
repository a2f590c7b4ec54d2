"""Floods in virtual time: who keeps asking at a modest pace is served, and nothing grows or changes.

`benchmarks/flood/__main__.py` does the same over the kernel, at the pace of the machine.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from benchmarks.flood.floods import GARBAGE, query_in_turn
from dhtnode.addresses import Address
from dhtnode.api.node import Node
from dhtnode.bencode import Value, decode_untrusted, encode
from dhtnode.ids import NodeId
from dhtnode.server.admission import DRAW, FROM_ADDRESS, FROM_NETWORK, MAX_DEBT, REGULAR_AFTER, RESERVE
from dhtnode.server.sources import MAX_SOURCES
from dhtnode.settings import NodeSettings
from dhtnode.testing import QUEUE_LIMIT, MemoryNetwork, MemorySocket

pytestmark = pytest.mark.slow

NewNetwork = Callable[..., "ListeningNetwork"]
Packet = tuple[bytes, Address]

LATENCY = 0.01  # seconds, for every datagram: what leaves together arrives together
TICK = 0.005  # seconds; what comes in one finds room in the queue of a socket
ASKED_EVERY = 10  # ticks: 20 queries per second
NODE, ASKER, FLOODER, CROWD = 100, 200, 300, 1000  # hosts of the network
SETTINGS = NodeSettings()
PONG_BYTES = 68
BEHIND_AFTER = 2  # full batches of the receive loop
TOO_BUSY = "dropped: too busy for strangers"
NO_BUDGET = "dropped: reply budget used up"


class ListeningNetwork(MemoryNetwork):
    """Remember what each address is sent, and take packets from any source."""

    def __init__(self, **options: Any) -> None:
        super().__init__(latency=(LATENCY, LATENCY), **options)
        self.heard: dict[Address, list[bytes]] = {}

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        self.heard.setdefault(destination, []).append(data)
        super().carry(data, source, destination, now)


class Asker:
    """Ask one node from one address; answer its pings only if told to."""

    def __init__(self, socket: MemorySocket, node: Address, *, answers: bool = False) -> None:
        self.asked = self.answered = 0
        self._socket = socket
        self._node = node
        self._answers = answers
        self._under_way: set[bytes] = set()

    def ask(self) -> None:
        packet, key = query_in_turn(self.asked)
        self._socket.send_nowait(packet, self._node)
        self._under_way.add(key)
        self.asked += 1

    def take(self) -> None:
        while (mail := self._socket.receive_nowait()) is not None:
            message: Any = decode_untrusted(mail[0]).value
            if message[b"y"] == b"q" and self._answers:
                response = {b"r": {b"id": bytes(20)}, b"t": message[b"t"], b"y": b"r"}
                self._socket.send_nowait(encode(response), mail[1])
            elif message[b"y"] == b"r" and message[b"t"] in self._under_way:
                self._under_way.remove(message[b"t"])
                self.answered += 1

    def forget(self) -> None:
        self.asked = self.answered = 0
        self._under_way.clear()


class Scene:
    """A node in a small network, and another address that asks it 20 queries per second."""

    def __init__(self, network: ListeningNetwork, node: Node) -> None:
        self.network = network
        self.node = node
        self.address = node.addresses[0]
        self.asker = self.new_asker()

    def new_asker(self, number: int = ASKER, *, answers: bool = False) -> Asker:
        """Return another client of the node."""
        return Asker(self.network.socket(self.network.host(number)), self.address, answers=answers)

    async def flood(self, packets: Iterator[Packet], rate: int, seconds: float) -> None:
        """Let so many packets per second arrive, while the asker asks; returns when all is answered."""
        per_tick = round(rate * TICK)
        for tick in range(round(seconds / TICK)):
            now = trio.current_time()
            for number, (data, source) in enumerate(islice(packets, per_tick)):
                if tick % ASKED_EVERY == 0 and number == per_tick // 2:
                    self.asker.ask()
                self.network.carry(data, source, self.address, now)
            await trio.sleep(TICK)
            self.asker.take()
        await trio.sleep(3 * LATENCY)
        self.asker.take()

    async def warm_up(self) -> None:
        for _ in range(round(1.0 / TICK / ASKED_EVERY)):
            self.asker.ask()
            await trio.sleep(TICK * ASKED_EVERY)
        self.asker.take()
        assert self.asker.answered == self.asker.asked
        self.asker.forget()

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.node.statistics().sockets[0].counts)

    @property
    def remembered(self) -> list[int]:
        sources = self.node._sockets.by_address[self.node.addresses[0]].rpc.sources
        return [len(sources), len(sources._hosts), len(sources._networks)]

    async def check_calm(self, contacts: set[Any]) -> None:
        """Hold that the node is as before: the same table, nothing under way, nothing lost count of."""
        await trio.sleep(15.0)
        statistics = self.node.statistics().sockets[0]
        assert (statistics.pending, set(self.node.contacts())) == (0, contacts)
        assert max(self.remembered) <= MAX_SOURCES
        check_counts(self.counts)
        self.asker.forget()
        self.asker.ask()
        await trio.sleep(3 * LATENCY)
        self.asker.take()
        assert self.asker.answered == 1


def check_counts(counts: Counter[str]) -> None:
    """Hold that each datagram was counted once by what became of it, those sent included."""
    dropped = [count for name, count in counts.items() if name.startswith(("dropped: ", "malformed: "))]
    replies = counts["replies sent"] + counts["errors sent"]
    assert counts["datagrams received"] == sum(dropped) + replies + counts["answers"]
    assert counts["datagrams sent"] == replies + counts["queries sent"]
    assert counts["internal errors"] == 0


@asynccontextmanager
async def open_scene(new_network: NewNetwork, settings: NodeSettings = SETTINGS) -> AsyncIterator[Scene]:
    """Open a node that knows twelve others, with an asker; no query has come yet."""
    random.seed(1)
    network = new_network(1, kind=ListeningNetwork)
    async with network.open_nodes(12) as others:
        through = others[0].addresses
        async with network.open_node(NODE, through=through, settings=settings) as node:
            await node.wait_joined()
            await trio.sleep(60.0)
            yield Scene(network, node)


def admitted(rate: float, burst: float, seconds: float) -> float:
    return burst + 1 + rate * seconds


def drawn(seconds: float) -> float:
    """Return how many datagrams one port may draw on the reserve of its address, at most."""
    return (MAX_DEBT + seconds) / DRAW


async def test_garbage_is_not_read_beyond_the_limit_of_its_address(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """100,000 packets in a second, of which some 300 are looked at."""
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        flooder = Address(scene.network.host(FLOODER), 6881)
        packets = [(GARBAGE[number % len(GARBAGE)](), flooder) for number in range(600)]
        await scene.warm_up()
        before = scene.counts
        await scene.flood(cycle(packets), 100_000, 1.0)

        grown = scene.counts - before
        assert (scene.asker.asked, scene.asker.answered) == (20, 20)
        assert grown["datagrams received"] - grown[FROM_ADDRESS] <= 20 + admitted(
            SETTINGS.host_rate, SETTINGS.host_burst, 1.0
        ) + drawn(1.0)
        assert len({name for name in grown if name.startswith("malformed: ")}) >= 3
        await scene.check_calm(contacts)


async def test_garbage_of_a_source_that_we_wait_for_is_not_read_either(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """A node pinged because it queried has no more rights than others, though its answer would be free."""
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        flooder = Address(scene.network.host(FLOODER), 6881)
        near = NodeId(scene.node.node_id[:-1] + bytes([scene.node.node_id[-1] ^ 1]))
        way_in = encode({b"a": {b"id": near}, b"q": b"ping", b"t": b"aa", b"y": b"q"})
        scene.network.carry(way_in, flooder, scene.address, trio.current_time())
        await scene.warm_up()
        (key,) = [message[b"t"] for message in map(_value, scene.network.heard[flooder]) if b"q" in message]
        packets = [(GARBAGE[number % len(GARBAGE)](), flooder) for number in range(600)]
        # It knows the id that its answer should bear.
        packets += [(b"d1:rd2:id20:%be1:t4:%b1:y1:re" % (bytes(9), key), flooder)] * 100
        before = scene.counts
        await scene.flood(cycle(packets), 20_000, 0.5)

        grown = scene.counts - before
        assert grown["datagrams received"] - grown[FROM_ADDRESS] <= 20 + admitted(
            SETTINGS.host_rate, SETTINGS.host_burst, 0.5
        ) + drawn(0.5)
        await scene.check_calm(contacts)


async def test_queries_beyond_the_limit_of_an_address_are_dropped(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """50 times as many as are allowed; the others get answers, so that it is no ban."""
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        flooder = Address(scene.network.host(FLOODER), 6881)
        packets = ((query_in_turn(number)[0], flooder) for number in range(1_000_000))
        await scene.warm_up()
        before = scene.counts
        await scene.flood(packets, round(50 * SETTINGS.host_rate), 4.0)

        grown = scene.counts - before
        allowed = admitted(SETTINGS.host_rate, SETTINGS.host_burst, 4.0)
        assert (scene.asker.asked, scene.asker.answered) == (80, 80)
        assert allowed - 2 <= grown["replies sent"] - 80 <= allowed + drawn(4.0)
        await scene.check_calm(contacts)


async def test_queries_from_ever_new_addresses_leave_enough_for_known_ones(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        packets = (
            (query_in_turn(number)[0], Address(scene.network.host(CROWD + number), 6881))
            for number in range(1_000_000)
        )
        await scene.warm_up()
        before = scene.counts
        await scene.flood(packets, 25_000, 1.0)

        grown = scene.counts - before
        assert (scene.asker.asked, scene.asker.answered) == (20, 20)
        assert grown["datagrams received"] > 2 * MAX_SOURCES
        assert grown[NO_BUDGET] > 0
        assert grown["bytes sent"] <= SETTINGS.reply_burst + SETTINGS.reply_rate * 1.1
        await scene.check_calm(contacts)


async def test_announces_fill_the_store_and_no_more(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """Tokens are valid; what was stored stays until it expires, and then nothing is left."""
    settings = NodeSettings(max_swarms=500)
    async with open_scene(new_network, settings) as scene:
        contacts = set(scene.node.contacts())
        hosts = [Address(scene.network.host(CROWD + number), 6881) for number in range(1000)]
        wanted = [(host, random.randbytes(20)) for host in hosts * 3]
        asked = ((_query(b"get_peers", info_hash=info_hash), host) for host, info_hash in wanted)
        await scene.flood(asked, 4_000, len(wanted) / 4_000)
        tokens = {host: _tokens(scene.network.heard[host]) for host in hosts}
        packets = [
            (_query(b"announce_peer", info_hash=info_hash, port=1, token=tokens[host].pop(0)), host)
            for host, info_hash in wanted
        ]
        await scene.warm_up()
        await scene.flood(iter(packets), 10_000, len(packets) / 10_000)

        assert scene.asker.answered == scene.asker.asked > 0
        stored = scene.node.statistics().peers
        assert (stored.swarms, stored.peers, stored.refused) == (500, 500, len(wanted) - 500)
        await scene.check_calm(contacts)
        await trio.sleep(settings.peer_lifetime + 2 * settings.maintenance_period)
        stored = scene.node.statistics().peers
        assert (stored.swarms, stored.peers, stored.expired) == (0, 0, 500)


async def test_addresses_of_one_network_share_a_limit(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        hosts = [Address(f"41.0.0.{number}", 6881) for number in range(1, 251)]
        packets = ((query_in_turn(number)[0], hosts[number % 250]) for number in range(1_000_000))
        await scene.warm_up()
        before = scene.counts
        await scene.flood(packets, 10_000, 1.0)

        grown = scene.counts - before
        allowed = admitted(SETTINGS.network_rate, SETTINGS.network_burst, 1.0)
        reserve = SETTINGS.network_burst * RESERVE
        assert (scene.asker.asked, scene.asker.answered) == (20, 20)
        assert allowed - 2 <= grown["replies sent"] - 20 <= allowed + reserve
        assert (grown[FROM_ADDRESS], grown[FROM_NETWORK]) == (0, 10_000 - grown["replies sent"] + 20)
        await scene.check_calm(contacts)


async def test_unknown_sources_are_not_read_while_more_comes_than_can_be_handled(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """A known client is served, though its query comes after all the others."""
    async with open_scene(new_network) as scene:
        contacts = set(scene.node.contacts())
        await scene.warm_up()
        before = scene.counts
        for number in range(QUEUE_LIMIT - 1):
            stranger = Address(scene.network.host(CROWD + number), 6881)
            scene.network.carry(_query(b"ping"), stranger, scene.address, trio.current_time())
        scene.asker.ask()
        await trio.sleep(3 * LATENCY)
        scene.asker.take()

        grown = scene.counts - before
        handled = BEHIND_AFTER * SETTINGS.receive_batch
        assert (scene.asker.answered, grown["replies sent"]) == (1, handled + 1)
        assert grown[TOO_BUSY] == QUEUE_LIMIT - 1 - handled
        await scene.check_calm(contacts)


@pytest.mark.parametrize(
    ("limits", "counter", "answered"),
    [
        ({"host_rate": 1.0, "host_burst": 9.5}, FROM_ADDRESS, 13),  # three of them from the reserve
        ({"network_rate": 1.0, "network_burst": 19.5}, FROM_NETWORK, 25),
        (
            {"reply_rate": 100.0, "reply_burst": 3 * 29.5 * PONG_BYTES},
            NO_BUDGET,
            30,
        ),  # a third is for strangers
        ({"max_amplification": 1.0}, "dropped: reply too long", 0),
        ({}, "", 100),
    ],
)
async def test_each_limit_can_be_set_and_is_counted(
    new_network: NewNetwork, autojump_clock: MockClock, limits: dict[str, float], counter: str, answered: int
) -> None:
    """100 pings at once, from one address, or from as many as there are pings where that is no matter."""
    async with open_scene(new_network, NodeSettings(**limits)) as scene:  # type: ignore[arg-type]
        is_spread = counter == NO_BUDGET
        for number in range(100):
            source = Address(scene.network.host(CROWD + number * is_spread), 6881)
            scene.network.carry(_query(b"ping"), source, scene.address, trio.current_time())
        before = scene.counts
        await trio.sleep(3 * LATENCY)
        grown = scene.counts - before
        assert (grown["replies sent"], grown[counter]) == (answered, 100 - answered)


async def test_node_that_keeps_querying_is_pinged_and_served_once_it_has_answered(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """When replies run short: not who came just now, then not who keeps coming, and last who is proven."""
    settings = NodeSettings(reply_rate=6_000.0, reply_burst=60_000.0)
    async with open_scene(new_network, settings) as scene:
        proven = scene.new_asker(ASKER + 1, answers=True)
        regulars = [Address(scene.network.host(CROWD + number), 6881) for number in range(20)]

        def strangers() -> Iterator[Packet]:
            for number in range(1_000_000):
                yield query_in_turn(number)[0], Address(scene.network.host(2 * CROWD + number), 6881)

        await scene.flood(strangers(), 2_000, 1.0)
        assert scene.counts[NO_BUDGET] > 1_000
        by_strangers = scene.counts
        assert scene.asker.answered >= scene.asker.asked - REGULAR_AFTER  # regular before long

        # Twenty that keep coming use up what is left for them, and the asker is one of these.
        await scene.flood(
            ((query_in_turn(number)[0], regulars[number % 20]) for number in range(1_000_000)), 1_000, 2.0
        )
        scene.asker.forget()
        await _ask_steadily([scene.asker, proven], scene, regulars)

        assert (scene.counts - by_strangers)["queries sent"] > 0
        assert proven.answered >= 0.95 * proven.asked - REGULAR_AFTER
        assert scene.asker.answered < 0.5 * scene.asker.asked


async def _ask_steadily(askers: list[Asker], scene: Scene, regulars: list[Address]) -> None:
    """Let askers ask 20 queries per second for five seconds, amid many others."""
    for tick in range(100):
        now = trio.current_time()
        for number in range(40):
            source = regulars[number % len(regulars)]
            scene.network.carry(query_in_turn(tick + number)[0], source, scene.address, now)
        for asker in askers:
            asker.ask()
        await trio.sleep(0.05)
        for asker in askers:
            asker.take()


def _query(method: bytes, **arguments: bytes | int) -> bytes:
    body: dict[bytes, Value] = {name.encode(): value for name, value in arguments.items()}
    body[b"id"] = bytes(range(20))
    return encode({b"a": body, b"q": method, b"t": b"aa", b"y": b"q"})


def _value(data: bytes) -> Any:
    return decode_untrusted(data).value


def _tokens(heard: list[bytes]) -> list[bytes]:
    return [message[b"r"][b"token"] for message in map(_value, heard) if b"r" in message]


async def test_forged_packets_do_not_lock_a_real_address_out(
    new_network: NewNetwork, autojump_clock: MockClock
) -> None:
    """Ever new ports of it use its limit up; it is pinged and proves itself."""
    async with open_scene(new_network) as scene:
        victim = scene.new_asker(ASKER + 1, answers=True)
        host, before = scene.network.host(ASKER + 1), scene.counts
        for number in range(4000):
            port = Address(host, 10_000 + number)
            scene.network.carry(query_in_turn(number)[0], port, scene.address, trio.current_time())
            if number % 100 == 0:
                victim.ask()
            await trio.sleep(0.005)
            victim.take()

        grown = scene.counts - before
        assert (victim.asked, victim.answered) == (40, 40)
        assert grown[FROM_ADDRESS] > 2000
        source = scene.node._sockets.by_address[scene.address].rpc.sources.get(victim._socket.address)
        assert source.proven_until > trio.current_time()
