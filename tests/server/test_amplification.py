"""What a forged query sends to the host that it names: never much more than it cost.

Each case is one datagram from an address that the node has never heard of and that answers nothing.
All that the address is sent within ten seconds counts; the one ping with which the node may ask
whether it is real is counted by itself.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dhtnode.addresses import Address, Family
from dhtnode.api.node import Node
from dhtnode.bencode import Value, decode_untrusted, encode
from dhtnode.ids import InfoHash, NodeId
from dhtnode.settings import NodeSettings
from dhtnode.testing import MemoryNetwork, MemorySocket

pytestmark = pytest.mark.slow

NewNetwork = Callable[..., MemoryNetwork]

SETTINGS = NodeSettings()
VICTIM, ASKER = 1000, 900  # hosts of the network
WITHIN = 10.0  # seconds
PING_BYTES = 67  # of the node
OWN_ID = NodeId(b"\x80" * 20)
ASKER_ID = OWN_ID[:-1] + b"\0"  # so near that it is worth a place in the table, and a ping
TARGET = bytes(range(20))
FEW, MANY = InfoHash(b"f" * 20), InfoHash(b"m" * 20)  # info-hashes with 100 and with 300 peers
VECTORS = Path(__file__).parents[1] / "vectors" / "krpc_malformed.json"
MALFORMED = {case["name"]: bytes.fromhex(case["hex"]) for case in json.loads(VECTORS.read_text())["cases"]}


def query(method: bytes, key: bytes = b"aa", **arguments: Value) -> bytes:
    body: dict[bytes, Value] = {b"id": ASKER_ID}
    body |= {name.encode(): value for name, value in arguments.items()}
    return encode({b"a": body, b"q": method, b"t": key, b"y": b"q"})


BOTH: list[Value] = [b"n4", b"n6"]
QUERIES = {
    "ping": query(b"ping"),
    "ping, shortest": query(b"ping", b""),
    "find_node": query(b"find_node", target=TARGET),
    "find_node, shortest": query(b"find_node", b"", target=TARGET),
    "find_node, both families": query(b"find_node", target=TARGET, want=BOTH),
    "get_peers, nothing stored": query(b"get_peers", info_hash=TARGET),
    "get_peers, shortest": query(b"get_peers", b"", info_hash=TARGET),
    "get_peers, both families": query(b"get_peers", info_hash=TARGET, want=BOTH),
    "get_peers, 100 stored": query(b"get_peers", info_hash=FEW),
    "get_peers, 300 stored": query(b"get_peers", info_hash=MANY),
    "get_peers, 300 stored, shortest": query(b"get_peers", b"", info_hash=MANY),
    "get_peers, 300 stored, noseed": query(b"get_peers", info_hash=MANY, noseed=1),
    "get_peers, 300 stored, both families": query(b"get_peers", info_hash=MANY, want=BOTH),
    "scrape, nothing stored": query(b"get_peers", info_hash=TARGET, scrape=1),
    "scrape, 300 stored": query(b"get_peers", info_hash=MANY, scrape=1),
    "scrape, 300 stored, shortest": query(b"get_peers", b"", info_hash=MANY, scrape=1),
    "scrape, 300 stored, both families": query(b"get_peers", info_hash=MANY, scrape=1, want=BOTH),
    "announce_peer, bad token": query(b"announce_peer", info_hash=TARGET, port=1, token=b"t"),
    "unknown method": query(b"x"),
    "unknown method, shortest": query(b"", b""),
    "unknown method, with a target": query(b"", b"", target=TARGET),
    "no arguments, shortest": b"d1:q0:1:t0:1:y1:qe",
    "no method, shortest": b"d1:t2:aa1:y1:qe",
}


@dataclass(frozen=True)
class Sent:
    """Tell what one datagram brought its alleged sender: bytes of replies, and of pings."""

    query: int
    replies: int
    pings: int

    @property
    def factor(self) -> float:
        return self.replies / max(1, self.query)

    @property
    def is_modest(self) -> bool:
        """Tell whether the replies keep to both bounds, and no more than one ping came."""
        bound = min(SETTINGS.max_payload, SETTINGS.max_amplification * self.query)
        return self.replies <= bound and self.pings <= PING_BYTES


class Scene:
    """A node with full tables and two swarms, asked over one of its families."""

    def __init__(self, network: MemoryNetwork, node: Node, family: Family) -> None:
        self._network = network
        self._family = family
        self.node = node
        (self.address,) = [address for address in node.addresses if address.family is family]

    def socket(self, number: int, port: int = 6881) -> MemorySocket:
        return self._network.socket(self._network.host(number, self._family), port)

    async def measure(self, cases: dict[str, bytes]) -> dict[str, Sent]:
        """Send each datagram from an address of its own, and return what each brought."""
        victims = {name: self.socket(VICTIM + number) for number, name in enumerate(cases)}
        for name, victim in victims.items():
            victim.send_nowait(cases[name], self.address)
        await trio.sleep(WITHIN)
        return {name: sent_to(victim, len(cases[name])) for name, victim in victims.items()}

    async def ask(self, socket: MemorySocket, data: bytes) -> bytes:
        socket.send_nowait(data, self.address)
        await trio.sleep(1.0)
        (reply,) = [mail for mail in mail_of(socket) if is_reply(mail)]
        return reply

    async def prove(self, socket: MemorySocket) -> None:
        async def answer() -> None:
            await socket.wait_readable()
            for data in mail_of(socket):
                message: Any = decode_untrusted(data).value
                response = encode({b"r": {b"id": ASKER_ID}, b"t": message[b"t"], b"y": b"r"})
                socket.send_nowait(response, self.address)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await self.node.ping(socket.address)


def mail_of(socket: MemorySocket) -> list[bytes]:
    mail = []
    while (datagram := socket.receive_nowait()) is not None:
        mail.append(datagram[0])
    return mail


def is_reply(data: bytes) -> bool:
    message: Any = decode_untrusted(data).value
    return bool(message[b"y"] != b"q")


def sent_to(victim: MemorySocket, size: int) -> Sent:
    mail = mail_of(victim)
    replies = sum(len(data) for data in mail if is_reply(data))
    return Sent(size, replies, sum(map(len, mail)) - replies)


@asynccontextmanager
async def open_scene(new_network: NewNetwork, family: Family) -> AsyncIterator[Scene]:
    """Open a node of both families that knows twenty others and was told of many peers."""
    network = new_network(1)
    families = tuple(Family)
    async with network.open_nodes(20, families=families) as others:
        through = others[0].addresses
        async with network.open_node(20, families=families, through=through, node_id=OWN_ID) as node:
            await node.wait_joined()
            await trio.sleep(60.0)
            for info_hash, count in ((FEW, 100), (MANY, 300)):
                for number in range(count):
                    peer = Address(network.host(number, family), 6881)
                    node.peers.announce(info_hash, peer, trio.current_time(), seed=number % 2 == 0)
            yield Scene(network, node, family)


@pytest.mark.parametrize("family", Family)
async def test_query_of_any_kind_buys_little(
    new_network: NewNetwork, autojump_clock: MockClock, family: Family
) -> None:
    async with open_scene(new_network, family) as scene:
        sent = await scene.measure(QUERIES)
        assert [name for name, each in sent.items() if not each.is_modest] == []
        assert [name for name, each in sent.items() if not each.replies] == []
        assert sent["get_peers, 300 stored"].factor > 7.0
        assert any(each.pings for each in sent.values())


@pytest.mark.parametrize("family", Family)
async def test_malformed_message_buys_little(
    new_network: NewNetwork, autojump_clock: MockClock, family: Family
) -> None:
    async with open_scene(new_network, family) as scene:
        sent = await scene.measure(MALFORMED)
        assert [name for name, each in sent.items() if not each.is_modest] == []
        assert sum(each.replies > 0 for each in sent.values()) >= 30


@pytest.mark.parametrize("family", Family)
async def test_announce_with_a_good_token_buys_little(
    new_network: NewNetwork, autojump_clock: MockClock, family: Family
) -> None:
    async with open_scene(new_network, family) as scene:
        asker = scene.socket(VICTIM, port=7000)
        reply: Any = decode_untrusted(await scene.ask(asker, query(b"get_peers", info_hash=TARGET))).value
        announce = query(b"announce_peer", info_hash=TARGET, port=1, token=reply[b"r"][b"token"])
        sent = (await scene.measure({"announce_peer": announce}))["announce_peer"]
        assert sent.is_modest
        assert 0 < sent.factor < 1
        assert scene.node.peers.sample(InfoHash(TARGET), family, 2, trio.current_time()) != []


@pytest.mark.parametrize("family", Family)
async def test_node_that_has_answered_us_gets_whole_replies(
    new_network: NewNetwork, autojump_clock: MockClock, family: Family
) -> None:
    """As long as the proof lasts; from another port of the same host nothing is proven."""
    async with open_scene(new_network, family) as scene:
        asker, neighbour = scene.socket(ASKER), scene.socket(ASKER, port=7000)
        asked = QUERIES["get_peers, 300 stored"]
        bound = SETTINGS.max_amplification * len(asked)
        before = len(await scene.ask(asker, asked))
        await scene.prove(asker)
        after, beside = [len(await scene.ask(socket, asked)) for socket in (asker, neighbour)]
        await trio.sleep(SETTINGS.good_for)
        later = len(await scene.ask(asker, asked))
        assert max(before, beside, later) <= bound < after <= SETTINGS.max_payload
