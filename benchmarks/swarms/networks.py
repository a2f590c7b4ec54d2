"""How often the sizes of swarms hold in networks of several kinds: one row for each.

    python -m benchmarks.swarms.networks [--swarms 150] [--seed 1] [--only N,...] [--json FILE]

The swarms are those of `benchmarks.swarms`, uniform on a scale of logarithms between the sizes of the row.

- holds %: the 95 % interval holds the truth, or the lower bound is not above it; sized %: the same of those
  that got a size and no lower bound; excluded: intervals with two ends that do not hold the truth;
- at least: swarms that got a lower bound; ratio, error %, width %: of the others, mean, median, median;
- marked: replies of honest nodes that were marked; liars: of those of liars.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from random import Random
from statistics import mean, median
from typing import NamedTuple

from benchmarks.swarms.__main__ import Measured, drawn_size, measure
from benchmarks.swarms.model import SwarmModel
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table


class Network(NamedTuple):
    """A kind of network, the sizes of its swarms, and the share of nodes asked for a canary."""

    model: SwarmModel
    smallest: int = 50
    largest: int = 5000
    probe: float = 0.0


NETWORKS: Mapping[str, Network] = {
    "equal": Network(SwarmModel(capped=0.0, room=6000)),
    "equal, 20 % hostile, 10 % loss": Network(SwarmModel(capped=0.0, room=6000, hostile=0.2, loss=0.1)),
    "equal, 70 % keep 500": Network(SwarmModel()),
    "beta(1.2, 0.8)": Network(SwarmModel(capped=0.0, room=6000, reach="beta")),
    "beta(2, 1)": Network(SwarmModel(capped=0.0, room=6000, reach="beta21")),
    "two classes": Network(SwarmModel(capped=0.0, room=6000, reach="two-classes")),
    "log-normal": Network(SwarmModel(capped=0.0, room=6000, reach="lognormal")),
    "uniform": Network(SwarmModel(capped=0.0, room=6000, reach="uniform")),
    "beta(1.2, 0.8), 70 % keep 500": Network(SwarmModel(reach="beta")),
    "all keep the first 500": Network(SwarmModel(keeps="first", capped=1.0), 500),
    "the same, announced 0.4, 0.1": Network(
        SwarmModel(keeps="first", capped=1.0, announce=0.4, announce_next=0.1), 500
    ),
    "the same, announced 0.95, 0.9, 0.8": Network(
        SwarmModel(keeps="first", capped=1.0, announce=0.95, announce_next=0.9, announce_far=0.8), 500
    ),
    "70 % keep the first 500": Network(SwarmModel(keeps="first"), 500),
    "no limit, 5,000 to 20,000": Network(SwarmModel(capped=0.0, room=1 << 20), 5000, 20_000),
    "1 to 9, 20 % hostile": Network(SwarmModel(capped=0.0, hostile=0.2), 1, 9, 0.25),
    "10 to 30, 20 % hostile": Network(SwarmModel(capped=0.0, hostile=0.2), 10, 30, 0.25),
    "1 to 9, honest": Network(SwarmModel(), 1, 9),
}

COLUMNS = (
    *("network", "swarms", "holds %", "sized %", "excluded", "at least", "ratio", "error %", "width %"),
    *("asked", "marked", "of honest", "liars", "marked"),
)


def row_of(name: str, rows: Sequence[Measured]) -> list[str]:
    """Return what the swarms of one network came to."""
    sized = [row for row in rows if row.estimate.peers_high is not None]
    held = [row for row in rows if _holds(row)]
    ratios = [row.estimate.peers / row.peers for row in sized] or [0.0]
    widths = [((row.estimate.peers_high or 0) - row.estimate.peers_low) / row.peers for row in sized] or [0.0]
    liars = sum(row.liars for row in rows)
    return [
        name,
        f"{len(rows)}",
        f"{100 * len(held) / len(rows):.1f}",
        f"{100 * mean(map(_holds, sized)):.1f}" if sized else "",
        f"{sum(not _holds(row) for row in sized)}",
        f"{len(rows) - len(sized)}",
        f"{mean(ratios):.3f}",
        f"{100 * median(abs(ratio - 1) for ratio in ratios):.1f}",
        f"{100 * median(widths):.1f}",
        f"{mean(row.asked for row in rows):.1f}",
        f"{sum(row.honest_marked for row in rows)}",
        f"{sum(row.asked for row in rows) - liars}",
        f"{liars}",
        f"{sum(row.liars_marked for row in rows)}",
    ]


def _holds(row: Measured) -> bool:
    low, high = row.estimate.peers_low, row.estimate.peers_high
    return low <= row.peers and (high is None or row.peers <= high)


@benchmark(
    option.count("--swarms", 150, "for each network"),
    option.SEED,
    option.names("--only", list(map(str, range(1, len(NETWORKS) + 1)))),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure the swarms of each network and print its row; `--only` takes their places in the table."""
    rows = []
    for place, (name, network) in enumerate(NETWORKS.items(), 1):
        if str(place) not in options.only:
            continue
        found = []
        for number in range(options.swarms):
            random = Random(f"{name} {options.seed} {number}")
            size = drawn_size(network.largest, random, network.smallest)
            found.append(measure(network.model, size, random, network.probe))
        rows.append(row_of(name, found))
        print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print(head(report))
    print("\n" + table(COLUMNS, rows), flush=True)
    report["measurements"] = rows


if __name__ == "__main__":
    sys.exit(main())
