"""Sizes of networks: formulas against worked values, intervals against simulated crawls."""

from math import sqrt
from random import Random
from statistics import mean

import pytest

from benchmarks.sizes.__main__ import measure
from benchmarks.sizes.model import Crawl, ModelNetwork, SizeModel
from crawler.analysis.crawl_size import CrawlCounts, OutsideNamings, extrapolated, size_from_crawl
from crawler.analysis.distance_size import (
    Distances,
    kth_distance,
    size_from_distances,
    spread_targets,
    targets_for,
)
from crawler.analysis.distributions import binomial_tails, gamma_quantile
from crawler.analysis.species_richness import NetworkSize, chapman, improved_chao1, joint_size
from dhtnode.swarm import chao1

COUNTS = CrawlCounts(
    answered=1000,
    by_a=960,
    by_b=950,
    by_both=920,
    named=(20, 40, 80, 120, 730),
    recovered=38,
    second_sent=999,
    second_unanswered=39,
)


def counts(**changes):
    values = {name: getattr(COUNTS, name) for name in CrawlCounts.__slots__}
    return CrawlCounts(**values | changes)


def assert_honest(hits, runs):
    """Hold a coverage to 95 %: as few, or as many, hits have a chance of one in a thousand at least."""
    at_most, at_least = binomial_tails(runs, 0.95, hits)
    assert at_most > 0.001, f"{hits} of {runs}"
    assert at_least > 0.001, f"{hits} of {runs}"


class TestCrawl:
    """`size_from_crawl`."""

    def test_adds_lost_and_unnamed_nodes(self):
        """By the formulas of the docstring, with q = 39.5 / 1000."""
        size = size_from_crawl(COUNTS)
        loss = 0.0395
        lost = (20 + 38) * loss / (1 - loss)
        twice = 1 - loss**2
        unnamed = improved_chao1([20 / (1 - loss), 40 / twice, 80 / twice, 120 / twice])
        assert size.lost == pytest.approx(lost)
        assert size.unnamed == pytest.approx(unnamed)
        assert size.size.estimate == pytest.approx(1000 + lost + unnamed)
        assert size.found == pytest.approx(1000 / size.size.estimate)
        assert size.size.counted == 1000
        assert 1000 <= size.size.low <= size.size.estimate <= size.size.high

    def test_is_certain_of_what_answered_when_nothing_points_to_more(self):
        none = OutsideNamings((0, 0, 0, 0), 1)
        seen = counts(named=(0, 0, 0, 0, 1000), recovered=0, second_unanswered=0, outside=none)
        size = size_from_crawl(seen).size
        assert size.low == 1000
        assert size.high <= 1001

    def test_of_a_zone_is_multiplied_and_has_the_variance_of_a_share(self):
        whole, zone = size_from_crawl(COUNTS), size_from_crawl(counts(zone_bits=4))
        assert zone.size.estimate == pytest.approx(16 * whole.size.estimate)
        assert sqrt(zone.size.variance) / zone.size.estimate == pytest.approx(sqrt(15 / 16 / 1003), rel=0.05)
        assert zone.size.counted == 0
        assert zone.found == whole.found

    def test_without_groups_one_in_a_thousand_is_missed_in_groups_of_three_and_a_half(self):
        sizes = [
            size_from_crawl(
                CrawlCounts(answered, answered, answered, answered, (0, 0, 0, 0, answered), 0, 0, 0)
            )
            for answered in (10_000, 100_000)
        ]
        assert [each.size.estimate for each in sizes] == pytest.approx([10_010, 100_100], abs=0.01)
        # 10 and 100 by chance, 2.5 times as much for the groups, and the square of half of them.
        assert sizes[1].size.variance - sizes[0].size.variance == pytest.approx(
            90 * 3.5 + 2500 - 25, rel=0.01
        )

    def test_crawl_without_answers(self):
        nothing = CrawlCounts(0, 0, 0, 0, (0, 0, 0, 0, 0), 0, 0, 0)
        assert size_from_crawl(nothing).size == NetworkSize(0, 0, 0, pytest.approx(0, abs=10), 0)

    @pytest.mark.parametrize(
        "changes",
        [
            {"by_both": 955},
            {"by_both": 900},
            {"named": (20, 40, 80, 120, 800)},
            {"named": (20, 40)},
            {"recovered": -1},
            {"recovered": 1001},
            {"second_unanswered": 1000},
            {"outside": OutsideNamings((-1, 0, 0, 0), 1)},
        ],
    )
    def test_refuses_counts_that_contradict_each_other(self, changes):
        with pytest.raises(ValueError, match="contradict"):
            counts(**changes)

    def test_of_two_families_adds_sizes_and_variances(self):
        one = size_from_crawl(COUNTS).size
        both = joint_size([one, one])
        assert both.estimate == pytest.approx(2 * one.estimate)
        assert both.variance == pytest.approx(2 * one.variance)
        assert both.counted == 2000
        assert 2000 <= both.low <= both.estimate <= both.high
        assert both.high - both.low < 2 * (one.high - one.low)

    def test_of_two_families_of_which_one_was_counted_in_a_zone(self):
        zone = size_from_crawl(counts(zone_bits=4)).size
        both = joint_size([size_from_crawl(COUNTS).size, zone])
        assert both.counted == 1000
        assert both.high - both.low == pytest.approx(2 * 1.96 * sqrt(both.variance), rel=0.01)
        assert joint_size([]) == NetworkSize(0, 0, 0, 0, 0)


class TestUnnamed:
    """Chapman, Chao1 and its improvement."""

    def test_chapman_by_hand(self):
        size = chapman(99, 79, 39)
        assert size.estimate == pytest.approx(100 * 80 / 40 - 1)
        assert size.variance == pytest.approx(100 * 80 * 60 * 40 / (40**2 * 41))
        assert size.counted == 139
        assert size.low < 199 < size.high

    def test_chao1_by_hand(self):
        assert chao1(10, 4) == 9
        assert chao1(0, 0) == chao1(1, 0) == 0

    def test_improvement_by_hand(self):
        assert improved_chao1([20, 10, 6, 4]) == pytest.approx(20 * 19 / 22 + 6 / 16 * (20 - 10 * 6 / 8))
        assert improved_chao1([20, 40, 80, 120, 9]) == pytest.approx(20 * 19 / 82 + 2 / 12 * (20 - 40 / 3))
        assert improved_chao1([10, 20, 40, 0]) == chao1(10, 20)

    def test_extrapolation_by_hand(self):
        """Counts that double come from half of the first; one factor is fitted to whatever they are."""
        assert extrapolated([20, 40, 80, 160, 7], together=1e-9) == pytest.approx(10)
        assert extrapolated([0, 0, 0, 0]) == 0
        # As is usual, by 1.75: then what is usual changes nothing, however much it counts.
        usual = [1.75**referrers for referrers in range(1, 5)]
        assert extrapolated(usual, together=1e-9) == pytest.approx(1)
        assert extrapolated(usual, together=100) == pytest.approx(1)
        # One node alone is taken for the fourth of a series that grows a little faster.
        assert 0.5 / sum(usual) < extrapolated([0, 0, 0, 1]) < 1 / sum(usual)

    def test_unknown_groups_are_allowed_for(self):
        seen = counts(answered=1_000_000)
        size, lost = size_from_crawl(seen).size, size_from_crawl(seen).lost
        assert size.estimate == pytest.approx(1_001_000 + lost)
        assert size.low < 1_000_500
        assert size.high > 1_002_000

    def test_outside_namings_take_the_place_of_single_ones(self):
        alone, together = (
            size_from_crawl(COUNTS),
            size_from_crawl(counts(outside=OutsideNamings((30, 40, 80, 120), 3))),
        )
        assert together.lost == alone.lost
        assert together.unnamed > 1.5 * alone.unnamed
        assert together.size.variance > 2 * alone.size.variance

    def test_comes_near_where_neighbours_differ_in_how_well_they_are_known(self):
        """The improved form errs least: half of all neighbours known, unequally."""
        errors = {"chapman": [], "chao": [], "improved": []}
        for seed in range(8):
            random = Random(f"unnamed {seed}")
            network = ModelNetwork(SizeModel(600, loss=0.0, deep=0.5), random)
            seen = Crawl(network, random).run()
            missed = 600 - seen.answered
            caught = seen.by_a + seen.by_b - seen.by_both
            errors["chapman"].append(chapman(seen.by_a, seen.by_b, seen.by_both).estimate - caught - missed)
            errors["chao"].append(chao1(seen.named[0], seen.named[1]) - missed)
            errors["improved"].append(improved_chao1(seen.named) - missed)
        improved, chao, two_crawls = (abs(mean(errors[each])) for each in ("improved", "chao", "chapman"))

        assert improved < 3
        assert improved < chao < two_crawls


class TestDistances:
    """`size_from_distances`."""

    @pytest.mark.parametrize(
        ("nodes", "targets"), [(0, 1), (47, 1), (48, 2), (1000, 32), (4000, 128), (10**6, 32768)]
    )
    def test_targets_have_prefixes_of_their_own(self, nodes, targets):
        """A power of two, with 24 to 48 nodes to each, so that no region reaches into another."""
        assert targets_for(nodes, 8) == targets

    def test_interval_is_that_of_chi_square_for_large_networks(self):
        """A sum of L distances: chi2(2Lk) / 2S, and (Lk - 1) / S."""
        values = tuple(Random(1).gammavariate(8, 1e-9) for _ in range(50))
        size, total = size_from_distances(Distances(values, 8)), sum(values)
        assert size.estimate == pytest.approx(399 / total)
        assert size.low == pytest.approx(gamma_quantile(400, 0.025) / total, rel=1e-6)
        assert size.high == pytest.approx(gamma_quantile(400, 0.975) / total, rel=1e-6)

    def test_uncertain_share_of_found_nodes_widens_the_interval(self):
        values = tuple(Random(1).gammavariate(8, 1e-9) for _ in range(50))
        plain = size_from_distances(Distances(values, 8))
        corrected = size_from_distances(Distances(values, 8, found=0.8, found_variance=0.0016))
        assert corrected.estimate == pytest.approx(plain.estimate / 0.8)
        relative = plain.variance / plain.estimate**2 + 0.0016 / 0.64
        assert corrected.variance == pytest.approx(corrected.estimate**2 * relative)
        assert (corrected.high - corrected.low) / corrected.estimate == pytest.approx(
            2 * 1.96 * sqrt(relative), rel=0.01
        )

    @pytest.mark.parametrize("nodes", [200, 2000])
    def test_covers_the_truth_without_bias(self, nodes):
        """Ids at random, a fifth or less of them looked at: 300 networks."""
        random, errors, hits, runs = Random(7), [], 0, 300
        for _ in range(runs):
            ids = sorted(random.getrandbits(64) for _ in range(nodes))
            targets = spread_targets(5, [random.random() for _ in range(5)], 64)
            values = tuple(kth_distance(ids, target, 8, 64) for target in targets)
            size = size_from_distances(Distances(values, 8))
            errors.append(size.estimate / nodes - 1)
            hits += size.low <= nodes <= size.high
        assert_honest(hits, runs)
        assert abs(mean(errors)) < 3 * 0.16 / sqrt(runs)

    @pytest.mark.parametrize("values", [(), (0.0, 0.1)])
    def test_refuses_what_has_no_density(self, values):
        with pytest.raises(ValueError, match="nothing to estimate from"):
            Distances(values, 8)

    def test_distance_to_the_kth_closest_is_that_of_sorting_all(self):
        random = Random(2)
        ids = sorted(random.getrandbits(16) for _ in range(50))
        for target in (0, 65535, *(random.getrandbits(16) for _ in range(50))):
            for k in (1, 8, 50):
                expected = sorted(each ^ target for each in ids)[k - 1] / 65536
                assert kth_distance(ids, target, k, 16) == expected
        assert kth_distance(ids, 0, 51, 16) is None

    def test_targets_lie_one_in_each_part(self):
        targets = spread_targets(3, [0.0, 0.5, 0.999])
        assert [3 * target >> 160 for target in targets] == [0, 1, 2]


class TestSimulatedCrawls:
    """Both estimators on crawls of networks with heavy-tailed tables, stale entries and loss."""

    def test_intervals_hold_the_truth(self):
        """60 networks of 150 nodes; `python -m benchmarks.sizes` does 200 of more."""
        runs, nodes = 60, 150
        found = [measure(SizeModel(nodes), f"test {number}")[1] for number in range(runs)]
        for name, allowed in (("crawl", 0.005), ("distances", 0.06)):
            sizes = [each[name] for each in found]
            assert_honest(sum(size.low <= nodes <= size.high for size in sizes), runs)
            assert abs(mean(size.estimate for size in sizes) / nodes - 1) < allowed

    def test_zones_hold_the_truth(self):
        """A quarter of 300 nodes: the error is that of drawing a share."""
        runs, nodes = 60, 300
        sizes = [
            measure(SizeModel(nodes), f"zone {number}", zone_bits=2)[1]["crawl"] for number in range(runs)
        ]
        assert_honest(sum(size.low <= nodes <= size.high for size in sizes), runs)
        assert abs(mean(size.estimate for size in sizes) / nodes - 1) < 3 * sqrt(3 / nodes / runs)
