"""What a census ends with, on networks where the truth is known: sizes, alarms, marks, views."""

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import numpy as np
import pytest
import trio
from bencode2 import bdecode

from crawler.core.contact_table import ContactTable
from crawler.core.exclusion import Area
from crawler.core.session import Session
from crawler.core.sightings import ANSWERED, UNRESPONSIVE, Sighting
from crawler.core.visit import OpenVisit
from crawler.crawl.answered_nodes import AnsweredNodes
from crawler.crawl.census import take_census
from crawler.crawl.census_progress import describe, record
from crawler.crawl.findings import compute_findings
from crawler.crawl.network_sizes import FamilyTally, Tally
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
from dhtnode.addresses import pack_host
from dhtnode.krpc import unpack_address
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
        for method in ("crawl", "distances"):
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
        (4, "without inventors"),
        (4, "distances"),
    ]
    crawl = printed["sizes"][1]
    assert crawl["low"] <= crawl["estimate"] <= crawl["high"]
    assert printed["alarms"] == 0
    lines = describe(progress).splitlines()
    between = f"{crawl['low']:.0f} to {crawl['high']:.0f}"
    size = f"{crawl['estimate']:.0f} hosts, {between}; at {crawl['estimate']:.0f} endpoints, {between}"
    assert lines[1:] == [f"IPv4: about {size}", "0 alarms"]
    # Each node has a host of its own: as many of both.
    (endpoints,) = printed["endpoints"]
    assert endpoints == crawl | {"method": "endpoints", "unit": "endpoints"}
    assert printed["suspects"] == []


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


def nodes_of(contacts, family=Family.IPV4):
    """Return the nodes of these ids, hosts and ports, all of which have answered."""
    table = ContactTable(family.contact_bytes, Random(1))
    packed = [node_id + pack_host(host) + port.to_bytes(2, "big") for node_id, host, port in contacts]
    rows = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), family.contact_bytes)
    table.add(rows, table.keys(rows))
    return AnsweredNodes(table, np.arange(len(packed)), family)


def tally_of(contacts, family=Family.IPV4):
    nodes, count = nodes_of(contacts, family), len(contacts)
    tally = Tally(nodes, Counter({Sighting(ANSWERED, 7, (True, True), False): count}), count, count)
    return FamilyTally(tally, tally, nodes)


def test_tally_counts_what_the_estimate_needs():
    """Nodes that answered only, by who named them; seven and more are five and more."""
    counts = Tally(nodes_of([]), sighting_counts(), 10, 8).crawl_counts(3)
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


@pytest.mark.parametrize("family", Family)
def test_closest_ids_are_those_of_a_full_search(family):
    """Also of ids that share 64 bits or more, and of one id at several endpoints."""
    random = Random(1)
    ids = [random.randbytes(20) for _ in range(300)]
    ids += [ids[0][:7] + random.randbytes(13) for _ in range(200)]
    ids += [ids[1][:15] + random.randbytes(5) for _ in range(200)]
    at = "192.0.2.1" if family is Family.IPV4 else "2a00::1"
    nodes = nodes_of([(each, at, 1000 + port) for port, each in enumerate([*ids, *ids[:350]])], family)
    numbers = [int.from_bytes(each, "big") for each in ids]

    for target in [*numbers[:3], numbers[1] ^ 1, numbers[1] ^ 1 << 140, *map(random.getrandbits, [160] * 50)]:
        others = sorted((each for each in numbers if each != target), key=target.__xor__)
        for k in (8, 400, 1000):
            assert nodes.closest(target, k) == others[:k]
    for bits in (0, 4, 64):
        found = Counter(each >> 160 - bits for each in numbers)
        assert {zone: nodes.count(zone, bits) for zone in found} == found
    assert nodes_of([], family).closest(numbers[0], 8) == []


def test_hosts_are_addresses_of_ipv4_and_networks_of_64_bits_of_ipv6():
    """A host with one id at many ports has one id."""
    ids = [bytes([number] * 20) for number in range(9)]
    ipv4 = [(each, "192.0.2.1", 1) for each in ids[:5]] + [(ids[5], "192.0.2.2", n) for n in range(9)]
    nodes = nodes_of([(each, host, 1000 + port) for port, (each, host, _) in enumerate(ipv4)])
    assert (+nodes.hosts_with(), nodes.hosts_above(4)) == ({1: 1, 5: 1}, {"192.0.2.1": 5})
    ipv6 = [(each, f"2a00:0:0:1::{each[0]}", 1) for each in ids[:5]] + [(ids[5], "2a00:0:0:2::1", 1)]
    nodes = nodes_of(ipv6, Family.IPV6)
    assert (+nodes.hosts_with(), nodes.hosts_above(4)) == ({1: 1, 5: 1}, {"2a00:0:0:1::/64": 5})


async def test_few_hosts_with_many_ports_do_not_make_a_network_large(autojump_clock):
    """One host in a hundred answers on 64 ports, under an id on each: sizes count hosts, and say so.

    Each host is sent ten packets in ten seconds, so all its ports would take minutes.
    """
    random, truth = Random(13), 600
    crowd = {
        Address(f"95.0.0.{host}", 1000 + port): NodeId(random.randbytes(20))
        for host in range(6)
        for port in range(64)
    }
    network = SybilNetwork(SyntheticSettings(nodes=truth, stale=0.3, seed=13), crowd, seed=13)
    async with open_crawl(network, bootstrap_nodes=list(crowd)[:12]) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(13))
        assert trio.current_time() < 60

        sizes = {size.method: size for size in progress.findings.sizes}
        assert {size.unit for method, size in sizes.items() if method != "endpoints"} == {"hosts"}
        for method in ("counted", "crawl", "chapman"):
            assert truth - 6 <= sizes[method].estimate <= truth + 12
        assert sizes["distances"].low <= truth + 6 <= sizes["distances"].high
        assert truth + 30 <= sizes["endpoints"].estimate <= truth + 384
        (row,) = store.rows("network_size")
        assert (row["unit"], row["endpoints"]) == ("hosts", round(sizes["endpoints"].estimate))
        crowded = [row for row in store.rows("sybil_suspects") if row["test"] == "ids on one host"]
        assert {row["subject"] for row in crowded} == {f"95.0.0.{host}" for host in range(6)}
        for row in crowded:
            text = f"{row['observed']:.0f} ids on one host, where 1.00 are usual; sizes count the host once"
            assert row["observed"] > 5
            assert row["explanation"].startswith(text)
    assert len(describe(progress).splitlines()) == 1 + 1 + 1 + 5 + 1


class EndlessNetwork(SybilNetwork):
    """Let the nodes that were added name addresses at random, at each of which one more of them answers."""

    def carry(self, data, source, destination, now):
        if destination in self.sybils:
            hosts = [bytes([96, *self._choice.randbytes(3)]) for _ in range(8)]
            self._contacts = [self._choice.randbytes(20) + host + b"\x1a\xe1" for host in hosts]
            self.sybils |= {unpack_address(each[20:]): NodeId(each[:20]) for each in self._contacts}
        super().carry(data, source, destination, now)


async def test_endless_invented_nodes_are_held_back_and_left_out_of_sizes(autojump_clock):
    random, truth = Random(17), 400
    known = {Address(f"95.0.{host}.1", 6881): NodeId(random.randbytes(20)) for host in range(4)}
    network = EndlessNetwork(SyntheticSettings(nodes=truth, seed=17), dict(known), seed=17)
    async with open_crawl(network, bootstrap_nodes=list(known)) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(17))

        assert progress.frontier.held > 0
        assert progress.frontier.answered < 2 * truth
        sizes = {size.method: size for size in progress.findings.sizes}
        for method in ("counted", "crawl", "endpoints"):
            assert truth - 4 <= sizes[method].estimate <= truth + 8
        (alarm,) = [row for row in store.rows("sybil_suspects") if "one other" in row["test"]]
        assert alarm["observed"] == progress.frontier.answered - sizes["counted"].estimate
        assert f"{progress.frontier.held} more were not visited" in alarm["explanation"]


def test_both_families_are_added_up(store):
    random = Random(2)
    run_id = store.runs.begin("census", {}, "0.1", T0)
    hosts = [f"192.0.2.{each}" for each in range(60)] + [f"2001:db8:0:{each:x}::1" for each in range(1, 41)]
    contacts = [(random.randbytes(20), host, 6881) for host in hosts]
    store.write(run_id, [answered_visit(node_id, host) for node_id, host, _ in contacts])
    tallies = {Family.IPV4: tally_of(contacts[:60]), Family.IPV6: tally_of(contacts[60:], Family.IPV6)}
    compute_findings(store, run_id, tallies, WHOLE, Random(3))
    store.runs.finish(run_id, RunStatus.FINISHED, T0)

    rows = store.rows("network_size")
    assert [(row["family"], row["answered_once"], row["estimate"], row["endpoints"]) for row in rows] == [
        (4, 60, 60, 60),
        (6, 40, 40, 40),
        (None, 100, 100, 100),
    ]
    assert all(row["by_distances_low"] < row["by_distances"] < row["by_distances_high"] for row in rows)
    # A second time replaces the first.
    compute_findings(store, run_id, tallies, WHOLE, Random(3))
    assert store.rows("network_size") == rows


def test_no_answers_give_no_size(store):
    run_id = store.runs.begin("census", {}, "0.1", T0)
    store.write(run_id, [answered_visit(bytes(20), "192.0.2.1", outcome=Outcome.TIMEOUT)])
    findings = compute_findings(store, run_id, {Family.IPV4: tally_of([])}, WHOLE, Random(1))
    assert (findings.sizes, findings.tests) == ((), ())
    assert [(row["sighted"], row["estimate"]) for row in store.rows("network_size")] == [(1, None)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_machine_full_of_nodes_is_no_alarm(store, host):
    run_id = store.runs.begin("census", {}, "0.1", T0)
    family = Address(host, 1).family
    tally = tally_of([(bytes([port] * 20), host, 1000 + port) for port in range(50)], family)
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

    lt = {
        "run_id": 1,
        "client": "LT",
        "client_name": "libtorrent",
        "nodes": 3,
        "share": 0.75,
        "rtt_ms": 20.0,
        "bep33": 0.5,
    }
    unknown = {
        "run_id": 1,
        "client": "unknown",
        "client_name": "unknown",
        "nodes": 1,
        "share": 0.25,
        "rtt_ms": 50.0,
        "bep33": None,
    }
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
