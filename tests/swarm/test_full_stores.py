"""Full stores: what they keep is a random part of the swarm, or says nothing about its size."""

from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from benchmarks.swarms.__main__ import measure
from benchmarks.swarms.liars import random_filter
from benchmarks.swarms.model import ModelSwarm, SwarmModel
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.swarm.capture_history import (
    EXTENDED_TO,
    MOST_QUERIED,
    capture_history,
    lists_wanted,
    more_nodes_wanted,
)
from dhtnode.swarm.capture_recapture import pair_ratio
from dhtnode.swarm.full_stores import Parts, is_near_cap, parts_of
from dhtnode.swarm.joint_estimate import estimate_swarm
from dhtnode.swarm.trust_marks import classify

EARLY = {"capped": 1.0, "keeps": "first", "loss": 0.0}


def observed(count, *, peers, seed=1, **model):
    replies = islice(ModelSwarm(SwarmModel(**model), peers, Random(f"{peers} {seed}")).replies(), count)
    return classify(list(replies))


def measured(count, *, peers, seed=1, **model):
    return [measure(SwarmModel(**model), peers, Random(f"{peers} {seed} {run}")) for run in range(count)]


def holds(found):
    return found.estimate.peers_low <= found.peers and (
        found.estimate.is_at_least or found.peers <= found.estimate.peers_high
    )


@pytest.mark.parametrize("peers", [475, 500, 525, 1950, 2140, 5200, 6800])
def test_store_near_a_cap_may_be_full(peers):
    """Within 5 %, or 3.5 errors of a filter of so many."""
    assert is_near_cap(peers)


@pytest.mark.parametrize("peers", [0, 8, 460, 540, 900, 1850, 2250, 4000])
def test_store_of_another_size_is_not_full(peers):
    assert not is_near_cap(peers)


def test_first_peers_in_one_order_give_a_lower_bound():
    """Eight nodes keep the same 500 of 2000 peers: no interval of two ends is right."""
    found = estimate_swarm(observed(8, peers=2000, bep33=1.0, announce=1.0, **EARLY))
    assert (found.method, found.saturated, found.is_at_least) == ("at-least", True, True)
    assert found.peers == found.peers_low <= 500
    assert (found.peers_high, found.seeds_high, found.leechers_high) == (None, None, None)
    assert found.by("recapture") is None
    assert found.by("headline").high == float("inf")


@pytest.mark.parametrize("announce", [(0.9, 0.5), (0.4, 0.1), (0.95, 0.9), (0.6, 0.3)])
def test_no_interval_of_early_peers_excludes_the_truth(announce):
    near, far = announce
    model = {"announce": near, "announce_next": far, "bep33": 0.8} | EARLY
    found = [each for peers in (600, 1500, 4000) for each in measured(8, peers=peers, **model)]
    # Of 24 intervals that hold in 93 of 100 cases, four or more fail in 8 of 100, five in 2.
    assert sum(map(holds, found)) >= 20
    assert all(each.estimate.peers_low < 1.15 * each.peers for each in found)


def test_more_nodes_are_asked_while_stores_are_full():
    model = {"peers": 3000, "bep33": 1.0} | EARLY
    wanted = [more_nodes_wanted(capture_history(observed(count, **model))) for count in (8, 16, 32)]
    assert wanted == [EXTENDED_TO - 8, MOST_QUERIED - 16, 0]


def test_size_is_told_by_stores_that_are_not_full():
    """Of ten nodes six keep the first 500 of 1500, four have room for all."""
    model = {"peers": 1500, "bep33": 1.0, "loss": 0.0, "keeps": "first"}
    full = list(observed(8, capped=1.0, **model)[:6])
    others = list(observed(8, capped=0.0, **model)[:4])
    history = capture_history([*full, *others])
    assert (history.parts, history.full, len(history.stores)) == (Parts.REST, 6, 4)
    found = estimate_swarm([*full, *others])
    assert found.peers_low <= 1500 <= found.peers_high
    assert found.peers == pytest.approx(1500, rel=0.05)


def test_full_stores_with_random_parts_serve_as_any_others():
    history = capture_history(observed(16, peers=2000, bep33=1.0, capped=1.0))
    assert history.parts is Parts.ALL
    assert history.full >= 8
    assert history.by_pairs.low <= 2000 <= history.by_pairs.high


def test_one_full_store_alone_tells_no_end():
    store = ScrapeFilter((1 << 800) - 1)
    assert parts_of([store], [store.estimate()], 1) is Parts.NONE


def test_filters_without_thirty_zero_bits_are_no_part_of_the_mean():
    """Sixteen stores of 500 of 20,000: their union reads a third of what is in it, the overlaps do not."""
    history = capture_history(observed(16, peers=20_000, bep33=1.0, capped=1.0))
    assert history.is_union_full
    assert history.recapture.pair_share == 1.0
    assert history.recapture.interval == history.by_pairs
    assert 10_000 < history.by_pairs.estimate < 40_000


def stores_beside_full_ones(others, **model):
    """Return six stores with the first 500 of 1500 peers, and so many of another kind."""
    shared = {"peers": 1500, "bep33": 1.0, "loss": 0.0, "keeps": "first"}
    full = list(observed(8, capped=1.0, **shared)[:6])
    return [*full, *observed(8, **shared | model)[:others]]


def test_two_stores_that_are_not_full_tell_the_size_where_they_agree():
    """With each other, and each with what full stores have, whatever that is."""
    nodes = stores_beside_full_ones(2, capped=0.0)
    history = capture_history(nodes)
    assert (history.parts, len(history.stores)) == (Parts.REST, 2)
    found = estimate_swarm(nodes)
    assert found.peers_low <= 1500 <= found.peers_high < 1.4 * found.peers_low
    assert found.peers == pytest.approx(1500, rel=0.1)


def test_two_stores_that_are_not_full_tell_no_size_where_one_has_a_cap_of_its_own():
    """The first 900 comers have all that full stores have, and not all that the other store has."""
    early = stores_beside_full_ones(1, capped=1.0, cut=900)
    nodes = [*early, *stores_beside_full_ones(1, capped=0.0)[6:]]
    assert capture_history(nodes).parts is Parts.NONE
    assert capture_history(stores_beside_full_ones(1, capped=0.0)).parts is Parts.NONE


def test_interval_goes_up_to_what_stores_that_are_not_full_tell_alone():
    """First comers make a swarm smaller, and never larger."""
    nodes = observed(16, peers=2500, bep33=1.0, capped=0.5)
    history = capture_history(nodes)
    assert history.parts is Parts.ALL
    assert history.rest.parts is Parts.REST
    assert 0 < len(history.rest.stores) < len(history.stores)
    alone, together = history.rest.recapture.interval, history.recapture.interval
    assert history.whole == together._replace(high=max(alone.high, together.high))


def test_two_stores_that_are_not_full_do_not_replace_random_parts():
    model = {"peers": 1500, "bep33": 1.0, "loss": 0.0}
    nodes = [*observed(8, capped=1.0, **model)[:6], *observed(8, capped=0.0, **model)[:2]]
    assert capture_history(nodes).parts is Parts.ALL


def test_stores_that_share_next_to_nothing_tell_no_end():
    """Eight stores of 500 of 50,000 peers: their union is no swarm of some 4000, and lists may tell."""
    unknown = 0
    for seed in range(6):
        nodes = observed(8, peers=50_000, seed=seed, bep33=1.0, capped=1.0)
        history = capture_history(nodes)
        assert lists_wanted(history)
        if history.recapture is None:
            unknown += 1
            assert estimate_swarm(nodes).is_at_least
    assert unknown


def test_size_a_little_above_a_cap_is_no_tighter_than_stores_near_it_allow():
    """Stores of the first 500 hold nearly all of 556 peers: the noise of the bits is what is left."""
    found = measured(30, peers=556, bep33=0.8, **EARLY)
    assert sum(not each.estimate.is_at_least for each in found) >= 15
    assert all(map(holds, found))


def test_peers_that_neither_full_stores_nor_the_others_have_are_counted():
    """Five of the others know half of those that full stores left out: one in 32 of these is with none."""
    seen = whole = 0.0
    for seed in range(12):
        model = {"peers": 1500, "seed": seed, "bep33": 1.0, "loss": 0.0, "keeps": "first"}
        full = observed(8, capped=1.0, **model)[:6]
        others = observed(8, capped=0.0, announce=0.5, **model)[:5]
        history = capture_history([*full, *others])
        assert history.parts is Parts.REST
        seen += history.captured.estimate()
        whole += history.captured.estimate() + history.undetected
    assert seen < 0.99 * 12 * 1500
    assert whole == pytest.approx(12 * 1500, rel=0.01)


def test_full_filters_of_two_nodes_do_not_fill_the_swarm():
    """The union reads 7806 then, whatever the others have; the overlaps go on telling."""
    nodes = observed(16, peers=4300, bep33=1.0, capped=0.0, room=6000)
    full = bytes([255]) * 256
    liars = [replace(nodes[place], seeds_filter=full, peers_filter=full) for place in (1, 4)]
    found = estimate_swarm([*nodes[2:4], *nodes[5:], *liars])
    assert found.peers == pytest.approx(4300, rel=0.25)
    assert found.peers_low <= 4300 <= found.peers_high


def test_lower_bound_is_below_what_a_filter_may_read_too_much():
    """Of 40 swarms of 520 peers, that all stores keep 500 of, not one bound is above."""
    for seed in range(40):
        found = estimate_swarm(observed(8, peers=520, seed=seed, bep33=1.0, announce=1.0, **EARLY))
        assert found.peers_low <= 520


def test_pairs_of_one_node_alone_tell_no_size():
    """The others are too full to be compared with each other."""
    random = Random(7)
    stores = [random_filter(count, random) for count in (300, 4000, 4000, 4000)]
    assert pair_ratio(stores) is None
