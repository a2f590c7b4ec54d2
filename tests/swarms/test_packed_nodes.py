"""Nodes kept to be asked directly: the closest ones are found, and a million fit into memory."""

from random import Random

import pytest

from crawler.swarms.node_cache import RecentNodes
from crawler.swarms.packed_nodes import PackedNodes
from dhtnode import Family

COUNTS = [0, 1, 7, 8, 9, 100, 3000]


def drawn(count, seed=1, family=Family.IPV4):
    random = Random(seed)
    bits = 8 * family.address_bytes
    return [(random.randbytes(20), random.getrandbits(bits)) for _ in range(count)]


def by_distance(nodes, target, k):
    number = int.from_bytes(target, "big")
    return sorted(nodes, key=lambda node: int.from_bytes(node[0], "big") ^ number)[:k]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("count", COUNTS)
def test_closest_are_those_with_the_least_distance(count, family):
    nodes = drawn(count, family=family)
    known = PackedNodes(family, nodes)
    assert len(known) == count
    for target in [bytes(20), b"\xff" * 20, *(Random(2).randbytes(20) for _ in range(20))]:
        for k in (1, 8, 32):
            assert known.closest(target, k) == by_distance(nodes, target, k)


def test_closest_are_found_where_sybils_crowd_a_place():
    """Thousands of ids in one corner change nothing for targets there or elsewhere."""
    random = Random(3)
    crowd = [(b"\x5b" * 9 + random.randbytes(11), number) for number in range(2000)]
    nodes = [*crowd, *drawn(200)]
    known = PackedNodes(Family.IPV4, nodes)
    for target in [b"\x5b" * 20, crowd[7][0], b"\x5b" * 4 + bytes(16), bytes(20)]:
        assert known.closest(target, 16) == by_distance(nodes, target, 16)


def test_node_given_twice_is_one_and_one_id_at_two_places_is_two():
    known = PackedNodes(Family.IPV4, [(b"b" * 20, 7), (b"a" * 20, 1), (b"b" * 20, 7), (b"b" * 20, 8)])
    assert sorted(known.closest(b"b" * 20, 8)) == [(b"a" * 20, 1), (b"b" * 20, 7), (b"b" * 20, 8)]


def test_a_million_nodes_take_some_50_megabytes_at_most():
    assert PackedNodes(Family.IPV4, sorted(drawn(5000))).bytes_held <= 50 * 5000
    assert PackedNodes(Family.IPV6, sorted(drawn(5000, family=Family.IPV6))).bytes_held <= 50 * 5000


@pytest.mark.parametrize("count", COUNTS)
def test_cache_finds_the_closest_too(count):
    nodes = drawn(count)
    cache = RecentNodes()
    for node in nodes:
        cache.add(*node)
    for target in [bytes(20), *(Random(2).randbytes(20) for _ in range(20))]:
        assert cache.closest(target, 16) == by_distance(nodes, target, 16)


def test_cache_is_bounded_and_forgets_the_node_that_answered_longest_ago():
    nodes = drawn(5)
    cache = RecentNodes(limit=3)
    for node in [*nodes[:3], nodes[0], *nodes[3:]]:
        cache.add(*node)
    assert len(cache) == 3
    assert set(cache.closest(bytes(20), 8)) == {nodes[0], nodes[3], nodes[4]}


def test_no_node_takes_an_id_over_while_its_node_answers():
    """A stranger under a known id is not remembered; nor can its silence drive the node out."""
    cache = RecentNodes()
    cache.add(b"a" * 20, 1)
    cache.add(b"a" * 20, 2)
    cache.discard(b"a" * 20, 2)
    assert cache.closest(b"a" * 20, 8) == [(b"a" * 20, 1)]
    cache.discard(b"a" * 20, 1)
    cache.add(b"a" * 20, 2)
    assert cache.closest(b"a" * 20, 8) == [(b"a" * 20, 2)]
