"""What it costs to measure many swarms after a census, and how near the truth the numbers are.

    python -m benchmarks.measuring [--swarms 10000] [--largest 5000] [--nodes 20000] [--loss 0.02]
                                   [--hostile 0] [--capped 0.7] [--bep33 0.6] [--lookups] [--pairs 1]
                                   [--set NAME=VALUE] [--against PATH] [--db FILE] [--json FILE]

`dhtcrawl synthetic` plays the network in one process; `dhtcrawl census` finds its nodes (`--lookups` goes
without, and nodes are looked up); `dhtcrawl scrape --rate 0` measures all swarms from another process,
and writes every row.  CPU time is that of the whole measuring process, start and last row included,
user and system; what the same command takes for one swarm is shown beside it.

`--set`, which may be repeated, is for all other options of `dhtcrawl synthetic`: `--set keeps=first`,
`--set announcers=beta:1.2,0.8`, `--set sizes=log`.  "At least" are the swarms without an upper end; these
hold the truth when it is above their lower end, and the errors are those of the others.
"""

import argparse
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.census.__main__ import census, checkouts_of, synthetic
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.processes import result_of
from benchmarks.tools.report import head, in_brackets, ratio_in_brackets, table

PLAYED = ("nodes", "seed", "loss", "hostile", "capped", "bep33", "swarms", "largest", "announce_next")
CLASSES = ((1, 9), (10, 99), (100, 499), (500, 100_000))


def scrape(database: Path, way_in: str, swarms: Sequence[str], products: Path) -> dict[str, Any]:
    """Measure swarms with the public command."""
    listed = database.with_suffix(".txt")
    listed.write_text("\n".join(swarms))
    common = ("--db", str(database), "--rate", "0", "--bootstrap", way_in, "--json")
    return result_of("crawler", "scrape", *common, "--from", str(listed), products=products)


def compare(database: Path, truth: Path) -> dict[str, Any]:
    """Return how the samples of the last run compare with the truth, by size of the swarms."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH ? AS truth", (str(truth),))
        # A checkout to compare with may be from before they were counted.
        columns = {row[1] for row in connection.execute("PRAGMA table_info(swarm_samples)")}
        queries = "queries" if "queries" in columns else "0"
        rows = connection.execute(
            "SELECT swarms.peers, sample.peers, peers_low, peers_high, nodes_asked, nodes_answered,"
            f" bytes_sent + bytes_received, {queries}"
            " FROM swarm_samples AS sample JOIN truth.swarms USING (info_hash)"
            " WHERE run_id = (SELECT max(run_id) FROM swarm_samples)"
        ).fetchall()
        (marked,) = connection.execute("SELECT count(*) FROM scrape_replies WHERE marks <> ''").fetchone()
    plain = [row[4] for row in rows if row[4] <= 12]
    return {
        "samples": len(rows),
        "nodes_asked": mean(row[4] for row in rows),
        "nodes_asked_most": max(plain, default=0),
        "extended": len(rows) - len(plain),
        "bytes": mean(row[6] for row in rows),
        "queries": mean(row[7] for row in rows),
        "marked_replies": marked,
        "classes": _by_size(rows),
        "database_bytes": database.stat().st_size,
    }


def _by_size(rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return how good the numbers are in each class of sizes."""
    classes = []
    for low, high in CLASSES:
        some = [row for row in rows if low <= row[0] <= high]
        if some:
            ratios = [row[1] / row[0] for row in some if row[3] is not None]
            classes.append(
                {
                    "from": low,
                    "to": high,
                    "swarms": len(some),
                    "median_error": median(abs(ratio - 1) for ratio in ratios) if ratios else None,
                    "mean_ratio": mean(ratios) if ratios else None,
                    "covered": mean(
                        row[2] <= row[0] and (row[3] is None or row[0] <= row[3]) for row in some
                    ),
                    "at_least": len(some) - len(ratios),
                    "queries": mean(row[7] for row in some),
                }
            )
    return classes


def _one(folder: Path, name: str, way_in: str, swarms: Sequence[str], products: Path) -> dict[str, Any]:
    """Measure one swarm, and all of them, each after the same census."""
    found: dict[str, Any] = {}
    for which, some in (("one", swarms[:1]), ("all", swarms)):
        database = folder / f"{name}-{which}.db"
        database.unlink(missing_ok=True)
        if (folder / f"{name}.db").exists():
            shutil.copy(folder / f"{name}.db", database)
        found[which] = scrape(database, way_in, some, products)
    cpu = found["all"]["process_cpu_seconds"]
    return (
        found["all"]
        | {"start_cpu_seconds": found["one"]["process_cpu_seconds"], "milliseconds": 1000 * cpu / len(swarms)}
        | compare(folder / f"{name}-all.db", folder / "truth.db")
    )


def _rows(taken: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """Return a line for each figure: medians over the pairs, with lowest and highest of what varies."""
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "swarms measured": lambda one: f"{one['samples']}",
        "CPU seconds": lambda one: f"{one['process_cpu_seconds']:.1f}",
        "of these with one swarm": lambda one: f"{one['start_cpu_seconds']:.1f}",
        "nodes asked for each": lambda one: f"{one['nodes_asked']:.2f}",
        "most, if not extended": lambda one: f"{one['nodes_asked_most']}",
        "swarms extended to more nodes": lambda one: f"{one['extended']}",
        "queries for each": lambda one: f"{one['queries']:.2f}",
        "bytes for each, both ways": lambda one: f"{one['bytes']:.0f}",
        "replies marked": lambda one: f"{one['marked_replies']}",
        "wall clock, seconds": lambda one: f"{one['process_seconds']:.0f}",
        "peak memory, MB": lambda one: f"{one['process_peak_kilobytes'] / 1000:.0f}",
        "database, MB": lambda one: f"{one['database_bytes'] / 1e6:.0f}",
    }
    rows = [[name, *(write(each[-1]) for each in taken.values())] for name, write in lines.items()]
    costs = {name: [one["milliseconds"] for one in each] for name, each in taken.items()}
    rows.append(["ms of CPU for each swarm", *(in_brackets(each, 2) for each in costs.values())])
    per_minute = ([60_000 / cost for cost in each] for each in costs.values())
    rows.append(["swarms per CPU minute", *(in_brackets(each, 0) for each in per_minute)])
    if "against" in costs:
        rows.append(["this / against", ratio_in_brackets(costs["this"], costs["against"]), ""])
    return rows


def _class_rows(ours: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{each['from']} to {each['to']}",
            f"{each['swarms']}",
            "" if each["median_error"] is None else f"{each['median_error']:.2%}",
            "" if each["mean_ratio"] is None else f"{each['mean_ratio']:.3f}",
            f"{each['covered']:.1%}",
            f"{each['at_least']}",
            f"{each['queries']:.1f}",
        ]
        for each in ours["classes"]
    ]


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


@benchmark(
    option.count("--swarms", 10_000),
    option.count("--largest", 5000, "peers of the largest; the n-th has 1/n"),
    option.count("--nodes", 20_000, "that answer", at_least=20),
    option.SEED,
    option.LOSS,
    option.HOSTILE,
    option.CAPPED,
    option.BEP33,
    option.share("--announce-next", 0.5, "of the next 8 nodes that a peer announces to"),
    option.flag("--lookups", "without a census"),
    option.count("--pairs", 1, "how often all swarms are measured"),
    ("--set", {"action": "append", "type": _setting, "default": [], "metavar": "NAME=VALUE"}),
    option.KEPT,
    option.AGAINST,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure in turns and return the report."""
    played = {name.replace("_", "-"): getattr(options, name) for name in PLAYED} | dict(options.set)
    report["measuring"] = taken = {name: list[dict[str, Any]]() for name in checkouts_of(options)}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with synthetic(folder / "truth.db", **played) as way_in:
            with closing(sqlite3.connect(folder / "truth.db")) as connection:
                swarms = [row[0] for row in connection.execute("SELECT info_hash FROM swarms")]
            for name, products in checkouts_of(options).items():
                if not options.lookups:
                    census(folder / f"{name}.db", way_in, products=products)
            for _ in range(options.pairs):
                for name, products in checkouts_of(options).items():
                    taken[name].append(_one(folder, name, way_in, swarms, products))
                    print(f"{name}: {taken[name][-1]['milliseconds']:.2f} ms for each swarm", file=sys.stderr)
        if options.db:
            shutil.copy(folder / "this-all.db", options.db)
    print(head(report), table(("measuring", *taken), _rows(taken)), sep="\n\n")
    columns = ("peers", "swarms", "median error", "mean ratio", "in the interval", "at least", "queries")
    print("", table(columns, _class_rows(taken["this"][-1])), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
