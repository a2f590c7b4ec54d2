"""Three vantages of one network know more together than the best of them alone, in any order."""

from contextlib import AsyncExitStack
from random import Random
from statistics import fmean

import pytest
import trio

from crawler.core.session import Session
from crawler.crawl.census import take_census
from crawler.db.database import CrawlDatabase
from crawler.db.merge.merge import merge
from crawler.db.records.records import RunStatus, utc_text
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import InfoHash, NodeSettings
from dhtnode.net import BulkClient
from tests.databases import rows
from tests.vantages import EPOCH, merged
from tests.virtual_time import call

pytestmark = pytest.mark.slow

NETWORK = SyntheticSettings(nodes=300, stale=0.2, seed=7, swarms=16, largest=300, bep33=0.7, announce=0.6)
LOSS = 0.2


async def crawl(path, seed):
    """Take a census and measure all swarms, and return the truth about them: peers, and seeds of them.

    The network is the same for all seeds; which packets are lost is not.
    """
    trio._core._run._r.seed(seed)  # the order of tasks, so that a failure can be replayed
    network = SyntheticMemoryNetwork(NETWORK, seed=seed, loss=LOSS)
    began_at = trio.current_time()
    truth = {swarm.info_hash: (swarm.peers, swarm.seeds) for swarm in network.synthetic.swarms}

    def wall_clock():
        return EPOCH + trio.current_time() - began_at

    async with AsyncExitStack() as stack:
        store = stack.enter_context(CrawlDatabase.open(path))
        run_id = store.runs.begin("demo", {}, "0.1", utc_text(wall_clock()))
        node = await stack.enter_async_context(
            network.open_node(
                0, through=network.synthetic.bootstrap_nodes(), settings=NodeSettings(read_only=True)
            )
        )
        async with open_writer(store, run_id, run_sync=call) as writer:
            socket = network.socket(network.host(0), 7000)
            stack.callback(socket.close)
            asker = BulkClient(socket, random_bytes=Random(f"asker {seed}").randbytes)
            survey = SwarmSurvey(
                node, writer, [asker], CrawlSettings(rate=0), Random(seed), wall_clock=wall_clock
            )
            await survey.measure(map(InfoHash, truth), at_once=12, tally=MeasurementCounts())
            session = Session(run_id, {}, node, writer, (asker,))
            await take_census(session, CrawlSettings(rate=0), Random(seed))
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(wall_clock()))
    return {info_hash.hex(): sizes for info_hash, sizes in truth.items()}


def answered(path):
    return set(rows(path, "SELECT node_id, address, port FROM nodes WHERE last_answer IS NOT NULL"))


def errors(truth, sizes):
    return [abs(found - truth[swarm][0]) / truth[swarm][0] for swarm, found in sizes]


def assert_held(truth, path):
    """Nearly all intervals of combined samples hold the truth: of peers, seeds and leechers."""
    columns = (f"{subject}_{end}" for subject in ("peers", "seeds", "leechers") for end in ("low", "high"))
    found = rows(path, f"SELECT info_hash, {', '.join(columns)} FROM combined_samples")
    for place in range(3):
        held = []
        for swarm, *ends in found:
            peers, seeds = truth[swarm]
            low, high = ends[2 * place : 2 * place + 2]
            held.append(low <= (peers, seeds, peers - seeds)[place] <= high)
        assert sum(held) >= len(held) - 2, place


async def test_three_vantages_know_more_together(autojump_clock, tmp_path):
    """More nodes than any of them saw, sizes closer than theirs on average, and no order matters."""
    paths = [tmp_path / f"{name}.db" for name in "abc"]
    for seed, path in enumerate(paths, 1):
        truth = await crawl(path, seed)
    target, other = tmp_path / "all.db", tmp_path / "other.db"
    merge(target, paths)
    for path in reversed(paths):
        merge(other, [path])

    assert answered(target) == set().union(*map(answered, paths))
    assert len(answered(target)) > max(len(answered(path)) for path in paths)

    alone = [rows(path, "SELECT info_hash, peers FROM swarm_samples") for path in paths]
    together = rows(target, "SELECT info_hash, peers FROM combined_samples")
    # Nothing is known of a swarm that was not measured.
    unknown = [sum(errors(truth, sizes)) + len(truth) - len(sizes) for sizes in alone]
    assert sum(errors(truth, together)) + len(truth) - len(together) < fmean(unknown)
    # The same stores have been asked, so what none stores is unknown to all: no better than this.
    assert fmean(errors(truth, together)) <= fmean(fmean(errors(truth, sizes)) for sizes in alone)
    assert len(together) == len(truth)
    assert_held(truth, target)

    assert merged(other) == merged(target)
