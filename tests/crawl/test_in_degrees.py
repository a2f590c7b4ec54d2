"""By whom endpoints were named: what is held, what it comes to, and when it is given up."""

from random import Random

from crawler.analysis.crawl_size import OutsideNamings, named_from_outside
from crawler.crawl.in_degrees import MOST_ENDPOINTS, InDegrees


def node_id(first_bits):
    """Return an id that begins with these 32 bits."""
    return first_bits.to_bytes(4, "big") + bytes(16)


def test_counts_are_those_of_all_referrers():
    """Five referrers of each node, the farthest, tell as much as all of them."""
    random = Random(1)
    ids = sorted({random.getrandbits(32) for _ in range(60)})
    referrers = {each: random.sample(ids, random.choice((1, 2, 3, 20))) for each in ids}
    namings = InDegrees()
    for referrer in random.sample(ids, len(ids)):
        named = [(node_id(each), each) for each in ids if referrer in referrers[each]]
        namings.add(named, node_id(referrer))

    expected = named_from_outside(ids, [referrers[each] for each in ids], 8 * 60 // 90, 32)
    assert namings.outside(lambda endpoint: True, 90) == expected
    assert sum(expected.named) >= 4


def test_only_nodes_that_answered_count():
    namings = InDegrees()
    namings.add([(node_id(1), 1), (node_id(2), 2)], node_id(3 << 30))
    namings.add([(node_id(3 << 30), 3)], node_id(2 << 30))

    # Two nodes, each alone in its half, and the second named from within.
    assert namings.outside({1, 3}.__contains__, 16) == OutsideNamings((1, 0, 0, 0), 1)
    assert namings.outside(lambda endpoint: False, 8) == OutsideNamings((0, 0, 0, 0), 1)


def test_too_many_endpoints_are_given_up():
    """Memory is bounded: beyond it nothing is said, rather than something of a part."""
    namings = InDegrees(most_endpoints=2)
    namings.add([(node_id(1), 1), (node_id(2), 2)], node_id(9))
    assert namings.outside(lambda endpoint: True, 2) is not None

    namings.add([(node_id(3), 3)], node_id(9))

    assert namings.is_given_up
    namings.add([(node_id(1), 1)], node_id(8))
    assert namings.outside(lambda endpoint: True, 2) is None
    assert MOST_ENDPOINTS == 200_000
