"""What addresses of another source say when they are held against the filters of the DHT (BEP 33)."""

from math import inf
from random import Random

import pytest

from crawler.analysis import source_overlap
from crawler.analysis.sessions import wilson
from dhtnode import Interval
from dhtnode.krpc import ScrapeFilter, union_of


def hosts(count, first=0):
    """Return so many different addresses."""
    return [(0x0B000000 + first + number).to_bytes(4, "big") for number in range(count)]


def known(size):
    return Interval(float(size), float(size), float(size))


def stores(peers, nodes, room, random):
    """Return the filters of nodes that each keep a random part of the peers."""
    return [ScrapeFilter.of(random.sample(peers, room)) for _ in range(nodes)]


def test_share_is_wilsons_where_no_stranger_passes():
    """One address in a filter lets 4 of 4 million others pass, so that nothing is left to correct."""
    tried = hosts(10)
    found = source_overlap(tried, [ScrapeFilter.of(tried[:1])], known(1), 10)
    assert (found.tested, found.passed, found.share.estimate) == (10, 1, pytest.approx(0.1, abs=1e-5))
    assert found.share[1:] == pytest.approx(wilson(1, 10), abs=1e-5)
    assert found.unknown.estimate == pytest.approx(9, abs=1e-4)
    assert found.union.estimate == pytest.approx(10, abs=1e-4)


def test_what_passes_by_chance_is_taken_off():
    """Of 4000 strangers 15 in 100 pass a filter of 500 peers; they say nothing of an overlap."""
    found = source_overlap(hosts(4000, 10_000), [ScrapeFilter.of(hosts(500))], known(500), 4000)
    assert found.passed == pytest.approx(4000 * found.false_positives, rel=0.15)
    assert found.false_positives == pytest.approx(0.149, abs=0.01)
    assert found.share.low == 0 <= found.share.estimate < 0.03
    assert found.union.low < 4500 <= found.union.high


def test_stores_that_keep_half_miss_half():
    """What the DHT has is in the filter of all nodes half the time, and is in the DHT all the same."""
    random, peers = Random(2), hosts(400)
    filters = [ScrapeFilter.of(random.sample(peers, 200))]
    found = source_overlap(random.sample(peers, 200), filters, known(400), 400)
    assert found.passed < 130
    assert found.share.low < 1 <= found.share.high
    assert found.share.estimate > 0.85
    assert found.union.low <= 400 < found.union.high < 500


def test_single_nodes_tell_more_where_all_together_are_full():
    """Eight stores of 500 out of 4000 fill a filter; each by itself does not."""
    random, peers = Random(3), hosts(4000)
    filters = stores(peers, 8, 500, random)
    tried = random.sample(peers, 200) + hosts(200, 10_000)
    by_nodes = source_overlap(tried, filters, known(4000), 4000)
    by_all = source_overlap(tried, [union_of(filters)], known(4000), 4000)
    assert by_nodes.union.low <= 6000 <= by_nodes.union.high
    assert by_nodes.union.high - by_nodes.union.low < 0.6 * (by_all.union.high - by_all.union.low)


def test_equal_stores_count_once():
    """Eight nodes that have the same peers say no more than one of them, also of a huge swarm."""
    random, peers = Random(4), hosts(3000)
    tried = random.sample(peers, 100) + hosts(100, 10_000)
    one, eight = (
        source_overlap(tried, [ScrapeFilter.of(peers)] * nodes, known(3000), 3000) for nodes in (1, 8)
    )
    assert eight.union == pytest.approx(one.union, rel=0.01)


def test_unknown_size_has_no_upper_end():
    found = source_overlap(hosts(50), [ScrapeFilter.of(hosts(100, 25))], Interval(100.0, 100.0, inf), 50)
    assert found.union.high == inf
    assert 100 <= found.union.low <= 125


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_interval_holds(share):
    """`python -m benchmarks.source_overlap` has the figures: 95 in 100."""
    random, peers, held = Random(f"held {share}"), 300, 0
    for _ in range(40):
        drawn = [number.to_bytes(4, "big") for number in random.sample(range(1 << 31), 2 * peers)]
        both = round(share * peers)
        listed = drawn[peers - both : 2 * peers - both]
        filters = [ScrapeFilter.of(drawn[:peers])]
        union = source_overlap(random.sample(listed, 60), filters, known(peers), peers).union
        held += union.low <= 2 * peers - both <= union.high
    assert 35 <= held <= 40


@pytest.mark.parametrize(
    ("tried", "filters"), [([], [ScrapeFilter.of(hosts(5))]), (hosts(5), []), (hosts(5), [ScrapeFilter()])]
)
def test_nothing_to_compare_is_none(tried, filters):
    assert source_overlap(tried, filters, known(5), 5) is None


@pytest.mark.parametrize("listed", [0, 3])
def test_source_lists_no_less_than_it_named(listed):
    """A tracker may hand out more addresses than it counts."""
    found = source_overlap(hosts(20), [ScrapeFilter.of(hosts(20))], known(20), listed)
    assert found.share.estimate == 1
    assert found.union.estimate == 20
