"""Lookups through one node, of whose packets some are lost."""

from random import Random

import pytest
import trio

from dhtnode import Address, InfoHash, NodeSettings, NotJoined, random_id
from dhtnode.krpc import Response
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.messages import FindNode, GetPeers, Query
from dhtnode.net.outgoing import MOST_KNOWN, TURN
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import find_peers

HERE, TERSE = 600, 700
WAY_IN, PEERS = 0, 8
PEER = Address("45.66.77.88", 6881)


class DeafNetwork(MemoryNetwork):
    """A network in which the first packets to one host are lost."""

    def __init__(self, *, deaf=0, **options):
        super().__init__(**options)
        self.deaf = deaf
        self.sent = []

    def carry(self, data, source, destination, now):
        if destination.host == self.host(WAY_IN) and source.host == self.host(HERE):
            self.sent.append(now)
            if len(self.sent) <= self.deaf:
                return
        super().carry(data, source, destination, now)


@pytest.mark.parametrize("deaf", range(MOST_KNOWN))
async def test_only_way_in_is_asked_until_it_answers(new_network, autojump_clock, deaf):
    network = new_network(1, DeafNetwork, deaf=deaf)
    async with network.open_nodes(10) as nodes:
        through = [nodes[WAY_IN].addresses[0]]
        settings = NodeSettings(read_only=True)
        async with network.open_node(HERE, through=through, settings=settings) as node:
            found = await node.find_node(random_id(Random(5)))
    assert len(found) == 8


async def test_only_way_in_is_sent_no_more_than_five_packets_while_it_is_silent(new_network, autojump_clock):
    network = new_network(1, DeafNetwork, deaf=1000)
    through = [network.socket(network.host(WAY_IN), 6881).address]
    settings = NodeSettings(read_only=True)
    async with network.open_node(HERE, through=through, settings=settings) as node:
        for _ in range(4):
            with pytest.raises(NotJoined):
                await node.find_node(random_id(Random(5)))
    assert len(network.sent) >= MOST_KNOWN
    for first, time in enumerate(network.sent):
        assert sum(other < time + TURN for other in network.sent[first:]) <= MOST_KNOWN


class Terse:
    """A node that returns peers without contacts; contacts when it is asked for a node and hears it."""

    def __init__(self, network, contacts):
        self.socket = network.socket(network.host(TERSE), 6881)
        self.node_id, self.contacts = random_id(Random(7)), contacts
        self.deaf = 1000

    async def run(self):
        while True:
            await self.socket.wait_readable()
            for data, source in self.socket.receive_batch(100):
                query = decode_untrusted(data, self.socket.address.family)
                if isinstance(query, Query) and (said := self.reply(query)):
                    reply = Response(query.transaction_id, self.node_id, token=b"token", **said)
                    self.socket.send_nowait(encode(reply), Address(*source))

    def reply(self, query):
        if isinstance(query.method, GetPeers):
            return {"values": (pack_address(PEER),)}
        if isinstance(query.method, FindNode):
            self.deaf -= 1
            return {"nodes": self.contacts} if self.deaf < 0 else None
        return None


@pytest.mark.parametrize("deaf", [0, 1, 3])
async def test_node_that_returns_peers_alone_is_asked_for_contacts_until_it_answers(
    new_network, autojump_clock, deaf
):
    """Else a swarm would be what the first node knows of it, a packet lost."""
    network = new_network(1)
    async with network.open_nodes(10) as nodes, trio.open_nursery() as nursery:
        info_hash = InfoHash(random_id(Random(5)))
        for port, node in enumerate(nodes[:PEERS], 7000):
            await node.announce(info_hash, port)
        contacts = b"".join(each.node_id + pack_address(each.addresses[0]) for each in nodes)
        terse = Terse(network, contacts)
        nursery.start_soon(terse.run)
        through, settings = [terse.socket.address], NodeSettings(read_only=True)
        async with network.open_node(HERE, through=through, settings=settings) as here:
            with pytest.raises(NotJoined):
                await here.find_node(random_id(Random(5)))
            await trio.sleep(2 * TURN)
            terse.deaf = deaf
            found = await find_peers(here, info_hash)
        nursery.cancel_scope.cancel()
    assert len(found) == 1 + PEERS
