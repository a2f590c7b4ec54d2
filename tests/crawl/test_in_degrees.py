"""By which nodes endpoints were returned: what is held, what it comes to, and when it is given up."""

from random import Random

import numpy as np
import pytest

from crawler.analysis.crawl_size import OutsideNamings
from crawler.analysis.outside_referrers import named_from_outside
from crawler.crawl import in_degrees
from crawler.crawl.in_degrees import InDegrees


def words(*values):
    return np.array(values, np.uint32)


def numbers(*values):
    return np.array(values, np.int64)


def test_counts_are_those_of_all_referrers(monkeypatch):
    """Five referrers of each node, the farthest, tell as much as all of them; whenever they are merged."""
    random = Random(1)
    ids = sorted({random.getrandbits(32) for _ in range(60)})
    referrers = [random.sample(range(60), random.choice((1, 2, 3, 20))) for _ in ids]
    for merged_at_once in (1, 50, 10_000):
        monkeypatch.setattr(in_degrees, "_MERGED_AT_ONCE", merged_at_once)
        held = InDegrees()
        for referrer in random.sample(range(60), 60):
            named = [each for each in range(60) if referrer in referrers[each]]
            held.add(numbers(*named), words(*(ids[each] ^ ids[referrer] for each in named)))

        everyone = np.zeros((60, 20), np.uint32)
        for each, its in enumerate(referrers):
            everyone[each, : len(its)] = [ids[each] ^ ids[other] for other in its]
        expected = named_from_outside(words(*ids), everyone, 8 * 60 // 90)
        assert held.outside(np.arange(60), words(*ids), 90) == expected
        assert sum(expected.named) >= 4


def test_counts_in_parts_of_the_id_space_add_up(monkeypatch):
    random = Random(2)
    ids = words(*random.sample(range(1 << 32), 3000))
    held = InDegrees()
    for referrer in random.sample(range(3000), 300):
        named = random.sample(range(3000), 8)
        held.add(numbers(*named), ids[named] ^ ids[referrer])
    whole = held.outside(np.arange(3000), ids, 4000)
    monkeypatch.setattr(in_degrees, "_COUNTED_AT_ONCE", 200)
    parts = held.outside(np.arange(3000), ids, 4000)
    assert parts.named == whole.named
    assert parts.together == pytest.approx(whole.together)
    assert whole.together > 1


def test_only_nodes_that_answered_count():
    """Unresponsive nodes are in no part, and a crawl without answers has counts too."""
    held, third = InDegrees(), 3 << 30
    held.add(numbers(0, 1), words(1 ^ third, 2 ^ third))
    held.add(numbers(2), words(third ^ 2 << 30))
    # Two nodes, each alone in its half, and the second named from within.
    assert held.outside(numbers(0, 2), words(1, third), 16) == OutsideNamings((1, 0, 0, 0), 1)
    assert held.outside(numbers(), words(), 8) == OutsideNamings((0, 0, 0, 0), 1)


def test_nodes_that_no_node_returned_are_no_trouble():
    assert InDegrees().outside(numbers(7), words(5), 1) == OutsideNamings((0, 0, 0, 0), 1)


def test_journal_restores_all_of_it():
    random, ids = Random(3), words(*Random(3).sample(range(1 << 32), 400))
    held, journals = InDegrees(), []
    for referrer in random.sample(range(400), 60):
        named = random.sample(range(400), 8)
        held.add(numbers(*named), ids[named] ^ ids[referrer])
        if random.random() < 0.3:
            journals.append(held.take_journal())
    journals.append(held.take_journal())
    restored = InDegrees()
    restored.restore(journals)
    found = held.outside(np.arange(400), ids, 500)
    assert restored.outside(np.arange(400), ids, 500) == found
    assert sum(found.named) > 100
    assert (held.take_journal(), restored.take_journal()) == (b"", b"")
