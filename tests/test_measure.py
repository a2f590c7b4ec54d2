"""Measuring many swarms: a few at once, each outcome told once, and rows that say what was measured."""

from dataclasses import dataclass, field

import pytest
import trio

from crawler.measure import Tally, measure_swarms, sample_of
from crawler.records import ScrapeReplyRow, SwarmSample, utc_text
from crawler.store import Store
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.writer import open_writer
from dhtnode import (
    MARKS,
    Address,
    Contact,
    InfoHash,
    NodeId,
    NotJoined,
    Scrape,
    ScrapeFilter,
    ScrapeReply,
    estimate_swarm,
    evidence_of,
    open_node,
)
from dhtnode.testing import MemoryNetwork, open_testnet

EPOCH = 1_700_000_000.0
EPOCH_TEXT = "2023-11-14T22:13:20.000Z"
PEERS = tuple(Address(f"198.51.100.{number}", 6881) for number in range(1, 6))


def info_hash(number):
    return InfoHash(bytes([number]) * 20)


def scrape_of(number):
    """Return a measurement by two nodes, one of them without BEP 33."""
    replies = (
        ScrapeReply(
            Contact(NodeId(b"a" * 20), Address("192.0.2.1", 1)),
            0.0123,
            ScrapeFilter(),
            ScrapeFilter(),
            PEERS[:3],
            b"LT\x02\x00",
            100,
            600,
        ),
        ScrapeReply(
            Contact(NodeId(b"b" * 20), Address("192.0.2.2", 2)), 0.2, None, None, PEERS[2:], None, 90, 300
        ),
    )
    return Scrape(info_hash(number), estimate_swarm(replies), replies, 3, 2, 500, 2000, ((), ()))


@dataclass
class ScriptedNode:
    """Stand in for a node: every scrape takes a second, and fails when told to."""

    failing: tuple[InfoHash, ...] = ()
    under_way: int = 0
    most: int = 0
    asked: list[InfoHash] = field(default_factory=list)

    async def scrape(self, wanted):
        """Return a made-up measurement, or fail."""
        self.asked.append(wanted)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await trio.sleep(1.0)
        self.under_way -= 1
        if wanted in self.failing:
            raise NotJoined("no node answered")
        return scrape_of(wanted[0])


async def call(function, *args, limiter):
    """Stand in for the worker thread, which virtual time does not wait for."""
    return function(*args)


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        opened.begin_run("scrape", {}, "0.1", EPOCH_TEXT)
        yield opened


@pytest.mark.parametrize(("at_once", "seconds"), [(1, 10.0), (4, 3.0), (64, 1.0)])
async def test_no_more_are_measured_at_once_than_asked_for(autojump_clock, store, at_once, seconds):
    """The bound holds, and it is used: ten swarms of a second each."""
    node = ScriptedNode()
    tally = Tally()
    started_at = trio.current_time()
    async with open_writer(store, 1, run_sync=call) as writer:
        await measure_swarms(
            node, writer, [info_hash(number) for number in range(10)], at_once=at_once, tally=tally
        )

    assert node.most == min(at_once, 10)
    assert trio.current_time() - started_at == pytest.approx(seconds)
    assert tally == Tally(measured=10, failed=0)
    assert sorted(node.asked) == [info_hash(number) for number in range(10)]


async def test_swarm_that_nobody_answers_for_leaves_no_row(autojump_clock, store):
    """It is told once as a failure, and the others are measured all the same."""
    wanted = [info_hash(number) for number in range(5)]
    node = ScriptedNode(failing=(wanted[1], wanted[3]))
    tally, samples, failures = Tally(), [], []
    async with open_writer(store, 1, run_sync=call) as writer:
        await measure_swarms(
            node,
            writer,
            wanted,
            at_once=2,
            tally=tally,
            on_sample=lambda scrape: samples.append(scrape.info_hash),
            on_failure=lambda wanted, error: failures.append((wanted, str(error))),
            wall_clock=lambda: EPOCH,
        )

    kept = [wanted[0], wanted[2], wanted[4]]
    assert tally == Tally(measured=3, failed=2)
    assert sorted(samples) == kept
    assert sorted(failures) == [(wanted[1], "no node answered"), (wanted[3], "no node answered")]
    assert sorted(row["info_hash"] for row in store.rows("swarms")) == [each.hex() for each in kept]
    assert sorted(row["info_hash"] for row in store.rows("swarm_samples")) == [each.hex() for each in kept]


async def test_mistake_of_ours_is_not_a_failed_swarm(autojump_clock, store):
    """Only what the network says is counted; anything else comes out."""

    class BrokenNode(ScriptedNode):
        async def scrape(self, wanted):
            raise KeyError(wanted)

    tally = Tally()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_writer(store, 1, run_sync=call) as writer:
            await measure_swarms(BrokenNode(), writer, [info_hash(1)], at_once=1, tally=tally)

    assert caught.group_contains(KeyError)
    assert tally == Tally()


def test_sample_says_what_the_scrape_said():
    """Every number of the estimate and of each reply is in the rows, closest node first."""
    scrape = scrape_of(7)
    estimate = scrape.estimate
    first, second = evidence_of(scrape.replies, b"key")

    assert sample_of(scrape, EPOCH_TEXT, "given", b"key") == SwarmSample(
        info_hash=info_hash(7),
        taken_at=EPOCH_TEXT,
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=estimate.peers,
        peers_low=estimate.peers_low,
        peers_high=estimate.peers_high,
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_asked=3,
        nodes_answered=2,
        nodes_with_filters=1,
        distinct_peers=5,
        bytes_sent=500,
        bytes_received=2000,
        replies=(
            ScrapeReplyRow(
                NodeId(b"a" * 20),
                Address("192.0.2.1", 1),
                0,
                bytes(256),
                bytes(256),
                3,
                b"LT\x02\x00",
                12.3,
                named_tokens=b"".join(sorted(first.named)),
                named_filter=first.named_filter.to_bytes(),
                unplaced_filter=first.unplaced_filter.to_bytes(),
            ),
            ScrapeReplyRow(
                NodeId(b"b" * 20),
                Address("192.0.2.2", 2),
                1,
                None,
                None,
                3,
                None,
                200.0,
                named_tokens=b"".join(sorted(second.named)),
                named_filter=second.named_filter.to_bytes(),
                unplaced_filter=second.unplaced_filter.to_bytes(),
            ),
        ),
        source="given",
        seeds_low=estimate.seeds_low,
        seeds_high=estimate.seeds_high,
        leechers_low=estimate.leechers_low,
        leechers_high=estimate.leechers_high,
        overlap=estimate.overlap,
        coverage=estimate.coverage,
        estimates=estimate.estimates,
    )


async def test_measurement_through_a_network_is_recorded(store):
    """From swarms in real stores over real sockets to rows, with the truth inside the interval."""
    sizes = {info_hash(1): (3, 4), info_hash(2): (0, 1), info_hash(3): (30, 20)}
    async with open_testnet(10, seed=1) as testnet:
        for wanted, (seeds, leechers) in sizes.items():
            testnet.place_swarm(wanted, seeds, leechers)
        async with open_node(bootstrap=testnet.bootstrap) as node, open_writer(store, 1) as writer:
            await measure_swarms(node, writer, list(sizes), at_once=2, tally=Tally(), source="test")

    rows = {bytes.fromhex(row["info_hash"]): row for row in store.rows("swarm_samples")}
    assert rows.keys() == sizes.keys()
    for wanted, (seeds, leechers) in sizes.items():
        row = rows[wanted]
        assert row["peers_low"] <= seeds + leechers <= row["peers_high"]
        assert row["bytes_sent"] > 0 < row["bytes_received"]
    assert [row["source"] for row in store.rows("swarms")] == ["test"] * 3
    holders = {node.node_id.hex() for node in testnet.nodes}
    assert {row["node_id"] for row in store.rows("scrape_replies")} <= holders
    assert len(store.rows("scrape_replies")) == sum(row["nodes_answered"] for row in rows.values())


async def test_swarm_of_nobody_is_measured_as_empty(autojump_clock, store):
    """Zero is a measurement; only silence is none."""
    network = MemoryNetwork(seed=1)
    async with network.open_nodes(10) as nodes, open_writer(store, 1, run_sync=call) as writer:
        await measure_swarms(nodes[3], writer, [info_hash(9)], at_once=1, tally=Tally())

    (row,) = store.rows("swarm_samples")
    assert (row["seeds"], row["leechers"], row["peers"], row["distinct_peers"]) == (0, 0, 0, 0)


async def test_replies_that_cannot_be_true_are_marked_and_left_out(autojump_clock):
    """A third of the nodes lie, about swarms too: sizes are near the truth all the same."""
    settings = SyntheticSettings(nodes=400, hostile=0.3, swarms=12, largest=300, capped=0.0, seed=4)
    network = SyntheticMemoryNetwork(settings, seed=4)
    marks, errors = set(), []
    async with network.open_node(0, through=network.synthetic.ways_in()) as node:
        for swarm in network.synthetic.swarms:
            scrape = await node.scrape(InfoHash(swarm.info_hash))
            assert len(scrape.marks) == len(scrape.replies)
            marks.update(*scrape.marks)
            errors.append(abs(scrape.estimate.peers - swarm.peers) / swarm.peers)
            rows = sample_of(scrape, utc_text(0.0), "given", b"key").replies
            assert [row.marks for row in rows] == [
                tuple(word.replace(" ", "-") for word in words) for words in scrape.marks
            ]
    assert {"impossible count", "unknown to the others"} <= marks <= set(MARKS)
    assert sorted(errors)[len(errors) // 2] < 0.05
