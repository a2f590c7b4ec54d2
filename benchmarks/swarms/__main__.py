"""How well the size of a swarm is known, over many simulated swarms of known size.

    python -m benchmarks.swarms [--swarms 300] [--largest 6000] [--peers 0] [--capped 0.7] [--bep33 0.6]
                                [--cut 500] [--room 2048] [--keeps random] [--reach equal]
                                [--announce 0.9,0.5,0] [--loss 0.02] [--hostile 0] [--probe 0] [--seed 1]
                                [--json FILE]

Each swarm has `--smallest` to `--largest` peers, uniform on a scale of logarithms, or `--peers` (see
`benchmarks.swarms.model`). The 8 closest nodes that answer are asked, up to 32 when `more_nodes_wanted` of
`dhtnode.swarm` says so; replies that `classify` marks are left out, and `estimate_swarm` does the rest. A
share `--probe` of the nodes is also asked for a random info-hash.

- error %: median of the distance between estimate and truth, in per cent of the truth; ratio: mean of
  estimate by truth; both of the swarms that got a size and not only a lower bound;
- holds %: swarms whose 95 % interval held the truth; "range %" only of those where it was
  more than one number, and had two ends; "one": how many were one number; "at least": how many got a lower
  bound, with which they count as held if it is not above the truth; width %: median of the width of all
  others, in per cent of the truth;
- third table, error % and ratio of single methods: union of all filters, pair ratio, the higher of these
  two, Chao2 over names, and the seeds in the union of all seed filters;
- one filter: the closest node that sent filters; distinct: the peers that were named, each once.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from math import exp, log
from random import Random
from statistics import mean, median
from typing import NamedTuple

from benchmarks.swarms.model import CLOSEST, REACHES, ModelSwarm, SwarmModel
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from dhtnode.swarm import (
    Mark,
    Observation,
    Reply,
    SwarmEstimate,
    capture_histories,
    classify,
    estimate_swarm,
    more_nodes_wanted,
)

CLASSES = ((1, 9), (10, 49), (50, 199), (200, 499), (500, 999), (1000, 1999), (2000, 3499), (3500, 1 << 20))
COLUMNS = (
    "peers",
    "swarms",
    "asked",
    "error %",
    "ratio",
    "holds %",
    "range %",
    "one",
    "at least",
    "width %",
    "one filter",
    "distinct",
)
PARTS = ("peers", "seeds, error %", "ratio", "holds %", "leechers, error %", "ratio", "holds %")
TRUST = ("peers", "liars", "marked", "honest", "marked")
RIVALS = (
    "peers",
    "union",
    "ratio",
    "pair ratio",
    "ratio",
    "higher",
    "ratio",
    "Chao2",
    "ratio",
    "seeds by union",
    "ratio",
)
MOST_ASKED = 32
FROM = 50  # peers from which a swarm counts in the summary of parts


@dataclass(frozen=True, slots=True)
class Measured:
    """The truth about one swarm, and the estimate made of the replies."""

    peers: int
    seeds: int
    asked: int
    estimate: SwarmEstimate
    one_filter: float
    liars: int
    liars_marked: int
    honest_marked: int
    marks: tuple[str, ...]

    @property
    def leechers(self) -> int:
        """Return how many peers are no seeds."""
        return self.peers - self.seeds


class Asked(NamedTuple):
    """What the nodes around a swarm said, and the estimate made of it."""

    replies: Sequence[Reply]
    observations: tuple[Observation, ...]
    estimate: SwarmEstimate


def ask(swarm: ModelSwarm, random: Random, probe: float = 0.0) -> Asked:
    """Ask the nodes around a swarm, as many as a measurement does, and estimate."""
    source = swarm.replies()
    replies: list[Reply] = []
    wanted = CLOSEST
    while wanted:
        for reply in islice(source, wanted):
            if random.random() < probe and swarm.answers_anything():
                reply.marks = (Mark.ANSWERS_ANYTHING,)
            replies.append(reply)
        observations = classify(replies)
        believed = [each for each in observations if each.is_believed]
        histories = capture_histories(believed)
        wanted = max(map(more_nodes_wanted, histories.values()), default=0)
        # As a measurement does: nodes that are not believed leave their places to a few others.
        wanted = min(wanted, MOST_ASKED - len(replies))
    return Asked(replies, observations, estimate_swarm(believed, histories))


def measure(model: SwarmModel, peers: int, random: Random, probe: float = 0.0) -> Measured:
    """Draw a swarm, ask the nodes around it, and estimate."""
    swarm = ModelSwarm(model, peers, random)
    replies, observations, estimate = ask(swarm, random, probe)
    return Measured(
        peers,
        swarm.seeds,
        len(replies),
        estimate,
        next((each.stored.estimate() for each in observations if each.has_filters), 0.0),
        len(swarm.liars),
        sum(bool(observations[place].marks) for place in swarm.liars),
        sum(bool(each.marks) for place, each in enumerate(observations) if place not in swarm.liars),
        tuple(mark for each in observations for mark in each.marks),
    )


def drawn_size(largest: int, random: Random, smallest: int = 1) -> int:
    """Return a number of peers, uniform on a scale of logarithms."""
    return round(exp(random.uniform(log(smallest), log(largest))))


def classes_of(found: Sequence[Measured]) -> Iterator[tuple[str, list[Measured]]]:
    """Yield the swarms of each size class, those of 50 and more, and all."""
    for low, high in (*CLASSES, (FROM, CLASSES[-1][1]), (1, CLASSES[-1][1])):
        rows = [each for each in found if low <= each.peers <= high]
        name = "all" if low == 1 and high == CLASSES[-1][1] else f"{low} and more"
        if rows:
            yield (f"{low} to {high}" if high < CLASSES[-1][1] else name), rows


def size_row(name: str, rows: Sequence[Measured]) -> list[str]:
    """Return what the headline came to, beside what others publish."""
    sized = [row for row in rows if row.estimate.peers_high is not None]
    widths = [(row.estimate.peers_high or 0) - row.estimate.peers_low for row in sized]
    ranges = [row for row, width in zip(sized, widths, strict=True) if width]
    relative = [width / row.peers for row, width in zip(sized, widths, strict=True)]
    return [
        name,
        f"{len(rows)}",
        f"{mean(row.asked for row in rows):.1f}",
        *_quality(rows, "peers"),
        f"{100 * mean(_holds(row, 'peers') for row in ranges):.1f}" if ranges else "",
        f"{len(sized) - len(ranges)}",
        f"{len(rows) - len(sized)}",
        f"{100 * median(relative):.1f}" if sized else "",
        f"{mean(row.one_filter / row.peers for row in rows):.2f}",
        f"{mean(row.estimate.distinct_peers / row.peers for row in rows):.2f}",
    ]


def _quality(rows: Sequence[Measured], part: str) -> list[str]:
    """Return median error, mean ratio and coverage; the first two where there is something to measure."""
    sized = [row for row in rows if not row.estimate.is_at_least]
    ratios = [getattr(row.estimate, part) / getattr(row, part) for row in sized if getattr(row, part)]
    error = f"{100 * median(abs(ratio - 1) for ratio in ratios):.2f}" if ratios else ""
    ratio = f"{mean(ratios):.3f}" if ratios else ""
    return [error, ratio, f"{100 * mean(_holds(row, part) for row in rows):.1f}"]


def _holds(row: Measured, part: str) -> bool:
    low, high = getattr(row.estimate, f"{part}_low"), getattr(row.estimate, f"{part}_high")
    return bool(low <= getattr(row, part) and (high is None or getattr(row, part) <= high))


def rival_row(name: str, rows: Sequence[Measured]) -> list[str]:
    """Return what single methods came to; a method that said nothing is left out of its own mean."""
    ratios: dict[str, list[float]] = {
        name: [] for name in ("union", "pair-ratio", "higher", "chao2", "seeds")
    }
    for row in rows:
        found = {(each.subject, each.method): each.estimate for each in row.estimate.estimates}
        union, pairs = found["peers", "union"], found.get(("peers", "pair-ratio"))
        ratios["union"].append(union / row.peers)
        ratios["higher"].append(max(union, pairs or 0.0) / row.peers)
        ratios["pair-ratio"] += [pairs / row.peers] if pairs else []
        ratios["chao2"] += [each / row.peers for key, each in found.items() if key == ("peers", "chao2")]
        ratios["seeds"] += [found["seeds", "union"] / row.seeds] if row.seeds else []
    cells = [name]
    for values in ratios.values():
        cells += (
            [f"{100 * median(abs(each - 1) for each in values):.2f}", f"{mean(values):.3f}"]
            if values
            else ["", ""]
        )
    return cells


def trust_row(name: str, rows: Sequence[Measured]) -> list[str]:
    """Return how many liars were marked, and how many honest nodes."""
    liars = sum(row.liars for row in rows)
    return [
        name,
        f"{liars}",
        f"{sum(row.liars_marked for row in rows)}",
        f"{sum(row.asked for row in rows) - liars}",
        f"{sum(row.honest_marked for row in rows)}",
    ]


@benchmark(
    option.count("--swarms", 300),
    option.count("--largest", 6000, "peers in the largest swarm"),
    option.count("--smallest", 1, "peers in the smallest one"),
    option.number("--peers", 0, "peers in every swarm; 0: drawn", at_least=0, at_most=1 << 20),
    option.CAPPED,
    option.BEP33,
    option.LOSS,
    option.HOSTILE,
    option.share("--probe", 0.0, "of nodes asked for a random info-hash"),
    option.choice("--reach", REACHES, "equal", "how peers differ in how well their announces arrive"),
    option.choice("--keeps", ("random", "first"), "random", "what a full store keeps"),
    option.numbers("--announce", [0.9, 0.5, 0.0], "chances of an announce to arrive", at_least=0, at_most=1),
    option.count("--cut", 500, "peers that capped nodes store"),
    option.count("--room", 2048, "peers that the others store"),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure all swarms and return the report."""
    model = SwarmModel(
        capped=options.capped,
        bep33=options.bep33,
        loss=options.loss,
        hostile=options.hostile,
        reach=options.reach,
        keeps=options.keeps,
        **dict(zip(("announce", "announce_next", "announce_far"), options.announce, strict=False)),
        cut=options.cut,
        room=options.room,
    )
    found = []
    for number in range(options.swarms):
        random = Random(f"{options.seed} {number}")
        found.append(
            measure(
                model,
                options.peers or drawn_size(options.largest, random, options.smallest),
                random,
                options.probe,
            )
        )
    print(head(report))
    groups = list(classes_of(found))
    print("\n" + table(COLUMNS, [size_row(name, rows) for name, rows in groups]))
    print(
        "\n"
        + table(
            PARTS, [[name, *_quality(rows, "seeds"), *_quality(rows, "leechers")] for name, rows in groups]
        )
    )
    print("\n" + table(RIVALS, [rival_row(name, rows) for name, rows in groups]))
    print("\n" + table(TRUST, [trust_row(name, rows) for name, rows in groups]), flush=True)
    counts = Counter(word for each in found for word in each.marks)
    print("\n" + (", ".join(f"{word}: {count}" for word, count in counts.most_common()) or "no marks"))
    report["measurements"] = [asdict(each) for each in found]


if __name__ == "__main__":
    sys.exit(main())
