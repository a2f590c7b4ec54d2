"""A size from the share of a second walk that the first counted: by hand, and against the truth."""

from random import Random
from statistics import fmean

import pytest

from crawler.analysis.control_sample import size_from_control
from crawler.analysis.distributions import binomial_tails


def test_estimate_is_that_of_chapman_and_the_interval_that_of_the_share():
    size = size_from_control(1000, 400, 390)
    assert size.estimate == pytest.approx(1001 * 401 / 391 - 1)
    least, most = 1000 / size.high, 1000 / size.low
    assert binomial_tails(400, least, 390)[1] == pytest.approx(0.025)
    assert binomial_tails(400, most, 390)[0] == pytest.approx(0.025)


def test_all_recaptured_leaves_an_upper_end_alone():
    size = size_from_control(1000, 400, 400)
    assert (size.estimate, size.low, size.counted) == (1000, 1000, 1000)
    assert size.high == pytest.approx(1000 / 0.025 ** (1 / 400))


def test_nothing_recaptured_tells_nothing():
    assert size_from_control(10, 5, 0) is None
    with pytest.raises(ValueError, match="6 of 5 nodes recaptured"):
        size_from_control(10, 5, 6)


def test_zone_is_multiplied_and_its_own_error_is_added():
    inside, zone = size_from_control(250, 100, 98), size_from_control(250, 100, 98, 2)
    assert zone.estimate == pytest.approx(4 * inside.estimate)
    assert zone.variance == pytest.approx(16 * (inside.variance + 0.75 * inside.estimate))
    assert zone.low < zone.estimate < zone.high


@pytest.mark.parametrize("share", [0.8, 0.97])
def test_independent_walks_hold_the_truth_without_bias(share):
    random, nodes, runs, hits, errors = Random(5), 1000, 400, 0, []
    for _ in range(runs):
        is_counted = [random.random() < share for _ in range(nodes)]
        control = random.sample(range(nodes), 300)
        size = size_from_control(sum(is_counted), 300, sum(is_counted[each] for each in control))
        hits += size.low <= nodes <= size.high
        errors.append(size.estimate / nodes - 1)
    # At least 95 of 100: 364 of 400 would be as rare as 1 in 1000.
    assert hits > 364
    assert abs(fmean(errors)) < 0.003
