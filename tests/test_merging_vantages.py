"""Three vantages of one network know more together than the best of them alone, in any order."""

import sqlite3
from contextlib import AsyncExitStack, closing
from itertools import permutations
from random import Random
from statistics import fmean

import trio

from crawler.census import take_census
from crawler.measure import Tally, measure_swarms
from crawler.merging import merge
from crawler.records import RunStatus, utc_text
from crawler.session import Session
from crawler.settings import CrawlSettings
from crawler.store import Store
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.writer import open_writer
from dhtnode import BulkAsker, InfoHash, NodeSettings
from tests.vantages import EPOCH, merged

NETWORK = SyntheticSettings(nodes=400, stale=0.2, seed=7, swarms=12, largest=300, bep33=0.7, announce=0.6)
LOSS = 0.2


async def call(function, *args, limiter):
    """Stand in for the worker thread, which virtual time does not wait for."""
    return function(*args)


async def crawl(path, seed):
    """Take a census and measure all swarms, and return the truth about them.

    The network is the same for all seeds; which packets are lost is not.
    """
    trio._core._run._r.seed(seed)  # the order of tasks, so that a failure can be replayed
    network = SyntheticMemoryNetwork(NETWORK, seed=seed, loss=LOSS)
    began_at = trio.current_time()
    truth = {swarm.info_hash: swarm.peers for swarm in network.synthetic.swarms}

    def wall_clock():
        return EPOCH + trio.current_time() - began_at

    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(path))
        run_id = store.begin_run("demo", {}, "0.1", utc_text(wall_clock()))
        node = await stack.enter_async_context(
            network.open_node(0, through=network.synthetic.ways_in(), settings=NodeSettings(read_only=True))
        )
        async with open_writer(store, run_id, run_sync=call) as writer:
            wanted = [InfoHash(info_hash) for info_hash in truth]
            await measure_swarms(node, writer, wanted, at_once=12, tally=Tally(), wall_clock=wall_clock)
            socket = network.socket(network.host(0), 7000)
            stack.callback(socket.close)
            asker = BulkAsker(socket, random_bytes=Random(f"asker {seed}").randbytes)
            session = Session(run_id, {}, node, writer, (asker,), [])
            await take_census(session, CrawlSettings(rate=0), Random(seed))
        store.finish_run(run_id, RunStatus.FINISHED, utc_text(wall_clock()))
    return {info_hash.hex(): peers for info_hash, peers in truth.items()}


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def answered(path):
    return set(rows(path, "SELECT node_id, address, port FROM nodes WHERE last_answer IS NOT NULL"))


def error(truth, sizes):
    """Return the mean distance of sizes from the truth, as a share of it."""
    return fmean(abs(found - truth[swarm]) / truth[swarm] for swarm, found in sizes)


async def test_three_vantages_know_more_than_the_best_of_them(autojump_clock, tmp_path):
    """More nodes than anybody saw, sizes at least as good as the best ones, and no order matters."""
    paths = [tmp_path / f"{name}.db" for name in "abc"]
    for seed, path in enumerate(paths, 1):
        truth = await crawl(path, seed)
    for number, order in enumerate(permutations(paths)):
        for path in order:
            merge(tmp_path / f"{number}.db", [path])

    target = tmp_path / "0.db"
    assert answered(target) == set().union(*map(answered, paths))
    assert len(answered(target)) > max(len(answered(path)) for path in paths)

    alone = [rows(path, "SELECT info_hash, peers FROM swarm_samples") for path in paths]
    together = rows(target, "SELECT info_hash, peers FROM combined_samples")
    assert max(map(len, alone)) <= len(together) == len(truth)
    assert error(truth, together) <= min(error(truth, sizes) for sizes in alone)

    assert all(merged(tmp_path / f"{number}.db") == merged(target) for number in range(1, 6))
