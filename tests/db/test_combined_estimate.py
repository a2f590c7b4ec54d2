"""What samples of several vantages come to together, from replies made up for it."""

from dataclasses import replace
from random import Random

import pytest

from crawler.db.merge.combined_estimate import combine
from dhtnode import Address, InfoHash, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.swarm import Observation
from tests.measurements import measurement_of

SWARM = InfoHash(b"s" * 20)


def hosts(first, last):
    return [bytes([10, 0, number // 256, number % 256]) for number in range(first, last)]


def reply(node, peers, seeds=(), *, is_suspect=False, named=None):
    filters = [
        None if some is None else ScrapeFilter.of(some).to_bytes() for some in (seeds, peers, named, named)
    ]
    return Observation(
        NodeId(node.to_bytes(20, "big")),
        Address("192.0.2.1", node),
        0,
        *filters[:2],
        marks=("wrong-id",) if is_suspect else (),
        host_hashes=frozenset(bytes(4) + host for host in named or ()),
        named_filter=filters[2],
        unplaced_filter=filters[3],
    )


def single(peers, low, high, replies=(), *, method="union", nodes=3, distinct=0):
    """Return a measurement; `nodes` answered, all with filters."""
    sizes = {"leechers": peers, "leechers_low": low, "leechers_high": high, "seeds": 0}
    sizes |= {"peers": peers, "peers_low": low, "peers_high": high, "distinct_peers": distinct}
    counts = {"nodes_answered": nodes, "nodes_with_filters": nodes}
    return measurement_of(SWARM, "", tuple(replies), method=method, **sizes, **counts)


def nothing(*replies, nodes=1):
    counts = {"nodes_answered": nodes, "nodes_with_filters": 0}
    return measurement_of(SWARM, "", replies, method="none", **counts)


def combined(measurements):
    found = combine(measurements)
    return found.estimate, found.nodes_answered


def test_filters_of_all_vantages_are_ored():
    """Each saw a half, together they know all: within what filters can tell."""
    replies = [reply(1, hosts(0, 100)), reply(2, hosts(100, 200))]
    found, answered = combined([single(100, 96, 104, [each], nodes=1) for each in replies])
    assert (answered, found.nodes_with_filters, found.method) == (2, 2, "union")
    assert found.peers_low <= 200 <= found.peers_high
    assert found.peers == pytest.approx(200, abs=8)


def test_node_that_two_have_asked_is_one_store():
    """As many stores with the same peers it would make the swarm look small."""
    random = Random(1)
    stores = [random.sample(hosts(0, 600), 250) for _ in range(8)]
    one = single(500, 1, 9999, [reply(*each) for each in enumerate(stores)], method="pair-ratio", nodes=8)
    once, _ = combined([one])
    assert combined([one, one])[0] == once
    assert once.nodes_with_filters == 8
    assert once.peers == pytest.approx(600, rel=0.05)


def test_order_does_not_matter():
    replies = [reply(node, hosts(node, 90 + node), hosts(0, node)) for node in range(6)]

    def measurements(step):
        return [
            single(90, 80, 100, replies[:2][::step]),
            single(95, 91, 97, replies[2:4][::step]),
            single(93, 92, 99, replies[4:][::step], method="distinct"),
        ][::step]

    assert combine(measurements(-1)) == combine(measurements(1))


def test_order_does_not_matter_where_as_many_were_named():
    said = [(1, hosts(0, 40), hosts(0, 40)), (2, hosts(10, 55), hosts(60, 100))]
    measurements = [
        single(90, 40, 100, [reply(node, peers, named=named)], nodes=1, distinct=40)
        for node, peers, named in said
    ]
    assert combine(measurements[::-1]) == combine(measurements)


def test_node_that_lied_to_one_is_believed_by_none():
    honest = [reply(node, hosts(0, 50)) for node in range(3)]
    believing = single(3000, 2900, 3100, [*honest[:1], reply(9, hosts(0, 3000))])
    found, answered = combined(
        [believing, single(50, 50, 51, [*honest[1:], reply(9, hosts(0, 3000), is_suspect=True)])]
    )
    assert found.peers == pytest.approx(50, abs=2)
    assert (answered, found.nodes_with_filters) == (4, 3)


def test_exact_count_of_one_vantage_is_not_blurred():
    replies = [reply(node, hosts(0, 300)) for node in range(4)]
    blurred, _ = combined([nothing(*replies)])
    named = [reply(node, hosts(0, 300), named=hosts(0, 300)) for node in range(4)]
    found, _ = combined([single(300, 300, 300, named, distinct=300), single(296, 290, 305, replies)])
    assert blurred.peers_low < blurred.peers_high
    assert (found.peers, found.peers_low) == (300, 300)
    assert found.peers_high <= 312


def test_sample_that_others_refute_is_not_believed():
    replies = [reply(node, hosts(0, 300)) for node in range(4)]
    found, _ = combined([single(200, 200, 200, replies[:2]), single(300, 296, 304, replies[2:])])
    assert found.peers_low == 296
    assert 296 <= found.peers <= 304


def test_pair_ratio_of_one_vantage_is_no_bound():
    replies = [reply(node, hosts(0, 100)) for node in range(4)]
    found, _ = combined([single(180, 140, 220, replies, method="pair-ratio")])
    assert found.method == "union"
    assert found.peers == pytest.approx(100, abs=5)


def test_without_filters_the_best_sample_stands_for_all():
    good, bad = single(100, 95, 105, nodes=6, distinct=20), single(80, 70, 90, nodes=2, distinct=60)
    one_left = replace(bad, observations=(reply(1, hosts(0, 10)),))
    for other in (bad, one_left):
        assert combined([other, good]) == (replace(good.estimate, distinct_peers=60), 6)
    assert combined([nothing(), nothing(reply(1, None, None), nodes=2)]) == (nothing().estimate, 2)


def test_peers_that_were_named_count_as_well():
    """A node without BEP 33 named peers whose bits are kept."""
    found, _ = combined([nothing(reply(1, None, None, named=hosts(0, 40))), nothing()])
    assert found.peers == pytest.approx(40, abs=2)
    assert (found.leechers, found.leechers_high) == (None, found.peers_high)
