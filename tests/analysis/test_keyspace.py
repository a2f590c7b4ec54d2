"""Ids as they lie: counts and distances by hand, and sizes that come out right on average."""

from math import exp
from random import Random
from statistics import mean, stdev

import pytest

from crawler.analysis.keyspace import (
    gamma_density,
    neighbour_distances,
    poisson_chance,
    prefix_counts,
    random_targets,
    size_draws,
)


def uniform_ids(count, seed=1):
    random = Random(seed)
    return sorted(random.getrandbits(160) for _ in range(count))


def test_ids_are_counted_by_their_first_bits():
    ids = [0, 1, 1 << 157, 3 << 158, (1 << 160) - 1]
    assert prefix_counts(ids, 2) == [3, 0, 0, 2]
    assert prefix_counts(ids, 3) == [2, 1, 0, 0, 0, 0, 1, 1]
    assert prefix_counts(ids, 0) == [5]


def test_chances_and_densities_are_those_of_the_laws():
    assert poisson_chance(2.0, 3) == pytest.approx(8 / 6 * exp(-2))
    assert (poisson_chance(0.0, 0), poisson_chance(0.0, 1)) == (1.0, 0.0)
    assert sum(poisson_chance(9.0, count) for count in range(60)) == pytest.approx(1)
    assert gamma_density(1, 0.0) == 1.0
    assert gamma_density(3, 2.0) == pytest.approx(2 * exp(-2))
    assert sum(gamma_density(8, step / 100) for step in range(4000)) == pytest.approx(100, rel=1e-6)


def test_neighbours_are_the_closest():
    ids, target = uniform_ids(200), 12345 << 140
    closest = sorted(each ^ target for each in ids)[:5]
    assert neighbour_distances(ids, target, 5) == [each / 2**160 for each in closest]
    assert len(neighbour_distances(ids[:3], target, 5)) == 3


def test_targets_are_one_in_each_part():
    targets = random_targets(16, Random(1))
    assert [target >> 156 for target in targets] == list(range(16))
    assert len({target & 0xFF for target in targets}) > 8


def test_sizes_are_right_on_average_and_scatter_as_they_should():
    """For one lookup 1/sqrt(k - 2), for many less: of 4000 nodes 8 lookups see few twice."""
    ids = uniform_ids(4000)
    for lookups in (1, 8):
        sizes = size_draws(ids, 8, lookups, 600, Random(lookups))
        expected = (8 * lookups - 2) ** -0.5
        assert mean(sizes) == pytest.approx(4000, rel=4 * expected / 600**0.5 + 0.01)
        assert stdev(sizes) / 4000 == pytest.approx(expected, rel=0.2)
    with pytest.raises(ValueError, match="3 ids have no 8 closest"):
        size_draws(ids[:3], 8, 1, 1, Random(1))
