"""Nodes that are found or missed together, by their referrers from elsewhere."""

from random import Random

import numpy as np
import pytest

from crawler.analysis.crawl_size import OutsideNamings
from crawler.analysis.outside_referrers import named_from_outside


def counted(ids, referrers, most, id_bits=3):
    """Return the counts for ids of a few bits, given the referrers of each."""
    shift = 32 - id_bits
    distances = np.zeros((len(ids), 5), np.uint32)
    for row, (own, its) in enumerate(zip(ids, referrers, strict=True)):
        distances[row, : len(its)] = [(own ^ other) << shift for other in its]
    return named_from_outside(np.array(ids, np.uint32) << shift, distances, most)


def counted_slowly(ids, referrers, most, id_bits):
    """Do the same part by part."""
    hanging, squares, waiting = [0] * 5, 0, [(list(zip(ids, referrers, strict=True)), id_bits)]
    while waiting:
        part, bits = waiting.pop()
        if len(part) > max(most, 1) and bits:
            waiting += (
                ([each for each in part if each[0] >> bits - 1 & 1 == bit], bits - 1) for bit in (0, 1)
            )
        elif part:
            outside = {other for own, its in part for other in its if other >> bits != own >> bits}
            if 0 < len(outside) <= 4:
                hanging[len(outside)] += len(part)
                squares += len(part) ** 2
    return OutsideNamings(tuple(hanging[1:]), squares / sum(hanging) if squares else 1.0)


def test_nodes_of_one_part_count_together():
    """Two alone in the half 0, three in the half 1, which is split: 100 alone, and 110 with 111."""
    ids = [0b000, 0b001, 0b100, 0b110, 0b111]
    within = [[0b001], [0b000], [0b110, 0b111], [0b111], [0b110]]
    assert counted(ids, within, 2) == OutsideNamings((0, 1, 0, 0), 1)
    within[1] = [0b000, 0b111]
    assert counted(ids, within, 2) == OutsideNamings((2, 1, 0, 0), 5 / 3)
    within[0] = [0b111, 0b100]
    assert counted(ids, within, 2) == OutsideNamings((0, 3, 0, 0), 5 / 3)


def test_nodes_alone_count_their_referrers():
    ids, referrers = [0, 5, 6, 7], [[5, 6, 7], [0, 6], [5, 5], [6]]
    assert counted(ids, referrers, 1) == OutsideNamings((2, 1, 1, 0), 1)
    assert named_from_outside(np.zeros(0, np.uint32), np.zeros((0, 5), np.uint32), 5) == OutsideNamings(
        (0, 0, 0, 0), 1
    )


@pytest.mark.parametrize("most", [0, 1, 2, 5, 12])
def test_parts_are_the_largest_that_have_no_more_nodes(most):
    random = Random(most)
    for _ in range(30):
        ids = sorted(random.choices(range(256), k=random.randrange(1, 60)))
        referrers = [random.choices(ids, k=random.randrange(6)) for _ in ids]
        assert counted(ids, referrers, most, 8) == pytest.approx(counted_slowly(ids, referrers, most, 8))
