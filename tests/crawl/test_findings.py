"""What a census ends with, on networks where the truth is known: sizes, alarms, marks, views."""

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest
from bencode2 import bdecode

from crawler.core.exclusion import Area
from crawler.core.frontier import ANSWERED, UNRESPONSIVE, Sighting
from crawler.core.session import Session
from crawler.core.visit import OpenVisit
from crawler.crawl.census import describe, record, take_census
from crawler.crawl.findings import compute_findings
from crawler.crawl.network_sizes import Tally
from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import Journal, RunStatus, epoch_seconds
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings
from crawler.synthetic.hostile import STYLES
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeId, NodeSettings
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation
from tests.measurements import measurement_of
from tests.virtual_time import call
from tests.visits import visit_of

pytestmark = pytest.mark.slow

T0 = "2025-06-01T12:00:00.000Z"
WHOLE = Zone()
UNLIMITED = CrawlSettings(rate=0)


@asynccontextmanager
async def open_crawl(network, bootstrap_nodes=()):
    """Open what a census of a synthetic network needs, and the store to look at afterwards."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(CrawlDatabase.open(":memory:"))
        run_id = store.runs.begin("census", {}, "0.1", T0)
        through = [*network.synthetic.bootstrap_nodes(), *bootstrap_nodes]
        settings = NodeSettings(read_only=True)
        node = await stack.enter_async_context(network.open_node(0, through=through, settings=settings))
        writer = await stack.enter_async_context(open_writer(store, run_id, run_sync=call))
        asker = BulkClient[OpenVisit](network.socket(network.host(0), 7000))
        yield Session(run_id, {}, node, writer, (asker,)), store


class SybilNetwork(SyntheticMemoryNetwork):
    """Add nodes that name each other only, and answer whatever they are asked."""

    def __init__(self, settings, sybils, **options):
        super().__init__(settings, **options)
        self.sybils = sybils
        self._contacts = [
            node_id + IPv4Address(address.host).packed + address.port.to_bytes(2, "big")
            for address, node_id in sybils.items()
        ]
        self._choice = Random("sybils")

    def carry(self, data, source, destination, now):
        node_id = self.sybils.get(destination)
        if node_id is None:
            super().carry(data, source, destination, now)
            return
        named = b"".join(self._choice.sample(self._contacts, 8))
        transaction_id = bdecode(data)[b"t"]
        reply = b"d1:rd2:id20:%b5:nodes%d:%be1:t%d:%b1:y1:re"
        filled = reply % (node_id, len(named), named, len(transaction_id), transaction_id)
        super().carry(filled, destination, source, now)


def suspects(store):
    return [(row["test"], row["subject"]) for row in store.rows("sybil_suspects")]


async def test_sizes_hold_the_truth(autojump_clock):
    truth, held, errors, alarms = 1500, Counter(), [], 0
    for seed in range(4):
        settings = SyntheticSettings(nodes=truth, stale=0.3, seed=seed)
        network = SyntheticMemoryNetwork(settings, seed=seed, loss=0.02)
        async with open_crawl(network) as (session, store):
            progress = await take_census(session, UNLIMITED, Random(seed))

            (row,) = store.rows("network_size")
            held["crawl"] += row["low"] <= truth <= row["high"]
            held["distances"] += row["by_distances_low"] <= truth <= row["by_distances_high"]
            errors.append(row["estimate"] / truth - 1)
            answered = progress.outcomes[Outcome.ANSWERED]
            assert (row["sighted"], row["answered_once"]) == (progress.frontier.sighted, answered)
            assert {row["distinct_ids"], row["distinct_endpoints"], row["distinct_ips"]} == {answered}
            alarms += len(suspects(store))

    # Each holds it in 95 of 100 runs: fewer than two of four is as rare as 1 in 2000.
    assert min(held["crawl"], held["distances"]) >= 2
    assert abs(sum(errors)) / len(errors) < 0.003
    # Five tests of four networks, each wrong in one of 100: more than two are as rare as 1 in 1000.
    assert alarms <= 2


async def test_zone_tells_the_size_of_the_whole(autojump_clock):
    """A quarter of the id space is visited, and the interval is as wide as that makes it."""
    network = SyntheticMemoryNetwork(SyntheticSettings(nodes=2000, stale=0.3, seed=7), seed=7, loss=0.02)
    async with open_crawl(network) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(7), Area(Zone(0b10, 2)))

        sizes = {size.method: size for size in progress.findings.sizes}
        assert {size.zone for size in sizes.values()} == {"10"}
        assert sizes["counted"].estimate == 4 * progress.outcomes[Outcome.ANSWERED]
        for method in ("crawl", "chapman", "distances"):
            # Twice the way to the end of the interval: four standard errors.
            low, high = sizes[method].low, sizes[method].high
            assert abs(sizes[method].estimate - 2000) < high - low
            assert 0.1 < (high - low) / 2000 < 0.6
        assert [row["zone"] for row in store.rows("network_size")] == ["10"]


async def test_printed_record_and_lines_hold_the_findings(autojump_clock):
    network = SyntheticMemoryNetwork(SyntheticSettings(nodes=100, seed=3), seed=3)
    async with open_crawl(network) as (session, _):
        progress = await take_census(session, UNLIMITED, Random(3))

    printed = record(progress)
    assert [(size["family"], size["method"]) for size in printed["sizes"]] == [
        (4, "counted"),
        (4, "crawl"),
        (4, "chapman"),
        (4, "distances"),
    ]
    crawl = printed["sizes"][1]
    assert crawl["low"] <= crawl["estimate"] <= crawl["high"]
    assert printed["alarms"] == 0
    lines = describe(progress).splitlines()
    about = f"IPv4: about {crawl['estimate']:.0f} nodes, {crawl['low']:.0f} to {crawl['high']:.0f}"
    assert lines[1:] == [about, "0 alarms"]


async def test_planted_sybils_raise_the_alarms_made_for_them(autojump_clock):
    """Ids on one host, ids in one zone, and ids around a watched one: each is found, nothing else is."""
    random, zone = Random(11), 0b10110100
    watched = Zone(0b0001, 4).random_id(random)
    crowd = {Address("95.0.0.1", 1000 + port): NodeId(random.randbytes(20)) for port in range(40)}
    dense = {Address(f"95.0.0.{host}", 6881): Zone(zone, 8).random_id(random) for host in range(10, 60)}
    near = {
        Address(f"95.0.0.{host}", 6881): NodeId(watched[:3] + random.randbytes(17))
        for host in range(100, 110)
    }
    settings = SyntheticSettings(nodes=1500, stale=0.3, seed=11)
    network = SybilNetwork(settings, crowd | dense | near, seed=11)
    async with open_crawl(network, bootstrap_nodes=list(crowd)[:2]) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(11), watched=[watched])

        found = suspects(store)
        visited = {row["address"] for row in store.rows("visits") if row["outcome"] == "answered"}
        assert {address.host for address in network.sybils} <= visited
        planted = {
            ("ids on one host", "95.0.0.1"),
            ("ids in one zone", f"{zone:08b}"),
            ("dispersion of zones", "all zones"),
            ("closeness", watched.hex()),
            ("prefixes", watched.hex()),
        }
        assert planted <= set(found)
        assert [subject for test, subject in found if test == "ids on one host"] == ["95.0.0.1"]
        # The ten around the watched id are many for a zone, too.
        assert {subject for test, subject in found if test == "ids in one zone"} <= {
            f"{zone:08b}",
            f"{watched[0]:08b}",
        }
        assert progress.findings.alarms == len(found)
        assert progress.outcomes[Outcome.ANSWERED] == store.rows("network_size")[0]["answered_once"]


async def test_liars_are_marked_and_honest_nodes_are_not(autojump_clock):
    settings = SyntheticSettings(nodes=1000, stale=0.3, seed=5, hostile=0.25)
    network = SyntheticMemoryNetwork(settings, seed=5)
    population = network.synthetic.population
    names = ("honest", *STYLES)
    style_of = {
        population.address(population.ranks[number])[0]: names[population.styles[number]]
        for number in range(settings.nodes)
    }
    async with open_crawl(network) as (session, store):
        await take_census(session, UNLIMITED, Random(5))

        visited = {row["address"] for row in store.rows("visits")}
        marks = {}
        for row in store.rows("suspect_nodes"):
            marks.setdefault(row["address"], set()).add(row["mark"])
    nodes = Counter(style_of[host] for host in visited if host in style_of)
    marked = Counter(style_of.get(host, "dead") for host in marks)

    shares = {style: marked[style] / nodes[style] for style in nodes}
    assert not marked["dead"]
    for style in ("honest", "errors"):
        assert shares[style] == 0
    for style in ("wrong id", "foreign source", "bogus nodes", "oversized", "garbage"):
        assert shares[style] == 1
    assert shares["flood"] > 0.8
    assert {frozenset(found) for host, found in marks.items() if style_of[host] == "wrong id"} == {
        frozenset({"wrong-id"})
    }
    assert all("oversized" in found for host, found in marks.items() if style_of[host] == "oversized")


def sighting_counts():
    return Counter(
        {
            Sighting(ANSWERED, 1, (True, False), False): 3,
            Sighting(ANSWERED, 2, (True, True), True): 2,
            Sighting(ANSWERED, 7, (True, True), False): 4,
            Sighting(ANSWERED, 0, (False, False), False): 1,
            Sighting(UNRESPONSIVE, 1, (False, True), False): 2,
        }
    )


def test_tally_counts_what_the_estimate_needs():
    """Nodes that answered only, by who named them; seven and more are five and more."""
    counts = Tally(sighting_counts(), 10, 8, 10).crawl_counts(3)
    assert (counts.answered, counts.by_a, counts.by_b, counts.by_both) == (10, 9, 6, 6)
    assert (counts.named, counts.recovered) == ((3, 2, 0, 0, 4), 2)
    assert (counts.second_sent, counts.second_unanswered, counts.zone_bits) == (10, 2, 3)


def answered_visit(node_id, host, version=b"LT\x02\x01", port=6881, outcome=Outcome.ANSWERED, **other):
    contents = {"rtt_ms": 50.0, "version": version} | other
    return visit_of(node_id, Address(host, port), epoch_seconds(T0), outcome, **contents)


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


def test_closest_ids_are_those_of_a_full_search(store):
    random = Random(1)
    ids = [random.randbytes(20) for _ in range(300)]
    ids += [ids[0][:15] + random.randbytes(5) for _ in range(300)]
    run_id = store.runs.begin("census", {}, "0.1", T0)
    visits = [answered_visit(each, f"192.0.{number >> 8}.{number & 255}") for number, each in enumerate(ids)]
    silent = [answered_visit(random.randbytes(20), "192.0.9.9", outcome=Outcome.TIMEOUT) for _ in range(300)]
    store.write(run_id, [*visits, *silent])
    numbers = [int.from_bytes(each, "big") for each in ids]

    with store.visits.by_node(run_id) as nodes_of:
        nodes = nodes_of(Family.IPV4)
        for target in [*numbers[:2], numbers[0] ^ 1 << 140, *(random.getrandbits(160) for _ in range(50))]:
            others = sorted((each for each in numbers if each != target), key=target.__xor__)
            assert nodes.closest(target, 8) == others[:8]
            assert nodes.closest(target, 400) == others[:400]
        in_zones = [nodes.count(zone, 4) for zone in range(16)]
        assert in_zones == [sum(each >> 156 == zone for each in numbers) for zone in range(16)]
        assert nodes_of(Family.IPV6).closest(numbers[0], 8) == []


def test_both_families_are_added_up(store):
    random = Random(2)
    run_id = store.runs.begin("census", {}, "0.1", T0)
    hosts = [f"192.0.2.{each}" for each in range(60)] + [f"2001:db8::{each:x}" for each in range(1, 41)]
    store.write(run_id, [answered_visit(random.randbytes(20), host) for host in hosts])
    tallies = {
        family: Tally(Counter({Sighting(ANSWERED, 7, (True, True), False): nodes}), nodes, nodes, nodes)
        for family, nodes in ((Family.IPV4, 60), (Family.IPV6, 40))
    }
    compute_findings(store, run_id, tallies, WHOLE, Random(3))
    store.runs.finish(run_id, RunStatus.FINISHED, T0)

    rows = store.rows("network_size")
    assert [(row["family"], row["answered_once"], row["estimate"]) for row in rows] == [
        (4, 60, 60),
        (6, 40, 40),
        (None, 100, 100),
    ]
    assert all(row["by_distances_low"] < row["by_distances"] < row["by_distances_high"] for row in rows)
    # A second time replaces the first.
    compute_findings(store, run_id, tallies, WHOLE, Random(3))
    assert store.rows("network_size") == rows


def test_no_answers_give_no_size(store):
    run_id = store.runs.begin("census", {}, "0.1", T0)
    store.write(run_id, [answered_visit(bytes(20), "192.0.2.1", outcome=Outcome.TIMEOUT)])
    findings = compute_findings(store, run_id, {Family.IPV4: Tally(Counter(), 0, 0, 0)}, WHOLE, Random(1))
    assert (findings.sizes, findings.tests) == ((), ())
    assert [(row["sighted"], row["estimate"]) for row in store.rows("network_size")] == [(1, None)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_machine_full_of_nodes_is_no_alarm(store, host):
    run_id = store.runs.begin("census", {}, "0.1", T0)
    visits = [answered_visit(bytes([port] * 20), host, port=1000 + port) for port in range(50)]
    store.write(run_id, visits)
    tally = Tally(Counter({Sighting(ANSWERED, 7, (True, True), False): 50}), 50, 50, 50)
    family = Address(host, 1).family
    assert compute_findings(store, run_id, {family: tally}, WHOLE, Random(1)).tests == ()


def test_client_census_shows_what_is_known_of_each_client(store):
    """Shares of those that could be judged, and NULL where nothing is known."""
    ids = [bytes([number] * 20) for number in range(6)]
    run_id = store.runs.begin("census", {}, "0.1", T0)
    store.write(
        run_id,
        [
            answered_visit(ids[0], "192.0.2.0", b"LT\x02\x01", conforms=True, rtt_ms=10.0),
            answered_visit(ids[1], "192.0.2.1", b"LT\x01\x01", conforms=False, rtt_ms=20.0),
            answered_visit(ids[2], "192.0.2.2", b"LT\x01\x01", conforms=True, rtt_ms=30.0),
            answered_visit(ids[3], "192.0.2.3", None),
            answered_visit(ids[4], "192.0.2.4", b"UT\x01\x01", outcome=Outcome.TIMEOUT, rtt_ms=None),
        ],
    )
    filters = {"seeds_filter": bytes(256), "peers_filter": bytes(256)}
    replies = [
        Observation(NodeId(ids[number]), Address(f"192.0.2.{number}", 6881), number, version=b"LT\x01\x01")
        for number in (0, 1)
    ]
    replies[1] = replace(replies[1], **filters)
    store.write(run_id, [measurement_of(InfoHash(bytes(20)), T0, (*replies,))])
    store.runs.finish(run_id, RunStatus.INTERRUPTED, T0)

    lt = {"run_id": 1, "client": "LT", "nodes": 3, "share": 0.75, "rtt_ms": 20.0, "bep33": 0.5}
    unknown = {"run_id": 1, "client": "unknown", "nodes": 1, "share": 0.25, "rtt_ms": 50.0, "bep33": None}
    assert store.rows("client_census") == [
        lt | {"bep42": 0.6667, "bep51": None},
        unknown | {"bep42": None, "bep51": None},
    ]

    taken = [(ids[0], Outcome.ANSWERED), (ids[1], Outcome.UNSUPPORTED), (ids[2], Outcome.TIMEOUT)]
    where = Address("192.0.2.1", 6881)
    samples = [NodeSample(node_id, where, T0, outcome, version=b"LT\x01\x01") for node_id, outcome in taken]
    store.write(run_id, [SampleBatch(samples, Journal(Family.IPV4, b"", b""))])
    store.runs.finish(run_id, RunStatus.FINISHED, T0)
    assert [row["bep51"] for row in store.rows("client_census")] == [0.5, None]
