"""Info-hashes from samples: formulas by hand, intervals against simulated networks."""

from bisect import bisect_left
from collections import Counter
from random import Random
from statistics import mean

import pytest

from crawler.analysis.distributions import binomial_tails
from crawler.analysis.infohash_population import SampledNode, least_population, population, sample_coverage
from crawler.analysis.species_richness import NetworkSize

SHOWN = 20
ID_BITS = 40


class SampledNetwork:
    """Hold nodes and info-hashes: each lies with its 8 closest nodes, better announced ones with more."""

    def __init__(self, random, nodes=300, hashes=1500):
        self.random = random
        self.nodes = sorted(random.sample(range(1 << ID_BITS), nodes))
        self.supports = [random.random() < 0.7 for _ in range(nodes)]
        self.stored = [[] for _ in range(nodes)]
        self.hashes = [random.getrandbits(ID_BITS) for _ in range(hashes)]
        self.holders = []
        for number, info_hash in enumerate(self.hashes):
            chance = random.uniform(0.2, 1)
            holders = [
                each for each in self.closest(info_hash) if self.supports[each] and random.random() < chance
            ]
            self.holders.append(holders)
            for each in holders:
                self.stored[each].append(number)

    def closest(self, target):
        """Return the 8 nodes closest to a target, among those around it."""
        at = bisect_left(self.nodes, target)
        near = range(max(0, at - 25), min(len(self.nodes), at + 25))
        return sorted(near, key=lambda each: self.nodes[each] ^ target)[:8]

    def sample(self, visited, area=lambda _: True):
        """Return what the nodes show when the first info-hash of each sample is looked up."""
        found = []
        for node in visited:
            shown = self.random.sample(self.stored[node], min(SHOWN, len(self.stored[node])))
            holders = ()
            if shown and area(self.hashes[shown[0]]):
                holders = (sum(area(self.nodes[each]) for each in self.holders[shown[0]]),)
            elif shown:
                holders = (0,)
            found.append(SampledNode(len(self.stored[node]), holders))
        return found

    def truth(self, area=lambda _: True):
        return sum(
            any(area(self.nodes[each]) for each in holders) and area(info_hash)
            for info_hash, holders in zip(self.hashes, self.holders, strict=True)
        )


def assert_honest(hits, runs):
    at_most, _ = binomial_tails(runs, 0.95, hits)
    assert at_most > 0.001, f"{hits} of {runs}"


class TestPopulation:
    """The Horvitz-Thompson estimate."""

    def test_by_hand(self):
        """Four nodes, two visited, that store 30 and 10; held twice each where looked up."""
        size = population([SampledNode(30, (2,)), SampledNode(10, (2,))], NetworkSize(4, 4, 4, 0))
        assert size.estimate == pytest.approx(4 * 20 / 2)
        # Half of the nodes are missing; their variance of 200 over 2 nodes and the mean of 20 squared.
        assert size.variance / size.estimate**2 == pytest.approx(0.5 * 200 / 2 / 400)
        assert size.low < size.estimate < size.high

    def test_info_hashes_outside_of_the_zone_count_nothing(self):
        size = population([SampledNode(30, (0, 3)), SampledNode(30)], NetworkSize(2, 2, 2, 0), zone_bits=2)
        assert size.estimate == pytest.approx(4 * 60 / 3 / 2)
        assert size.variance / size.estimate**2 == pytest.approx(0.75 / 10)

    def test_is_none_without_anything_to_go_by(self):
        assert population([], NetworkSize(4, 4, 4, 0)) is None
        assert population([SampledNode(30)], NetworkSize(4, 4, 4, 0)) is None
        assert population([SampledNode(30, (0,))], NetworkSize(4, 4, 4, 0)) is None
        assert population([SampledNode(30, (1,))], NetworkSize(0, 0, 0, 0)) is None

    @pytest.mark.parametrize("impossible", [(-1, ()), (0, (1,)), (3, (-1,))])
    def test_refuses_what_no_node_can_show(self, impossible):
        with pytest.raises(ValueError, match="no sample of"):
            SampledNode(*impossible)

    def test_is_near_the_truth_and_honest(self):
        """Thirty networks, nine nodes in ten visited: within 10 % of the truth, interval honest."""
        hits, errors, runs = 0, [], 30
        for seed in range(runs):
            network = SampledNetwork(Random(seed))
            supporting = [each for each, supports in enumerate(network.supports) if supports]
            visited = [each for each in supporting if network.random.random() < 0.9]
            nodes = len(supporting)
            size = population(network.sample(visited), NetworkSize(nodes, nodes, nodes, 0))
            errors.append(size.estimate / network.truth() - 1)
            hits += size.low <= network.truth() <= size.high
        assert_honest(hits, runs)
        assert abs(mean(errors)) < 0.02
        assert sum(abs(error) < 0.1 for error in errors) >= 0.95 * runs

    def test_zone_is_honest(self):
        """A quarter of the id space, all its nodes visited; the truth is that of the whole network."""
        hits, errors, runs = 0, [], 30

        def inside(each):
            return each >> ID_BITS - 2 == 0

        for seed in range(runs):
            network = SampledNetwork(Random(f"zone {seed}"))
            visited = [
                each
                for each, supports in enumerate(network.supports)
                if supports and inside(network.nodes[each])
            ]
            nodes = len(visited)
            sampled = network.sample(visited, inside)
            size = population(sampled, NetworkSize(nodes, nodes, nodes, 0), zone_bits=2)
            truth = network.truth()
            errors.append(size.estimate / truth - 1)
            hits += size.low <= truth <= size.high
        assert_honest(hits, runs)
        assert abs(mean(errors)) < 0.05


class TestCoverage:
    """What share of further samples is known."""

    def test_by_hand(self):
        coverage = sample_coverage(10, 20, 1000)
        assert coverage.share == pytest.approx(0.99)
        assert coverage.share - coverage.low == pytest.approx(1.96 * (10 * 0.99 + 40) ** 0.5 / 1000, rel=1e-4)
        assert sample_coverage(0, 0, 0).share == 0
        assert sample_coverage(5, 0, 5).low == 0

    def test_holds_what_further_samples_show(self):
        """A hundred times: the share of known ones among those that another interval shows."""
        random, hits, runs = Random(3), 0, 100
        weights = [random.paretovariate(1.5) for _ in range(3000)]
        total = sum(weights)
        for _ in range(runs):
            seen = Counter(random.choices(range(3000), weights, k=2000))
            times = Counter(seen.values())
            coverage = sample_coverage(times[1], times[2], 2000)
            known = sum(weights[each] for each in seen) / total
            hits += coverage.low <= known <= coverage.high
        assert_honest(hits, runs)


def test_least_population_is_the_bound_of_chao():
    assert least_population(100, 10, 4) == 109
