"""Samples of info-hashes: who is asked when, what is written down, and what is said about all of them."""

import json
import signal
import sqlite3
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, closing
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from crawler.analysis.infohash_population import NearStore
from crawler.core.exclusion import Exclusion
from crawler.core.session import Session
from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import (
    LEASE_LIFETIME,
    MAX_INTERVAL,
    MIN_INTERVAL,
    Appearances,
    NodeSample,
    NodeToSample,
    StoreSample,
    pause_after,
)
from crawler.db.records.records import utc_text
from crawler.db.writer import open_writer
from crawler.infohashes.replication import ReplicationSearch, Target, choose_targets
from crawler.infohashes.survey import InfohashSurvey, describe, describe_discovery, record
from crawler.infohashes.turns import Plan
from crawler.settings import CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Address, Family, NodeId, NodeSettings, QueryTimeout, Scope
from dhtnode.krpc import Response
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from tests.commands import PATIENCE, Running
from tests.virtual_time import call

pytestmark = pytest.mark.slow

EPOCH = 1_700_000_000.0
CRAWLER = 1000  # its host in the memory network
UNLIMITED = CrawlSettings(rate=0)
HOURS = 3600.0


def wall_clock():
    return EPOCH + trio.current_time()


@asynccontextmanager
async def open_survey(network, store, *, settings=UNLIMITED, seed=1, resumed=None, excludes=None, **options):
    """Begin a run on a store, or go on with one, as a process of its own would."""
    async with AsyncExitStack() as stack:
        run_id = resumed.id if resumed else store.runs.begin("sample", {}, "0.1", utc_text(wall_clock()))
        node = await stack.enter_async_context(
            network.open_node(
                CRAWLER, through=network.synthetic.bootstrap_nodes(), settings=NodeSettings(read_only=True)
            )
        )
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
        socket = network.socket(network.host(CRAWLER), 7000)
        stack.callback(socket.close)
        asker = BulkClient[Any](socket, random_bytes=Random(f"asker {seed}").randbytes)
        settings_then = resumed.settings if resumed else {}
        session = Session(
            run_id,
            settings_then,
            node,
            writer,
            (asker,),
            exclusion=SimpleNamespace(excludes=excludes) if excludes else Exclusion(),
            is_resumed=resumed is not None,
        )
        yield InfohashSurvey(session, settings, Random(seed), wall_clock=wall_clock, **options)


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


def supporting(network, zone=None):
    """Return the ranks of the nodes that give samples, hostile ones included."""
    population = network.synthetic.population
    return {
        rank
        for rank in range(population.members)
        if population.is_alive(population.numbers[rank])
        and population.has("bep51", population.numbers[rank])
        and (zone is None or zone.covers(population.node_id(rank)))
    }


def honest(network):
    population = network.synthetic.population
    ranks = [rank for rank in supporting(network) if population.is_honest(population.numbers[rank])]
    return {population.node_id(rank).hex() for rank in ranks}


def truth(network, zone=None):
    able, swarms = supporting(network), network.synthetic.swarms
    return sum(
        any(rank in able and swarms.stored(place, rank) for rank in swarms.holders(place))
        for place in range(network.synthetic.settings.swarms)
        if zone is None or zone.covers(swarms.info_hash(place))
    )


def asked(network):
    return network.synthetic.counts["query sample_infohashes"]


def assert_no_node_queried_too_early(network):
    assert network.synthetic.counts["sampled too early"] == 0


def sampled(store, outcome="answered"):
    return {row["node_id"] for row in store.rows("node_samples") if row["outcome"] == outcome}


async def test_walk_samples_the_network_and_tells_its_size(new_network, autojump_clock, store):
    """Nearly all nodes are found and asked once; the population is within 10 % of the truth."""
    model = SyntheticSettings(largest=20, nodes=250, swarms=600, stale=0.2, bep51=0.6)
    network = new_network(1, SyntheticMemoryNetwork, synthetic=model, loss=0.01)
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
        (found,) = await survey.discover()
        counts = survey.counts()

    able = honest(network)
    assert sampled(store) <= able
    assert len(sampled(store)) >= 0.94 * len(able)
    assert asked(network) <= counts.sighted
    assert found.population.estimate == pytest.approx(truth(network), rel=0.1)
    assert found.population.low < found.population.estimate < found.population.high
    assert found.nodes == len(sampled(store))
    assert 0.9 < found.coverage.low < found.coverage.share < found.coverage.high <= 1
    assert_no_node_queried_too_early(network)

    rows = store.rows("node_samples")
    swarms = {row["info_hash"] for row in store.rows("swarms")}
    assert swarms <= {swarm.info_hash.hex() for swarm in network.synthetic.swarms}
    assert found.showings.distinct == len(swarms) == sum(row["new"] for row in rows)
    assert found.showings.shown == counts.shown == sum(row["returned"] for row in rows)
    assert {row["source"] for row in store.rows("swarms")} == {"sample"}
    methods = {row["method"]: row["estimate"] for row in store.rows("discovery_estimates")}
    assert methods["horvitz-thompson"] == found.population.estimate
    assert methods.keys() == {"coverage", "chao1", "horvitz-thompson"}


async def test_nodes_without_samples_are_recorded(new_network, autojump_clock, store):
    """Some refuse an unknown method, some are silent: a walk finds its way through both."""
    model = SyntheticSettings(largest=20, nodes=200, swarms=100, bep51=0.2)
    network = new_network(2, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)

    population = network.synthetic.population
    assert len(sampled(store)) >= 0.95 * len(supporting(network))
    refused = sampled(store, "unsupported")
    assert refused.isdisjoint(honest(network))
    assert len(refused | sampled(store, "not-due") | sampled(store)) >= 0.95 * population.settings.nodes
    codes = {row["error_code"] for row in store.rows("node_samples") if row["outcome"] == "unsupported"}
    assert codes == {203, 204}
    turns = store.rows("sample_turns")
    assert {row["chances"] for row in turns if row["node_id"] in refused} == {0}


async def test_restart_queries_no_node_before_the_time(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=150, swarms=300, bep51=1.0)
    network = new_network(3, SyntheticMemoryNetwork, synthetic=model, loss=0.02)
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
    first = asked(network)
    async with open_survey(network, store) as survey:
        await survey.run(joins=False)
        assert survey.counts().not_due >= 140
        assert survey.counts().shown == 0
    assert asked(network) == first
    await trio.sleep(MAX_INTERVAL + 2 * LEASE_LIFETIME)
    async with open_survey(network, store) as survey:
        await survey.run(joins=False)
    assert asked(network) >= 1.9 * first
    assert_no_node_queried_too_early(network)


async def test_run_that_dies_has_leased_the_nodes_it_queried(new_network, autojump_clock, store):
    """No row was written about those in flight, and still they are not asked again too early."""
    model = SyntheticSettings(largest=20, nodes=150, swarms=300, bep51=1.0)
    network = new_network(4, SyntheticMemoryNetwork, synthetic=model)
    settings = CrawlSettings(rate=20.0, new_endpoints_rate=20.0)
    async with open_survey(network, store, settings=settings) as survey:
        with trio.move_on_after(4.0):
            await survey.run(joins=True)
        # What is still to be written dies with the process.
        survey._session.writer._buffer.clear()
        survey._session.writer._rows = 0
    half = asked(network)
    assert 10 < half < 140
    assert len(sampled(store)) < half
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
    assert asked(network) == network.synthetic.counts["query sample_infohashes"] <= 152
    assert_no_node_queried_too_early(network)


async def test_rounds_ask_each_node_when_its_time_has_come(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=100, swarms=600, bep51=1.0, interval=600)
    network = new_network(5, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store, plan=Plan(rounds=3)) as survey:
        await survey.run(joins=True)
        seconds = survey.counts().seconds
    by_node = {}
    for row in store.rows("node_samples"):
        if row["outcome"] == "answered":
            by_node.setdefault(row["node_id"], []).append(row["new"])
    assert {len(news) for news in by_node.values()} == {3}
    assert all(row["new"] is not None for row in store.rows("node_samples"))
    assert sum(news[1] + news[2] for news in by_node.values()) > 0
    assert 1200 < seconds < 1500
    assert_no_node_queried_too_early(network)


async def test_continuous_mode_goes_by_the_interval_of_each_node(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=150, swarms=100)
    network = new_network(6, SyntheticMemoryNetwork, synthetic=model, loss=0.02)
    async with open_survey(network, store, plan=Plan(seconds=HOURS)) as survey:
        await survey.run(joins=True)
        assert HOURS <= survey.counts().seconds < HOURS + 60
    times = {}
    for row in store.rows("node_samples"):
        if row["outcome"] == "answered":
            times.setdefault(row["interval"], []).append(row["node_id"])
    assert set(times) == {60, 300, 21600}
    assert len(times[21600]) == len(set(times[21600]))
    assert len(times[300]) >= 9 * len(set(times[300]))
    assert_no_node_queried_too_early(network)


def test_private_info_hashes_are_not_looked_up():
    shown = [bytes([number]) * 20 for number in range(1, 7)]

    class Stores:
        def count_shown(self, zone):
            return len(shown)

        def shown(self, number):
            return shown[number - 1], StoreSample(b"n" * 20, Address("20.0.0.1", 1), 1.0, frozenset(shown))

        def closest(self, info_hash, count):
            return []

    count, drawn = choose_targets(Stores(), Zone(), Random(1), lambda each: each in shown[:3])
    assert (count, sorted(target.info_hash for target in drawn)) == (6, shown[3:])


async def test_hostile_nodes_do_not_stop_it(new_network, autojump_clock, store):
    """Three in ten lie in every way there is; the honest are sampled, the population stays right.

    Among them are those who name peers of whatever they are asked: they count as holders of nothing.
    """
    model = SyntheticSettings(largest=20, nodes=250, swarms=400, stale=0.1, hostile=0.3, bep51=0.7)
    network = new_network(7, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
        (found,) = await survey.discover()
        asker = survey._session.clients[0]
    able = honest(network)
    assert len(sampled(store) & able) >= 0.97 * len(able)
    outcomes = {row["outcome"] for row in store.rows("node_samples")}
    assert {"wrong-id", "foreign-source", "error"} <= outcomes
    marks = {mark for row in store.rows("node_samples") for mark in row["marks"].split()}
    assert {"flood", "oversized", "unusable-contacts"} <= marks
    assert found.population.estimate == pytest.approx(truth(network), rel=0.1)
    assert asker.events["internal errors"] == 0
    assert_no_node_queried_too_early(network)


async def test_what_is_held_in_memory_is_bounded(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=300, swarms=300, bep51=1.0)
    network = new_network(8, SyntheticMemoryNetwork, synthetic=model)
    settings = CrawlSettings(rate=0, max_endpoints=60, max_in_flight=7)
    async with open_survey(network, store, settings=settings) as survey:
        (sampler,) = (turns.sampler for turns in survey.turns)
        (client,) = survey._session.clients
        most = 0

        async def watch():
            nonlocal most
            while True:
                most = max(most, client.in_flight)
                assert len(sampler._rows) <= 500
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await survey.run(joins=True)
            nursery.cancel_scope.cancel()
    statistics = sampler.frontier.statistics()
    assert statistics.sighted == 60
    assert statistics.dropped > 0
    assert most == 7
    assert asked(network) == 60


async def test_zone_tells_of_the_whole_network(new_network, autojump_clock, store):
    """A quarter of the id space is queried, and no node outside; its estimate is that of all."""
    zone = Zone(0b10, 2)
    model = SyntheticSettings(largest=20, nodes=500, swarms=1200, bep51=0.6)
    network = new_network(9, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store, zone=zone) as survey:
        await survey.run(joins=True)
        (found,) = await survey.discover()
    assert all(zone.covers(bytes.fromhex(node_id)) for node_id in sampled(store))
    assert len(sampled(store)) >= 0.97 * len(supporting(network, zone))
    assert found.population.estimate / 4 == pytest.approx(truth(network, zone), rel=0.15)
    assert found.population.low < truth(network) < found.population.high


async def test_excluded_nodes_are_left_alone(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=100, swarms=50, bep51=1.0)
    network = new_network(10, SyntheticMemoryNetwork, synthetic=model)

    def excludes(node_id, endpoint, family):
        return node_id[1] < 64

    async with open_survey(network, store, excludes=excludes) as survey:
        await survey.run(joins=True)
    assert {bytes.fromhex(row["node_id"])[1] < 64 for row in store.rows("node_samples")} == {False}
    assert 60 <= asked(network) <= 90


async def test_excluded_nodes_are_not_looked_up_at_either(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=100, swarms=50, bep51=1.0)
    network = new_network(13, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
    async with open_survey(network, store, excludes=lambda node_id, endpoint, family: True) as survey:
        await survey.run(joins=False)
        (found,) = await survey.discover()
    assert found.looked_up > 0
    assert network.synthetic.counts["query get_peers"] == 0


async def test_resumed_rounds_are_not_counted_from_the_first(new_network, autojump_clock, store):
    """Cut short in the second round of two, it goes on with the second, and queries no node a third time."""
    model = SyntheticSettings(largest=20, nodes=100, swarms=600, bep51=1.0, interval=600)
    network = new_network(14, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store, plan=Plan(rounds=2)) as survey:
        with trio.move_on_after(620):
            await survey.run(joins=True)
        run_id = survey._session.run_id
        assert survey.turns[0].round == 2
    (run,) = store.runs.all()
    assert len(list(store.rows("node_samples"))) > 110  # some of the second round, not all
    async with open_survey(network, store, plan=Plan(rounds=2), resumed=run) as survey:
        await survey.run(joins=True)
        assert survey.turns[0].round == 2
    assert run.id == run_id
    times = Counter(row["node_id"] for row in store.rows("node_samples") if row["outcome"] == "answered")
    assert set(times.values()) == {2}
    assert_no_node_queried_too_early(network)


async def test_our_own_node_has_nothing_to_show(new_network, autojump_clock, store):
    """What was sampled and looked up is not in the store that our samples would come from."""
    network = new_network(
        11, SyntheticMemoryNetwork, synthetic=SyntheticSettings(largest=20, nodes=60, swarms=400)
    )
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
        await survey.discover()
        node = survey._session.node
        assert network.synthetic.counts["query get_peers"] > 0
        assert node.peers.sample_info_hashes(trio.current_time()).num == 0


HERE, THERE = Address("192.0.2.7", 6881), Address("192.0.2.8", 6881)
ALICE, BOB, CAROL = b"a" * 20, b"b" * 20, b"c" * 20


class TestTurns:
    """Which node may be queried when, in the database."""

    def test_turn_is_given_once(self, tmp_path):
        path = tmp_path / "a.db"
        with CrawlDatabase.open(path) as one, CrawlDatabase.open(path) as other:
            assert one.samples.lease(
                [NodeToSample(ALICE, HERE), NodeToSample(BOB, HERE), NodeToSample(BOB, THERE)], EPOCH
            ) == [True, False, True]
            assert other.samples.lease([NodeToSample(ALICE, HERE), NodeToSample(BOB, THERE)], EPOCH + 1) == [
                False,
                False,
            ]
            late = EPOCH + MAX_INTERVAL + LEASE_LIFETIME
            assert other.samples.lease([NodeToSample(BOB, HERE)], late - 1) == [False]
            assert other.samples.lease([NodeToSample(BOB, HERE)], late) == [True]

    def test_anonymized_turns_hold_for_all(self, tmp_path):
        path = tmp_path / "a.db"
        with CrawlDatabase.open(path, anonymize=True) as hidden:
            assert hidden.samples.lease([NodeToSample(ALICE, HERE), NodeToSample(BOB, THERE)], EPOCH) == [
                True,
                True,
            ]
            assert "192.0.2.7" not in json.dumps(hidden.rows("sample_turns"))
            assert hidden.samples.due(Family.IPV4, Zone(), EPOCH + 10**6, EPOCH + 10**6, 9) == []
        with CrawlDatabase.open(path) as plain:
            assert plain.samples.lease([NodeToSample(ALICE, HERE), NodeToSample(CAROL, THERE)], EPOCH) == [
                False,
                True,
            ]
        with CrawlDatabase.open(path, anonymize=True) as hidden:
            assert hidden.samples.lease([NodeToSample(CAROL, THERE)], EPOCH) == [False]

    def test_answer_says_when_the_next_turn_is(self, store):
        run = store.runs.begin("sample", {}, "0.1", utc_text(EPOCH))

        def due(now):
            return store.samples.due(Family.IPV4, Zone(), now, now, 9)

        def end(outcome, next_at):
            store.samples.write(
                run, [NodeSample(ALICE, HERE, utc_text(EPOCH), outcome, next_at=utc_text(next_at))]
            )

        assert store.samples.lease([NodeToSample(ALICE, HERE)], EPOCH) == [True]
        end(Outcome.ANSWERED, EPOCH + 61)
        assert due(EPOCH + 60) == []
        assert store.samples.next_due(Family.IPV4, Zone(), EPOCH + 60) == utc_text(EPOCH + 61)
        assert due(EPOCH + 61) == [NodeToSample(ALICE, HERE)]
        end(Outcome.TIMEOUT, EPOCH + 70)
        assert due(EPOCH + 70) == [NodeToSample(ALICE, HERE)]
        end(Outcome.TIMEOUT, EPOCH + 80)
        assert due(EPOCH + 80) == []
        assert store.samples.next_due(Family.IPV4, Zone(), EPOCH + 80) is None

    def test_clock_that_was_ahead_delays_no_turn_beyond_the_longest_interval(self, store):
        years = 3 * 365 * 86_400
        store.samples.lease([NodeToSample(ALICE, HERE)], EPOCH + years)
        store.samples.lease([NodeToSample(BOB, THERE)], EPOCH)
        store.samples.forget_future(EPOCH)
        turns = {row["node_id"]: (row["asked_at"], row["next_at"]) for row in store.rows("sample_turns")}
        assert turns == {
            ALICE.hex(): (utc_text(EPOCH), utc_text(EPOCH + MAX_INTERVAL + 1)),
            BOB.hex(): (utc_text(EPOCH), utc_text(EPOCH + MAX_INTERVAL + LEASE_LIFETIME)),
        }

    @pytest.mark.parametrize(
        ("outcome", "interval", "pause"),
        [
            (Outcome.ANSWERED, 300, 301),
            (Outcome.ANSWERED, 0, MIN_INTERVAL + 1),
            (Outcome.ANSWERED, None, MAX_INTERVAL + 1),
            (Outcome.ANSWERED, 10**6, MAX_INTERVAL + 1),
            (Outcome.TIMEOUT, None, MAX_INTERVAL + 1),
            (Outcome.TIMEOUT, 300, 301),
            (Outcome.WRONG_ID, 60, MAX_INTERVAL + 1),
            (Outcome.UNSUPPORTED, None, 86_400),
        ],
    )
    def test_pauses(self, outcome, interval, pause):
        assert pause_after(outcome, interval) == pause


class Facts:
    """What a search has to know of its client."""

    family, scope = Family.IPV4, Scope.PUBLIC

    def template(self, _make):
        """Return nothing, since nothing is sent."""


VALUES = (b"\x16\x00\x00\x01\x1a\xe1",)
EMPTY = bytes(256)


def store_at(number, share=0.5, shown=frozenset()):
    return StoreSample(bytes([number]) * 20, Address(f"21.0.0.{number}", 6881), share, frozenset(shown))


def search_of(target):
    search = ReplicationSearch(Facts(), CrawlSettings(rate=0), Random(1), 0.0)
    search.add([target])
    return search


def answer_all(search, answers):
    """Answer each query by the number of its node, and whether it is for a canary."""
    while isinstance(outgoing := search.next_query(0.0), tuple):
        query = outgoing[-1]
        fields = answers.get((query.node.node_id[0], query.canary is not None), {})
        search.on_end(query, Response(b"", NodeId(query.node.node_id), **fields), 0.1, 0.0)


def test_unresponsive_node_is_queried_twice_for_its_holding():
    target = Target(b"h" * 20, [store_at(1)])
    search = search_of(target)
    assert target.waiting == 1
    now = 0.0
    while (outgoing := search.next_query(now)) is not None:
        if isinstance(outgoing, tuple):
            search.on_end(outgoing[-1], QueryTimeout("21.0.0.1:6881: no answer"), 5.0, now)
        now += 5.0
    assert (search.queries, target.waiting) == (2, 0)
    assert search.stores_near(target) == [NearStore(0, 0.5, False, None)]


def test_holding_waits_for_the_canary():
    """An info-hash has been looked up when it is known which of its holders claim everything."""
    target = Target(b"h" * 20, [store_at(1)])
    search = search_of(target)
    waiting = []
    for _ in range(2):
        *_, query = search.next_query(0.0)
        search.on_end(query, Response(b"", NodeId(query.node.node_id), values=VALUES), 0.1, 0.0)
        waiting.append(target.waiting)
    assert (waiting, search.next_query(0.0)) == ([1, 0], None)
    assert search.stores_near(target) == [NearStore(0, 0.5, False, False)]


def test_filters_tell_of_peers_in_the_other_family():
    """Node 2 sends them for everything, 3 for what it holds, 4 not at all, and 5 shows all it has."""
    hidden = Target(b"h" * 20, [store_at(number) for number in (2, 3, 4)] + [store_at(5, 1.0, {b"h" * 20})])
    search = search_of(hidden)
    filters = {"seeds_filter": EMPTY, "peers_filter": EMPTY}
    answer_all(search, {(2, False): filters, (2, True): filters, (3, False): filters})
    assert [each.holds for each in search.stores_near(hidden)] == [None, True, None, True]


def test_node_without_peers_tells_once_another_has_peers_of_this_family():
    target = Target(b"h" * 20, [store_at(1), store_at(2)])
    search = search_of(target)
    answer_all(search, {(1, False): {"values": VALUES}})
    assert [each.holds for each in search.stores_near(target)] == [True, False]


def test_node_that_shows_all_it_stores_is_not_queried():
    target = Target(b"h" * 20, [store_at(1, 1.0), store_at(2, 1.0, {b"h" * 20})])
    search = search_of(target)
    assert (search.next_query(0.0), target.waiting) == (None, 0)
    assert [each.holds for each in search.stores_near(target)] == [False, True]


async def test_search_for_holders_that_is_cut_keeps_its_estimate(new_network, autojump_clock, store):
    network = new_network(
        12, SyntheticMemoryNetwork, synthetic=SyntheticSettings(largest=20, nodes=60, swarms=400)
    )
    polite = CrawlSettings()
    async with open_survey(network, store, settings=polite) as survey:
        await survey.run(joins=True)
        with trio.move_on_after(60) as cut:
            await survey.discover()
    assert cut.cancelled_caught
    estimates = {row["method"]: row for row in store.rows("discovery_estimates")}
    looked_up = json.loads(estimates["horvitz-thompson"]["details"])["looked_up"]
    assert estimates.keys() == {"coverage", "chao1", "horvitz-thompson"}
    assert 5 <= looked_up < 200


async def test_survey_that_is_cut_says_what_it_knows(new_network, autojump_clock, store):
    model = SyntheticSettings(largest=20, nodes=150, swarms=100, bep51=1.0)
    network = new_network(15, SyntheticMemoryNetwork, synthetic=model)
    async with open_survey(network, store, settings=CrawlSettings(rate=20.0)) as survey:
        with trio.move_on_after(10) as cut:
            await survey.run(joins=True)
        assert cut.cancelled_caught
        (known,) = await survey.discover_so_far()
        printed = record(survey.counts(), [known], is_complete=False)
    (family,) = printed["families"]
    assert 0 < printed["sampled"] < 150
    assert printed["waiting"] > 0
    assert (printed["complete"], family["population"]) == (False, None)
    assert 0 < family["info_hashes"] <= family["at_least"]
    assert {row["method"] for row in store.rows("discovery_estimates")} == {"coverage", "chao1"}


def test_samples_become_swarms(store):
    """First sample first: what it shows is new, what it shares with swarms known before is not."""
    hashes = [bytes([number]) * 20 for number in range(4)]
    run = store.runs.begin("sample", {}, "0.1", utc_text(EPOCH))
    later = utc_text(EPOCH + 5)

    def sample(node_id, address, shown, taken_at):
        return NodeSample(node_id, address, taken_at, Outcome.ANSWERED, num=9, samples=b"".join(shown))

    store.samples.write(run, [sample(ALICE, HERE, hashes[:3], utc_text(EPOCH))])
    store.samples.aggregate()
    store.samples.write(run, [sample(BOB, THERE, hashes[1:], later)])
    store.samples.aggregate()
    store.samples.aggregate()

    assert [row["new"] for row in store.rows("node_samples")] == [3, 1]
    swarms = {row["info_hash"]: (row["first_seen"], row["last_seen"]) for row in store.rows("swarms")}
    first = utc_text(EPOCH)
    assert swarms == {
        hashes[0].hex(): (first, first),
        hashes[1].hex(): (first, later),
        hashes[2].hex(): (first, later),
        hashes[3].hex(): (later, later),
    }
    assert store.samples.appearances(run, Family.IPV4) == Appearances(distinct=4, once=2, twice=2, shown=6)
    assert {row["node_id"] for row in store.rows("nodes")} == {ALICE.hex(), BOB.hex()}


def test_samples_of_a_killed_process_become_swarms(tmp_path):
    path = tmp_path / "a.db"
    with CrawlDatabase.open(path) as killed:
        run = killed.runs.begin("sample", {}, "0.1", utc_text(EPOCH))
        killed.samples.write(run, [NodeSample(ALICE, HERE, utc_text(EPOCH), Outcome.ANSWERED, samples=BOB)])
    with CrawlDatabase.open(path) as store:
        assert store.rows("swarms") == []
        store.runs.begin("census", {}, "0.1", utc_text(EPOCH))
        assert [row["info_hash"] for row in store.rows("swarms")] == [BOB.hex()]


async def test_counts_are_shown_to_people_and_programs(new_network, autojump_clock, store):
    network = new_network(
        12, SyntheticMemoryNetwork, synthetic=SyntheticSettings(largest=20, nodes=60, swarms=50)
    )
    async with open_survey(network, store) as survey:
        await survey.run(joins=True)
        found = await survey.discover(looks_up=False)
        counts = survey.counts()
    printed = json.loads(json.dumps(record(counts, found)))
    assert printed["sampled"] == len(sampled(store))
    (family,) = printed["families"]
    assert (family["family"], family["population"]) == (4, None)
    assert family["info_hashes"] == len(store.rows("swarms"))
    assert f"{counts.queries} queries" in describe(counts)
    assert f"{family['info_hashes']} info-hashes from" in describe_discovery(found[0])


def rows_written(path):
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM node_samples").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def test_killed_command_continues_and_queries_no_node_too_early(tmp_path):
    """Over loopback, with kill -9: the second part ends the same run, and all that was written stays."""
    path = tmp_path / "a.db"
    model = ["--nodes", "300", "--swarms", "300", "--largest", "20", "--bep51", "1.0", "--interval", "21600"]
    with Running("dhtcrawl", "synthetic", *model, "--json") as network:
        bootstrap = json.loads(network.read_line())["bootstrap"][0]
        options = ["--db", path, "--bootstrap", bootstrap, "--rate", "100", "--max-new-endpoints", "100"]
        with Running("dhtcrawl", "sample", *options) as killed:
            deadline = time.monotonic() + PATIENCE
            while rows_written(path) < 50 and time.monotonic() < deadline:
                time.sleep(0.05)
            killed.signal(signal.SIGKILL)
            killed.wait()
        before = rows_written(path)
        assert 50 <= before < 300
        with Running("dhtcrawl", "sample", *options[:4], "--rate", "0", "--json") as second:
            ended = second.wait()
        network.signal(signal.SIGINT)
        counts = network.wait().records[-1]["counts"]
    assert ended.status == 0, ended.stderr
    assert "sampled too early" not in counts
    assert counts["query sample_infohashes"] <= 305
    (family,) = ended.records[0]["families"]
    assert family["population"] == pytest.approx(300, rel=0.1)
    assert rows_written(path) > before
