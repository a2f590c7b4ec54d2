"""How well it is known who came to a swarm and who left, over many simulated swarms of known truth.

    python -m benchmarks.changes [--swarms 100] [--peers 300] [--seed 1] [--only N,...] [--json FILE]

Each swarm is drawn at two times (`benchmarks.changes.model`), measured at both by `estimate_swarm`, and
compared by `swarm_change`.  An hour lies between, 8 nodes are asked, of which 5 % are silent each time, 90 %
of announcements arrive, and peers announce every 15 to 30 minutes, but for what the name of a network says.

- told: swarms of which anything was told;
- came, left: the true mean, the mean of the estimates, the share of intervals that held the truth, and
  their mean width, in peers;
- size: the share of intervals of the change that held, and their mean width;
- clear %: swarms whose size is said to have changed, by these filters; then by two intervals that do not
  meet, as in `swarm_history`.  In a still swarm all of them are false alarms.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from random import Random
from statistics import mean

from benchmarks.changes.model import Change, ChangeModel, draw_change
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis import SwarmChange, swarm_change
from dhtnode import Interval
from dhtnode.swarm import estimate_swarm

COLUMNS = (
    "network",
    "told",
    *("came", "found", "holds %", "width"),
    *("left", "found", "holds %", "width"),
    *("size holds %", "width", "clear %", "by sizes"),
)
STILL = ChangeModel()
TURNING = replace(STILL, leave=0.2, join=0.2)
NETWORKS = {
    "still": STILL,
    "still, 6 h": replace(STILL, hours=6.0),
    "still, 16 nodes": replace(STILL, nodes=16),
    "still, half of the announcements lost": replace(STILL, announce=0.5),
    "still, beta(1.2, 0.8)": replace(STILL, reach="beta(1.2, 0.8)"),
    "still, beta(2, 1)": replace(STILL, reach="beta(2, 1)"),
    "still, two classes": replace(STILL, reach="two classes"),
    "still, all nodes replaced": replace(STILL, replaced=1.0),
    "a fifth an hour": TURNING,
    "a fifth an hour, 10 min": replace(TURNING, hours=1 / 6),
    "a fifth an hour, 6 h": replace(TURNING, hours=6.0),
    "a fifth an hour, 16 nodes": replace(TURNING, nodes=16),
    "a fifth an hour, 4 nodes": replace(TURNING, nodes=4),
    "a fifth an hour, 20 % of pairs never meet": replace(TURNING, never=0.2),
    "a fifth an hour, beta(1.2, 0.8)": replace(TURNING, reach="beta(1.2, 0.8)"),
    "a fifth an hour, beta(2, 1)": replace(TURNING, reach="beta(2, 1)"),
    "a fifth an hour, two classes": replace(TURNING, reach="two classes"),
    "a fifth an hour, all nodes replaced": replace(TURNING, replaced=1.0),
    "a fifth an hour, stores of 100": replace(TURNING, room=100, nodes=16),
    "grows by a tenth an hour": replace(STILL, leave=0.1, join=0.2),
    "still, announced every 25 to 35 min": replace(STILL, announce_every=(25.0, 35.0)),
}
"""The networks by name; the last one breaks an assumption."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The truth about a swarm, what was told of its change, and whether its two intervals do not meet."""

    truth: Change
    found: SwarmChange
    is_clear_by_sizes: bool


def compare(model: ChangeModel, random: Random) -> Compared | None:
    """Draw a swarm, measure it twice, and compare; None where nothing is told."""
    truth = draw_change(model, random)
    sizes = [
        Interval(each.peers, each.peers_low, each.peers_high)
        for each in map(estimate_swarm, (truth.first, truth.second))
    ]
    found = swarm_change(truth.first, truth.second, (sizes[0], sizes[1]), model.hours)
    if found is None:
        return None
    return Compared(truth, found, sizes[0].low > sizes[1].high or sizes[0].high < sizes[1].low)


def row(name: str, found: Sequence[Compared]) -> list[str]:
    """Return what came of the swarms of one network."""
    cells = [name, f"{len(found)}"]
    if not found:
        return cells + [""] * (len(COLUMNS) - len(cells))
    for part in ("arrivals", "departures"):
        of = attrgetter(part)
        cells += [f"{mean(of(each.truth) for each in found):.1f}"]
        cells += [f"{mean(of(each.found).estimate for each in found):.1f}", *_interval(found, of, of)]
    cells += _interval(found, lambda each: each.change, lambda each: each.after - each.before)
    cells += [f"{100 * mean(each.found.is_clear for each in found):.0f}"]
    return [*cells, f"{100 * mean(each.is_clear_by_sizes for each in found):.0f}"]


def _interval(
    found: Sequence[Compared], pick: Callable[[SwarmChange], Interval], true: Callable[[Change], float]
) -> list[str]:
    held = [pick(each.found).low <= true(each.truth) <= pick(each.found).high for each in found]
    width = mean(pick(each.found).high - pick(each.found).low for each in found)
    return [f"{100 * mean(held):.0f}", f"{width:.1f}"]


@benchmark(
    option.count("--swarms", 100, "swarms of each network"),
    option.count("--peers", 300, "peers of a swarm"),
    option.number("--seed", 1),
    option.names("--only", list(map(str, range(1, len(NETWORKS) + 1)))),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Draw all swarms and print the table; `--only` takes the places of networks in it."""
    print(head(report))
    report["columns"], report["networks"] = COLUMNS, []
    for place, name in enumerate(NETWORKS, 1):
        if str(place) in options.only:
            random = Random(f"{options.seed} {name}")
            model = replace(NETWORKS[name], peers=options.peers)
            found = [compare(model, random) for _ in range(options.swarms)]
            report["networks"].append(row(name, [each for each in found if each is not None]))
    print(f"\n{options.swarms} swarms of {options.peers} peers each\n")
    print(table(COLUMNS, report["networks"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
