"""How near the headline comes to swarms of known size: small runs of `benchmarks.swarms`."""

from math import inf
from random import Random
from statistics import fmean, median

import pytest

from benchmarks.swarms.__main__ import drawn_size, measure
from benchmarks.swarms.model import SwarmModel

pytestmark = pytest.mark.slow


def measured(count, seed, *, peers=0, **model):
    random = Random(seed)
    return [measure(SwarmModel(**model), peers or drawn_size(3000, random), random) for _ in range(count)]


def errors(found, part):
    return [
        abs(getattr(each.estimate, part) / getattr(each, part) - 1)
        for each in found
        if getattr(each, part) and not each.estimate.is_at_least
    ]


def coverage(found, part):
    def holds(each):
        low, high = (getattr(each.estimate, f"{part}_{end}") for end in ("low", "high"))
        return low <= getattr(each, part) <= (inf if high is None else high)

    return fmean(map(holds, found))


@pytest.fixture(scope="module")
def swarms():
    return measured(100, 31)


def test_swarms_of_all_sizes_are_known_within_five_per_cent(swarms):
    assert median(errors(swarms, "peers")) <= 0.01
    assert coverage(swarms, "peers") >= 0.9


def test_parts_of_swarms_are_known_as_well(swarms):
    """Seeds and leechers of swarms of 50 and more, with intervals that hold them."""
    found = [each for each in swarms if each.peers >= 50]
    assert len(found) > 40
    for part in ("seeds", "leechers"):
        assert median(errors(found, part)) <= 0.05
        assert coverage(found, part) >= 0.88


def test_large_swarms_in_cut_stores_are_not_underestimated():
    """No node stores more than 500 of 3000, and returns 500 at most."""
    found = measured(12, 33, peers=3000, capped=1.0)
    assert all(each.one_filter < 560 for each in found)
    assert 0.95 <= fmean(each.estimate.peers / 3000 for each in found) <= 1.05
    assert coverage(found, "peers") >= 0.75
    for part in ("seeds", "leechers"):
        assert 0.95 <= fmean(getattr(each.estimate, part) / getattr(each, part) for each in found) <= 1.05


def test_peers_that_announce_badly_are_seen_to_be_missing_where_all_are_named():
    """Who was named by one node only tells of those named by none."""
    found = measured(60, 34, peers=40, reach="beta")
    missed = fmean(1 - each.estimate.distinct_peers / 40 for each in found)
    corrected = fmean(1 - each.estimate.peers / 40 for each in found)
    assert corrected < 0.85 * missed
    assert coverage(found, "peers") > 0.5
