"""Whole swarms from what was seen of them: stores that are random parts, of known size."""

from random import Random
from statistics import fmean, pstdev

import pytest

from dhtnode.swarm.capture_recapture import DarrochEstimate, ListedHosts, darroch, good_turing


def test_sizes_tell_the_whole():
    """Half of 100 and half of 100 that make 75 together are parts of 100 (Petersen)."""
    found = darroch(75, [50, 50])
    assert found is not None
    assert found.estimate == pytest.approx(100)


def test_a_store_that_has_all_leaves_nothing_unseen():
    assert darroch(50, [50, 20]) == DarrochEstimate(50, 1, 0)
    assert darroch(50, [50]) == DarrochEstimate(50, 1, 0)
    assert darroch(0, []) == DarrochEstimate(0, 1, 0)


def test_stores_without_overlap_tell_nothing():
    assert darroch(100, [50, 50]) is None


def test_slope_is_that_of_the_estimate():
    sizes = [500.0] * 8
    below, at, above = (darroch(seen, sizes) for seen in (2299.5, 2300, 2300.5))
    assert below is not None and at is not None and above is not None
    assert above.estimate - below.estimate == pytest.approx(at.slope, rel=0.01)


def test_deviation_is_that_of_repeated_draws():
    """Simulated: the estimate is not biased and spreads as it says."""
    random, found = Random(1), []
    for _ in range(300):
        stores = [set(random.sample(range(2000), 300)) for _ in range(6)]
        whole = darroch(len(set().union(*stores)), [300.0] * 6)
        assert whole is not None
        found.append(whole)
    assert fmean(whole.estimate for whole in found) == pytest.approx(2000, rel=0.01)
    assert fmean(whole.deviation for whole in found) == pytest.approx(
        pstdev(whole.estimate for whole in found), rel=0.15
    )


def test_good_turing_is_the_share_of_namings_that_repeat():
    named = [{"a", "b", "c"}, {"a", "b", "d"}, {"a", "e", "f"}]
    assert good_turing(ListedHosts.of(named)) == pytest.approx(5 / 9)
    assert good_turing(ListedHosts.of([])) == 0
