"""Whether enough nodes were asked about a swarm, or more should be."""

from collections.abc import Sequence
from functools import reduce
from operator import or_

from dhtnode.bloom import ScrapeFilter
from dhtnode.evidence import NodeEvidence

EXTENDED_TO = 16
"""Nodes asked when stores look cut: as far as announces reach, in practice."""

NEARLY_FULL = 400
"""Peers at one node from which its store may be cut: libtorrent keeps 500, and a filter errs."""

SPREAD = 3.0
"""Largest union, in sizes of the largest store, that complete stores would show."""


def wants_more(evidence: Sequence[NodeEvidence]) -> int:
    """Return how many further nodes should be asked for a good estimate: 0 when it is enough.

    Pass what all nodes said that were asked so far; the next nodes are the next closest.
    """
    sizes = [node.stored.estimate() for node in evidence]
    largest = max(sizes, default=0.0)
    union = reduce(or_, (node.stored for node in evidence), ScrapeFilter()).estimate()
    is_cut = largest >= NEARLY_FULL or union > SPREAD * largest
    return max(EXTENDED_TO - len(evidence), 0) if is_cut else 0
