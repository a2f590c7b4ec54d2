"""Measuring many swarms: which nodes it queries, what it costs, what it writes, and what it never writes."""

from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest
import trio

from crawler.core.exclusion import Exclusion
from crawler.db.database import CrawlDatabase
from crawler.db.nodes import FreshCensus
from crawler.db.records.records import RunStatus, utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes
from crawler.db.writer import open_writer
from crawler.reports.explain import explain_sample
from crawler.settings import CrawlSettings
from crawler.swarms.packed_nodes import PackedNodes
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey, describe, silent_share
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeSettings, NotJoined
from dhtnode.addresses import pack_host
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from dhtnode.swarm import CLOSEST, Mark, QueryKind
from dhtnode.swarm.measurement import MOST_CLOSEST
from dhtnode.swarm.queried_nodes import MOST_QUERIED
from dhtnode.testing import MemoryNetwork
from tests.virtual_time import call
from tests.visits import visit_of

pytestmark = pytest.mark.slow

EPOCH = 1_700_000_000.0
CRAWLER = 1000  # its host in the memory network
UNLIMITED = CrawlSettings(rate=0)
HOUR = 3600.0
MODEL = SyntheticSettings(nodes=300, stale=0.2, swarms=40, largest=300, announce_next=0.5)


class WatchedNetwork(SyntheticMemoryNetwork):
    """Note what the crawler sends to which node, and have some nodes say what they like."""

    def __init__(self, **options):
        super().__init__(**options)
        self.sent = []
        self.lies = {}
        self.honest = self.synthetic.answer
        self.synthetic.answer = self.answer

    def carry(self, data, source, destination, now):
        if source.host == self.host(CRAWLER) and source.port == 7000:
            self.sent.append((now, destination))
        super().carry(data, source, destination, now)

    def answer(self, destination, data, source, now):
        """Return what is sent back; what a liar answers to get_peers is replaced."""
        replies = self.honest(destination, data, source, now)
        if destination not in self.lies or b"9:get_peers" not in data:
            return replies
        said = [(decode_untrusted(reply, Family.IPV4), sender) for reply, sender in replies]
        return [(encode(reply._replace(**self.lies[destination])), sender) for reply, sender in said]


def wall_clock():
    return EPOCH + trio.current_time()


@asynccontextmanager
async def open_survey(network, store, *, settings=UNLIMITED, seed=1, **options):
    """Begin a run on a store, as a process of its own would."""
    async with AsyncExitStack() as stack:
        run_id = store.runs.begin("scrape", {}, "0.1", utc_text(wall_clock()))
        bootstrap_nodes = network.synthetic.bootstrap_nodes()
        node = await stack.enter_async_context(
            network.open_node(CRAWLER, through=bootstrap_nodes, settings=NodeSettings(read_only=True))
        )
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
        socket = network.socket(network.host(CRAWLER), 7000)
        stack.callback(socket.close)
        asker = BulkClient[Any](socket, random_bytes=Random(f"asker {seed}").randbytes)
        random, key = Random(seed), bytes([seed])
        yield SwarmSurvey(node, writer, [asker], settings, random, wall_clock=wall_clock, key=key, **options)


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


def live_nodes(network):
    population = network.synthetic.population
    return [
        (population.node_id(rank), Address(population.address(rank)[0], network.synthetic.settings.port))
        for rank, number in enumerate(population.numbers)
        if population.is_alive(number)
    ]


def record_census(store, nodes, *, ended_at=EPOCH, status=RunStatus.FINISHED, zone=("0", 0)):
    """Write nodes as a census would have."""
    settings = {"zone": zone[0], "prefix": zone[1]}
    run_id = store.runs.begin("census", settings, "0.1", utc_text(ended_at - 600))
    store.write(run_id, [visit_of(*node, ended_at - 300, Outcome.ANSWERED) for node in nodes])
    if status is not RunStatus.RUNNING:
        store.runs.finish(run_id, status, utc_text(ended_at))
    return run_id


def swarms_of(network):
    return {InfoHash(swarm.info_hash): swarm for swarm in network.synthetic.swarms}


def assert_explained(store):
    for row in store.rows("swarm_samples"):
        found = explain_sample(store.swarms, lambda swarms, number=row["id"]: swarms.sample(number))
        assert (found.missing, found.differences) == (None, ())


async def test_after_a_census_nodes_are_asked_without_lookups(new_network, autojump_clock, store):
    network = new_network(1, WatchedNetwork, synthetic=MODEL, loss=0.01)
    record_census(store, live_nodes(network))
    truth, tally, seen = swarms_of(network), MeasurementCounts(), []
    async with open_survey(network, store) as survey:
        await survey.measure(truth, tally=tally, on_sample=seen.append)

    assert (tally.measured, tally.failed) == (40, 0)
    assert (survey.counts.direct, survey.counts.by_lookup) == (40, 0)
    assert survey.counts.queries[QueryKind.SCRAPE] <= 9 * 40
    rows = {InfoHash(bytes.fromhex(row["info_hash"])): row for row in store.rows("swarm_samples")}
    assert rows.keys() == truth.keys() == {scrape.info_hash for scrape in seen}
    within = [rows[each]["peers_low"] <= truth[each].peers <= rows[each]["peers_high"] for each in truth]
    assert sum(within) >= 38
    # Only of the largest, a store that returns 50 random peers may look cut, so that more nodes are asked.
    asked = {each: row["nodes_asked"] for each, row in rows.items()}
    assert max(asked.values()) <= MOST_CLOSEST
    assert max(asked[each] for each in truth if truth[each].peers < 200) <= MOST_QUERIED
    assert_explained(store)
    assert "40 measured, 0 failed, of 40; 40 asked directly" in describe(survey.counts, tally, 40)


async def test_share_of_clients_that_hide_seeds_comes_from_handshakes(new_network, autojump_clock, store):
    """Half of the peers are of clients that never send `seed`: their seeds are within the interval."""
    network = new_network(1, WatchedNetwork, synthetic=replace(MODEL, silent_seeds=1.0))
    record_census(store, live_nodes(network))
    run_id = store.runs.begin("metadata", {}, "0.1", utc_text(EPOCH))
    clients = {"TR": 30, "lt": 10, "A2": 10, "qB": 50, "unknown": 100}
    counts = (200, 200, 200, 80, 20, 100, 0, 0.8, 0.7, 0.9)
    handshakes = Handshakes(InfoHash(bytes(20)), utc_text(EPOCH), *counts, clients, 1, 1)
    store.write(run_id, [HandshakeBatch("test", handshakes, None)])
    truth = swarms_of(network)
    async with open_survey(network, store) as survey:
        await survey.measure(truth, tally=MeasurementCounts())

    rows = store.rows("swarm_samples")
    assert {round(row["silent_share"], 3) for row in rows} == {0.596}
    assert_explained(store)
    told = [
        (row, truth[InfoHash(bytes.fromhex(row["info_hash"]))]) for row in rows if row["seeds"] is not None
    ]
    few = [(row, swarm) for row, swarm in told if swarm.seeds < 0.55 * swarm.peers]
    assert len(few) > 10
    for row, swarm in few:
        assert row["seeds"] == 0
        assert swarm.seeds <= row["seeds_high"]
        assert row["leechers_low"] <= swarm.leechers


def test_share_of_clients_is_unknown_without_handshakes():
    assert silent_share(Counter()) is None
    assert silent_share(Counter(unknown=7)) is None
    assert 0 < silent_share(Counter(LT=1000)) < 0.01


async def test_nodes_that_have_all_gone_do_not_bar_the_bootstrap_nodes(new_network, autojump_clock, store):
    """A census of a network that was begun again since: its nodes first, then the bootstrap nodes."""
    network = new_network(1, WatchedNetwork, synthetic=MODEL)
    gone = [(node_id, Address(f"21.0.{at}.1", 6881)) for at, (node_id, _) in enumerate(live_nodes(network))]
    record_census(store, gone[:250])
    truth, failed = sorted(swarms_of(network))[:5], []
    hosts = {address.host for _, address in gone}
    asked = []
    async with open_survey(network, store) as survey:
        for _ in range(2):
            tally, sent = MeasurementCounts(), len(network.sent)
            await survey.measure(truth, tally=tally, on_failure=lambda *_: failed.append(_))
            assert (tally.measured, tally.failed, failed) == (5, 0, [])
            asked.append({address.host for _, address in network.sent[sent:]} & hosts)
    # The second time, the nodes that have gone are not asked.
    assert asked[0]
    assert not asked[1]


async def test_rows_have_the_queried_nodes_their_times_and_timeouts(new_network, autojump_clock, store):
    """One row for each node, closest first, with what is needed to compute the number again."""
    network = new_network(2, WatchedNetwork, synthetic=replace(MODEL, stale=0.0), loss=0.1)
    record_census(store, live_nodes(network))
    largest = max(network.synthetic.swarms, key=lambda swarm: swarm.peers)
    async with open_survey(network, store) as survey:
        await survey.measure([InfoHash(largest.info_hash)], tally=MeasurementCounts())

    (sample,), replies = store.rows("swarm_samples"), store.rows("scrape_replies")
    target = int.from_bytes(largest.info_hash, "big")
    distances = [int(row["node_id"], 16) ^ target for row in replies]
    assert distances == sorted(distances)
    assert [row["rank"] for row in replies] == [*range(len(replies))]
    outcomes = Counter(row["outcome"] for row in replies)
    assert outcomes["answered"] == sample["nodes_answered"] >= 8
    assert outcomes["timeout"] == sample["nodes_asked"] - sample["nodes_answered"] > 0
    for row in replies:
        assert row["family"] == 4
        assert utc_text(EPOCH) <= row["asked_at"] <= sample["taken_at"]
        names = (row["named_tokens"], row["named_filter"], row["unplaced_filter"])
        if row["values_count"]:
            assert len(row["named_tokens"]) == 3 * row["values_count"]  # each host once
            assert [len(bits) for bits in names[1:]] == [256, 256]
        else:
            assert names == (None, None, None)
    assert sum(row["values_count"] > 0 for row in replies) >= 5
    estimates = store.rows("swarm_estimates")
    assert {row["subject"] for row in estimates} == {"peers", "seeds", "leechers"}
    (latest,) = store.rows("latest_swarms")
    assert latest["seeds_low"] <= largest.seeds <= latest["seeds_high"]


async def test_second_measurement_without_a_census_costs_little_more_than_8_kilobytes(
    new_network, autojump_clock, store
):
    network = new_network(3, WatchedNetwork, synthetic=MODEL, loss=0.01)
    truth = swarms_of(network)
    wanted = sorted(truth, key=lambda each: truth[each].peers)
    async with open_survey(network, store) as survey:
        await survey.measure(wanted, tally=MeasurementCounts())
        await survey.measure(wanted, tally=MeasurementCounts())
    assert (survey.counts.direct, survey.counts.by_lookup) == (0, 80)
    async with open_survey(network, store, seed=2) as survey:
        await survey.measure(wanted, tally=MeasurementCounts())
    later = [row for row in store.rows("swarm_samples") if row["id"] > 40]

    assert len(later) == 80
    plain = [row for row in later if row["nodes_answered"] == CLOSEST]  # for others more nodes were wanted
    assert len(plain) >= 70
    assert max(row["bytes_sent"] + row["bytes_received"] for row in plain) < 8200
    for row in later:
        assert row["nodes_answered"] >= 8
        swarm = truth[bytes.fromhex(row["info_hash"])]
        assert row["peers"] == pytest.approx(swarm.peers, rel=0.1, abs=0.5)
    assert_explained(store)


async def test_lookups_find_the_nodes_that_are_closest(new_network, autojump_clock, store):
    network = new_network(4, WatchedNetwork, synthetic=replace(MODEL, stale=0.0))
    nodes, wanted = live_nodes(network), list(swarms_of(network))[:10]
    async with open_survey(network, store) as survey:
        await survey.measure(wanted, tally=MeasurementCounts())
    asked = defaultdict(list)
    for row in store.rows("scrape_replies"):
        asked[row["sample_id"]].append(bytes.fromhex(row["node_id"]))
    for sample in store.rows("swarm_samples"):
        target = int(sample["info_hash"], 16)
        closest = sorted((node_id for node_id, _ in nodes), key=lambda each: int.from_bytes(each) ^ target)
        assert asked[sample["id"]] == closest[: len(asked[sample["id"]])]


async def test_outside_of_the_zone_of_a_census_nodes_are_looked_up(new_network, autojump_clock, store):
    network = new_network(5, WatchedNetwork, synthetic=MODEL)
    zone = Zone(1, 1)
    record_census(store, [node for node in live_nodes(network) if zone.covers(node[0])], zone=("1", 1))
    wanted = list(swarms_of(network))
    async with open_survey(network, store) as survey:
        await survey.measure(wanted, tally=MeasurementCounts())
    inside = sum(zone.covers(each) for each in wanted)
    assert (survey.counts.direct, survey.counts.by_lookup) == (inside, 40 - inside)


async def test_census_is_read_whole_once_many_batches_have_read_of_it(
    new_network, autojump_clock, store, monkeypatch
):
    monkeypatch.setattr("crawler.swarms.node_source.MOST_PIECES", 3)
    network = new_network(15, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))
    read, near, answered = [], store.known.near, store.known.answered
    store.known.near = lambda *values: read.append("some") or near(*values)
    store.known.answered = lambda *values: read.append("all") or answered(*values)
    async with open_survey(network, store) as survey:
        for wanted in list(swarms_of(network))[:6]:
            await survey.measure([wanted], tally=MeasurementCounts())
    assert read == ["some"] * 3 + ["all"]
    assert (survey.counts.direct, survey.counts.by_lookup) == (6, 0)


async def test_no_more_are_under_way_than_asked_for(new_network, autojump_clock, store):
    network = new_network(16, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))
    under_way = []
    async with open_survey(network, store) as survey:
        await survey.measure(
            swarms_of(network),
            tally=MeasurementCounts(),
            at_once=3,
            on_sample=lambda _: under_way.append(len(survey._jobs) + 1),
        )
    assert max(under_way) == 3


async def test_bad_start_does_not_slow_down_the_rest(new_network, autojump_clock, store, monkeypatch):
    """The first few swarms fail because no node answers; of the others as many are under way as may be."""
    monkeypatch.setattr("crawler.swarms.survey.FEW", 4)
    network = new_network(17, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))
    tally, under_way, failing = MeasurementCounts(), [], [NotJoined("no node answered")]
    async with open_survey(network, store) as survey:
        prepare = survey.nodes.prepare

        async def prepare_later(wanted):
            if failing:
                raise failing.pop()
            await prepare(wanted)

        survey.nodes.prepare = prepare_later
        await survey.measure(
            swarms_of(network),
            tally=tally,
            at_once=3,
            on_sample=lambda _: under_way.append(len(survey._jobs) + 1),
        )
    assert (tally.measured, tally.failed) == (36, 4)
    assert max(under_way) == 3


async def test_nodes_may_be_handed_over_in_memory(new_network, autojump_clock, store):
    """As by a census in the same process; the database is not asked then."""
    network = new_network(6, WatchedNetwork, synthetic=MODEL)
    known = PackedNodes(
        Family.IPV4,
        (
            (node_id, int.from_bytes(bytes(map(int, address.host.split(".")))) << 16 | address.port)
            for node_id, address in live_nodes(network)
        ),
    )
    async with open_survey(network, store) as survey:
        survey.nodes.hand_over({Family.IPV4: known}, FreshCensus(7, Zone(), utc_text(EPOCH), True))
        await survey.measure(list(swarms_of(network))[:10], tally=MeasurementCounts())

    assert (survey.counts.direct, survey.counts.by_lookup) == (10, 0)


@pytest.mark.parametrize(
    ("census", "is_fresh"),
    [
        ({}, True),
        ({"ended_at": EPOCH - 5 * HOUR}, True),
        ({"ended_at": EPOCH - 7 * HOUR}, False),
        ({"ended_at": EPOCH + 7 * HOUR}, False),
        ({"status": RunStatus.INTERRUPTED}, False),
        ({"status": RunStatus.RUNNING}, True),
    ],
)
def test_which_census_is_fresh(store, census, is_fresh):
    run_id = record_census(store, [(b"n" * 20, Address("95.0.0.1", 1))], **census)
    found = store.known.fresh_census(EPOCH - 6 * HOUR, EPOCH)
    assert (found is not None) is is_fresh
    if found is not None:
        assert (found.run_id, found.zone) == (run_id, Zone())
        assert found.is_finished is (census.get("status") is not RunStatus.RUNNING)
        assert list(store.known.answered(found, Family.IPV4)) == [(b"n" * 20, Address("95.0.0.1", 1))]
        assert list(store.known.answered(found, Family.IPV6)) == []


def test_census_without_addresses_or_without_its_process_is_of_no_use(tmp_path):
    """Prefixes cannot be asked, and what a killed run has missed is not known."""
    with CrawlDatabase.open(tmp_path / "a.db", anonymize=True) as store:
        record_census(store, [(b"n" * 20, Address("95.0.0.1", 1))])
        assert store.known.fresh_census(0.0, 2 * EPOCH) is None
    with CrawlDatabase.open(tmp_path / "b.db") as store:
        record_census(store, [(b"n" * 20, Address("95.0.0.1", 1))], status=RunStatus.RUNNING)
        assert store.known.fresh_census(0.0, 2 * EPOCH) is not None
    with CrawlDatabase.open(tmp_path / "b.db") as store:
        assert store.known.fresh_census(0.0, 2 * EPOCH) is None


async def test_liars_are_marked_and_left_out(new_network, autojump_clock, store):
    """Who names 40 peers of any swarm is asked about one that does not exist, and not believed again."""
    network = new_network(7, WatchedNetwork, synthetic=replace(MODEL, nodes=100, stale=0.0))
    nodes = live_nodes(network)
    invented = tuple(bytes([60, 1, 2, number, 4, 5]) for number in range(40))
    network.lies = {address: {"values": invented} for _, address in nodes[::5]}
    record_census(store, nodes)
    truth = swarms_of(network)
    async with open_survey(network, store) as survey:
        for _ in range(3):  # who is asked often comes to its turn
            await survey.measure(truth, tally=MeasurementCounts(), at_once=4)

    last = [row for row in store.rows("swarm_samples") if row["id"] > 2 * 40]
    right = sum(row["peers"] <= 1.1 * truth[bytes.fromhex(row["info_hash"])].peers + 1 for row in last)
    assert right >= 30
    assert survey.canaries.caught >= 15
    marked = [row for row in store.rows("scrape_replies") if row["marks"]]
    liars = {node_id.hex() for node_id, address in nodes if address in network.lies}
    assert {row["node_id"] for row in marked} <= liars
    words = {word for row in marked for word in row["marks"].split()}
    assert "answers-anything" in words <= set(Mark)
    assert {row["values_count"] for row in marked} == {40}
    assert_explained(store)


async def test_no_address_gets_more_than_ten_packets_in_ten_seconds(new_network, autojump_clock, store):
    network = new_network(8, WatchedNetwork, synthetic=replace(MODEL, nodes=40, swarms=30))
    record_census(store, live_nodes(network))
    settings = CrawlSettings(rate=20, new_endpoints_rate=5)
    async with open_survey(network, store, settings=settings) as survey:
        await survey.measure(swarms_of(network), tally=MeasurementCounts())

    by_address = defaultdict(list)
    for when, address in network.sent:
        by_address[address].append(when)
    for times in by_address.values():
        assert all(late - early > 10 for early, late in zip(times, times[10:], strict=False))
    times = [when for when, _ in network.sent]
    assert len(times) > 200
    assert all(late - early > 0.9 for early, late in zip(times, times[40:], strict=False))
    assert max(row["nodes_answered"] for row in store.rows("swarm_samples")) >= 8


async def test_excluded_nodes_are_neither_asked_nor_written(new_network, autojump_clock, store):
    network = new_network(9, WatchedNetwork, synthetic=MODEL)
    nodes = live_nodes(network)
    excluded = Exclusion([ip_network("95.0.0.0/9")], [nodes[0][0]])
    for fresh in (6 * HOUR, 0.0):
        async with open_survey(network, store, excludes=excluded.excludes, fresh=fresh) as survey:
            if fresh:
                record_census(store, nodes)
            await survey.measure(list(swarms_of(network))[:20], tally=MeasurementCounts())

    barred = ip_network("95.0.0.0/9")
    asked = {address.host for _, address in network.sent}
    assert len(asked) > 20
    assert not any(barred.supernet_of(ip_network(host)) for host in asked)
    assert not any(barred.supernet_of(ip_network(row["address"])) for row in store.rows("scrape_replies"))
    assert nodes[0][0].hex() not in {row["node_id"] for row in store.rows("scrape_replies")}


async def test_swarm_is_a_failure_when_no_node_answers(new_network, autojump_clock, store):
    network = new_network(10, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))
    wanted, tally, failures = list(swarms_of(network))[:3], MeasurementCounts(), []
    async with open_survey(network, store) as survey:
        network.cut(network.host(CRAWLER))
        await survey.measure(
            wanted, tally=tally, on_failure=lambda info_hash, error: failures.append((info_hash, str(error)))
        )
    assert (tally.measured, tally.failed) == (0, 3)
    assert sorted(failures) == sorted((each, "no node answered") for each in wanted)
    assert store.rows("swarm_samples") == []


async def test_measuring_may_be_cut_short_and_begun_again(new_network, autojump_clock, store):
    network = new_network(11, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))
    truth, tally = swarms_of(network), MeasurementCounts()
    async with open_survey(network, store) as survey:
        with trio.move_on_after(0.5):
            await survey.measure(truth, tally=tally, at_once=2)
        assert 0 < tally.measured < 40
        before = len(network.sent)
        await trio.sleep(60)
        assert len(network.sent) == before
        await survey.measure(truth, tally=tally)
    assert len(store.rows("swarm_samples")) == tally.measured > 40


async def test_mistake_in_what_is_told_comes_out(new_network, autojump_clock, store):
    network = new_network(12, WatchedNetwork, synthetic=MODEL)
    record_census(store, live_nodes(network))

    def fail(scrape):
        raise KeyError(scrape.info_hash)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_survey(network, store) as survey:
            await survey.measure(swarms_of(network), tally=MeasurementCounts(), on_sample=fail)
    assert caught.group_contains(KeyError)


async def test_no_address_of_a_peer_reaches_the_disk(new_network, autojump_clock, tmp_path):
    """Neither as text nor packed, in 4 or 6 bytes, in the tables or in what is not yet tidied up."""
    network = new_network(13, WatchedNetwork, synthetic=replace(MODEL, swarms=4, largest=60))
    swarms = network.synthetic.swarms
    with CrawlDatabase.open(tmp_path / "swarms.db") as store:
        record_census(store, live_nodes(network))
        async with open_survey(network, store) as survey:
            await survey.measure(swarms_of(network), tally=MeasurementCounts())
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    named = sum(row is not None for row in survey.counts.queries)

    peers = {
        peer
        for place in range(4)
        for rank in swarms.holders(place)
        if (stored := swarms.stored(place, rank)) is not None
        for peer in stored.peers
    }
    assert len(peers) > 100
    assert named
    assert any(pack_host(address.host) in written for _, address in live_nodes(network))
    for peer in peers:
        host = ".".join(map(str, peer[:4]))
        assert host.encode() not in written
        for packed in (peer, peer[:4], peer[3::-1]):
            assert packed not in written
            assert packed.hex().encode() not in written


async def test_both_families_count_for_one_swarm(autojump_clock, store):
    network, both = MemoryNetwork(seed=14), (Family.IPV4, Family.IPV6)
    wanted = InfoHash(b"\x77" * 20)
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(network.open_nodes(9, families=both))
        for number, node in enumerate(nodes[:5]):
            await node.announce(wanted, 7000 + number, seed=number < 2)
        through = nodes[0].addresses
        node = await stack.enter_async_context(network.open_node(CRAWLER, families=both, through=through))
        run_id = store.runs.begin("scrape", {}, "0.1", utc_text(EPOCH))
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
        askers = [BulkClient[Any](network.socket(network.host(CRAWLER, family), 7000)) for family in both]
        survey = SwarmSurvey(node, writer, askers, UNLIMITED, Random(1), wall_clock=wall_clock)
        await survey.measure([wanted], tally=MeasurementCounts())

    replies = store.rows("scrape_replies")
    assert Counter(row["family"] for row in replies) == {4: 8, 6: 8}
    (sample,) = store.rows("swarm_samples")
    assert (sample["seeds"], sample["leechers"], sample["peers"]) == (2, 3, 5)  # each has two addresses
    assert (sample["peers_low"], sample["peers_high"]) == (5, 10)
    assert (sample["seeds_low"], sample["seeds_high"]) == (2, 4)
    assert_explained(store)


async def test_both_commands_give_the_same_numbers(new_network, autojump_clock, store):
    model = replace(MODEL, stale=0.0, swarms=2, largest=1500, capped=0.0, cap_others=0)
    networks = [new_network(5, WatchedNetwork, synthetic=model) for _ in range(2)]
    for network in networks:
        network.lies = {address: {"values": None} for _, address in live_nodes(network)}
    info_hash, swarm = max(swarms_of(networks[0]).items(), key=lambda item: item[1].peers)
    measured = []
    async with open_survey(networks[0], store) as survey:
        await survey.measure([info_hash], tally=MeasurementCounts(), on_sample=measured.append)
    async with networks[1].open_node(0, through=networks[1].synthetic.bootstrap_nodes()) as node:
        measured.append(await node.scrape(info_hash))

    by_survey, by_node = measured
    assert swarm.peers >= 1000
    assert by_survey.nodes_answered > CLOSEST
    assert by_node.estimate == by_survey.estimate
    assert by_node.estimate.peers == pytest.approx(swarm.peers, rel=0.1)
    stores = [
        {
            (node.node_id, node.seeds_filter, node.peers_filter)
            for node in each.observations
            if node.has_filters
        }
        for each in measured
    ]
    assert stores[0] == stores[1] != set()
