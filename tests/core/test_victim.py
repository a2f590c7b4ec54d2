"""Nodes that name one host in every kind of answer: it is sent ten packets in ten seconds by all commands."""

from contextlib import AsyncExitStack
from random import Random

import pytest
import trio

from crawler.core.session import Session
from crawler.crawl.census import Census
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.infohashes.survey import InfohashSurvey
from crawler.settings import CrawlSettings, PeerSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from crawler.torrents.connection import CONNECTION_PACKETS
from crawler.torrents.peers import PeerClient
from dhtnode import Address, Contact, DhtError, Family, InfoHash, NodeId, NodeSettings, Scope, open_node
from dhtnode.ids import IMPOSSIBLY_CLOSE, random_id
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.messages import Ping, Query, Response, SampleInfohashes
from dhtnode.net import BulkClient
from dhtnode.testing import MemoryNetwork
from tests.virtual_time import call

VICTIM = "45.66.77.88"
HERE = 1000  # our host in the memory network
LIARS = 30
SETTINGS = {"polite": CrawlSettings(), "unlimited": CrawlSettings(rate=0)}
MINUTES = 3


class Trap:
    """Liars that answer everything, and what is sent to the host that they name."""

    def __init__(self, nursery, closeness=3):
        """Have the host named under ids that share so many bytes with what is looked for."""
        self.network, self.random = MemoryNetwork(seed=1), Random(1)
        self.closeness = closeness
        self.sent = []  # seconds, of each packet
        self.liars = [
            (random_id(self.random), self.network.socket(self.network.host(n))) for n in range(LIARS)
        ]
        self._carry, self.network.carry = self.network.carry, self.carry
        for node_id, socket in self.liars:
            nursery.start_soon(self.lie, node_id, socket)

    def carry(self, data, source, destination, now):
        if destination.host == VICTIM:
            self.sent.append(now)
        self._carry(data, source, destination, now)

    async def connect(self, address):
        """Be the peers: no peer listens."""
        if address.host == VICTIM:
            self.sent += [trio.current_time()] * CONNECTION_PACKETS
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError

    def named(self):
        return Address(VICTIM, self.random.randrange(1024, 65536))

    async def lie(self, node_id, socket):
        while True:
            await socket.wait_readable()
            for data, source in socket.receive_batch(100):
                query = decode_untrusted(data, Family.IPV4)
                if isinstance(query, Query):
                    socket.send_nowait(encode(self.answer(query, node_id)), Address(*source))

    def answer(self, query, node_id):
        method = query.method
        if isinstance(method, Ping):
            return Response(query.transaction_id, node_id)
        target = getattr(method, "target", None) or getattr(method, "info_hash", bytes(20))
        # In front of all others.
        near = [target[: self.closeness] + self.random.randbytes(20 - self.closeness) for _ in range(40)]
        others = [node_id + pack_address(each.address) for node_id, each in self.random.sample(self.liars, 8)]
        nodes = b"".join([*(each + pack_address(self.named()) for each in near), *others])
        fields = {"nodes": nodes, "token": b"t"}
        if isinstance(method, SampleInfohashes):
            fields |= {"samples": self.random.randbytes(400), "num": 1000, "interval": 0}
        else:
            fields["values"] = tuple(pack_address(self.named()) for _ in range(50))
        return Response(query.transaction_id, node_id, **fields)

    def worst(self):
        """Return the most packets in any ten seconds."""
        return max(sum(time <= other <= time + 10 for other in self.sent) for time in set(self.sent))


async def again_and_again(doing, *arguments):
    while True:
        try:
            await doing(*arguments)
        except DhtError:
            await trio.lowlevel.checkpoint()


async def look_up(trap, node):
    async with node.get_peers(InfoHash(trap.random.randbytes(20))) as peers:
        async for _ in peers:
            pass
    await node.find_node(random_id(trap.random))


async def contact(trap, client):
    await client.contact_peers(InfoHash(trap.random.randbytes(20)), [trap.named() for _ in range(40)])


async def measure(trap, survey):
    wanted = [InfoHash(trap.random.randbytes(20)) for _ in range(4)]
    await survey.measure(wanted, tally=MeasurementCounts())


@pytest.mark.slow  # minutes of all that a crawl can do
@pytest.mark.parametrize("pace", SETTINGS)
async def test_host_that_all_name_gets_ten_packets_in_ten_seconds(autojump_clock, pace):
    settings = SETTINGS[pace]
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        trap = Trap(nursery)
        node = await stack.enter_async_context(
            open_node(
                sockets=[trap.network.socket(trap.network.host(HERE))],
                bootstrap=[str(trap.liars[0][1].address)],
                well_known=False,
                settings=NodeSettings(),
                random=Random(2),
            )
        )
        store = stack.enter_context(CrawlDatabase.open(":memory:"))
        run_id = store.runs.begin("census", {}, "0.1", "2023-11-14T22:13:20.000Z")
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))

        def client(port):
            socket = trap.network.socket(trap.network.host(HERE), port)
            return BulkClient(socket, random_bytes=Random(port).randbytes, outgoing=node.outgoing)

        census = Census([client(7000)], writer, settings, Random(3), wall_clock=trio.current_time)
        for node_id, socket in trap.liars:
            census.add(Contact(NodeId(node_id), socket.address))
        session = Session(run_id, {}, node, writer, (client(7001),))
        samples = InfohashSurvey(session, settings, Random(4), wall_clock=trio.current_time)
        survey = SwarmSurvey(node, writer, [client(7002)], settings, Random(5))
        peers = PeerClient(
            {Family.IPV4: Scope.PUBLIC}, PeerSettings(), Random(6), node.outgoing, connect=trap.connect
        )
        nursery.start_soon(census.run)
        nursery.start_soon(lambda: samples.run(joins=True))
        nursery.start_soon(again_and_again, measure, trap, survey)
        for _ in range(3):
            nursery.start_soon(again_and_again, look_up, trap, node)
            nursery.start_soon(again_and_again, contact, trap, peers)
        await trio.sleep(60.0 * MINUTES)
        nursery.cancel_scope.cancel()

    assert trap.worst() <= 10
    # They did their best.
    assert len(trap.sent) > 20
    assert node.outgoing.refused > 50


@pytest.mark.parametrize(("closeness", "least", "most"), [(3, 5, 10), (IMPOSSIBLY_CLOSE, 0, 0)])
async def test_programs_that_run_one_after_the_other_stay_below_the_bound_together(
    autojump_clock, closeness, least, most
):
    """Each begins without knowing what the others have sent: so a host that is silent gets two from each.

    Where it is said to be closer than any node can be, it gets nothing.
    """
    async with trio.open_nursery() as nursery:
        trap = Trap(nursery, closeness)
        for number in range(5):
            async with open_node(
                sockets=[trap.network.socket(trap.network.host(HERE + number))],
                bootstrap=[str(trap.liars[0][1].address)],
                well_known=False,
                settings=NodeSettings(read_only=True),
                random=Random(number),
            ) as node:
                with trio.move_on_after(8.0):
                    await look_up(trap, node)
        nursery.cancel_scope.cancel()
    assert least <= len(trap.sent) <= most
