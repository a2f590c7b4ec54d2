"""How well it is known what trackers have that the DHT has not, over many simulated swarms.

    python -m benchmarks.source_overlap [--runs 400] [--only N,...] [--seed 1] [--json FILE]

A swarm of the DHT (`benchmarks.swarms.model`) is measured as ever; a tracker lists as many peers, of which a
share is in the DHT, and hands out some addresses without a choice.  `source_overlap` compares.  Each run is a
swarm of its own.

- share: mean of the estimates of the share, and how often Wilson's interval held it;
- union holds %: runs whose interval held the number of peers in either, once each; width %: its mean width,
  in per cent of the truth; size known: both with the true size of the DHT in place of the measured one;
- naive holds %: what adding the ends of both intervals comes to.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from statistics import mean

from benchmarks.swarms.__main__ import ask
from benchmarks.swarms.model import ModelSwarm, SwarmModel
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis import SourceOverlap, source_overlap
from dhtnode import Interval
from dhtnode.krpc import ScrapeFilter, union_of
from dhtnode.swarm.filter_size import union_interval

COLUMNS = (
    *("swarm", "overlap %", "tested", "share", "holds %"),
    *("union holds %", "width %", "size known", "width %", "naive holds %"),
)
WHOLE = SwarmModel(announce=1.0, announce_next=1.0, capped=0.0, room=1 << 20, bep33=1.0, loss=0.0)
LOSSY = SwarmModel(capped=0.0, room=1 << 20, bep33=1.0, loss=0.1)
CUT = SwarmModel(announce=1.0, announce_next=1.0, capped=1.0, bep33=1.0, loss=0.0)
MIXED = SwarmModel()


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of swarm, how many peers each of both sources has, and how many addresses are tested."""

    name: str
    model: SwarmModel
    peers: int
    tested: int
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    by_filter: bool = False
    """Whether the size in the DHT is read from the filter of all nodes alone."""


SETTINGS = (
    Setting("500, one filter", WHOLE, 500, 100, by_filter=True),
    Setting("500, whole stores", WHOLE, 500, 100, (0.0, 0.5, 1.0)),
    Setting("500, 10 % loss, 90 % arrive", LOSSY, 500, 100),
    Setting("500, of all kinds", MIXED, 500, 100),
    Setting("50, whole stores", WHOLE, 50, 50),
    Setting("2000, whole stores", WHOLE, 2000, 100, (0.0, 0.5, 1.0)),
    Setting("2000, whole stores", WHOLE, 2000, 400, (0.0, 0.5, 1.0)),
    Setting("2000, stores of 500", CUT, 2000, 400),
    Setting("2000, of all kinds", MIXED, 2000, 400, (0.0, 0.5, 1.0)),
    Setting("4000, whole stores", WHOLE, 4000, 400, (0.0, 0.5, 1.0)),
    Setting("4000, stores of 500", CUT, 4000, 400),
    Setting("4000, of all kinds", MIXED, 4000, 400, (0.0, 0.5, 1.0)),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """The truth about both sources, and what came of the comparison, also with the true size of the DHT."""

    share: float
    union: int
    size: Interval
    listed: int
    found: SourceOverlap
    by_known_size: SourceOverlap

    @property
    def naive(self) -> Interval:
        """Return the union by adding the ends of both intervals."""
        low, high = self.found.share.low, self.found.share.high
        return Interval(
            0.0, self.size.low + self.listed * (1 - high), self.size.high + self.listed * (1 - low)
        )


def compare(setting: Setting, share: float, random: Random) -> Compared | None:
    """Draw a swarm and a tracker, and compare; None where nodes told nothing."""
    swarm = ModelSwarm(setting.model, setting.peers, random)
    asked = ask(swarm, random)
    listed = _tracker(swarm, round(share * setting.peers), random)
    hosts = random.sample(listed, setting.tested)
    filters = [each.told for each in asked.observations if each.is_believed]
    estimate = asked.estimate
    high = inf if estimate.peers_high is None else float(estimate.peers_high)
    size = Interval(float(estimate.peers), float(estimate.peers_low), high)
    if setting.by_filter:
        size = union_interval(union_of(filters), ScrapeFilter(), 0)
    found, by_known_size = (
        source_overlap(hosts, filters, each, len(listed))
        for each in (size, Interval(*[float(setting.peers)] * 3))
    )
    if found is None or by_known_size is None:
        return None
    both = round(share * setting.peers)
    return Compared(share, 2 * setting.peers - both, size, len(listed), found, by_known_size)


def _tracker(swarm: ModelSwarm, both: int, random: Random) -> list[bytes]:
    """Return the hosts that a tracker lists: some of the swarm, and others that the DHT has not."""
    known = [host.tobytes() for host in swarm.hosts]
    others = (
        bytes([100, number >> 16, number >> 8 & 255, number & 255]) for number in range(swarm.peers - both)
    )
    return [*random.sample(known, both), *others]


def row(setting: Setting, share: float, found: Sequence[Compared]) -> list[str]:
    """Return what came of the runs of a setting and overlap."""
    union = [(each.union, each.found.union) for each in found]
    known = [(each.union, each.by_known_size.union) for each in found]
    return [
        setting.name,
        f"{100 * share:.0f}",
        f"{setting.tested}",
        f"{mean(each.found.share.estimate for each in found):.3f}",
        f"{100 * mean(each.found.share.low <= each.share <= each.found.share.high for each in found):.1f}",
        *_quality(union),
        *_quality(known),
        next(_quality([(each.union, each.naive) for each in found])),
    ]


def _quality(found: Sequence[tuple[int, Interval]]) -> Iterator[str]:
    """Yield how often intervals held, and how wide they are where they have two ends, in per cent."""
    held = [low <= truth + 0.5 and truth - 0.5 <= high for truth, (_, low, high) in found]
    widths = [(high - low) / truth for truth, (_, low, high) in found if high < inf]
    yield f"{100 * mean(held):.1f}"
    yield f"{100 * mean(widths):.1f}" if widths else ""


@benchmark(
    option.count("--runs", 400, "swarms of each row"),
    option.names("--only", list(map(str, range(1, len(SETTINGS) + 1)))),
    option.number("--seed", 1),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Compare in all settings and print the table; `--only` takes their places."""
    print(head(report))
    report["columns"], report["rows"] = COLUMNS, []
    for place, setting in enumerate(SETTINGS, 1):
        for share in setting.shares if str(place) in options.only else ():
            random = Random(f"{options.seed} {setting.name} {setting.tested} {share}")
            drawn = [compare(setting, share, random) for _ in range(options.runs)]
            report["rows"].append(row(setting, share, [each for each in drawn if each is not None]))
    print(f"\n{options.runs} swarms a row, as many peers at the tracker as in the DHT\n")
    print(table(COLUMNS, report["rows"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
