"""Whether what trackers say together holds, with liars among them, whatever their lists have in common.

    python -m benchmarks.tracker_lists [--networks 20] [--swarms 60] [--shares N,...] [--seed 1] [--json FILE]

Five honest trackers of synthetic networks each list a share of the peers that announce to trackers; with the
share their overlap goes from none to all.  Five others lie: `invents`, `constant`, `multiplied`, `alone`,
and a `mirror` of an honest one.  Each network is swept once, and what all say together is set
against the peers that the honest ones have, each once.

- in common %: how far the honest lists are the same, from 0 to 100;
- holds %: swarms whose interval, from the longest list to the sum, held that number; width: its mean width
  by that number;
- liars marked, honest marked: trackers that got a mark of a liar, of all of their kind.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.db.database import CrawlDatabase
from crawler.db.records.trackers import DISTRUSTED
from crawler.demo.tracked import ask_trackers
from crawler.synthetic import Network, SyntheticSettings, TrackedSwarms, make_trackers
from dhtnode import InfoHash

HONEST = ("opentracker", "aquatic", "chihaya", "torrust", "bittorrent-tracker")
LIARS = ("mirror", "invents", "constant", "multiplied", "alone")
COLUMNS = (
    "share of each",
    "swarms",
    "in common %",
    "holds %",
    "width",
    "liars marked",
    "of",
    "honest marked",
    "of",
)


@dataclass(frozen=True, slots=True)
class Told:
    """The peers of the honest lists of a swarm, each once and in all, and the interval."""

    truth: int
    listed: int
    low: int
    high: int


def sweep(settings: SyntheticSettings) -> tuple[list[Told], int, int]:
    """Sweep the trackers of one network; return what was told, and how many liars and others were marked."""
    network = Network(settings)
    tracked, swarms = TrackedSwarms(network), [InfoHash(swarm.info_hash) for swarm in network.swarms]
    with CrawlDatabase.open(":memory:") as store:
        run_id = store.runs.begin("trackers", {}, "", "2026-01-01T00:00:00.000Z")
        found = ask_trackers(store, run_id, make_trackers(network), swarms, 0.0, 1.8e9)
        rows = store.rows("tracker_sweeps")
    marks = [bool(set((row["marks"] or "").split()) & set(DISTRUSTED)) for row in rows]
    told = [
        Told(*_true(tracked, place), each.peers, each.peers_high)
        for place, each in ((swarms.index(each.info_hash), each) for each in found)
    ]
    return told, sum(marks[len(HONEST) :]), sum(marks[: len(HONEST)])


def _true(tracked: TrackedSwarms, place: int) -> tuple[int, int]:
    lists = [tracked.numbers(member, place) for member in range(len(HONEST))]
    peers = [{*each.seeds, *each.leechers} for each in lists]
    return len(set().union(*peers)), sum(map(len, peers))


def row(share: float, sweeps: Sequence[tuple[list[Told], int, int]]) -> list[str]:
    """Return what came of the sweeps of one share."""
    told = [each for found, _, _ in sweeps for each in found if each.truth]
    both = 1 - sum(each.truth for each in told) / sum(each.listed for each in told)
    return [
        f"{share:g}",
        f"{len(told)}",
        f"{100 * both / (1 - 1 / len(HONEST)):.0f}",
        f"{100 * mean(each.low <= each.truth <= each.high for each in told):.2f}",
        f"{mean((each.high - each.low) / each.truth for each in told):.2f}",
        f"{sum(liars for _, liars, _ in sweeps)}",
        f"{len(LIARS) * len(sweeps)}",
        f"{sum(honest for _, _, honest in sweeps)}",
        f"{len(HONEST) * len(sweeps)}",
    ]


@benchmark(
    option.count("--networks", 20, "of each share, each swept once"),
    option.count("--swarms", 60),
    option.numbers(
        "--shares", [0.05, 0.25, 0.5, 0.75, 1.0], "shares of the peers", at_least=0.0, at_most=1.0
    ),
    option.number("--seed", 1),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Sweep all networks and print the table."""
    print(head(report))
    report["columns"], report["rows"] = COLUMNS, []
    for share in options.shares:
        sweeps = [
            sweep(
                SyntheticSettings(
                    nodes=20,
                    swarms=options.swarms,
                    largest=2000,
                    sizes="log",
                    trackers=",".join((*HONEST, *LIARS)),
                    tracker_share=share,
                    seed=1000 * options.seed + number,
                )
            )
            for number in range(options.networks)
        ]
        report["rows"].append(row(share, sweeps))
    print(f"\n{options.networks} networks a row\n")
    print(table(COLUMNS, report["rows"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
