"""How often the intervals of a census hold the truth, over many synthetic networks and the real engine.

    python -m benchmarks.coverage [--nodes 1000] [--runs 200] [--first 1] [--stale 0.3] [--loss 0.02]
                                  [--processes 2] [--json FILE]

Each run draws another synthetic network (`--first` is the seed of the first), takes a census of it as
`dhtcrawl census` does, with the engine, the database and packets that get lost, but inside a
`MemoryNetwork` and in virtual time, and compares each size with the number of live nodes.  The columns
are those of `benchmarks.sizes`, where the crawl is a model too and a run costs a tenth.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from statistics import mean
from typing import Any

import trio
import trio.testing

from benchmarks.sizes.__main__ import COLUMNS, result_row
from benchmarks.tools.command import new_parser, option_values, run_benchmark
from benchmarks.tools.report import head, new_report, table
from crawler.analysis.species_richness import NetworkSize
from crawler.core.session import Session
from crawler.core.visit import OpenVisit
from crawler.crawl.census import take_census
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import NodeSettings
from dhtnode.net import BulkClient

_STARTED_AT = "2025-06-01T12:00:00.000Z"


async def _call(function: Callable[..., Any], *args: Any, limiter: object) -> Any:
    """Stand in for the worker thread, which virtual time does not wait for."""
    del limiter
    return function(*args)


@asynccontextmanager
async def _open_session(network: SyntheticMemoryNetwork) -> AsyncIterator[Session]:
    with CrawlDatabase.open(":memory:") as store:
        run_id = store.runs.begin("census", {}, "benchmark", _STARTED_AT)
        bootstrap_nodes, settings = network.synthetic.bootstrap_nodes(), NodeSettings(read_only=True)
        async with (
            network.open_node(0, through=bootstrap_nodes, settings=settings) as node,
            open_writer(store, run_id, run_sync=_call) as writer,
        ):
            asker = BulkClient[OpenVisit](network.socket(network.host(0), 7000))
            yield Session(run_id, {}, node, writer, (asker,))


async def _take(synthetic: SyntheticSettings, loss: float) -> tuple[int, dict[str, NetworkSize]]:
    network = SyntheticMemoryNetwork(synthetic, seed=synthetic.seed, loss=loss)
    async with _open_session(network) as session:
        progress = await take_census(session, CrawlSettings(rate=0), Random(synthetic.seed))
    findings = progress.findings
    sizes = findings.sizes if findings else ()
    return progress.frontier.answered, {
        size.method: NetworkSize(size.estimate, size.low or 0.0, size.high or 0.0, 0.0)
        for size in sizes
        if size.family is not None
    }


def measure(seed: int, *, nodes: int, stale: float, loss: float) -> tuple[int, dict[str, NetworkSize]]:
    """Take a census of one network; return how many nodes answered, and each size by its method."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    settings = SyntheticSettings(nodes=nodes, stale=stale, seed=seed)
    return trio.run(_take, settings, loss, clock=clock)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Take all censuses and return the report."""
    report = new_report("coverage", option_values(options))
    print(head(report))
    one = partial(measure, nodes=options.nodes, stale=options.stale, loss=options.loss)
    seeds = range(options.first, options.first + options.runs)
    with ProcessPoolExecutor(options.processes) as processes:
        results = list(processes.map(one, seeds))
    by_method = defaultdict[str, list[NetworkSize]](list)
    for _, sizes in results:
        for method, size in sizes.items():
            by_method[method].append(size)
    report["measurements"] = [
        {"seed": seed, "answered": answered}
        | {method: [size.estimate, size.low, size.high] for method, size in sizes.items()}
        for seed, (answered, sizes) in zip(seeds, results, strict=True)
    ]
    answered = mean(count for count, _ in results)
    print(f"\n{options.nodes} nodes, {options.runs} runs, {answered:.1f} answered on average\n")
    rows = [result_row(method, options.nodes, sizes) for method, sizes in by_method.items()]
    print(table(COLUMNS, rows), flush=True)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = new_parser("coverage", __doc__)
    parser.add_argument("--nodes", type=int, default=1000, help="live nodes of each network")
    parser.add_argument("--runs", type=int, default=200, help="networks")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="of the first network")
    parser.add_argument("--stale", type=float, default=0.3, help="share of contacts that never answer")
    parser.add_argument("--loss", type=float, default=0.02, help="share of datagrams, each way")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    if min(options.nodes, options.runs, options.processes) < 1:
        parser.error("at least one node, one run and one process")
    if not (0 <= options.stale < 0.95 and 0 <= options.loss < 1):
        parser.error("shares lie within 0 and 1, that of stale contacts below 0.95")
    return run_benchmark("coverage", run, options)


if __name__ == "__main__":
    sys.exit(main())
