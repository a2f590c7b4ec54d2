"""How well the size of a network is known after a crawl, over many simulated networks.

    python -m benchmarks.sizes [--runs 200] [--nodes 2000,10000] [--zone-bits 0] [--stale 0.3] [--loss 0.02]
                               [--tail 1.2] [--deep 1] [--lookups 25] [--seed 1] [--json FILE]

Each run draws a network (see `benchmarks.sizes.model`), crawls it as `dhtcrawl census` does, and
applies the estimators of `crawler.analysis` to the counts:

- counted: the nodes that answered, nothing added;
- crawl: `size_from_crawl`, the headline; without an interval of their own, also with Chapman
  or Chao1 in the place of its estimate of unnamed nodes, and as if no two nodes were missed together;
- Chapman: its own formula and interval, from two half-crawls;
- distances: `evenness` of the ids that answered, no count of its own;
- lookups k=...: `size_from_distances` after lookups instead of a crawl, silent nodes asked twice.

Bias and RMSE are in per cent of the true number of live nodes; "holds" is the share of runs in which the
95 % interval held the truth, "width" its mean width, "below" and "above" say on which side it missed.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import sqrt
from random import Random
from statistics import mean, stdev

import numpy as np

from benchmarks.sizes.model import ID_BITS, WIDTH, Crawl, ModelNetwork, SizeModel, looked_up_distances
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis.crawl_size import CrawlCounts, CrawlSize, size_from_crawl
from crawler.analysis.distance_size import Distances, size_from_distances
from crawler.analysis.mean_distance import evenness, mean_distance
from crawler.analysis.species_richness import NetworkSize, chapman
from dhtnode.swarm import chao1

COLUMNS = ("estimator", "bias %", "+-", "RMSE %", "holds %", "below", "above", "width %")


def measure(
    model: SizeModel, seed: str, *, zone_bits: int = 0, lookups: int = 0
) -> tuple[CrawlCounts, dict[str, NetworkSize]]:
    """Draw one network, crawl it, and return the counts and each estimate by name."""
    random = Random(seed)
    network = ModelNetwork(model, random)
    crawl = Crawl(network, random, zone_bits=zone_bits)
    counts = crawl.run()
    found = size_from_crawl(counts)
    sizes = {"crawl": found.size} | _rivals(counts, found)
    if not zone_bits:
        sizes |= _by_distances(crawl.answered_ids(), found)
        for k in (WIDTH // 2, WIDTH) if lookups else ():
            values = looked_up_distances(network, random, lookups, k)
            sizes[f"lookups k={k}"] = size_from_distances(Distances(tuple(values), k, 1 - counts.loss**2))
    return counts, sizes


def _by_distances(ids: Sequence[int], found: CrawlSize) -> dict[str, NetworkSize]:
    distance = mean_distance(np.array(ids, np.uint64) << np.uint64(64 - ID_BITS), WIDTH)
    if distance is None:
        return {}
    share, variance = found.found, found.found_variance
    even = evenness(distance, len(ids), WIDTH, zone_bits=0, found=share, found_variance=variance)
    return {"distances": even.size}


def _rivals(counts: CrawlCounts, found: CrawlSize) -> dict[str, NetworkSize]:
    """Return what else could be made of the same counts; without an interval where low is high."""
    zones = 2**counts.zone_bits
    pair = chapman(counts.by_a, counts.by_b, counts.by_both)
    rest = counts.answered + found.lost
    caught = counts.by_a + counts.by_b - counts.by_both
    bare = {
        "counted": counts.answered,
        "crawl, Chapman": rest + pair.estimate - caught,
        "crawl, each alone": size_from_crawl(replace(counts, outside=None, zone_bits=0)).size.estimate,
        "crawl, Chao1": rest + chao1(counts.named[0] / (1 - counts.loss), counts.named[1]),
    }
    rivals = {name: NetworkSize(zones * value, 0.0, 0.0, 0.0) for name, value in bare.items()}
    return rivals if counts.zone_bits else rivals | {"Chapman": pair}


def result_row(name: str, nodes: int, sizes: Sequence[NetworkSize]) -> list[str]:
    """Return what one estimator came to, over all runs."""
    errors = [size.estimate / nodes - 1 for size in sizes]
    noise = stdev(errors) / sqrt(len(errors)) if len(errors) > 1 else 0.0
    row = [name, f"{100 * mean(errors):.3f}", f"{100 * noise:.3f}"]
    row.append(f"{100 * sqrt(mean(error * error for error in errors)):.3f}")
    if not any(size.high for size in sizes):
        return [*row, "", "", "", ""]
    below = sum(nodes < size.low for size in sizes)
    above = sum(nodes > size.high for size in sizes)
    width = mean(size.high - size.low for size in sizes) / nodes
    holds = 100 * (1 - (below + above) / len(sizes))
    return [*row, f"{holds:.1f}", f"{below}", f"{above}", f"{100 * width:.3f}"]


@benchmark(
    option.count("--runs", 200, "networks of each size"),
    option.numbers("--nodes", [2000, 10000], "live nodes", at_least=4 * WIDTH),
    option.number("--zone-bits", 0, "crawl one zone of 1/2**BITS only", at_least=0, at_most=16),
    option.STALE,
    option.LOSS,
    option.number("--tail", 1.2, "exponent of the Pareto weights", above=0),
    option.number("--deep", 1.0, "share of its neighbours that a node knows", above=0, at_most=1),
    option.count("--lookups", 25, "for the size without a crawl; 0: none", at_least=0),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure networks of each size and return the report."""
    report["measurements"] = []
    print(head(report))
    for nodes in options.nodes:
        started = time.process_time()
        model = SizeModel(nodes, options.stale, options.loss, options.tail, options.deep)
        by_name = defaultdict[str, list[NetworkSize]](list)
        answered = []
        for number in range(options.runs):
            seed = f"{options.seed} {number} {nodes}"
            counts, sizes = measure(model, seed, zone_bits=options.zone_bits, lookups=options.lookups)
            answered.append(counts.answered)
            report["measurements"].append(
                {"nodes": nodes, "counts": asdict(counts)}
                | {name: asdict(each) for name, each in sizes.items()}
            )
            for name, size in sizes.items():
                by_name[name].append(size)
        seconds = time.process_time() - started
        print(
            f"\n{nodes} nodes, {options.runs} runs, {mean(answered):.1f} answered on average,"
            f" {seconds:.0f} s of processor time\n"
        )
        print(table(COLUMNS, [result_row(name, nodes, each) for name, each in by_name.items()]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
