"""The loop that all crawls share: what is sent when, how it ends, and that each client has one owner."""

from collections import Counter, deque
from contextlib import AsyncExitStack
from itertools import pairwise
from random import Random

import pytest
import trio

from crawler.core.query_loop import Crawl, drive
from crawler.crawl.census import Census
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from dhtnode import Contact, DhtError, InfoHash, NodeSettings
from dhtnode.krpc import FindNode
from dhtnode.net import BulkClient
from dhtnode.testing import MemoryNetwork
from tests.virtual_time import call

CRAWLER = 1000  # its host in the memory network
UNLIMITED = CrawlSettings(rate=0)
EPOCH_TEXT = "2023-11-14T22:13:20.000Z"


class Errand(Crawl):
    """One query to each of some addresses, when its time has come."""

    def __init__(self, client, addresses, *, times=None, fails=False):
        self.find_node = client.template(FindNode)
        self.addresses = deque(addresses)
        self.times = deque(times or [0.0] * len(addresses))
        self.fails = fails
        self.more = []
        self.events = []
        self.turns = []

    def next_query(self, now):
        if not self.addresses:
            return None
        if now < self.times[0]:
            return self.times[0] - now
        self.times.popleft()
        address = self.addresses.popleft()
        self.events.append(("sent", now))
        return self.find_node, bytes(20), address, address

    def on_end(self, tag, result, took, now):
        if self.fails:
            raise ZeroDivisionError
        self.events.append((type(result).__name__, round(now)))

    def on_stuck(self, tag, now):
        self.addresses.appendleft(tag)
        self.times.appendleft(now)

    def on_not_sent(self, tag, now):
        self.events.append("not sent")

    def on_error(self, tag):
        self.events.append("error")

    def on_idle(self):
        found, self.more = self.more, []
        self.addresses.extend(found)
        self.times.extend([0.0] * len(found))
        return bool(found)

    def flush(self, now):
        self.turns.append(now)


@pytest.fixture
def network():
    return MemoryNetwork(seed=1)


def new_client(network, port=7000):
    return BulkClient(network.socket(network.host(CRAWLER), port))


async def test_queries_leave_when_it_is_time_and_the_loop_ends_after_the_last_result(network, autojump_clock):
    async with network.open_nodes(1) as (node,):
        client, start = new_client(network), trio.current_time()
        errand = Errand(client, 2 * [node.addresses[0]], times=[start, start + 30.0])
        errand.more = [network.socket(network.host(99), 1).address]  # where no node answers
        await drive(client, errand, UNLIMITED)
        kinds = [event if isinstance(event, str) else event[0] for event in errand.events]
        assert kinds == ["sent", "Response", "sent", "Response", "sent", "QueryTimeout"]
        assert errand.events[2][1] == pytest.approx(start + 30.0, abs=1.0)
        assert errand.turns[-1] == float("inf")
        assert client.in_flight == 0


async def test_queries_under_way_are_bounded(network, autojump_clock):
    client = new_client(network)
    unanswered = [network.socket(network.host(100 + each), 1).address for each in range(6)]
    errand = Errand(client, unanswered)
    await drive(client, errand, CrawlSettings(rate=0, max_in_flight=3))
    sent = [event[1] for event in errand.events if event[0] == "sent"]
    assert sent[0] == sent[2] < sent[3] == sent[5]
    assert [event[0] for event in errand.events] == 3 * ["sent"] + 3 * ["QueryTimeout"] + 3 * ["sent"] + (
        3 * ["QueryTimeout"]
    )


async def test_loop_that_is_full_looks_soon_whether_queries_are_late(network, autojump_clock):
    client = new_client(network)
    unanswered = [network.socket(network.host(100 + each), 1).address for each in range(2)]
    errand = Errand(client, unanswered)
    await drive(client, errand, CrawlSettings(rate=0, max_awaited=1))
    first, second = (event[1] for event in errand.events if event[0] == "sent")
    assert client.times.stall <= second - first <= client.times.stall + 0.1
    turns = [time for time in errand.turns if first <= time <= second]
    assert [later - time for time, later in pairwise(turns)] == pytest.approx([0.05] * (len(turns) - 1))
    assert len(turns) > 5


async def test_answers_are_taken_in_while_the_next_turn_is_awaited(network, autojump_clock):
    """The database is held by another program for minutes: what nodes say meanwhile is no timeout."""
    async with network.open_nodes(1) as (node,):
        client, start = new_client(network), trio.current_time()
        # The second is due before the first is answered.
        errand = Errand(client, 2 * [node.addresses[0]], times=[start, start + 1e-4])

        async def before_turn():
            await trio.sleep_until(start if not errand.events else start + 300.0)

        await drive(client, errand, UNLIMITED, before_turn)
    assert [name for name, _ in errand.events] == ["sent", "Response", "sent", "Response"]
    times = [time for _, time in errand.events]
    assert times == pytest.approx([start, start, start + 300.0, start + 300.0], abs=2.0)


async def test_error_of_a_crawl_on_a_result_does_not_keep_it_from_ending(network, autojump_clock):
    async with network.open_nodes(2) as nodes:
        client = new_client(network)
        errand = Errand(client, [node.addresses[0] for node in nodes], fails=True)
        with trio.fail_after(60):
            await drive(client, errand, UNLIMITED)
        assert errand.events[2:] == ["error", "error"]
        assert client.events["internal errors"] == 2


async def test_two_crawls_over_one_client_at_once_are_an_error(network, autojump_clock):
    async with network.open_nodes(1) as (node,):
        client = new_client(network)
        first, second = (Errand(client, node.addresses) for _ in range(2))
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="in use")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive, client, first, UNLIMITED)
                nursery.start_soon(drive, client, second, UNLIMITED)
        await drive(client, second, UNLIMITED)  # one after the other they may
        assert [name for name, _ in second.events] == ["sent", "Response"]


async def open_census(stack, network, nodes, client):
    store = stack.enter_context(CrawlDatabase.open(":memory:"))
    run_id = store.runs.begin("census", {}, "0.1", EPOCH_TEXT)
    node = await stack.enter_async_context(
        network.open_node(CRAWLER, through=nodes[0].addresses, settings=NodeSettings(read_only=True))
    )
    writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
    census = Census([client], writer, UNLIMITED, Random(1), wall_clock=lambda: 1_700_000_000.0)
    for each in nodes:
        census.add(Contact(each.node_id, each.addresses[0]))
    return census, node, writer


async def test_survey_made_beside_a_running_census_leaves_it_alone(network, autojump_clock):
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(40))
        client = new_client(network)
        census, node, writer = await open_census(stack, network, nodes, client)
        survey = SwarmSurvey(node, writer, [client], UNLIMITED, Random(1))
        with trio.fail_after(3600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(census.run)
                await trio.sleep(0.02)
                assert client.in_flight > 0
                SwarmSurvey(node, writer, [client], UNLIMITED, Random(2))
                with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="in use")):
                    await survey.measure([InfoHash(bytes(20))], tally=MeasurementCounts())
        assert census.progress().frontier.answered == 40
        assert client.events == {}


async def test_measurement_that_fails_on_a_result_is_a_failure(network, autojump_clock, monkeypatch):
    wanted = [InfoHash(bytes([number]) * 20) for number in (1, 2)]
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(20))
        client = new_client(network)
        _, node, writer = await open_census(stack, network, nodes, client)
        survey = SwarmSurvey(node, writer, [client], UNLIMITED, Random(1))
        note, told = survey.nodes.note, []

        def fail_once(*args):
            if not told:
                told.append("raised")
                raise ZeroDivisionError
            note(*args)

        monkeypatch.setattr(survey.nodes, "note", fail_once)
        tally = MeasurementCounts()
        with trio.fail_after(600):
            await survey.measure(wanted, tally=tally, on_failure=lambda *failure: told.append(failure))
        assert (tally.measured, tally.failed) == (1, 1)
        ((info_hash, error),) = told[1:]
        assert info_hash in wanted
        assert isinstance(error, DhtError)


async def test_census_that_fails_on_a_result_ends(network, autojump_clock, monkeypatch):
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(30))
        client = new_client(network)
        census, _, _ = await open_census(stack, network, nodes, client)
        (crawl,) = census._crawls.values()
        end, calls = crawl.on_end, Counter()

        def fail_once(*args):
            calls["end"] += 1
            if calls["end"] == 10:
                raise ZeroDivisionError
            end(*args)

        network.cut(nodes[5].addresses[0].host)
        monkeypatch.setattr(crawl, "on_end", fail_once)
        with trio.fail_after(600):
            progress = await census.run()
        assert progress.frontier.answered == 28
        assert sum(progress.outcomes.values()) == 28 + 2
