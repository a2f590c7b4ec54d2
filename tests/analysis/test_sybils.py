"""Alarms: how often they are false, and what they find."""

from collections import Counter
from math import floor, log2
from random import Random

import pytest

from crawler.analysis.distance_size import Distances
from crawler.analysis.distributions import binomial_tails
from crawler.analysis.sybils import (
    FEW_IDS,
    benjamini_hochberg,
    crowded_hosts,
    dense_zones,
    distance_test,
    kl_divergence,
    kl_of_chance,
    kl_test,
)

NODES = 8_000_000


def assert_at_most(rate, alarms, runs):
    """Hold false alarms to their rate: so many have a chance of one in a thousand at least."""
    assert binomial_tails(runs, rate, alarms)[1] > 0.001, f"{alarms} of {runs}"


def honest_distances(random, k, nodes=NODES):
    distance, found = 0.0, []
    for _ in range(k):
        distance += random.expovariate(nodes)
        found.append(distance)
    return found


def attacked_distances(random, k, fakes, spacings):
    """Return the k closest once fakes lie uniformly within so many mean spacings."""
    added = [random.uniform(0, spacings / NODES) for _ in range(fakes)]
    return sorted(honest_distances(random, k) + added)[:k]


def background(random, lookups=50):
    return Distances(tuple(honest_distances(random, 8)[-1] for _ in range(lookups)), 8)


def prefixes(distances):
    return [floor(-log2(distance)) for distance in distances]


def honest_zones(random, zones=256, nodes=8000):
    found = [0] * zones
    for zone in random.choices(range(zones), k=nodes):
        found[zone] += 1
    return found


def crowded(ids):
    return crowded_hosts(
        Counter(ids.values()), {host: count for host, count in ids.items() if count > FEW_IDS}
    )


class TestHosts:
    """Ids per IP address."""

    def test_share_is_one_higher_than_what_was_seen(self):
        (alarm,) = crowded_hosts({1: 98, 6: 1}, {"21.0.0.1": 6})
        assert alarm.p_value == pytest.approx(0.01**5)
        assert alarm.expected == pytest.approx(1 / 0.99)

    def test_finds_a_host_among_those_that_share(self):
        ids = {f"198.18.0.{number}": 1 for number in range(200)}
        ids |= {f"198.18.1.{number}": 2 for number in range(20)} | {"198.18.2.1": 3}
        ids |= {"198.19.0.1": 40, "198.19.0.2": 6}
        many, some = crowded(ids)
        assert (many.subject, many.score, many.is_suspect) == ("198.19.0.1", 40, True)
        assert (some.subject, some.score) == ("198.19.0.2", 6)
        assert many.p_value < some.p_value

    def test_stays_calm_where_sharing_is_usual(self):
        """Six ids are nothing much where half of all hosts have two or more."""
        ids = {f"a{number}": 1 + number % 4 // 2 + number % 8 // 7 for number in range(400)} | {"b": 6}
        assert [alarm.is_suspect for alarm in crowded(ids)] == [False]
        assert crowded({}) == []

    def test_false_alarms(self):
        """Geometric numbers of ids, as assumed: one network in a hundred."""
        random, alarms = Random(1), 0
        for _ in range(200):
            ids = {}
            for host in range(300):
                ids[str(host)] = 1
                while random.random() < 0.2:
                    ids[str(host)] += 1
            alarms += any(alarm.is_suspect for alarm in crowded(ids))
        assert_at_most(0.01, alarms, 200)


class TestZones:
    """Ids in each of many zones of equal size."""

    def test_false_alarms(self):
        """One network in a hundred may have any suspect at all; dispersion as often."""
        random, suspects, dispersed = Random(2), 0, 0
        for _ in range(200):
            report = dense_zones(honest_zones(random))
            suspects += bool(report.suspects)
            dispersed += report.dispersion_p_value < 0.01
        assert_at_most(0.01, suspects, 200)
        assert_at_most(0.01, dispersed, 200)

    def test_finds_attacked_zones(self):
        """Two zones of twice the usual number, in each of twenty networks; and only those."""
        random, found = Random(3), 0
        for _ in range(20):
            counts = honest_zones(random)
            counts[7] += 35
            counts[99] += 35
            report = dense_zones(counts)
            found += {alarm.subject for alarm in report.suspects} == {7, 99}
            assert report.expected == pytest.approx(8000 / 256, rel=0.02)
        assert found >= 18

    def test_large_attack_does_not_hide_itself(self):
        """Half of all ids lie in four zones: the mean of the others is what counts."""
        counts = honest_zones(Random(4), zones=64, nodes=2000)
        for zone in range(4):
            counts[zone] += 500
        report = dense_zones(counts)
        assert {alarm.subject for alarm in report.suspects} == {0, 1, 2, 3}
        assert report.expected == pytest.approx(2000 / 64, rel=0.05)
        assert report.dispersion > 10
        assert report.dispersion_p_value < 1e-100

    def test_empty_network_raises_no_alarm(self):
        assert dense_zones([0, 0, 0]).suspects == ()
        with pytest.raises(ValueError, match="one zone"):
            dense_zones([5])


class TestDistances:
    """The F-test on the distance of the k-th closest."""

    def test_p_values_of_honest_targets_are_uniform(self):
        """As many below each level as the level says: 1000 targets against 50 lookups."""
        random = Random(5)
        p_values = [
            distance_test(honest_distances(random, 8)[-1], 8, background(random)).p_value for _ in range(1000)
        ]
        for level in (0.01, 0.1, 0.5, 0.9):
            at_most, at_least = binomial_tails(1000, level, sum(each <= level for each in p_values))
            assert min(at_most, at_least) > 0.001, level

    @pytest.mark.parametrize(
        ("fakes", "spacings", "low", "high"), [(8, 1, 0.97, 1), (8, 2, 0.93, 1), (4, 0.05, 0.03, 0.35)]
    )
    def test_power(self, fakes, spacings, low, high):
        """All of the 8 closest faked is found; four are mostly not (measured with 200 targets each)."""
        random = Random(6)
        field = background(random, 200)
        found = sum(
            distance_test(attacked_distances(random, 8, fakes, spacings)[-1], 8, field).is_suspect
            for _ in range(200)
        )
        assert low <= found / 200 <= high

    def test_benjamini_hochberg(self):
        assert benjamini_hochberg([0.04, 0.001, 0.03, 0.9], 0.05) == [False, True, False, False]
        assert benjamini_hochberg([0.037, 0.001, 0.036, 0.9], 0.05) == [True, True, True, False]
        assert benjamini_hochberg([], 0.05) == []

    def test_benjamini_hochberg_keeps_false_discoveries_rare(self):
        """Of 50 targets 5 are attacked; over 40 censuses few believed ones are honest."""
        random, field = Random(8), background(Random(9), 500)
        believed = false = 0
        for _ in range(40):
            distances = [honest_distances(random, 8)[-1] for _ in range(45)]
            distances += [attacked_distances(random, 8, 8, 1)[-1] for _ in range(5)]
            alarms = benjamini_hochberg([distance_test(each, 8, field).p_value for each in distances], 0.05)
            believed += sum(alarms)
            false += sum(alarms[:45])
        assert believed - false >= 195
        assert_at_most(0.05, false, believed)


class TestPrefixes:
    """The divergence of shared prefixes."""

    def test_p_value_is_never_zero(self):
        assert kl_test([20] * 8, 64, (0.1,) * 9).p_value == pytest.approx(0.1)

    def test_by_hand(self):
        """Eight nodes of 64, spread as expected: 4 with 3 bits, 2 with 4, 1 with 5 and 1 with more."""
        expected = [3, 3, 3, 3, 4, 4, 5, 6]
        assert kl_divergence(expected, 64) == pytest.approx(0.125 * 0.6931, rel=1e-3)
        assert kl_divergence([20] * 8, 64) == pytest.approx(9 * 0.6931, rel=1e-3)

    def test_null_has_the_quantiles_known_for_it(self):
        """Simulated before for 5 to 15 million nodes: median 0.44, 95 % 1.06, 99 % 1.52."""
        random = Random(10)
        chance = sorted(
            divergence
            for _ in range(100)
            for divergence in kl_of_chance(random.uniform(5e6, 15e6), 8, random, 50)
        )
        assert chance[2500] == pytest.approx(0.44, abs=0.04)
        assert chance[4750] == pytest.approx(1.06, abs=0.06)
        assert chance[4950] == pytest.approx(1.52, abs=0.15)

    def test_false_alarms_and_power(self):
        random, chance = Random(11), kl_of_chance(NODES, 8, Random(12), 4000)

        def found(neighbourhoods):
            tests = [kl_test(prefixes(each), NODES, chance, rate=0.01) for each in neighbourhoods]
            return sum(test.is_suspect for test in tests) / len(tests)

        honest = [honest_distances(random, 8) for _ in range(400)]
        assert_at_most(0.01, round(400 * found(honest)), 400)
        close = [attacked_distances(random, 8, 4, 0.02) for _ in range(100)]
        wide = [attacked_distances(random, 8, 8, 2) for _ in range(100)]
        field = background(random, 200)
        by_distance = [distance_test(each[-1], 8, field, rate=0.01).is_suspect for each in close]
        assert found(close) > sum(by_distance) / 100
        assert found(wide) < 0.3
        assert found([attacked_distances(random, 8, 8, 0.05) for _ in range(50)]) == 1
