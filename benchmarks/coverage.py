"""How often the intervals of a census hold the truth, over many synthetic networks and the real engine.

    python -m benchmarks.coverage [--nodes 1000] [--runs 200] [--first 1] [--stale 0.3] [--loss 0.02]
                                  [--bootstrap-nodes 0] [--rate 0] [--cut 0] [--processes 2] [--json FILE]

Each run draws another synthetic network (`--first` is the seed of the first), takes a census of it as
`dhtcrawl census` does, with the engine, the database and packets that get lost, but inside a
`MemoryNetwork` and in virtual time, and compares each size with the number of live nodes.  The columns
are those of `benchmarks.sizes`, where the crawl is a model too and a run costs a tenth.
With `--bootstrap-nodes` there are so many of them only, and runs that found no node are counted.
With `--cut`, each census, of `--rate` queries a second, is cut after so many seconds, and its size is the one
that it knows so far.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from random import Random
from statistics import mean
from typing import Any

import trio
import trio.testing

from benchmarks.sizes.__main__ import COLUMNS, result_row
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis.species_richness import NetworkSize
from crawler.core.session import Session
from crawler.core.visit import OpenVisit
from crawler.crawl.census import Progress, take_census
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import NodeSettings, NotJoined
from dhtnode.net import BulkClient

_STARTED_AT = "2025-06-01T12:00:00.000Z"


async def _call(function: Callable[..., Any], *args: Any, limiter: object) -> Any:
    """Stand in for the worker thread, which virtual time does not wait for."""
    del limiter
    return function(*args)


@asynccontextmanager
async def _open_session(network: SyntheticMemoryNetwork, bootstrap_nodes: int) -> AsyncIterator[Session]:
    with CrawlDatabase.open(":memory:") as store:
        run_id = store.runs.begin("census", {}, "benchmark", _STARTED_AT)
        through = network.synthetic.bootstrap_nodes()[: bootstrap_nodes or None]
        settings = NodeSettings(read_only=True)
        async with (
            network.open_node(0, through=through, settings=settings) as node,
            open_writer(store, run_id, run_sync=_call) as writer,
        ):
            asker = BulkClient[OpenVisit](network.socket(network.host(0), 7000))
            yield Session(run_id, {}, node, writer, (asker,))


async def _take(
    synthetic: SyntheticSettings, loss: float, bootstrap_nodes: int, rate: float, seconds: float
) -> tuple[int, dict[str, NetworkSize]] | None:
    network = SyntheticMemoryNetwork(synthetic, seed=synthetic.seed, loss=loss)
    settings, known = CrawlSettings(rate=rate, new_endpoints_rate=rate / 2), list[Progress]()
    async with _open_session(network, bootstrap_nodes) as session:
        with trio.move_on_after(seconds):
            try:
                progress = await take_census(session, settings, Random(synthetic.seed), when_cut=known.append)
            except NotJoined:
                return None
            known.append(progress)
    (progress,) = known
    findings = progress.findings
    sizes = findings.sizes if findings else ()
    return progress.frontier.answered, {
        size.method: NetworkSize(size.estimate, size.low or 0.0, size.high or 0.0, 0.0)
        for size in sizes
        if size.family is not None
    }


def measure(
    seed: int,
    *,
    nodes: int,
    stale: float,
    loss: float,
    bootstrap_nodes: int = 0,
    rate: float = 0,
    cut: float = 0,
) -> tuple[int, dict[str, NetworkSize]] | None:
    """Take a census of one network; return how many nodes answered, and each size by its method.

    None when no node answered at the start.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    settings = SyntheticSettings(nodes=nodes, stale=stale, seed=seed)
    return trio.run(_take, settings, loss, bootstrap_nodes, rate, cut or inf, clock=clock)


@benchmark(
    option.count("--nodes", 1000, "live nodes of each network"),
    option.count("--runs", 200, "networks"),
    option.count("--first", 1, "seed of the first network", at_least=0),
    option.STALE,
    option.LOSS,
    option.count("--bootstrap-nodes", 0, "bootstrap nodes, 0 for all of the network", at_least=0),
    option.number("--rate", 0, "queries a second, 0 for no limit", at_least=0, at_most=1000),
    option.number("--cut", 0, "seconds until a census is cut, 0 for never", at_least=0, at_most=1000),
    option.count("--processes", 2),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Take all censuses and return the report."""
    print(head(report))
    one = partial(
        measure,
        nodes=options.nodes,
        stale=options.stale,
        loss=options.loss,
        bootstrap_nodes=options.bootstrap_nodes,
        rate=options.rate,
        cut=options.cut,
    )
    seeds = range(options.first, options.first + options.runs)
    with ProcessPoolExecutor(options.processes) as processes:
        by_seed = zip(seeds, processes.map(one, seeds), strict=True)
        started = [(seed, found) for seed, found in by_seed if found is not None]
    print(f"\n{options.runs - len(started)} of {options.runs} runs found no node")
    results = [found for _, found in started]
    by_method = defaultdict[str, list[NetworkSize]](list)
    for _, sizes in results:
        for method, size in sizes.items():
            by_method[method].append(size)
    report["measurements"] = [
        {"seed": seed, "answered": answered}
        | {method: [size.estimate, size.low, size.high] for method, size in sizes.items()}
        for seed, (answered, sizes) in started
    ]
    answered = mean(count for count, _ in results)
    print(f"\n{options.nodes} nodes, {options.runs} runs, {answered:.1f} answered on average\n")
    rows = [result_row(method, options.nodes, sizes) for method, sizes in by_method.items()]
    print(table(COLUMNS, rows), flush=True)


if __name__ == "__main__":
    sys.exit(main())
