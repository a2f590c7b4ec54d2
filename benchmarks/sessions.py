"""How well the law of session lengths is known, over many simulated windows of rounds of known truth.

    python -m benchmarks.sessions [--windows 40] [--rounds 49] [--present 60] [--seed 1] [--only N,...]
                                  [--json FILE]

Nodes come at random, stay for Weibull times with a mean of 4 hours, and leave for good, or come back four
times in five after an exponential time with a mean of 5 hours.  A round is every half hour; `--present` nodes
are there at a time, and a visit to one of them fails with the chance in the name of the network.

- nodes: those that answered at all, on average;
- mean, shape: the geometric mean of estimate by truth, the share of 95 % intervals that held the truth, and
  the median of high end by low end;
- misses: the mean share of visits found to have failed, and how often its interval held the truth.
"""

import argparse
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, gamma, log
from random import Random
from statistics import mean, median

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis.session_fit import WeibullFit, fit_weibull
from crawler.analysis.weibull import Weibull

HOUR = 3600.0
MEAN = 4 * HOUR
ABSENCE = 5 * HOUR
WARM_UP = 40  # mean sessions before the first round
COLUMNS = (
    *("network", "windows", "nodes"),
    *("mean", "holds %", "high/low"),
    *("shape", "holds %", "high/low"),
    *("misses %", "holds %"),
)


@dataclass(frozen=True, slots=True)
class SessionModel:
    """A network whose nodes come and go, and the rounds of visits to them."""

    shape: float = 1.0
    miss: float = 0.0
    returns: float = 0.0
    spacing: float = HOUR / 2
    unequal: bool = False
    """Whether each node has a chance of its own to be missed, from beta(5 miss, 5 (1 - miss))."""

    steady: float = 0.0
    """Share of the nodes there that never leave."""

    @property
    def law(self) -> Weibull:
        """Return the law of sessions."""
        return Weibull(MEAN / gamma(1 + 1 / self.shape), self.shape)


NETWORKS = {
    f"{'come back' if returns else 'come once'}, shape {shape:g}, {miss:.0%} missed": SessionModel(
        shape, miss, returns
    )
    for returns in (0.0, 0.8)
    for shape in (1.0, 0.6, 1.6)
    for miss in (0.0, 0.05, 0.3)
} | {
    "come back, shape 0.6, 10 % missed, unequally": SessionModel(0.6, 0.1, 0.8, unequal=True),
    "come back, shape 0.6, 10 % missed, a third never leave": SessionModel(0.6, 0.1, 0.8, steady=1 / 3),
    "come back, shape 0.6, 10 % missed, a round every two hours": SessionModel(
        0.6, 0.1, 0.8, spacing=2 * HOUR
    ),
}
"""The networks by name; the last ones break an assumption, or have few rounds to a session."""


def draw_rounds(
    model: SessionModel, times: Sequence[float], present: float, random: Random
) -> list[list[int]]:
    """Return in which rounds each node answered that did at all, of some `present` at a time."""
    leaving = present * (1 - model.steady)
    found, start = [], -WARM_UP * MEAN
    comes = leaving * (1 - model.returns) / MEAN
    moment = start + random.expovariate(comes)
    while moment < times[-1]:
        found.append(_answers(model, times, moment, random))
        moment += random.expovariate(comes)
    always = range(round(present * model.steady))
    found += [_visited(range(len(times)), _miss_of(model, random), random) for _ in always]
    return [each for each in found if each]


def _answers(model: SessionModel, times: Sequence[float], moment: float, random: Random) -> list[int]:
    law, miss, found = model.law, _miss_of(model, random), list[int]()
    while moment < times[-1]:
        end = moment + random.weibullvariate(law.scale, law.shape)
        found += _visited(range(bisect_left(times, moment), bisect_left(times, end)), miss, random)
        if random.random() >= model.returns:
            break
        moment = end + random.expovariate(1 / ABSENCE)
    return found


def _miss_of(model: SessionModel, random: Random) -> float:
    return random.betavariate(5 * model.miss, 5 * (1 - model.miss)) if model.unequal else model.miss


def _visited(rounds: Iterable[int], miss: float, random: Random) -> list[int]:
    return [number for number in rounds if random.random() >= miss]


def row(name: str, model: SessionModel, found: Sequence[tuple[int, WeibullFit]]) -> list[str]:
    """Return what the windows of one network came to."""
    fits = [fit for _, fit in found]
    means = [(fit.mean_low, fit.law.mean, fit.mean_high) for fit in fits]
    shapes = [(fit.shape_low, fit.law.shape, fit.shape_high) for fit in fits]
    misses = [fit.miss_low <= model.miss <= fit.miss_high for fit in fits]
    return [
        name,
        f"{len(found)}",
        f"{mean(nodes for nodes, _ in found):.0f}",
        *_quality(means, MEAN),
        *_quality(shapes, model.shape),
        f"{100 * mean(fit.miss_share for fit in fits):.1f}",
        f"{100 * mean(misses):.0f}" if model.miss and not model.unequal else "",
    ]


def _quality(intervals: Sequence[tuple[float, float, float]], truth: float) -> list[str]:
    return [
        f"{exp(mean(log(estimate / truth) for _, estimate, _ in intervals)):.3f}",
        f"{100 * mean(low <= truth <= high for low, _, high in intervals):.0f}",
        f"{median(high / low for low, _, high in intervals):.2f}",
    ]


@benchmark(
    option.count("--windows", 40, "of each network"),
    option.count("--rounds", 49, "in a window", at_least=10),
    option.count("--present", 60, "nodes that are there at a time"),
    option.number("--seed", 1),
    option.names("--only", list(map(str, range(1, len(NETWORKS) + 1)))),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Draw all windows and print the table; `--only` takes the places of networks in it."""
    print(head(report))
    report["columns"], report["networks"] = COLUMNS, []
    for place, (name, model) in enumerate(NETWORKS.items(), 1):
        if str(place) not in options.only:
            continue
        times, random = (
            [number * model.spacing for number in range(options.rounds)],
            Random(f"{options.seed} {name}"),
        )
        windows = [draw_rounds(model, times, options.present, random) for _ in range(options.windows)]
        found = [(len(each), fit_weibull(each, times)) for each in windows]
        report["networks"].append(row(name, model, found))
        print(" ".join(report["networks"][-1]), file=sys.stderr, flush=True)
    print("\n" + table(COLUMNS, report["networks"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
