"""What a census costs and what it finds, on a synthetic network of which the truth is known.

    python -m benchmarks.census [--nodes 20000] [--stale 0.3] [--loss 0.02] [--hostile 0] [--zone 0]
                                [--latency 0] [--no-bare] [--db FILE] [--json FILE]

`dhtcrawl synthetic` plays the network in one process, `dhtcrawl census --rate 0` crawls it in another
and writes its database; beside it, on the same network, the least that a crawl can be (`bare_crawl`).
CPU time is that of the whole crawling process, start and last row included, user and system.  Memory
is its peak beyond that of a census of 200 nodes, for each contact sighted.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import new_parser, option_values, run_benchmark
from benchmarks.tools.report import head, new_report, table

FEW = 200  # nodes of the census that shows what a start takes
PLAYED = ("nodes", "seed", "stale", "loss", "hostile", "latency")


@contextmanager
def synthetic(truth: Path, **options: Any) -> Iterator[str]:
    """Play a network for the length of the block, and yield a way in."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "crawler", "synthetic", *arguments, "--truth", str(truth), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101  for mypy
            line = process.stdout.readline()
            if not line:
                raise BenchmarkFailed("the synthetic network did not start")
            yield json.loads(line)["bootstrap"][0]
        finally:
            process.terminate()


def measured(*command: str) -> dict[str, Any]:
    """Run a command that prints JSON, and return its last line with CPU seconds and peak memory."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  for mypy
        lines = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not lines:
        raise BenchmarkFailed(f"{' '.join(command)} failed with status {process.returncode}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result | {
        "process_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "process_peak_kilobytes": usage.ru_maxrss,
    }


def census(database: Path, way_in: str, *options: str) -> dict[str, Any]:
    """Take a census with the public command."""
    common = ("--db", str(database), "--rate", "0", "--bootstrap", way_in, "--json")
    return measured("crawler", "census", *common, *options)


def compare(database: Path, truth: Path, zone: str) -> dict[str, Any]:
    """Return how the visits in a database compare with the truth."""
    bits = 0 if zone == "0" else 4 * len(zone.removeprefix("0x"))
    prefix = zone.removeprefix("0x") if bits else ""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH ? AS truth", (str(truth),))
        nodes = "SELECT node_id FROM truth.nodes WHERE alive AND style = 'honest' AND node_id LIKE ?"
        (honest,) = connection.execute(f"SELECT count(*) FROM ({nodes})", (prefix + "%",)).fetchone()  # noqa: S608
        (found,) = connection.execute(
            f"SELECT count(DISTINCT node_id) FROM visits WHERE outcome = 'answered' AND node_id IN ({nodes})",  # noqa: S608
            (prefix + "%",),
        ).fetchone()
        (answers,) = connection.execute("SELECT sum(outcome = 'answered') FROM visits").fetchone()
        styles = connection.execute(
            "SELECT style, outcome, marks <> '', count(*) FROM visits JOIN truth.nodes USING (node_id)"
            " WHERE style NOT IN ('honest', '') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
    return {
        "honest_nodes": honest,
        "honest_found": found,
        "nodes_answered": answers,
        "hostile": [list(row) for row in styles],
        "database_bytes": database.stat().st_size,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Crawl and return the report."""
    report = new_report("census", {name: str(value) for name, value in option_values(options).items()})
    played = {name: getattr(options, name) for name in PLAYED}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with synthetic(folder / "few.db", **(played | {"nodes": FEW})) as way_in:
            few = census(folder / "few-census.db", way_in)
        with synthetic(folder / "truth.db", **played) as way_in:
            database = options.db or folder / "census.db"
            zone = ("--zone", options.zone) if options.zone != "0" else ()
            ours = census(database, way_in, *zone)
            bare = measured("benchmarks.census.bare_crawl", way_in) if options.bare else None
        ours |= compare(database, folder / "truth.db", options.zone)
    ours["start_kilobytes"] = few["process_peak_kilobytes"]
    report |= {"census": ours, "bare": bare}
    print(head(report), table(("census", ""), _rows(ours, bare)), sep="\n\n")
    if ours["hostile"]:
        print("", table(("style", "outcome", "marked", "visits"), _hostile_rows(ours)), sep="\n")
    return report


def _rows(ours: dict[str, Any], bare: dict[str, Any] | None) -> list[list[str]]:
    queries, answered = ours["queries"], ours["answered"]
    answers = answered + ours["second_answers"]
    cost = 1e6 * ours["process_cpu_seconds"] / answers
    beyond = 1000 * (ours["process_peak_kilobytes"] - ours["start_kilobytes"]) / ours["sighted"]
    rows = [
        ["honest nodes that answered", f"{ours['honest_found']} of {ours['honest_nodes']}"],
        ["of these", f"{ours['honest_found'] / ours['honest_nodes']:.2%}"],
        ["contacts sighted", f"{ours['sighted']}"],
        ["queries", f"{queries}, {queries / answered:.2f} for each node that answered"],
        ["CPU time", f"{ours['process_cpu_seconds']:.1f} s, {cost:.1f} us for each answer"],
        ["wall clock", f"{ours['seconds']:.0f} s"],
        ["peak memory", f"{ours['process_peak_kilobytes'] / 1000:.0f} MB"],
        ["beyond a start", f"{beyond:.0f} bytes for each contact sighted"],
        ["database", f"{ours['database_bytes'] / 1e6:.0f} MB"],
    ]
    if bare is not None:
        bare_cost = 1e6 * bare["process_cpu_seconds"] / bare["answers"]
        rows.append(["a bare loop", f"{bare_cost:.1f} us for each answer, {bare['sighted']} sighted"])
        rows.append(["census / bare loop", f"{cost / bare_cost:.2f}"])
    return rows


def _hostile_rows(ours: dict[str, Any]) -> list[list[str]]:
    return [[style, outcome, "yes" if mark else "no", f"{n}"] for style, outcome, mark, n in ours["hostile"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = new_parser("census", __doc__)
    parser.add_argument("--nodes", type=int, default=20_000, help="that answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stale", type=float, default=0.3, help="share of contacts that never answer")
    parser.add_argument("--loss", type=float, default=0.02, help="share of datagrams lost")
    parser.add_argument("--hostile", type=float, default=0.0, help="share of nodes that are hostile")
    parser.add_argument("--latency", default="0", metavar="LOW:HIGH", help="seconds until an answer")
    parser.add_argument("--zone", default="0", metavar="0xHEX", help="only ids with this prefix")
    parser.add_argument("--no-bare", dest="bare", action="store_false", help="do without the bare loop")
    parser.add_argument("--db", type=Path, metavar="FILE", help="keep the database")
    options = parser.parse_args(arguments)
    if options.nodes < FEW:
        parser.error(f"--nodes: at least {FEW}")
    if options.zone != "0" and not options.zone.startswith("0x"):
        parser.error("--zone: a prefix as 0x5b")
    if options.db is not None and options.db.exists():
        parser.error(f"{options.db} is there already")
    return run_benchmark("census", run, options)


if __name__ == "__main__":
    sys.exit(main())
