"""Info-hashes from samples: formulas by hand, intervals against simulated networks."""

from collections import Counter
from random import Random
from statistics import mean

import pytest

from benchmarks.populations import PopulationModel, SampledNetwork
from crawler.analysis.distributions import binomial_tails
from crawler.analysis.infohash_population import (
    NearStore,
    ShownInfohash,
    least_population,
    population,
    sample_coverage,
    shown_infohashes,
)


def assert_honest(hits, runs):
    at_most, _ = binomial_tails(runs, 0.95, hits)
    assert at_most > 0.001, f"{hits} of {runs}"


def estimates(model, runs, zone_bits=0):
    """Return the true number, that of those shown, and the estimate, for so many networks."""
    found = []
    for seed in range(runs):
        network = SampledNetwork(model, Random(seed))
        found.append((network.truth(zone_bits), *network.estimate(zone_bits)))
    return found


class TestShownInfohashes:
    """How likely an info-hash was shown, from the nodes that may hold it."""

    def test_every_holder_may_show_it(self):
        stores = [
            NearStore(0, 0.5, True, True),
            NearStore(1, 0.2, False, True),
            NearStore(2, 0.9, False, False),
        ]
        (shown,) = shown_infohashes([stores])
        assert shown.chance == pytest.approx(1 - 0.5 * 0.8)
        assert (shown.one, shown.two) == (0, 1)

    def test_node_that_does_not_tell_holds_as_much_as_others_of_its_rank(self):
        """One in two of those that tell; and it is less likely to once it shows nothing."""
        first = NearStore(0, 1.0, True, True)
        told = [[first, NearStore(1, 0.5, False, holds)] for holds in 100 * (True, False)]
        *_, shown = shown_infohashes([*told, [first, NearStore(1, 0.5, False, None)]])
        assert shown.chance == 1
        assert (shown.one, shown.two) == pytest.approx((2 / 3, 1 / 3), rel=0.01)


class TestPopulation:
    """What samples say of all info-hashes."""

    def test_what_was_certain_to_be_shown_is_all_there_is(self):
        size = population((70, 0, 0), 40 * [ShownInfohash(1.0)])
        assert (size.estimate, size.low, size.high) == (70, 70, 70)

    def test_each_stands_for_as_many_as_its_chance_says(self):
        size = population((50, 0, 0), 50 * [ShownInfohash(0.5)])
        assert size.estimate == pytest.approx(100)
        assert size.variance == pytest.approx(100)
        assert 50 < size.low < 100 < size.high

    def test_interval_is_never_below_what_was_shown(self):
        random = Random(1)
        for _ in range(200):
            looked_up = [ShownInfohash(random.uniform(0.1, 1), random.random() / 2) for _ in range(20)]
            shown = random.randint(20, 1000)
            size = population((shown, random.randint(0, 20), random.randint(0, 20)), looked_up)
            assert shown <= size.low <= size.estimate <= size.high

    def test_zone_stands_for_all(self):
        size = population((100, 0, 0), 100 * [ShownInfohash(1.0)], zone_bits=2)
        assert size.estimate == pytest.approx(400)
        assert size.variance / size.estimate**2 == pytest.approx(0.75 / 100)

    def test_is_none_without_anything_to_go_by(self):
        assert population((0, 0, 0), []) is None
        assert population((5, 5, 0), [ShownInfohash(0.0)]) is None

    @pytest.mark.parametrize(
        "model",
        [
            PopulationModel(hashes=150),
            PopulationModel(hashes=1500),
            PopulationModel(hashes=6000),
            PopulationModel(hashes=1500, hidden=0.5, filters=0.5),
            PopulationModel(hashes=1500, supports=0.3),
        ],
        ids=repr,
    )
    def test_is_near_the_truth_and_honest(self, model):
        """With every coverage, in both families, and where few nodes give samples."""
        found = estimates(model, 20 if model.hashes <= 1500 else 8)
        errors = [size.estimate / truth - 1 for truth, _, size in found]
        assert abs(mean(errors)) < 0.04
        assert all(shown <= size.low for _, shown, size in found)
        assert_honest(sum(size.low <= truth <= size.high for truth, _, size in found), len(found))

    def test_zone_is_honest(self):
        """A quarter of the id space, all its nodes visited."""
        found = estimates(PopulationModel(), 20, zone_bits=2)
        assert abs(mean(size.estimate / truth - 1 for truth, _, size in found)) < 0.05
        assert_honest(sum(size.low <= truth <= size.high for truth, _, size in found), len(found))


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
