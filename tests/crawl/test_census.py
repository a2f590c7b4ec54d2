"""Crawls: who is visited, what is written down about each, and at what pace."""

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random

import pytest
import trio

from crawler.core.frontier import FrontierStatistics
from crawler.core.session import STARTING_LOOKUPS, Session, open_session
from crawler.core.visit import OpenVisit
from crawler.crawl.census import Census, take_census
from crawler.crawl.census_progress import Progress, describe, record
from crawler.db.database import CrawlDatabase
from crawler.db.writer import MAX_AGE, open_writer
from crawler.settings import CrawlOptions, CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Address, Contact, Family, NodeId, NodeSettings, NotJoined, open_node
from dhtnode.addresses import Scope
from dhtnode.krpc import FindNode
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.messages import Error, Response
from dhtnode.net import BulkClient, open_sockets
from dhtnode.outcomes import Outcome
from dhtnode.testing import MemoryNetwork, open_testnet
from tests.commands import FakeNode
from tests.databases import rows
from tests.virtual_time import call
from tests.visits import visit_of

pytestmark = pytest.mark.slow

EPOCH = 1_700_000_000.0
EPOCH_TEXT = "2023-11-14T22:13:20.000Z"
CRAWLER = 1000  # its host in the memory network
ASKER_PORT = 7000
UNLIMITED = CrawlSettings(rate=0)


class RecordingNetwork(MemoryNetwork):
    """Note when the crawler sent what to which host."""

    def __init__(self, **options):
        super().__init__(**options)
        self.by_crawler = []

    def carry(self, data, source, destination, now):
        if source.host == self.host(CRAWLER):
            self.by_crawler.append((now, destination))
        super().carry(data, source, destination, now)


@asynccontextmanager
async def open_crawl(network, *, through=(), families=(Family.IPV4,)):
    """Open what a census needs, in memory: a session, and the store to look at afterwards."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(CrawlDatabase.open(":memory:"))
        run_id = store.runs.begin("census", {}, "0.1", EPOCH_TEXT)
        settings = NodeSettings(read_only=True)
        node = await stack.enter_async_context(
            network.open_node(CRAWLER, families=families, through=through, settings=settings)
        )
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
        hosts = [network.host(CRAWLER, family) for family in families]
        askers = tuple(BulkClient[OpenVisit](network.socket(host, ASKER_PORT)) for host in hosts)
        yield Session(run_id, {}, node, writer, askers), store


async def wait_written(session):
    await trio.sleep(2 * MAX_AGE)
    assert session.writer.statistics().rows_buffered == 0


def engine_of(session, settings=UNLIMITED):
    return Census(session.clients, session.writer, settings, Random(1), wall_clock=lambda: EPOCH)


def outcomes_by_node(store):
    """Return the outcomes of the visits to each node id, in order."""
    found = {}
    for row in store.rows("visits"):
        found.setdefault(bytes.fromhex(row["node_id"]), []).append(row["outcome"])
    return found


async def answer_queries(socket, respond):
    """Be a node that answers every query with what `respond` returns, bytes or a message."""
    while True:
        await socket.wait_readable()
        while (datagram := socket.receive_nowait()) is not None:
            query = decode_untrusted(datagram[0], Family.IPV4)
            reply = respond(query)
            if reply is not None:
                socket.send_nowait(reply if isinstance(reply, bytes) else encode(reply), datagram[1])


async def test_census_visits_every_node_once(autojump_clock):
    network = MemoryNetwork(seed=1)
    async with network.open_nodes(40) as nodes, open_crawl(network, through=nodes[0].addresses) as opened:
        session, store = opened
        progress = await take_census(session, UNLIMITED, Random(1))
        await wait_written(session)
        assert outcomes_by_node(store) == {node.node_id: ["answered"] for node in nodes}
        assert progress.outcomes == {Outcome.ANSWERED: 40}
        assert progress.queries == 2 * 40
        assert progress.frontier == FrontierStatistics(40, 0, 0, 40, 0, 40)


async def test_both_families_are_counted_by_themselves_and_together(autojump_clock):
    """IPv4 and IPv6 are two networks (BEP 32), walked side by side; nodes of one only are no trouble."""
    network, both = MemoryNetwork(seed=16), (Family.IPV4, Family.IPV6)
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(25, families=both))
        through = nodes[0].addresses
        await stack.enter_async_context(
            network.open_nodes(10, first=100, families=[Family.IPV6], through=through)
        )
        session, store = await stack.enter_async_context(open_crawl(network, through=through, families=both))

        progress = await take_census(session, UNLIMITED, Random(1))
        await wait_written(session)

        assert progress.frontier.answered == 25 + 35
        outcomes = Counter((":" in row["address"], row["outcome"]) for row in store.rows("visits"))
        assert outcomes == {(False, "answered"): 25, (True, "answered"): 35}
        counted = {size.family: size.estimate for size in progress.findings.sizes if size.method == "counted"}
        assert counted == {Family.IPV4: 25, Family.IPV6: 35, None: 60}


async def test_dead_node_is_visited_twice_and_recorded_as_timeout(autojump_clock):
    """Others still name it: its packet may have been lost, so it gets a second chance."""
    network = MemoryNetwork(seed=2)
    async with network.open_nodes(30) as nodes, open_crawl(network, through=nodes[0].addresses) as opened:
        session, store = opened
        dead, live = nodes[10:13], [*nodes[:10], *nodes[13:]]
        for node in dead:
            network.cut(node.addresses[0].host)

        progress = await take_census(session, UNLIMITED, Random(1))
        await wait_written(session)

        expected = {node.node_id: ["answered"] for node in live}
        expected |= {node.node_id: ["timeout", "timeout"] for node in dead}
        assert outcomes_by_node(store) == expected
        assert progress.outcomes == {Outcome.ANSWERED: 27, Outcome.TIMEOUT: 6}


async def test_closed_nodes_on_real_sockets_are_recorded_as_timeouts():
    async with AsyncExitStack() as stack:
        testnet = await stack.enter_async_context(open_testnet(24, seed=3))
        async with open_node(listen=["127.0.0.1:0"], bootstrap=testnet.bootstrap) as leaving:
            await leaving.wait_joined()
            await trio.sleep(0.2)  # until those it asked have asked back, and keep it
            gone = Contact(leaving.node_id, leaving.addresses[0])
        store = stack.enter_context(CrawlDatabase.open(":memory:"))
        run_id = store.runs.begin("census", {}, "0.1", EPOCH_TEXT)
        settings = NodeSettings(read_only=True)
        node = await stack.enter_async_context(open_node(bootstrap=testnet.bootstrap, settings=settings))
        for each in testnet.nodes:
            await node.ping(each.addresses[0])  # enough answers for it to learn how short to wait
        (socket,) = stack.enter_context(open_sockets([("127.0.0.1", Scope.LOOPBACK)]))
        async with open_writer(store, run_id) as writer:
            session = Session(run_id, {}, node, writer, (BulkClient[OpenVisit](socket),))
            await take_census(session, UNLIMITED, Random(1))

        expected = {node.node_id: ["answered"] for node in testnet.nodes}
        assert outcomes_by_node(store) == expected | {gone.node_id: ["timeout", "timeout"]}


async def test_census_finds_all_despite_loss(new_network, autojump_clock):
    """The second pass is there for lost packets: without it one in five would seem silent."""
    network = new_network(5, loss=0.1)
    async with network.open_nodes(40) as nodes, AsyncExitStack() as stack:
        # Several ways in: what is sent to one of them may be lost, too.
        through = [node.addresses[0] for node in nodes[:4]]
        session, store = await stack.enter_async_context(open_crawl(network, through=through))
        progress = await take_census(session, UNLIMITED, Random(1))
        await wait_written(session)
        assert outcomes_by_node(store).keys() == {node.node_id for node in nodes}
        assert progress.outcomes[Outcome.ANSWERED] >= 36


async def test_census_without_a_way_in_fails(autojump_clock):
    """No node answered: there is nothing to count, and no row says otherwise."""
    network = MemoryNetwork(seed=5)
    async with open_crawl(network, through=[Address(network.host(7), 6881)]) as (session, store):
        with pytest.raises(NotJoined):
            await take_census(session, UNLIMITED, Random(1))
        assert store.rows("visits") == []


def wrong_id(query):
    return Response(query.transaction_id, NodeId(b"w" * 20), nodes=b"", version=b"WR\x00\x01")


def error(query):
    return Error(query.transaction_id, 202, "Server Error")


def junk(query):
    return b"d1:rd2:id5:shorte1:t4:" + query.transaction_id + b"1:y1:re"


def silence(query):
    return None


def only_ping(query):
    return Response(query.transaction_id, NodeId(b"f" * 20))


def only_first(query):
    is_first = isinstance(query.method, FindNode) and query.method.target == b"f" * 19 + b"g"
    return Response(query.transaction_id, NodeId(b"f" * 20), nodes=b"") if is_first else None


@pytest.mark.parametrize(
    ("respond", "outcomes"),
    [
        (wrong_id, ["wrong-id"]),
        (error, ["error"]),
        (junk, ["malformed"]),
        (silence, ["timeout"]),
        (only_ping, ["answered"]),
        (only_first, ["answered"]),
    ],
)
async def test_every_end_of_a_visit_has_its_outcome(autojump_clock, respond, outcomes):
    network = MemoryNetwork(seed=6)
    async with open_crawl(network) as (session, store), trio.open_nursery() as nursery:
        socket = network.socket(network.host(1))
        nursery.start_soon(answer_queries, socket, respond)
        engine = engine_of(session)
        engine.add(Contact(NodeId(b"f" * 20), socket.address))
        progress = await engine.run()
        await wait_written(session)
        nursery.cancel_scope.cancel()
        assert outcomes_by_node(store) == {b"f" * 20: outcomes}
        assert progress.outcomes == {Outcome(outcome): 1 for outcome in outcomes}


async def test_contact_that_may_not_be_asked_is_not_taken(autojump_clock):
    network = RecordingNetwork(seed=6)
    async with open_crawl(network) as (session, _store):
        engine = engine_of(session)
        assert engine.add(Contact(NodeId(b"f" * 20), Address("10.0.0.1", 6881))) is False
        assert (await engine.run()).frontier.sighted == 0
        assert network.by_crawler == []


async def test_visit_is_written_down_whole(autojump_clock):
    network = MemoryNetwork(seed=7, latency=(0.05, 0.05))
    others = b"".join(bytes([n]) * 20 + bytes([44, n, 0, 1, 26, 225]) for n in (1, 2, 2))
    forbidden = b"x" * 20 + bytes([10, 0, 0, 1, 26, 225])

    def respond(query):
        return Response(query.transaction_id, NodeId(b"f" * 20), nodes=others + forbidden, version=b"XX\1\2")

    async with open_crawl(network) as (session, store), trio.open_nursery() as nursery:
        socket = network.socket(network.host(1))
        nursery.start_soon(answer_queries, socket, respond)
        engine = engine_of(session)
        assert engine.add(Contact(NodeId(b"f" * 20), socket.address)) is True
        assert engine.add(Contact(NodeId(b"f" * 20), socket.address)) is False
        await engine.run()
        await wait_written(session)
        nursery.cancel_scope.cancel()

        row = store.rows("visits")[0]
        assert row.pop("rtt_ms") == pytest.approx(100.0)
        assert row == {
            "id": 1,
            "run_id": 1,
            "node_id": "66" * 20,
            "address": network.host(1),
            "port": 6881,
            "taken_at": EPOCH_TEXT,
            "outcome": "answered",
            "version": "58580102",
            "error_code": None,
            "conforms": 0,
            "contacts": 8,
            "unusable": 2,
            "new_contacts": 2,
            "referrers": 0,
            "marks": "",
            "is_verification": 0,
        }
        visited = {row["address"]: row["referrers"] for row in store.rows("visits")}
        assert visited == {network.host(1): 0, "44.1.0.1": 1, "44.2.0.1": 1}


async def test_contacts_of_a_node_under_a_wrong_id_are_followed(autojump_clock):
    network = MemoryNetwork(seed=8)
    async with network.open_nodes(3) as nodes, open_crawl(network) as (session, store):
        await trio.sleep(60)  # until all three know each other
        engine = engine_of(session)
        engine.add(Contact(NodeId(b"f" * 20), nodes[0].addresses[0]))
        await engine.run()
        await wait_written(session)
        outcomes = outcomes_by_node(store)
        assert outcomes[b"f" * 20] == ["wrong-id"]
        assert {node.node_id for node in nodes[1:]} <= outcomes.keys()


async def test_crawl_keeps_its_pace(autojump_clock):
    network = RecordingNetwork(seed=9)
    async with network.open_nodes(60) as nodes, open_crawl(network) as (session, _store):
        engine = engine_of(session, CrawlSettings(rate=4.0, new_endpoints_rate=100.0))
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))
        progress = await engine.run()
        assert progress.queries == len(network.by_crawler) == 120
        assert progress.queries <= 2 * 4 + 4 * progress.seconds


async def test_crawl_keeps_the_pace_of_new_endpoints(autojump_clock):
    network = RecordingNetwork(seed=9)
    async with network.open_nodes(40) as nodes, open_crawl(network) as (session, _store):
        engine = engine_of(session, CrawlSettings(rate=1000.0, new_endpoints_rate=4.0))
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))
        await engine.run()
        first_seen = {}
        for time, destination in network.by_crawler:
            first_seen.setdefault(destination, time)
        times = sorted(first_seen.values())
        assert len(times) == 40
        assert len(times) <= 4 + 1 + 4 * (times[-1] - times[0])


async def test_one_host_with_many_ports_is_asked_slowly(autojump_clock):
    network = RecordingNetwork(seed=10)
    host = network.host(1)
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(10, first=20))
        session, _store = await stack.enter_async_context(open_crawl(network))
        engine = engine_of(session, CrawlSettings())
        for port in range(1, 21):
            engine.add(Contact(NodeId(bytes([port]) * 20), Address(host, port)))
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))

        progress = await engine.run()

        times = [time for time, destination in network.by_crawler if destination.host == host]
        others = [time for time, destination in network.by_crawler if destination.host != host]
        assert 5 < len(times) <= 4 + 1 + 0.5 * (times[-1] - times[0])
        assert others[-1] < times[5]
        # A host that is silent was sent enough then, and is not waited for.
        silent, not_sent = progress.outcomes[Outcome.TIMEOUT], progress.outcomes[Outcome.NOT_SENT]
        assert (progress.outcomes[Outcome.ANSWERED], silent, not_sent) == (10, len(times), 20 - len(times))


async def test_visits_under_way_are_bounded(autojump_clock):
    network = RecordingNetwork(seed=11)
    async with open_crawl(network) as (session, _store):
        engine = engine_of(session, CrawlSettings(rate=0, max_in_flight=5))
        for number in range(1, 41):
            engine.add(Contact(NodeId(bytes([number]) * 20), Address(network.host(number), 6881)))
        most = 0
        async with trio.open_nursery() as nursery:

            async def watch():
                nonlocal most
                while True:
                    most = max(most, *(client.in_flight for client in session.clients), 0)
                    await trio.sleep(0.1)

            nursery.start_soon(watch)
            progress = await engine.run()
            nursery.cancel_scope.cancel()

        assert most == 5
        assert progress.frontier == FrontierStatistics(40, 0, 0, 40, 0)


async def test_endpoints_beyond_the_bound_are_dropped(autojump_clock):
    network = MemoryNetwork(seed=12)
    random = Random(12)

    def made_up(query):
        contacts = b"".join(random.randbytes(20) + b"\x2d" + random.randbytes(3) + b"\1\2" for _ in range(8))
        return Response(query.transaction_id, NodeId(b"f" * 20), nodes=contacts)

    async with open_crawl(network) as (session, _store), trio.open_nursery() as nursery:
        socket = network.socket(network.host(1))
        nursery.start_soon(answer_queries, socket, made_up)
        engine = engine_of(session, CrawlSettings(rate=0, max_endpoints=10))
        engine.add(Contact(NodeId(b"f" * 20), socket.address))
        progress = await engine.run()
        nursery.cancel_scope.cancel()

        assert progress.frontier == FrontierStatistics(10, 0, 0, 10, 7, 1)


async def test_cancelled_crawl_keeps_the_visits_made(autojump_clock):
    """A crawl stopped half-way keeps what it found by then."""
    network = MemoryNetwork(seed=13)
    async with network.open_nodes(20) as nodes, open_crawl(network) as (session, store):
        engine = engine_of(session, CrawlSettings(rate=2.0))
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))
        with trio.move_on_after(3.0):
            await engine.run()
        await wait_written(session)
        ended = engine.progress().outcomes[Outcome.ANSWERED]
        assert 0 < ended < 20
        assert len(store.rows("visits")) == ended


async def test_answer_that_comes_while_a_crawl_ends_is_no_error(tmp_path, monkeypatch, caplog):
    """The last batch takes its time, and nodes asked before still answer: no warning is needed."""
    database = tmp_path / "a.db"
    with FakeNode() as late, FakeNode() as other:
        bootstrap_nodes = [str(other.address)]

        async def call_slowly(function, *args, limiter):
            late.refuse(*asked, 202, "Server Error")
            await trio.sleep(0.2)
            return function(*args)

        monkeypatch.setattr("crawler.core.session.open_writer", partial(open_writer, run_sync=call_slowly))
        with trio.CancelScope() as scope:
            async with open_session(
                CrawlOptions(database, bootstrap=bootstrap_nodes), "census", {}
            ) as session:
                engine = engine_of(session)
                session.writer.put_nowait(visit_of(b"x" * 20, other.address, 0.0, Outcome.TIMEOUT))
                engine.add(late.contact)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(engine.run)
                    asked = await trio.to_thread.run_sync(late.receive)
                    scope.cancel()

    assert [record.getMessage() for record in caplog.records] == []
    with CrawlDatabase.open(database) as store:
        assert outcomes_by_node(store)[b"x" * 20] == ["timeout"]
        assert [run.status for run in store.runs.all()] == ["interrupted"]


async def test_crawl_that_writes_nothing_shows_that_it_is_there(tmp_path, monkeypatch):
    """A watch with nothing due, say: another machine must not take its run over."""
    monkeypatch.setattr("crawler.core.session.RENEWAL_PERIOD", 0.01)
    database = tmp_path / "a.db"
    with FakeNode() as way_in:
        options = CrawlOptions(database, bootstrap=[str(way_in.address)])
        async with open_session(options, "watch", {}):
            (first,) = rows(database, "SELECT renewed_at FROM run_leases")
            while rows(database, "SELECT renewed_at FROM run_leases") == [first]:  # noqa: ASYNC110  a file
                await trio.sleep(0.02)


def test_counts_are_shown_to_people_and_programs():
    progress = Progress(
        FrontierStatistics(13, 1, 2, 7, 4, 6, 3),
        Counter({Outcome.TIMEOUT: 2, Outcome.ANSWERED: 6}),
        14,
        6,
        6,
        1.2345,
        known_share=0.9,
    )

    assert record(progress) == {
        "complete": False,
        "queued": 3,
        "known_share": 0.9,
        "seconds_left": 0.6,
        "sighted": 13,
        "answered": 6,
        "outcomes": {"answered": 6, "timeout": 2},
        "dropped": 4,
        "held": 3,
        "queries": 14,
        "second_answers": 6,
        "second_walk_queries": 0,
        "verified": 0,
        "seconds": 1.234,
    }
    assert describe(progress) == (
        "census: 13 endpoints sighted, 6 answered, 2 visits without answer,"
        " 1 waiting, 2 in flight, 14 queries in 1.2 s;"
        " 3 that one node alone returned are not visited: too many such nodes respond;"
        " 90% of what is named is known, 1 s left"
    )
    assert "left" not in describe(replace(progress, frontier=FrontierStatistics(10, 0, 0, 10, 4, 6)))


def test_census_starts_from_several_corners():
    assert STARTING_LOOKUPS > 1


async def test_nodes_are_asked_again_when_their_time_has_come(autojump_clock):
    network = RecordingNetwork(seed=14)
    async with network.open_nodes(20) as nodes, open_crawl(network) as (session, store):
        engine = Census(
            session.clients,
            session.writer,
            UNLIMITED,
            Random(1),
            wall_clock=lambda: EPOCH + trio.current_time(),
        )
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))
        await engine.run()
        began = trio.current_time()
        for node in nodes[:5]:
            network.cut(node.addresses[0].host)
        asked_before = len(network.by_crawler)
        await engine.verify(session.run_id, 300.0)
        await wait_written(session)

        again = network.by_crawler[asked_before:]
        assert min(time for time, _ in again) >= began + 299.0
        assert len(again) == len({destination for _, destination in again}) == 20
        rows = [row for row in store.rows("visits") if row["is_verification"]]
        assert Counter(row["outcome"] for row in rows) == {"answered": 15, "timeout": 5}
        assert engine.progress().verified == 15
        asked_before = len(network.by_crawler)
        await engine.verify(session.run_id, 300.0)
        assert len(network.by_crawler) == asked_before


async def test_no_host_gets_more_than_ten_packets_in_ten_seconds(autojump_clock):
    network = RecordingNetwork(seed=15, loss=0.1)
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(40))
        session, _store = await stack.enter_async_context(open_crawl(network))
        engine = Census(
            session.clients,
            session.writer,
            CrawlSettings(),
            Random(1),
            wall_clock=lambda: EPOCH + trio.current_time(),
        )
        for node in nodes:
            engine.add(Contact(node.node_id, node.addresses[0]))
        for port in range(1, 40):  # of a host where no node answers
            engine.add(Contact(NodeId(bytes([port]) * 20), Address(network.host(900), port)))
        await engine.run()
        await engine.verify(session.run_id, 1.0)

        times = {}
        for time, destination in network.by_crawler:
            times.setdefault(destination.host, []).append(time)
        assert len(times) >= 41
        for its_times in times.values():
            for first, time in enumerate(its_times):
                assert sum(time <= other < time + 10 for other in its_times[first:]) <= 10


async def test_resumed_census_estimates_as_a_whole_one_does(autojump_clock):
    """Cut three times, it knows all namings, visits, queries and lost packets of its parts."""
    sizes, seconds, unended = [], [], 0
    for cuts in (0, 3):
        network = SyntheticMemoryNetwork(SyntheticSettings(nodes=300, stale=0.2, seed=5), seed=5, loss=0.02)
        async with open_crawl(network, through=network.synthetic.bootstrap_nodes()) as (session, store):
            for _ in range(cuts):
                census = engine_of(session, CrawlSettings(rate=150.0, new_endpoints_rate=50.0))
                census.restore(store.runs.journals(session.run_id), store.visits.ended(session.run_id))
                for contact in await session.starting_contacts(Zone(), Random(1)):
                    census.add(contact)
                with trio.move_on_after(2.0) as cut:
                    await census.run()
                assert cut.cancelled_caught
                await wait_written(session)
                unended += census.progress().frontier.in_flight
            resumed = replace(session, is_resumed=cuts > 0)
            progress = await take_census(resumed, UNLIMITED, Random(1))
            size = progress.findings.size(Family.IPV4, "crawl")
            sizes.append(size.estimate)
            seconds.append(size.details["second_sent"])
            assert size.details["outside"] is not None
            assert size.low <= 300 <= size.high
            assert progress.outcomes == Counter(Outcome(row["outcome"]) for row in store.rows("visits"))
            ended = len(store.rows("visits")) + progress.second_queries
            assert ended <= progress.queries <= ended + 2 * unended
            assert progress.seconds >= 2 * cuts - 0.1 * (cuts + 1)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)
    assert seconds[1] == pytest.approx(seconds[0], rel=0.03)


async def test_census_that_is_cut_says_what_it_knows(autojump_clock):
    """With the keys of a whole one; the size is that of all, though two in three nodes were not visited."""
    network = SyntheticMemoryNetwork(SyntheticSettings(nodes=300, stale=0.2, seed=7), seed=7, loss=0.02)
    slowly, known = CrawlSettings(rate=12.0, new_endpoints_rate=6.0), []
    async with open_crawl(network, through=network.synthetic.bootstrap_nodes()) as (session, store):
        with trio.move_on_after(30.0) as limit:
            await take_census(session, slowly, Random(1), when_cut=known.append)
        assert limit.cancelled_caught
        await wait_written(session)
        rows = {row["method"]: row for row in store.rows("size_estimates")}
        whole = await take_census(replace(session, is_resumed=True), UNLIMITED, Random(1))
        methods = {row["method"] for row in store.rows("size_estimates")}
    (cut,) = known
    printed, size = record(cut), cut.findings.size(Family.IPV4, "so far")
    assert printed.keys() == record(whole).keys()
    assert (printed["complete"], record(whole)["complete"]) == (False, True)
    assert 20 < printed["answered"] < 180
    assert printed["queued"] > 50
    assert 0 < printed["known_share"] < 1
    assert size.low <= 300 <= size.high
    assert rows["so far"]["estimate"] == size.estimate
    assert "so far" not in methods
    assert "the same command goes on" in describe(cut)
    assert cut.findings.size(Family.IPV4, "counted").estimate == printed["answered"]
