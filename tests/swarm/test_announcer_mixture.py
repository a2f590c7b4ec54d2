"""Peers that announce unequally: the mixture, and the unions that leave out one store and two."""

from functools import reduce
from math import comb, exp
from operator import or_
from random import Random
from statistics import median

import numpy as np
import pytest

from benchmarks.swarms.__main__ import measure
from benchmarks.swarms.model import SwarmModel
from dhtnode.krpc.scrape_filter import FILTER_BITS, ScrapeFilter
from dhtnode.swarm.announcer_mixture import _bits_of, _by_unions, _coefficients, _exactly, mixture_size
from dhtnode.swarm.capture_history import ALIKE


def stores_of(masks, chances, count, random):
    """Return stores that each hold a peer with its own chance."""
    held = [[m for m, p in zip(masks, chances, strict=True) if random.random() < p] for _ in range(count)]
    return [ScrapeFilter(reduce(or_, some, 0)) for some in held]


def random_masks(count, random):
    return [1 << random.randrange(FILTER_BITS) | 1 << random.randrange(FILTER_BITS) for _ in range(count)]


@pytest.mark.parametrize("chance", [0.3, 0.9])
def test_bits_are_set_by_so_many_stores_as_inclusion_and_exclusion_tells(chance):
    """Of one peer to a bit at most, it is in k of t stores with the chance of a binomial."""
    stores, density = 5, 1e-4
    zero_in = np.array([exp(-density * (1 - (1 - chance) ** j)) for j in range(stores + 1)])
    found = _exactly(stores) @ zero_in
    binomial = [comb(stores, k) * chance**k * (1 - chance) ** (stores - k) for k in range(stores + 1)]
    assert found.sum() == pytest.approx(1)
    assert found[1:] / density == pytest.approx(binomial[1:], rel=1e-3)


def test_peers_of_smaller_stores_have_a_share_of_the_chance():
    """To be in none of one large store and two of half the size: x (1/2 + x/2)^2, with x = 1 - r."""
    rows = _coefficients((2, 3), (1.0, 0.5))
    assert rows.shape == (6, 5)
    assert rows[-1].tolist() == [0, 0.25, 0.5, 0.25, 0]
    assert rows[1].tolist() == [0.5, 0.5, 0, 0, 0]


def test_unions_tell_how_many_peers_one_store_alone_has_and_how_many_two():
    """Of 120 peers with two bits each, 12 are in one of four stores alone, 24 in two, the others in all."""
    masks = [0b11 << 2 * peer for peer in range(120)]
    stores = [masks[36:] + masks[3 * place : 3 * place + 3] for place in range(4)]
    for place in range(4):
        for peer in range(6):
            stores[place].append(masks[12 + 6 * place + peer])
            stores[(place + 1) % 4].append(masks[12 + 6 * place + peer])
    whole, jackknife = _by_unions(_bits_of([ScrapeFilter(reduce(or_, some)) for some in stores]))
    seen = ScrapeFilter((1 << 240) - 1).estimate()
    assert whole.estimate == pytest.approx(seen + 0.75 * 12 * 11 / (2 * 25), abs=0.6)
    assert jackknife.estimate == pytest.approx(seen + 5 / 4 * 12 - 4 / 12 * 24, abs=1.2)


def test_peers_that_are_alike_are_seen_to_be():
    random = Random(1)
    found = [mixture_size(stores_of(random_masks(300, random), [0.9] * 300, 5, random)) for _ in range(20)]
    assert sum(each.equal > ALIKE for each in found) >= 17


def test_peers_that_are_not_alike_are_seen_to_be():
    random = Random(2)
    for _ in range(10):
        chances = [0.9 * random.betavariate(1.2, 0.8) for _ in range(600)]
        found = mixture_size(stores_of(random_masks(600, random), chances, 6, random))
        assert found.equal < 0.05
        assert found.all_three.low <= found.all_three.estimate <= found.all_three.high


def test_too_few_and_empty_stores_say_nothing():
    random = Random(3)
    assert mixture_size(stores_of(random_masks(100, random), [0.9] * 100, 2, random)) is None
    assert mixture_size([ScrapeFilter()] * 5) is None


@pytest.mark.parametrize(("reach", "least"), [("beta", 17), ("two-classes", 15), ("lognormal", 17)])
def test_intervals_of_unequal_peers_hold(reach, least):
    """Of 20 swarms; with 90 of 100 that hold fewer than 15 do in 1 of 90 such tests, than 17 in 1 of 8."""
    random = Random(7)
    found = [measure(SwarmModel(reach=reach, capped=0.0), 400, random).estimate for _ in range(20)]
    assert sum(each.peers_low <= 400 <= each.peers_high for each in found) >= least
    assert median(abs(each.peers / 400 - 1) for each in found) < 0.08
    assert sum(each.method == "mixture" for each in found) > 10


def test_peers_that_are_alike_cost_no_width():
    random = Random(8)
    found = [measure(SwarmModel(capped=0.0), 400, random).estimate for _ in range(20)]
    assert sum(each.method == "mixture" for each in found) <= 2
    assert median(each.peers_high - each.peers_low for each in found) < 0.08 * 400
