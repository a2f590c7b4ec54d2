"""How well it is known how many peers can be connected to, over many made-up swarms of known truth.

    python -m benchmarks.peer_exchange [--runs 100] [--only N,...] [--seed 1] [--json FILE]

Each run is a swarm of its own.  A peer connects to some others, drawn at random, and names all that it is
connected to, a second after the handshakes, as libtorrent does.  Some peers are known at first; the real
client contacts these and some that they name, in virtual time and over streams in memory.

- asked, named %: peers contacted, and peers that were named or contacted, of those that can be connected to;
- seconds: virtual time that it took, the longest of all runs;
- holds %, below %, above %: runs whose interval held the truth, ended below it, began above it;
- estimate %, width %: mean estimate and mean width of the interval, in per cent of the truth.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from random import Random
from statistics import mean

import trio
import trio.testing

from benchmarks.peer_exchange.swarms import SWARMS, Outcome, contact
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table

COLUMNS = (
    *("swarm", "known", "asked", "named %", "seconds"),
    *("holds %", "below %", "above %", "estimate %", "width %"),
)


def row(name: str, known: int, found: Sequence[Outcome]) -> list[str]:
    """Return what came of the runs of one kind of swarm."""

    def percent(shares: Sequence[float]) -> str:
        return f"{100 * mean(shares):.1f}"

    return [
        name,
        str(known),
        f"{mean(each.asked for each in found):.1f}",
        percent([each.named for each in found]),
        f"{max(each.seconds for each in found):.1f}",
        percent([each.size.low <= each.truth <= each.size.high for each in found]),
        percent([each.size.high < each.truth for each in found]),
        percent([each.size.low > each.truth for each in found]),
        percent([each.size.estimate / each.truth for each in found]),
        percent([(each.size.high - each.size.low) / each.truth for each in found]),
    ]


@benchmark(
    option.count("--runs", 100, "swarms of each row"),
    option.names("--only", list(map(str, range(1, len(SWARMS) + 1)))),
    option.number("--seed", 1),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Contact swarms of all kinds and print the table; `--only` takes their places."""
    print(head(report))
    report["columns"], report["rows"] = COLUMNS, []
    for place, (name, kind) in enumerate(SWARMS.items(), 1):
        if str(place) not in options.only:
            continue
        found = []
        for run in range(options.runs):
            clock = trio.testing.MockClock(autojump_threshold=0)
            random = Random(f"{options.seed} {name} {run}")
            found.append(trio.run(partial(contact, kind, random), clock=clock))
        report["rows"].append(row(name, kind.known, [each for each in found if each is not None]))
    print(f"\n{options.runs} swarms a row\n")
    print(table(COLUMNS, report["rows"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
