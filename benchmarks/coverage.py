"""How often the intervals of a census hold the truth, over many synthetic networks and the real engine.

    python -m benchmarks.coverage [--nodes 1000] [--runs 200] [--first 1] [--stale 0.3] [--loss 0.02]
                                  [--hostile 0] [--bootstrap-nodes 0] [--rate 0] [--cut 0]
                                  [--second-walk 400] [--processes 2] [--json FILE]

Each run draws another synthetic network (`--first` is the seed of the first), takes a census of it as
`dhtcrawl census` does, with the engine, the database and packets that get lost, but inside a
`MemoryNetwork` and in virtual time, and compares each size with the number of live nodes.  The columns
are those of `benchmarks.sizes`, where the crawl is a model too and a run costs a tenth.
With `--bootstrap-nodes` there are so many of them only, and runs that found no node are counted.
With `--hostile`, such a share of the nodes is of all styles that lie or invent: the truth is then of those
nodes that answer a census, and for `without inventors` without those that hand out nodes which do not exist.
Printed is also how many nodes were taken for such, by what they are.
With `--cut`, each census, of `--rate` queries a second, is cut after so many seconds, and its size is the one
that it knows so far.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from crawler.core.visit import OpenVisit, VisitMark
from crawler.crawl.census import take_census
from crawler.crawl.census_progress import Progress
from crawler.crawl.network_sizes import WITHOUT_INVENTORS
from crawler.db.database import CrawlDatabase
from crawler.db.writer import open_writer
from crawler.settings import SECOND_WALK, CrawlSettings
from crawler.synthetic.hostile import STYLES
from crawler.synthetic.liars import LIARS
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


INVENTORS = ("bogus nodes", "flood")
ANSWERING = ("honest", *INVENTORS, "oversized", *LIARS)


@dataclass(frozen=True, slots=True)
class Measured:
    """How many nodes answered a census, each size by its method, and who was taken for an inventor.

    `truth` is how many there are, by the same names.

    `styles` has for each kind of node how many answered, and how many of them were.
    """

    answered: int
    truth: Mapping[str, int]
    sizes: Mapping[str, NetworkSize]
    styles: Mapping[str, tuple[int, int]]


async def _take(
    synthetic: SyntheticSettings,
    loss: float,
    bootstrap_nodes: int,
    rate: float,
    seconds: float,
    second_walk: int,
) -> Measured | None:
    network = SyntheticMemoryNetwork(synthetic, seed=synthetic.seed, loss=loss)
    settings, known = CrawlSettings(rate=rate, new_endpoints_rate=rate / 2), list[Progress]()
    async with _open_session(network, bootstrap_nodes) as session:
        with trio.move_on_after(seconds):
            try:
                progress = await take_census(
                    session,
                    settings,
                    Random(synthetic.seed),
                    second_walk=second_walk,
                    when_cut=known.append,
                )
            except NotJoined:
                return None
            known.append(progress)
        visits = await session.writer.call(lambda store: store.rows("visits"))
    (progress,) = known
    findings = progress.findings
    sizes = {
        size.method: NetworkSize(size.estimate, size.low or 0.0, size.high or 0.0, 0.0)
        for size in (findings.sizes if findings else ())
        if size.family is not None
    }
    styles, there = _styles(network, visits), network.synthetic.population.settings.nodes
    if synthetic.hostile:
        there = _there(network, styles)
    inventing = sum(styles.get(style, (0, 0))[0] for style in INVENTORS)
    truth = {method: there - inventing * (method == WITHOUT_INVENTORS) for method in sizes}
    return Measured(progress.frontier.answered, truth, sizes, styles)


def _there(network: SyntheticMemoryNetwork, styles: Mapping[str, tuple[int, int]]) -> int:
    """Return how many nodes answer a census: those of some styles all, of the rest those that did."""
    population, names = network.synthetic.population, ("honest", *STYLES)
    members = Counter(names[population.styles[number]] for number in range(population.settings.nodes))
    others = sum(answered for style, (answered, _) in styles.items() if style not in ANSWERING)
    return others + sum(members[style] for style in ANSWERING)


def _styles(
    network: SyntheticMemoryNetwork, visits: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[int, int]]:
    population, names = network.synthetic.population, ("honest", *STYLES)
    style_of = {
        population.address(population.ranks[number])[0]: names[population.styles[number]]
        for number in range(population.settings.nodes)
    }
    answered, taken = Counter[str](), Counter[str]()
    for row in visits:
        if row["outcome"] == "answered" and row["address"] in style_of:
            style = style_of[row["address"]]
            answered[style] += 1
            taken[style] += VisitMark.INVENTED_CONTACTS in (row["marks"] or "").split()
    return {style: (answered[style], taken[style]) for style in answered}


def measure(
    seed: int,
    *,
    nodes: int,
    stale: float,
    loss: float,
    hostile: float = 0,
    bootstrap_nodes: int = 0,
    rate: float = 0,
    cut: float = 0,
    second_walk: int = SECOND_WALK,
) -> Measured | None:
    """Take a census of one network; None when no node answered at the start."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    settings = SyntheticSettings(nodes=nodes, stale=stale, seed=seed, hostile=hostile)
    return trio.run(_take, settings, loss, bootstrap_nodes, rate, cut or inf, second_walk, clock=clock)


def _scaled(size: NetworkSize, by: float) -> NetworkSize:
    return NetworkSize(size.estimate * by, size.low * by, size.high * by, size.variance)


@benchmark(
    option.count("--nodes", 1000, "live nodes of each network"),
    option.count("--runs", 200, "networks"),
    option.count("--first", 1, "seed of the first network", at_least=0),
    option.STALE,
    option.LOSS,
    option.number("--hostile", 0.0, "share of the nodes that are hostile", at_least=0, at_most=1),
    option.count("--bootstrap-nodes", 0, "bootstrap nodes, 0 for all of the network", at_least=0),
    option.number("--rate", 0, "queries a second, 0 for no limit", at_least=0, at_most=1000),
    option.number("--cut", 0, "seconds until a census is cut, 0 for never", at_least=0, at_most=1000),
    option.count("--second-walk", SECOND_WALK, "nodes of a second walk, 0 for none", at_least=0),
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
        hostile=options.hostile,
        bootstrap_nodes=options.bootstrap_nodes,
        rate=options.rate,
        cut=options.cut,
        second_walk=options.second_walk,
    )
    seeds = range(options.first, options.first + options.runs)
    with ProcessPoolExecutor(options.processes) as processes:
        by_seed = zip(seeds, processes.map(one, seeds), strict=True)
        started = [(seed, found) for seed, found in by_seed if found is not None]
    print(f"\n{options.runs - len(started)} of {options.runs} runs found no node")
    by_method, styles = defaultdict[str, list[NetworkSize]](list), defaultdict[str, list[int]](lambda: [0, 0])
    for _, found in started:
        for method, size in found.sizes.items():
            by_method[method].append(_scaled(size, options.nodes / found.truth[method]))
        for style, counts in found.styles.items():
            styles[style] = [total + each for total, each in zip(styles[style], counts, strict=True)]
    report["measurements"] = [
        {"seed": seed, "answered": found.answered, "styles": found.styles}
        | {method: [size.estimate, size.low, size.high] for method, size in found.sizes.items()}
        for seed, found in started
    ]
    answered = mean(found.answered for _, found in started)
    print(f"\n{options.nodes} nodes, {options.runs} runs, {answered:.1f} answered on average\n")
    rows = [result_row(method, options.nodes, sizes) for method, sizes in by_method.items()]
    print(table(COLUMNS, rows), flush=True)
    taken = [[style, f"{total}", f"{some}"] for style, (total, some) in sorted(styles.items())]
    print("\n" + table(("nodes", "answered", "taken for inventors"), taken), flush=True)


if __name__ == "__main__":
    sys.exit(main())
