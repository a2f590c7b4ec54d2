"""The mean distance to the k-th closest id, over all targets, and what it says of how ids are spread."""

from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest

from crawler.analysis.mean_distance import evenness, mean_distance

TOP = 1 << 64


def words(ids):
    return np.array(sorted(ids), np.uint64)


def drawn(random, count):
    return words([random.getrandbits(64) for _ in range(count)])


def by_all_targets(ids, k, zone_bits):
    """Return the mean over all first 10 bits of a target in the zone, for ids that differ in these."""
    targets = range(1024 >> zone_bits)
    return fmean(sorted(each ^ target for each in ids)[k - 1] for target in targets) / 1024


@pytest.mark.parametrize(("count", "zone_bits"), [(8, 0), (9, 0), (40, 0), (300, 0), (8, 2), (100, 2)])
def test_mean_is_that_of_all_targets(count, zone_bits):
    """To some 2**-26, by which what is below the first bits moves it."""
    ids = Random(count).sample(range(1024 >> zone_bits), count)
    found = mean_distance(words([each << 54 for each in ids]), 8, zone_bits)
    # Of a target that begins as an id does, what follows is anywhere: half a part on average.
    assert found == pytest.approx(by_all_targets(ids, 8, zone_bits) + 2**-11, abs=2**-20)


def test_ids_that_begin_alike_are_told_apart_as_far_as_they_differ():
    """Eight in one place: any target has all of them at the distance of that place."""
    ids = words([(5 << 61) + each for each in range(8)])
    assert mean_distance(ids, 8) == pytest.approx(0.5, rel=1e-4)
    assert mean_distance(ids[:7], 8) is None


def test_no_target_is_drawn():
    ids = drawn(Random(3), 1000)
    assert mean_distance(ids, 8) == mean_distance(ids, 8)


def test_even_ids_are_called_even_and_their_density_has_no_bias():
    random, errors, p_values = Random(5), [], []
    for _ in range(300):
        distance = mean_distance(drawn(random, 200), 8)
        even = evenness(distance, 200, 8, zone_bits=0, found=1.0, found_variance=0.0)
        errors.append(even.size.estimate / 200 - 1)
        p_values.append(even.p_value)
        assert even.size.low < even.size.estimate < even.size.high
    assert abs(fmean(errors)) < 3 * 0.03 / 300**0.5
    assert pstdev(errors) < 0.44 / 200**0.5
    # At most 5 of 100: 27 of 300 would be as rare as 1 in 1000.
    assert sum(each < 0.05 for each in p_values) < 27


def test_a_half_with_more_ids_than_the_other_is_seen():
    random = Random(6)
    ids = [random.getrandbits(63) + half * TOP // 2 for half in [0] * 700 + [1] * 300]
    even = evenness(mean_distance(words(ids), 8), 1000, 8, zone_bits=0, found=1.0, found_variance=0.0)
    assert even.p_value < 1e-9
    assert even.size.high < 1000


def test_what_was_not_found_and_the_zone_widen_the_interval():
    ids = drawn(Random(8), 400)
    distance = mean_distance(ids, 8)
    plain = evenness(distance, 400, 8, zone_bits=0, found=1.0, found_variance=0.0)
    missed = evenness(distance, 400, 8, zone_bits=0, found=0.8, found_variance=0.0016)
    assert missed.size.estimate == pytest.approx(plain.size.estimate / 0.8)
    assert missed.size.variance / missed.size.estimate**2 == pytest.approx(0.44**2 / 400 + 0.0016 / 0.64)
    assert missed.p_value == plain.p_value
    zone = evenness(distance / 4, 400, 8, zone_bits=2, found=1.0, found_variance=0.0)
    assert zone.size.estimate == pytest.approx(4 * plain.size.estimate)
    assert zone.size.variance / zone.size.estimate**2 == pytest.approx((0.44**2 + 0.75) / 400)
