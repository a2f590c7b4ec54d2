"""Whatever the kernel says when something is sent, at whatever step: the visit ends, and all others go on."""

import errno
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from random import Random

import pytest
import trio

from crawler.core.session import Session
from crawler.crawl.census import Census
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.infohashes.survey import InfohashSurvey
from crawler.settings import CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from dhtnode import Contact, DhtError, InfoHash, NodeSettings, NoNetwork, open_node
from dhtnode.items import ImmutableItem
from dhtnode.net import BulkClient, DatagramSocket
from dhtnode.testing import MemoryNetwork
from tests.send_errors import SEND_ERRORS
from tests.virtual_time import call

HERE = 1000  # our host in the memory network
NODES = 16
WANTED = [InfoHash(bytes([number]) * 20) for number in (1, 2, 3)]
UNLIMITED = CrawlSettings(rate=0)
LONGEST = 300.0  # seconds of virtual time


class RefusingSocket(DatagramSocket):
    """A socket whose kernel lets so many datagrams go to some hosts, and no more, each for its reason."""

    def __init__(self, socket, refused, step=0):
        self.address, self.errors, self.close = socket.address, socket.errors, socket.close
        self.receive_nowait, self.wait_readable = socket.receive_nowait, socket.wait_readable
        self.refused, self.left = refused, step
        self._socket = socket

    def send_nowait(self, data, destination):
        if not self.has_route(destination):
            if self.left <= 0:
                return False
            self.left -= 1
        return self._socket.send_nowait(data, destination)

    def send_batch(self, datagrams):
        return {at: self.refused[datagrams[at][1].host] for at in super().send_batch(datagrams)}

    def has_route(self, destination):
        return destination.host not in self.refused

    async def wait_writable(self):
        await trio.lowlevel.checkpoint()


class Scene:
    """A small network, in which some of the nodes, the first to start from among them, cannot be reached."""

    def __init__(self, step, reasons):
        self.network = MemoryNetwork(seed=step)
        self.refused = {
            self.network.host(number): reason for number, reason in zip((0, 3, 7), reasons, strict=True)
        }
        self.step = step

    def socket(self, port):
        return RefusingSocket(self.network.socket(self.network.host(HERE), port), self.refused, self.step)

    @asynccontextmanager
    async def open(self):
        """Open all nodes and ours, and yield a session with a client that is refused."""
        async with AsyncExitStack() as stack:
            nodes = await stack.enter_async_context(self.network.open_nodes(NODES))
            for node, info_hash in zip(nodes, WANTED, strict=False):
                await node.announce(info_hash, 7000)
            store = stack.enter_context(CrawlDatabase.open(":memory:"))
            run_id = store.runs.begin("census", {}, "0.1", "2023-11-14T22:13:20.000Z")
            own = await stack.enter_async_context(
                open_node(
                    sockets=[self.socket(6881)],
                    bootstrap=[str(node.addresses[0]) for node in nodes[:2]],
                    well_known=False,
                    settings=NodeSettings(read_only=True),
                    random=Random(1),
                )
            )
            writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
            client = BulkClient(self.socket(7000), random_bytes=Random(2).randbytes, outgoing=own.outgoing)
            yield nodes, Session(run_id, {}, own, writer, (client,))


def wall_clock():
    return 1_700_000_000.0 + trio.current_time()


async def take_census(session, nodes):
    census = Census(session.clients, session.writer, UNLIMITED, Random(1), wall_clock=wall_clock)
    for node in nodes:
        census.add(Contact(node.node_id, node.addresses[0]))
    progress = await census.run()
    assert progress.frontier.answered >= NODES - 3
    await census.verify(session.run_id, 1.0)


async def measure_swarms(session, _nodes):
    tally = MeasurementCounts()
    survey = SwarmSurvey(session.node, session.writer, session.clients, UNLIMITED, Random(1))
    await survey.measure(WANTED, tally=tally)
    assert tally.measured == len(WANTED)


async def take_samples(session, _nodes):
    survey = InfohashSurvey(session, UNLIMITED, Random(1), wall_clock=wall_clock)
    await survey.run(joins=True)
    assert survey.counts().shown >= len(WANTED)
    await survey.discover()


async def ask_as_a_node(session, nodes):
    own = session.node
    assert await own.find_node(nodes[5].node_id)
    async with own.get_peers(WANTED[0]) as peers:
        assert [peer async for peer in peers]
    assert (await own.announce(WANTED[1], 7000)).announced_to
    await own.scrape(WANTED[2])
    await own.put_item(ImmutableItem(b"5:value"))
    for node in (nodes[0], nodes[5]):
        try:
            await own.ping(node.addresses[0])
        except DhtError:
            assert node is nodes[0]


@pytest.mark.slow  # a network for each step
@pytest.mark.parametrize("ask", [take_census, measure_swarms, take_samples, ask_as_a_node])
@pytest.mark.parametrize("step", range(ceil(len(SEND_ERRORS) / 3)))
async def test_who_cannot_be_reached_keeps_nothing_from_its_end(autojump_clock, ask, step):
    reasons = (2 * SEND_ERRORS)[3 * step : 3 * step + 3]
    async with Scene(step, reasons).open() as (nodes, session):
        with trio.fail_after(LONGEST):
            await ask(session, nodes)


async def test_census_does_not_take_a_lost_network_for_dead_nodes(autojump_clock):
    """It waits for a minute, and then stops, so that it may go on later."""
    scene = Scene(0, [errno.ENETUNREACH] * 3)
    async with scene.open() as (nodes, session):
        scene.refused |= {scene.network.host(number): errno.ENETUNREACH for number in range(NODES)}
        (client,) = session.clients
        client.socket.left = 5
        census = Census(session.clients, session.writer, UNLIMITED, Random(1), wall_clock=wall_clock)
        for node in nodes[2:]:
            census.add(Contact(node.node_id, node.addresses[0]))
        with trio.fail_after(LONGEST), pytest.RaisesGroup(NoNetwork):
            await census.run()
        assert census.progress().frontier.finished < NODES / 2
