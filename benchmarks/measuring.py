"""What it costs to measure many swarms after a census, and how near the truth the numbers are.

    python -m benchmarks.measuring [--swarms 10000] [--largest 5000] [--nodes 20000] [--loss 0.02]
                                   [--hostile 0] [--capped 0.7] [--bep33 0.6] [--lookups] [--json FILE]

`dhtcrawl synthetic` plays the network in one process; its live nodes are in the database as a census
would have recorded them (`--lookups` leaves them out, and they are looked up); `dhtcrawl scrape
--rate 0` measures all swarms from another process, and writes every row.  CPU time is that of the whole
measuring process, start and last row included, user and system; what the same command takes for one
swarm is shown beside it.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.census.__main__ import measured, synthetic
from benchmarks.tools.command import new_parser, option_values, run_benchmark
from benchmarks.tools.report import head, new_report, table
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus, Visit, utc_text
from dhtnode import Address, __version__
from dhtnode.outcomes import Outcome

PLAYED = ("nodes", "seed", "loss", "hostile", "capped", "bep33", "swarms", "largest", "announce_next")
CLASSES = ((1, 9), (10, 99), (100, 499), (500, 100_000))
AT_ONCE = 5000  # visits in one transaction


def record_census(database: Path, truth: Path) -> int:
    """Write the live nodes of a network as a census that has just ended, and return how many they are."""
    now = utc_text(time.time())
    with closing(sqlite3.connect(truth)) as connection, CrawlDatabase.open(database) as store:
        rows = connection.execute("SELECT node_id, address, port FROM nodes WHERE alive").fetchall()
        run_id = store.runs.begin("census", {"zone": "0", "prefix": 0}, __version__, now)
        visits = [
            Visit(bytes.fromhex(node_id), Address(host, port), now, Outcome.ANSWERED)
            for node_id, host, port in rows
        ]
        for at in range(0, len(visits), AT_ONCE):
            store.write(run_id, visits[at : at + AT_ONCE])
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(time.time()))
    return len(rows)


def scrape(database: Path, way_in: str, swarms: Sequence[str], listed: Path) -> dict[str, Any]:
    """Measure swarms with the public command."""
    listed.write_text("\n".join(swarms))
    common = ("--db", str(database), "--rate", "0", "--bootstrap", way_in, "--json")
    started_at = time.perf_counter()
    result = measured("crawler", "scrape", *common, "--from", str(listed))
    return result | {"seconds": time.perf_counter() - started_at}


def compare(database: Path, truth: Path) -> dict[str, Any]:
    """Return how the samples of the last run compare with the truth, by size of the swarms."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH ? AS truth", (str(truth),))
        rows = connection.execute(
            "SELECT swarms.peers, sample.peers, peers_low, peers_high, nodes_asked, nodes_answered,"
            " bytes_sent + bytes_received"
            " FROM swarm_samples AS sample JOIN truth.swarms USING (info_hash)"
            " WHERE run_id = (SELECT max(run_id) FROM swarm_samples)"
        ).fetchall()
        (marked,) = connection.execute("SELECT count(*) FROM scrape_replies WHERE marks <> ''").fetchone()
    classes = []
    for low, high in CLASSES:
        some = [row for row in rows if low <= row[0] <= high]
        if some:
            classes.append(
                {
                    "from": low,
                    "to": high,
                    "swarms": len(some),
                    "median_error": median(abs(row[1] / row[0] - 1) for row in some),
                    "mean_ratio": mean(row[1] / row[0] for row in some),
                    "covered": mean(row[2] <= row[0] <= row[3] for row in some),
                }
            )
    plain = [row[4] for row in rows if row[4] <= 12]
    return {
        "samples": len(rows),
        "nodes_asked": mean(row[4] for row in rows),
        "nodes_asked_most": max(plain, default=0),
        "extended": len(rows) - len(plain),
        "bytes": mean(row[6] for row in rows),
        "marked_replies": marked,
        "classes": classes,
        "database_bytes": database.stat().st_size,
    }


def count_of(truth: Path, name: str) -> int:
    """Return a count that the network wrote down when it ended."""
    with closing(sqlite3.connect(truth)) as connection:
        row = connection.execute("SELECT value FROM counts WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the report."""
    report = new_report("measuring", {name: str(value) for name, value in option_values(options).items()})
    played = {name.replace("_", "-"): getattr(options, name) for name in PLAYED}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        truth, database = folder / "truth.db", options.db or folder / "swarms.db"
        with synthetic(truth, **played) as way_in:
            with closing(sqlite3.connect(truth)) as connection:
                swarms = [row[0] for row in connection.execute("SELECT info_hash FROM swarms")]
            if not options.lookups:
                record_census(database, truth)
            one = scrape(folder / "one.db", way_in, swarms[:1], folder / "one.txt")
            ours = scrape(database, way_in, swarms, folder / "swarms.txt")
        ours |= compare(database, truth) | {"queries": count_of(truth, "query get_peers")}
    ours["start_cpu_seconds"] = one["process_cpu_seconds"]
    report |= {"measuring": ours}
    print(head(report), table(("measuring", ""), _rows(ours)), sep="\n\n")
    columns = ("peers", "swarms", "median error", "mean ratio", "in the interval")
    print("", table(columns, _class_rows(ours)), sep="\n")
    return report


def _rows(ours: dict[str, Any]) -> list[list[str]]:
    samples, cpu = ours["samples"], ours["process_cpu_seconds"]
    return [
        ["swarms measured", f"{samples}"],
        ["CPU time", f"{cpu:.1f} s, {1000 * cpu / samples:.2f} ms for each swarm"],
        ["of it a start", f"{ours['start_cpu_seconds']:.1f} s, with one swarm"],
        ["swarms per CPU minute", f"{60 * samples / cpu:.0f}"],
        ["queries for each swarm", f"{ours['queries'] / samples:.1f}, that reached a node"],
        ["nodes asked", f"{ours['nodes_asked']:.2f} in the mean"],
        ["most, if not extended", f"{ours['nodes_asked_most']}"],
        ["extended", f"{ours['extended']} swarms"],
        ["bytes for each swarm", f"{ours['bytes']:.0f}, both ways"],
        ["replies marked", f"{ours['marked_replies']}"],
        ["wall clock", f"{ours['seconds']:.0f} s"],
        ["peak memory", f"{ours['process_peak_kilobytes'] / 1000:.0f} MB"],
        ["database", f"{ours['database_bytes'] / 1e6:.0f} MB"],
    ]


def _class_rows(ours: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{each['from']} to {each['to']}",
            f"{each['swarms']}",
            f"{each['median_error']:.2%}",
            f"{each['mean_ratio']:.3f}",
            f"{each['covered']:.1%}",
        ]
        for each in ours["classes"]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = new_parser("measuring", __doc__)
    parser.add_argument("--swarms", type=int, default=10_000)
    parser.add_argument("--largest", type=int, default=5000, help="peers of the largest; the n-th has 1/n")
    parser.add_argument("--nodes", type=int, default=20_000, help="that answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loss", type=float, default=0.02, help="share of datagrams lost")
    parser.add_argument("--hostile", type=float, default=0.0, help="share of nodes that are hostile")
    parser.add_argument("--capped", type=float, default=0.7, help="share of nodes that store 500 peers")
    parser.add_argument("--bep33", type=float, default=0.6, help="share of nodes with filters")
    parser.add_argument("--announce-next", type=float, default=0.5, help="chance for the next 8 nodes")
    parser.add_argument("--lookups", action="store_true", help="without a census")
    parser.add_argument("--db", type=Path, metavar="FILE", help="keep the database")
    options = parser.parse_args(arguments)
    if options.swarms < 1 or options.nodes < 20:
        parser.error("at least 1 swarm and 20 nodes")
    if options.db is not None and options.db.exists():
        parser.error(f"{options.db} is there already")
    return run_benchmark("measuring", run, options)


if __name__ == "__main__":
    sys.exit(main())
