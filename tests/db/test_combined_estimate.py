"""What samples of several vantages come to together, from replies made up for it."""

from dataclasses import replace
from random import Random

import pytest

from crawler.db.merge.combined_estimate import CombinedReply, Single, combine
from dhtnode.krpc import ScrapeFilter

NOTHING = Single(*[None] * 9, "none", False, 1, 0, 0)


def hosts(first, last):
    return [bytes([10, 0, number // 256, number % 256]) for number in range(first, last)]


def reply(node, peers, seeds=(), *, is_suspect=False, named=None, sample=1):
    filters = [
        None if some is None else ScrapeFilter.of(some).to_bytes() for some in (seeds, peers, named, named)
    ]
    tokens = None if named is None else b"".join(sorted(bytes(4) + host for host in named))
    return CombinedReply(f"{node:040x}", "192.0.2.1", node, *filters, tokens, sample, is_suspect)


def single(peers, low, high, method="union", *, nodes=3, distinct=0):
    return Single(0, peers, peers, low, high, 0, 0, low, high, method, False, nodes, nodes, distinct)


def test_filters_of_all_vantages_are_ored():
    """Each saw a half, together they know all: within what filters can tell."""
    replies = [reply(1, hosts(0, 100)), reply(2, hosts(100, 200))]
    found = combine([single(100, 96, 104, nodes=1)] * 2, replies)

    assert (found.nodes_answered, found.nodes_with_filters, found.method) == (2, 2, "union")
    assert found.peers_low <= 200 <= found.peers_high
    assert found.peers == pytest.approx(200, abs=8)


def test_node_that_two_have_asked_is_one_store():
    """As many stores with the same peers it would make the swarm look small."""
    random = Random(1)
    stores = [random.sample(hosts(0, 600), 250) for _ in range(8)]
    once = combine(
        [single(500, 1, 9999, "pair-ratio", nodes=8)], [reply(*each) for each in enumerate(stores)]
    )
    twice = combine(
        [single(500, 1, 9999, "pair-ratio", nodes=8)] * 2,
        [reply(*each) for each in [*enumerate(stores), *enumerate(stores)]],
    )

    assert twice == once
    assert once.nodes_with_filters == 8
    assert once.peers == pytest.approx(600, rel=0.05)


def test_order_does_not_matter():
    """Neither that of the samples nor that of the replies."""
    samples = [single(90, 80, 100), single(95, 91, 97), single(93, 92, 99, "distinct")]
    replies = [reply(node, hosts(node, 90 + node), hosts(0, node)) for node in range(6)]

    assert combine(samples[::-1], replies[::-1]) == combine(samples, replies)


def test_numbers_of_samples_do_not_matter():
    """They depend on the order of merging; two samples here name equally many peers, others of them."""
    samples = [single(90, 40, 100, nodes=1, distinct=40)] * 2
    said = [(1, hosts(0, 40), hosts(0, 40)), (2, hosts(10, 55), hosts(60, 100))]

    def replies(numbers):
        return [
            reply(node, peers, named=named, sample=number)
            for number, (node, peers, named) in zip(numbers, said, strict=True)
        ]

    assert combine(samples, replies((7, 8))) == combine(samples, replies((8, 7)))


def test_whoever_lied_to_one_is_believed_by_none():
    """All its replies are left out, and no sample that believed it counts."""
    replies = [
        *(reply(node, hosts(0, 50)) for node in range(3)),
        reply(9, hosts(0, 3000)),
        reply(9, hosts(0, 3000), is_suspect=True),
    ]
    found = combine([single(3000, 2900, 3100), single(50, 50, 51)], replies)

    assert found.peers == pytest.approx(50, abs=2)
    assert (found.nodes_answered, found.nodes_with_filters) == (4, 3)


def test_exact_count_of_one_vantage_is_not_blurred():
    """Named one by one the peers were counted; the filters of all say the same less sharply."""
    replies = [reply(node, hosts(0, 300)) for node in range(4)]
    blurred = combine([single(None, None, None, "none")], replies)
    named = [reply(node, hosts(0, 300), named=hosts(0, 300)) for node in range(4)]
    found = combine([single(300, 300, 300, distinct=300), single(296, 290, 305)], [*named, *replies])

    assert blurred.peers_low < blurred.peers_high
    assert (found.peers, found.peers_low) == (300, 300)
    assert found.peers_high <= 301


def test_sample_that_others_refute_is_not_believed():
    """What one vantage has seen is there, however sure another is of less."""
    replies = [reply(node, hosts(0, 300)) for node in range(4)]
    found = combine([single(200, 200, 200), single(300, 296, 304)], replies)

    assert found.peers_low == 296
    assert 296 <= found.peers <= 304


def test_guess_of_one_vantage_is_no_bound():
    """A pair ratio tells of peers that nobody saw; the filters of all have a better one, or none."""
    replies = [reply(node, hosts(0, 100)) for node in range(4)]
    found = combine([single(180, 140, 220, "pair-ratio")], replies)

    assert found.method == "union"
    assert found.peers == pytest.approx(100, abs=5)


def test_without_filters_the_best_sample_stands_for_all():
    """They were deleted, or nobody sent any: then no better number can be made."""
    good, bad = single(100, 95, 105, nodes=6, distinct=20), single(80, 70, 90, nodes=2, distinct=60)

    assert combine([bad, good], []) == replace(good, distinct_peers=60)
    assert combine([bad, good], [reply(1, hosts(0, 10))]) == replace(good, distinct_peers=60)
    silent = replace(NOTHING, nodes_answered=2)
    assert combine([NOTHING, silent], [reply(1, None, None)]) == silent


def test_peers_that_were_named_count_as_well():
    """A node without BEP 33 named peers whose bits are kept."""
    found = combine([NOTHING, NOTHING], [reply(1, None, None, named=hosts(0, 40))])

    assert found.peers == pytest.approx(40, abs=2)
    assert found.leechers == found.peers
