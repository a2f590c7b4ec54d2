"""What a census costs and what it finds, on a synthetic network of which the truth is known.

    python -m benchmarks.census [--nodes 20000] [--stale 0.3] [--loss 0.02] [--hostile 0] [--zone 0]
                                [--latency 0] [--pairs 1] [--against PATH] [--no-bare] [--screen]
                                [--db FILE] [--json FILE]

`dhtcrawl synthetic` plays the network in one process, `dhtcrawl census --rate 0` crawls it in another
and writes its database; beside it, on the same network, the least that a crawl can be (`bare_crawl`).
CPU time is that of the whole crawling process, start and last row included, user and system.  Memory
is its peak beyond that of a census of 200 nodes, for each contact sighted.  With more than one pair,
each is taken so often, in turns, and ratios are those of pairs.
"""

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.tools import option
from benchmarks.tools.command import Report, WrongOptions, benchmark
from benchmarks.tools.processes import ROOT, result_of, running
from benchmarks.tools.report import head, in_brackets, ratio_in_brackets, table
from benchmarks.tools.screen import Screen

FEW = 200  # nodes of the census that shows what a start takes
PLAYED = ("nodes", "seed", "stale", "loss", "hostile", "latency")


@contextmanager
def synthetic(truth: Path, **options: Any) -> Iterator[str]:
    """Play a network for the length of the block, and yield a way in."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with running("crawler", "synthetic", *arguments, "--truth", str(truth), "--json") as network:
        yield network.ready["bootstrap"][0]


def checkouts_of(options: argparse.Namespace) -> dict[str, Path]:
    """Return where the products that are measured in turns are: here, and where `--against` says."""
    return {"this": ROOT} | ({"against": options.against} if options.against else {})


def census(
    database: Path, way_in: str, *options: str, products: Path, screen: Screen | None = None
) -> dict[str, Any]:
    """Take a census with the public command."""
    common = ("--db", str(database), "--rate", "0", "--bootstrap", way_in, "--json")
    return result_of("crawler", "census", *common, *options, products=products, screen=screen)


def compare(database: Path, truth: Path, zone: str) -> dict[str, Any]:
    """Return how the visits in a database compare with the truth."""
    bits = 0 if zone == "0" else 4 * len(zone.removeprefix("0x"))
    prefix = zone.removeprefix("0x") if bits else ""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH ? AS truth", (str(truth),))
        nodes = "SELECT node_id FROM truth.nodes WHERE alive AND style = 'honest' AND node_id LIKE ?"
        (honest,) = connection.execute(f"SELECT count(*) FROM ({nodes})", (prefix + "%",)).fetchone()
        (found,) = connection.execute(
            f"SELECT count(DISTINCT node_id) FROM visits WHERE outcome = 'answered' AND node_id IN ({nodes})",
            (prefix + "%",),
        ).fetchone()
        (visits,) = connection.execute("SELECT count(*) FROM visits").fetchone()
        styles = connection.execute(
            "SELECT style, outcome, marks <> '', count(*) FROM visits JOIN truth.nodes USING (node_id)"
            " WHERE style NOT IN ('honest', '') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
    return {
        "honest_nodes": honest,
        "honest_found": found,
        "visits": visits,
        "hostile": [list(row) for row in styles],
        "database_bytes": database.stat().st_size,
    }


def _one(database: Path, way_in: str, options: argparse.Namespace, products: Path) -> dict[str, Any]:
    """Take one census, and ask for the report on it."""
    zone = ("--zone", options.zone) if options.zone != "0" else ()
    with Screen() if options.screen else nullcontext() as screen:
        found = census(database, way_in, *zone, products=products, screen=screen)
    if screen is not None:
        found["longest_without_news"] = screen.longest
    cost = found["process_cpu_seconds"] * 1e6 / (found["answered"] + found["second_answers"])
    print(f"{products}: {cost:.1f} us for each answer", file=sys.stderr)
    told = result_of("crawler", "report", "--db", str(database), "--json", products=products)
    return found | {"microseconds": cost, "report_cpu_seconds": told["process_cpu_seconds"]}


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """Return a line for each figure: medians over the pairs, with lowest and highest of what varies."""
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "honest nodes that answered": lambda one: f"{one['honest_found']} of {one['honest_nodes']}",
        "of these": lambda one: f"{one['honest_found'] / one['honest_nodes']:.2%}",
        "contacts sighted": lambda one: f"{one['sighted']}",
        "queries for each node that answered": lambda one: f"{one['queries'] / one['answered']:.2f}",
        "CPU seconds": lambda one: f"{one['process_cpu_seconds']:.1f}",
        "wall clock, seconds": lambda one: f"{one['process_seconds']:.0f}",
        "of these before and after the crawl": lambda one: f"{one['process_seconds'] - one['seconds']:.1f}",
        "peak memory, MB": lambda one: f"{one['process_peak_kilobytes'] / 1000:.0f}",
        "with 200 nodes, MB": lambda one: f"{one['start_kilobytes'] / 1000:.0f}",
        "bytes beyond that for each contact": lambda one: f"{_bytes_for_each(one):.0f}",
        "database, MB": lambda one: f"{one['database_bytes'] / 1e6:.0f}",
        "bytes for each visit": lambda one: f"{one['database_bytes'] / one['visits']:.0f}",
        "`dhtcrawl report`, CPU seconds": lambda one: f"{one['report_cpu_seconds']:.2f}",
    }
    taken, bare = report["censuses"], report["bare"]
    if report["options"]["screen"]:
        lines["longest without news, seconds"] = lambda one: f"{one['longest_without_news']:.1f}"
    rows = [[name, *(write(each[-1]) for each in taken.values())] for name, write in lines.items()]
    costs = {name: [one["microseconds"] for one in each] for name, each in taken.items()}
    rows.append(["us of CPU for each answer", *(in_brackets(each, 1) for each in costs.values())])
    if bare:
        bare_costs = [1e6 * each["process_cpu_seconds"] / each["answers"] for each in bare]
        rows.append(["the same of a bare loop", *([in_brackets(bare_costs, 1)] * len(taken))])
        rows.append(["census / bare loop", *(ratio_in_brackets(each, bare_costs) for each in costs.values())])
    if "against" in costs:
        rows.append(["this / against", ratio_in_brackets(costs["this"], costs["against"]), ""])
    return rows


def _bytes_for_each(one: dict[str, Any]) -> float:
    """Return the bytes of memory beyond a start for each contact sighted."""
    return float(1024 * (one["process_peak_kilobytes"] - one["start_kilobytes"]) / one["sighted"])


def _hostile_rows(hostile: Sequence[tuple[str, str, bool, int]]) -> list[list[str]]:
    return [[style, outcome, "yes" if mark else "no", f"{n}"] for style, outcome, mark, n in hostile]


@benchmark(
    option.count("--nodes", 20_000, "that answer", at_least=FEW),
    option.SEED,
    option.STALE,
    option.LOSS,
    option.HOSTILE,
    ("--latency", {"default": "0", "metavar": "LOW:HIGH", "help": "seconds until an answer"}),
    ("--zone", {"default": "0", "metavar": "0xHEX", "help": "only ids with this prefix"}),
    option.count("--pairs", 1, "how often each census is taken"),
    option.flag("--screen", "show progress on a terminal, and tell the longest time without news"),
    option.flag("--no-bare", "do without the bare loop"),
    option.KEPT,
    option.AGAINST,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Crawl in turns and return the report."""
    if options.zone != "0" and not options.zone.startswith("0x"):
        raise WrongOptions("--zone: a prefix as 0x5b")
    played = {name: getattr(options, name) for name in PLAYED}
    checkouts = checkouts_of(options)
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    report |= {"censuses": taken, "bare": []}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with synthetic(folder / "few.db", **(played | {"nodes": FEW})) as way_in:
            few = {
                name: census(folder / f"few-{name}.db", way_in, products=products)
                for name, products in checkouts.items()
            }
        with synthetic(folder / "truth.db", **played) as way_in:
            for _ in range(options.pairs):
                if options.bare:
                    report["bare"].append(result_of("benchmarks.census.bare_crawl", way_in))
                for name, products in checkouts.items():
                    # Databases of one run are all the same: only the last one of ours is kept.
                    database = options.db if name == "this" and options.db else folder / f"{name}.db"
                    database.unlink(missing_ok=True)
                    taken[name].append(_one(database, way_in, options, products))
                    taken[name][-1] |= compare(database, folder / "truth.db", options.zone)
                    taken[name][-1]["start_kilobytes"] = few[name]["process_peak_kilobytes"]
    print(head(report), table(("census", *taken), _rows(report)), sep="\n\n")
    hostile = taken["this"][-1]["hostile"]
    if hostile:
        print("", table(("style", "outcome", "marked", "visits"), _hostile_rows(hostile)), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
