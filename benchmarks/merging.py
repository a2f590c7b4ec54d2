"""What several vantages know together, and how fast their databases are merged.

    python -m benchmarks.merging [--vantages 3] [--nodes 2000] [--stale 0.3] [--loss 0.1] [--swarms 100]
                                 [--largest 3000] [--seed 1] [--visits 0] [--json FILE]

`dhtcrawl synthetic` plays a network in one process; for each vantage `dhtcrawl scrape` measures every
swarm and `dhtcrawl census` visits every node, into a database of its own; `dhtcrawl merge` joins them.
Which datagrams are lost differs from one to the next.  Errors are mean distances from the truth, as a
share of it, over the swarms that were measured.  With `--visits`, a database of so many visits to nodes
all different is made and merged into an empty one.
"""

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from benchmarks.census.__main__ import synthetic
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.processes import result_of
from benchmarks.tools.report import head, table
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import ANSWERED, RunStatus, Visit, epoch_ms, utc_text

PLAYED = ("nodes", "seed", "stale", "loss", "swarms", "largest")
T0 = 1_750_000_000.0  # seconds since the epoch
AT_ONCE = 10_000  # visits written at once
TRIES = 5  # to begin a census

Sizes = dict[str, tuple[float, float, float]]
"""Peers and the ends of the interval, by info-hash."""


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def sizes_in(path: Path, name: str) -> Sizes:
    """Return the measured sizes of a table of samples."""
    query = f"SELECT info_hash, peers, peers_low, peers_high FROM {name} WHERE peers IS NOT NULL"
    return {
        swarm: (peers, low, inf if high is None else high) for swarm, peers, low, high in rows(path, query)
    }


def judge(path: Path, truth: dict[str, int]) -> dict[str, Any]:
    """Return what a database knows: nodes that answered, swarms, and how good their sizes are.

    A swarm that only one vantage could measure has no combined sample.
    """
    (answered,) = rows(path, "SELECT count(*) FROM nodes WHERE last_answer IS NOT NULL")[0]
    sizes = sizes_in(path, "swarm_samples") | sizes_in(path, "combined_samples")
    errors = [abs(peers - truth[swarm]) / truth[swarm] for swarm, (peers, _, _) in sizes.items()]
    held = [low <= truth[swarm] <= high for swarm, (_, low, high) in sizes.items()]
    return {"answered": answered, "swarms": len(sizes), "error": fmean(errors), "held": fmean(held)}


def crawl(database: Path, way_in: str, wanted: Path) -> None:
    """Do what an operator does at one vantage."""
    common = ("--db", str(database), "--bootstrap", way_in, "--json")
    result_of("crawler", "scrape", *common, "--from", str(wanted), "--at-once", "16")
    for tries_left in reversed(range(TRIES)):
        try:
            result_of("crawler", "census", *common, "--rate", "0")
        except BenchmarkFailed:  # the one node it starts from may be lost on the way
            if not tries_left:
                raise
        else:
            return


def compare_vantages(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Crawl from every vantage, merge, and return what each and all together know."""
    played = {name: getattr(options, name) for name in PLAYED}
    paths = [folder / f"vantage-{number}.db" for number in range(1, options.vantages + 1)]
    wanted, into = folder / "swarms.txt", folder / "all.db"
    with synthetic(folder / "truth.db", **played) as way_in:
        truth = dict(rows(folder / "truth.db", "SELECT info_hash, peers FROM swarms"))
        (alive,) = rows(folder / "truth.db", "SELECT sum(alive) FROM nodes")[0]
        wanted.write_text("\n".join(truth), encoding="utf-8")
        for path in paths:
            crawl(path, way_in, wanted)
    # The slowest start and the last answer may be minutes apart here: one window for all.
    merged = ("merge", "--into", str(into), "--window", "86400", "--json", *map(str, paths))
    cost = result_of("crawler", *merged)
    return {
        "nodes": alive,
        "swarms": len(truth),
        "vantages": [judge(path, truth) for path in paths],
        "together": judge(into, truth),
        "merge_cpu_seconds": cost["process_cpu_seconds"],
    }


def visits(count: int) -> Iterator[Visit]:
    """Yield visits to nodes that are all different, in no order."""
    random = Random(1)
    for number in range(count):
        where = (1 + number % 200 << 24 | number & 0xFFFFFF, 6881)
        of_answer = (None, 12_500, b"LT\x02\x10", True, 8, 0, 3, 2)
        yield Visit(random.randbytes(20), *where, epoch_ms(T0), ANSWERED, *of_answer)


def time_merge(count: int, folder: Path) -> dict[str, Any]:
    """Make a database of visits, merge it, and return what that took."""
    source, into = folder / "large.db", folder / "large-merged.db"
    with CrawlDatabase.open(source) as store:
        run_id = store.runs.begin("census", {}, "benchmark", utc_text(T0))
        batch: list[Visit] = []
        for visit in visits(count):
            batch.append(visit)
            if len(batch) == AT_ONCE:
                store.write(run_id, batch)
                batch.clear()
        store.write(run_id, batch)
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(T0 + 3600))
    cost = result_of("crawler", "merge", "--into", str(into), "--json", str(source))
    return {
        "visits": count,
        "source_bytes": source.stat().st_size,
        "cpu_seconds": cost["process_cpu_seconds"],
        "seconds": cost["process_seconds"],
        "peak_kilobytes": cost["process_peak_kilobytes"],
    }


@benchmark(
    option.count("--vantages", 3),
    option.count("--nodes", 2000, "that answer"),
    option.SEED,
    option.STALE,
    option.share("--loss", 0.1, "of datagrams lost, each way", below=1),
    option.count("--swarms", 100),
    option.count("--largest", 3000, "peers of the largest swarm"),
    option.count("--visits", 0, "of a large database to merge", at_least=0),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Crawl, merge and return the report."""
    with tempfile.TemporaryDirectory() as folder:
        report["network"] = found = compare_vantages(options, Path(folder))
        report["large"] = large = time_merge(options.visits, Path(folder)) if options.visits else None
    together = [*found["vantages"], found["together"]]
    names = [f"vantage {number}" for number in range(1, len(together))] + ["together"]
    lines = [
        [
            name,
            f"{each['answered']}",
            f"{each['swarms']}",
            f"{each['error']:.2%}",
            f"{each['held']:.0%}",
        ]
        for name, each in zip(names, together, strict=True)
    ]
    print(head(report), f"{found['nodes']} nodes, {found['swarms']} swarms", sep="\n")
    print(
        "",
        table(("", "nodes answered", "swarms measured", "mean error", "truth in interval"), lines),
        sep="\n",
    )
    if large:
        each = 1e6 * large["cpu_seconds"] / large["visits"]
        print(
            f"\n{large['visits']} visits, {large['source_bytes'] / 1e6:.0f} MB: {large['seconds']:.0f} s,"
            f" {each:.1f} us of CPU each, peak memory {large['peak_kilobytes'] / 1000:.0f} MB"
        )


if __name__ == "__main__":
    sys.exit(main())
