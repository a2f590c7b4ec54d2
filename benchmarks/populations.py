"""How well the number of info-hashes is known from samples (BEP 51), over many simulated networks.

    python -m benchmarks.populations [--runs 100] [--first 1] [--nodes 300] [--hashes 300,1500,12000]
                                     [--supports 0.7] [--filters 0.6] [--hidden 0] [--reach 0.5]
                                     [--zone-bits 0] [--json FILE]

Each info-hash is announced to the 8 nodes closest to it, and lies with each with a chance of its own, drawn
between `--reach` and 1.  Of the nodes, a share `--supports` gives samples (BEP 51), and of these a share
`--filters` sends filters (BEP 33).  Of the info-hashes, a share `--hidden` has peers of the other family
only: nodes that send no filters say nothing about them.  400 of the info-hashes shown are looked up, as
`dhtcrawl sample` does.  The truth is how many lie with any node; the columns are those of `benchmarks.sizes`,
"shown" is the share of the truth that was shown.
"""

import argparse
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import mean

from benchmarks.sizes.__main__ import COLUMNS
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.analysis.infohash_population import NearStore, population, shown_infohashes
from crawler.analysis.species_richness import NetworkSize
from crawler.infohashes.replication import CLOSEST, LOOKED_UP

SHOWN = 20
ID_BITS = 40


@dataclass(frozen=True, slots=True)
class PopulationModel:
    """A kind of network."""

    nodes: int = 300
    hashes: int = 1500
    supports: float = 0.7
    filters: float = 0.6
    hidden: float = 0.0
    reach: float = 0.5


class SampledNetwork:
    """Nodes, what each stores, and what each shows."""

    def __init__(self, model: PopulationModel, random: Random) -> None:
        """Draw a network."""
        self.random = random
        self.nodes = sorted(random.sample(range(1 << ID_BITS), model.nodes))
        self.supports = [random.random() < model.supports for _ in self.nodes]
        self.filters = [random.random() < model.filters for _ in self.nodes]
        self.hashes = [random.getrandbits(ID_BITS) for _ in range(model.hashes)]
        self.is_hidden = [random.random() < model.hidden for _ in self.hashes]
        self.holders: list[set[int]] = []
        stored: list[list[int]] = [[] for _ in self.nodes]
        for number, info_hash in enumerate(self.hashes):
            chance = random.uniform(model.reach, 1)
            closest = self.closest(info_hash, 8, lambda _: True)
            self.holders.append({each for each in closest if random.random() < chance})
            for each in self.holders[-1]:
                stored[each].append(number)
        self.shares = [min(1.0, SHOWN / len(each)) if each else 1.0 for each in stored]
        self.shown = [set(random.sample(each, min(SHOWN, len(each)))) for each in stored]

    def closest(self, target: int, count: int, counts: Callable[[int], bool]) -> list[int]:
        """Return the nodes closest to a target among those that count."""
        at = bisect_left(self.nodes, target)
        near = [each for each in range(max(0, at - 60), min(len(self.nodes), at + 60)) if counts(each)]
        return sorted(near, key=lambda each: self.nodes[each] ^ target)[:count]

    def truth(self, zone_bits: int = 0) -> int:
        """Return how many info-hashes of the first zone lie with any node, times the zones."""
        zones = zip(self.hashes, self.holders, strict=True)
        return 2**zone_bits * sum(bool(held) for each, held in zones if not each >> ID_BITS - zone_bits)

    def estimate(self, zone_bits: int = 0) -> tuple[int, NetworkSize | None]:
        """Sample the first zone, and return how many info-hashes were shown, and how many there are."""

        def counts(node: int) -> bool:
            return self.supports[node] and not self.nodes[node] >> ID_BITS - zone_bits

        showings = Counter(each for node, shown in enumerate(self.shown) if counts(node) for each in shown)
        found = sorted(each for each in showings if not self.hashes[each] >> ID_BITS - zone_bits)
        drawn = self.random.sample(found, min(len(found), LOOKED_UP))
        looked_up = [self._near(each, self.closest(self.hashes[each], CLOSEST, counts)) for each in drawn]
        times = Counter(showings[each] for each in found)
        given = (len(found), 0, 0) if zone_bits else (len(found), times[1], times[2])
        return len(found), population(given, shown_infohashes(looked_up), zone_bits=zone_bits)

    def _near(self, number: int, closest: list[int]) -> list[NearStore]:
        """Return what the nodes tell of an info-hash; those that name no peers may be unable to."""
        near = []
        for rank, node in enumerate(closest):
            is_told = self.filters[node] or self.shares[node] >= 1 or not self.is_hidden[number]
            holds = node in self.holders[number] if is_told else None
            near.append(NearStore(rank, self.shares[node], number in self.shown[node], holds))
        return near


def result_row(found: list[tuple[int, int, NetworkSize]]) -> list[str]:
    """Return what the estimates of some networks came to."""
    errors = [size.estimate / truth - 1 for truth, _, size in found]
    below = sum(truth < size.low for truth, _, size in found)
    above = sum(truth > size.high for truth, _, size in found)
    root = mean(error * error for error in errors) ** 0.5
    noise = (max(root**2 - mean(errors) ** 2, 0) / len(errors)) ** 0.5
    width = mean((size.high - size.low) / truth for truth, _, size in found)
    values = [mean(errors), noise, root, 1 - (below + above) / len(errors)]
    shown = mean(shown / truth for truth, shown, _ in found)
    return [
        *(f"{100 * value:.2f}" for value in values),
        f"{below}",
        f"{above}",
        f"{100 * width:.2f}",
        f"{shown:.3f}",
    ]


@benchmark(
    option.count("--runs", 100, "networks of each size"),
    option.count("--first", 1, "seed of the first network", at_least=0),
    option.count("--nodes", 300, "nodes"),
    option.numbers("--hashes", [300, 1500, 12000], "info-hashes", at_least=1),
    option.share("--supports", 0.7, "of the nodes that give samples"),
    option.share("--filters", 0.6, "of these that send filters"),
    option.share("--hidden", 0.0, "of the info-hashes with peers of the other family only"),
    option.share("--reach", 0.5, "of its 8 nodes that an info-hash lies with, at least"),
    option.number("--zone-bits", 0, "sample one zone of 1/2**BITS only", at_least=0, at_most=4),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Estimate all networks and return the report."""
    report["measurements"] = []
    print(head(report))
    rows = []
    for hashes in options.hashes:
        model = PopulationModel(
            options.nodes, hashes, options.supports, options.filters, options.hidden, options.reach
        )
        found = []
        for seed in range(options.first, options.first + options.runs):
            network = SampledNetwork(model, Random(f"{seed} {hashes}"))
            shown, size = network.estimate(options.zone_bits)
            if size is not None:
                truth = network.truth(options.zone_bits)
                found.append((truth, shown, size))
                report["measurements"].append(
                    [hashes, seed, truth, shown, size.estimate, size.low, size.high]
                )
        rows.append([f"{hashes}", *result_row(found)])
    print(table(("info-hashes", *COLUMNS[1:], "shown"), rows), flush=True)


if __name__ == "__main__":
    sys.exit(main())
