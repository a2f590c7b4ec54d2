"""Huge swarms: several lists of each node, what they have in common, and which nodes are left out."""

from math import sqrt
from random import Random
from statistics import fmean, median

import pytest

from dhtnode.krpc import Response, ScrapeFilter
from dhtnode.swarm import QueryKind, estimate_swarm
from dhtnode.swarm.filter_size import Interval
from dhtnode.swarm.measurement import MOST_CLOSEST
from dhtnode.swarm.repeated_lists import (
    LONGEST_LIST,
    MOST_LISTS,
    are_random_parts,
    by_repeated_lists,
    full_stores,
    lists_windows,
    overlaps_of,
    store_size,
)
from tests.swarm.test_measurement import THERE, answer, drive, measurement_of

NODES, STORE, LIST = 16, 500, 50


def peer(number):
    return (95 << 24 | number).to_bytes(4, "big") + b"\x1a\xe1"


def stores_of(peers, random, size=STORE):
    return [[peer(each) for each in random.sample(range(peers), size)] for _ in range(NODES)]


def window_of(store, random):
    start = random.randrange(len(store))
    return (store + store)[start : start + LIST]


@pytest.mark.parametrize("peers", [5000, 20_000, 60_000])
def test_overlaps_of_lists_tell_the_size_of_a_huge_swarm(peers):
    random = Random(peers)
    found = []
    for _ in range(40):
        lists = [set(random.sample(store, 400)) for store in stores_of(peers, random)]
        found.append(by_repeated_lists(lists))
    assert median(abs(each.estimate / peers - 1) for each in found) < 0.06
    assert fmean(each.estimate for each in found) == pytest.approx(peers, rel=0.03)
    assert sum(each.low <= peers <= each.high for each in found) >= 35


def test_nodes_that_were_asked_once_tell_nothing():
    assert by_repeated_lists([set(range(LONGEST_LIST))] * NODES) is None
    assert by_repeated_lists([set(range(LONGEST_LIST + 1))] * 2) is None
    assert by_repeated_lists([set(range(1000 * each, 1000 * each + 200)) for each in range(NODES)]) is None


def test_interval_is_no_narrower_than_the_shared_peers_allow():
    shared = set(range(30))
    found = by_repeated_lists([shared | set(range(1000 * each, 1000 * each + 300)) for each in range(1, 4)])
    assert found.high / found.estimate > 1 + 1.9 / sqrt(90)


def test_node_that_makes_peers_up_does_not_count():
    random = Random(3)
    honest = [set(store[:400]) for store in stores_of(8000, random)]
    invented = [{peer(10_000_000 + 1000 * each + number) for number in range(900)} for each in range(3)]
    assert by_repeated_lists([*honest, *invented]) == by_repeated_lists(honest)
    assert len(overlaps_of([*honest, *invented]).shared) == NODES


def test_lists_of_early_comers_are_no_random_parts():
    """The nearest 8 keep those of an early part of the swarm, the others any."""
    random = Random(4)
    stores = stores_of(20_000, random)
    assert are_random_parts([set(store) for store in stores])
    early = [random.sample(range(6000), STORE) if place < 8 else None for place in range(NODES)]
    mixed = [
        set(store) if some is None else set(map(peer, some))
        for store, some in zip(stores, early, strict=True)
    ]
    assert not are_random_parts(mixed)
    assert not are_random_parts([])


def test_windows_of_a_fixed_order_are_recognised():
    random = Random(5)
    store = stores_of(5000, random)[0]
    assert lists_windows([window_of(store, random) for _ in range(6)])
    assert lists_windows([store[:LIST]] * 3)
    assert not lists_windows([random.sample(store, LIST) for _ in range(6)])
    assert not lists_windows([store[:LIST]])
    assert not lists_windows([])


def huge_swarm(random, *, peers=20_000, windows=(), silent=()):
    """Return what answers for nodes that store 500 of so many peers."""
    stores = dict(enumerate(stores_of(peers, random), 1))

    def respond(query):
        place = query.node.distance >> 120
        store = stores.get(place, [])
        if query.kind is QueryKind.LISTING:
            if place in silent:
                return answer(query)
            some = window_of(store, random) if place in windows else random.sample(store, LIST)
            return answer(query, values=tuple(some))
        seeds, others = ScrapeFilter(), ScrapeFilter.of(each[:4] for each in store)
        return answer(
            query, seeds_filter=seeds.to_bytes(), peers_filter=others.to_bytes(), values=tuple(store[:1])
        )

    return respond


def test_nodes_of_a_huge_swarm_are_asked_for_lists_until_it_is_enough():
    measurement = measurement_of(range(1, NODES + 1))
    asked = drive(measurement, huge_swarm(Random(1)))
    lists = [query for query in asked if query.kind is QueryKind.LISTING]
    assert len(lists) <= NODES * (MOST_LISTS - 1)
    result = measurement.result()
    assert result.queries == len(asked) <= MOST_CLOSEST * MOST_LISTS
    found = result.estimate
    assert found.method == "names"
    assert found.saturated
    assert found.peers_low <= 20_000 <= found.peers_high
    assert found.peers == pytest.approx(20_000, rel=0.12)
    assert estimate_swarm(result.observations) == found


def test_swarm_that_fills_no_filter_is_asked_for_lists_too():
    """A hundred thousand peers in stores of 500, of which five nodes send filters: 2500 are seen."""
    random = Random(8)
    respond = huge_swarm(random, peers=100_000)

    def few_send_filters(query):
        response = respond(query)
        listing = query.kind is QueryKind.LISTING or query.node.distance >> 120 <= 5
        return response if listing else answer(query, values=response.values)

    measurement = measurement_of(range(1, NODES + 1))
    drive(measurement, few_send_filters)
    found = measurement.result().estimate
    assert found.method == "names"
    assert found.peers_low <= 100_000 <= found.peers_high
    assert found.peers > 50_000


def test_last_bits_of_a_full_union_are_no_peers_of_one_store_alone():
    random = Random(9)
    respond = huge_swarm(random)
    bits = (1 << 2048) - 1 - (1 << 20) + 1

    def nearly_full(query):
        response = respond(query)
        place = query.node.distance >> 120
        if query.kind is QueryKind.LISTING or place > 5:
            return response
        own = ScrapeFilter(bits | (1 << 10 if place == 5 else 0)).to_bytes()
        return answer(query, seeds_filter=ScrapeFilter().to_bytes(), peers_filter=own, values=response.values)

    measurement = measurement_of(range(1, NODES + 1))
    drive(measurement, nearly_full)
    found = measurement.result().estimate
    assert found.method == "names"
    assert found.peers_low > 15_000
    assert found.peers == pytest.approx(20_000, rel=0.12)


def test_each_round_asks_each_node_once():
    measurement, respond = measurement_of(range(1, NODES + 1)), huge_swarm(Random(2))
    while queries := measurement.take_queries():
        nodes = [query.node for query in queries if query.kind is QueryKind.LISTING]
        assert len(nodes) == len(set(nodes))
        for query in queries:
            query.node.address = THERE
            measurement.on_end(query, respond(query), 0.1)


def test_windows_and_nodes_without_lists_are_not_asked_for_ever():
    windows, silent = {2, 5, 9}, {4}
    measurement = measurement_of(range(1, NODES + 1))
    asked = drive(measurement, huge_swarm(Random(3), windows=windows, silent=silent))
    lists = [query.node.distance >> 120 for query in asked if query.kind is QueryKind.LISTING]
    assert all(lists.count(place) <= 12 < MOST_LISTS - 1 for place in windows)
    assert lists.count(4) == 1
    result = measurement.result()
    listed = {node.rank + 1: len(node.host_hashes) for node in result.observations}
    assert all(listed[place] <= LIST for place in windows | silent)
    assert result.estimate.peers == pytest.approx(20_000, rel=0.15)


@pytest.mark.parametrize("peers", [600, 3000])
def test_smaller_swarms_cost_no_list_more(peers):
    measurement = measurement_of(range(1, NODES + 1))
    asked = drive(measurement, huge_swarm(Random(4), peers=peers))
    assert {query.kind for query in asked} == {QueryKind.SCRAPE}
    assert measurement.result().queries == len(asked)


def test_answer_under_another_id_is_no_list():
    measurement = measurement_of(range(1, NODES + 1))
    honest = huge_swarm(Random(6))

    def respond(query):
        if query.kind is QueryKind.LISTING and query.node.distance >> 120 == 1:
            return Response(b"tttt", type(query.node.node_id)(b"x" * 20), values=(peer(1),) * 50)
        return honest(query)

    drive(measurement, respond)
    (first, *_) = measurement.result().observations
    assert len(first.host_hashes) == 1


@pytest.mark.parametrize(("size", "lists", "close"), [(500, 20, 0.1), (300, 10, 0.15), (50, 2, 1e-9)])
def test_own_lists_of_a_node_tell_the_size_of_its_store(size, lists, close):
    random = Random(size)
    drawn = [random.sample([peer(each) for each in range(size)], LIST) for _ in range(lists)]
    found = store_size(drawn)
    assert found.estimate == pytest.approx(size, rel=close)
    assert store_size(drawn[:1]) is None


def test_stores_are_full_near_a_known_cap_or_one_of_their_own():
    """Sizes with a standard error of 3 %, in a swarm of 6000; the last is not known closely."""
    sizes = {"known": 510, "a": 800, "b": 815, "c": 790, "alone": 1500, "large": 4200, "d": 4100, "e": 4300}
    found = {name: Interval(size, size / 1.03, size * 1.03) for name, size in sizes.items()}
    found["vague"] = Interval(500, 400, 625)
    assert full_stores(found, 6000) == ["known", "a", "b", "c"]
    del found["c"]
    assert full_stores(found, 6000) == ["known"]
