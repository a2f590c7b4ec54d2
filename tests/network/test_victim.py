"""A host that never asked for anything, and each kind of packet that a running node sends of its own.

Strangers name the host, forge its address or were there once.  A sink at each of its ports answers nothing.
"""

from random import Random

import pytest
import trio

from dhtnode import Address, Family, NodeSettings, random_id
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.messages import FindNode, Ping, Query, Response
from dhtnode.net.outgoing import MOST_KNOWN
from dhtnode.testing import MemoryNetwork

pytestmark = pytest.mark.slow  # minutes of a node, seven times

VICTIM, HERE, LIARS, PERIOD = 500, 600, 12, 10.0
QUERY_END = b"1:y1:qe"
PORTS = range(7000, 7100)


class Sink(MemoryNetwork):
    """A network that notes when queries leave for the victim."""

    def __init__(self, **options):
        super().__init__(**options)
        self.sent = []
        self.random = Random(1)
        self.victim = self.host(VICTIM)

    def carry(self, data, source, destination, now):
        if destination.host == self.victim and data.endswith(QUERY_END):
            self.sent.append(now)
        super().carry(data, source, destination, now)

    def worst(self):
        """Return the most queries in any ten seconds."""
        return max(sum(0 <= other - time <= PERIOD for other in self.sent) for time in self.sent)

    def named(self):
        return Address(self.victim, self.random.choice(PORTS))


async def forge(network, node, *, queries_each, pause):
    """Query the node from every port of the victim, as who forges its address does."""
    sockets = [network.socket(network.victim, port) for port in PORTS]
    for _ in range(queries_each):
        for socket in sockets:
            query = Query(b"aa", random_id(network.random), FindNode(random_id(network.random)))
            socket.send_nowait(encode(query), node.addresses[0])
        await trio.sleep(pause)


async def verifications(network, node, _nursery):
    """Who queries us may get a place in the table, and is pinged for that."""
    await forge(network, node, queries_each=4, pause=11.0)


async def proofs(network, node, _nursery):
    """Who is refused because its neighbours send too much is pinged, to prove its address."""
    node.change_limits(NodeSettings(host_rate=0.1, host_burst=1.0))
    await forge(network, node, queries_each=12, pause=6.0)


async def upkeep(network, node, nursery):
    """Who was in the table is pinged when it was not heard of for long."""
    await trio.sleep(60.0)
    for port in PORTS[:8]:
        socket = network.socket(network.victim, port)
        nursery.start_soon(answer, network, socket, trio.current_time() + 60.0)
        socket.send_nowait(encode(Query(b"aa", random_id(network.random), Ping())), node.addresses[0])
    await trio.sleep(60.0)
    assert network.victim in {contact.address.host for contact in node.contacts()}
    network.sent.clear()
    await trio.sleep(1800.0)


async def probes(network, node, _nursery):
    """While no node answers, those that one may join through are pinged again and again."""
    for number in range(LIARS):
        network.cut(network.host(number))
    await trio.sleep(1800.0)


async def lookups(network, node, _nursery):
    """Whatever is looked up: our neighbours, stale buckets, what a program wants."""
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(node.find_node, random_id(network.random))
            nursery.start_soon(node.join)
    await trio.sleep(1800.0)


async def renewals(network, node, _nursery):
    """Who is told another address of its own takes another id, and joins again."""
    before = node.node_id
    network.external = Address("77.1.2.3", 6881)
    for _ in range(10):
        await node.find_node(random_id(network.random))
    await trio.sleep(120.0)
    assert node.node_id != before


async def direct(network, node, _nursery):
    """A program may ask for it outright."""
    for _ in range(100):
        node.send_query(Ping(), network.named(), lambda _result, _now: None)
        await trio.sleep(0.5)


async def answer(network, socket, until):
    """Answer everything up to a time, and then nothing more."""
    node_id = random_id(network.random)
    while trio.current_time() < until:
        await socket.wait_readable()
        for data, source in socket.receive_batch(100):
            query = decode_untrusted(data, Family.IPV4)
            if isinstance(query, Query):
                socket.send_nowait(encode(Response(query.transaction_id, node_id)), Address(*source))


async def lie(network, node_id, socket, others):
    """Answer every query with contacts of the victim, before others that are there."""
    while True:
        await socket.wait_readable()
        for data, source in socket.receive_batch(100):
            query = decode_untrusted(data, Family.IPV4)
            if not isinstance(query, Query):
                continue
            target = getattr(query.method, "target", None) or getattr(query.method, "info_hash", bytes(20))
            near = [target[:3] + network.random.randbytes(17) + pack_address(network.named()) for _ in "12"]
            there = [each_id + pack_address(each.address) for each_id, each in others]
            reply = Response(
                query.transaction_id,
                node_id,
                nodes=b"".join([*near, *network.random.sample(there, 6)]),
                token=b"token",
                external_address=getattr(network, "external", None),
            )
            socket.send_nowait(encode(reply), Address(*source))


@pytest.mark.parametrize("kind", [verifications, proofs, upkeep, probes, lookups, renewals, direct])
async def test_no_kind_of_packet_floods_a_host_that_is_silent(autojump_clock, new_network, kind):
    network = new_network(1, Sink)
    liars = [(random_id(network.random), network.socket(network.host(number))) for number in range(LIARS)]
    through = [liars[0][1].address, *(Address(network.victim, port) for port in PORTS[:20])]
    async with trio.open_nursery() as nursery:
        for node_id, socket in liars:
            nursery.start_soon(lie, network, node_id, socket, liars)
        async with network.open_node(HERE, through=through) as node:
            await node.wait_joined()
            await kind(network, node, nursery)
        nursery.cancel_scope.cancel()
    assert len(network.sent) >= 2
    assert network.worst() <= MOST_KNOWN
