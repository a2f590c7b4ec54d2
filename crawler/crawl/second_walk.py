"""A second walk through a part of the network, from other ways in: a count that owes the first nothing else.

It begins at a few nodes drawn from those that the first walk counted in that part, with a frontier of its
own, other random targets and other packets.  Which share of the nodes that answer it the first had counted
is what `size_from_control` takes.  The nodes it began at count in neither.
"""

from collections.abc import Callable
from random import Random

import numpy as np

from crawler.core.exclusion import Area
from crawler.crawl.crawl import FamilyCrawl
from crawler.crawl.network_sizes import ControlCounts
from crawler.crawl.tallies import recaptured
from crawler.db.records.records import CrawlBatch
from crawler.zone import MAX_BITS, Zone

STARTS = 4  # nodes that it begins at
LEAST = 8  # nodes in the part, fewer tell nothing


def part_of(zone: Zone, nodes: int, most: int, random: Random) -> Zone:
    """Return a random part of a zone with so many nodes, which has about `most` of them, or half."""
    bits = 1
    while nodes >> bits > most and zone.bits + bits < MAX_BITS:
        bits += 1
    return Zone(zone.prefix << bits | random.getrandbits(bits), zone.bits + bits)


class SecondWalk:
    """The second walk of one family, beside the crawl whose count it is to test."""

    def __init__(
        self,
        first: FamilyCrawl,
        area: Area,
        most: int,
        random: Random,
        make: Callable[[Callable[[CrawlBatch], None], Area], FamilyCrawl],
    ) -> None:
        """Draw the part of the network and the ways in; `make` makes a crawl of it, which is not written."""
        counted = first.frontier.believed(first.frontier.answered)
        self.zone = part_of(area.zone, len(counted), most, random)
        self._first = first.frontier
        self.crawl = make(lambda _: None, Area(self.zone, area.exclusion))
        prefixes = first.frontier.table.id_prefixes(counted)
        inside = counted[prefixes >> np.uint32(32 - self.zone.bits) == self.zone.prefix]
        starts = random.sample(inside.tolist(), min(STARTS, len(inside)))
        self._starts = np.array(starts, np.int64)
        self.is_worth_it = len(inside) >= LEAST
        self.crawl.frontier.add(first.frontier.table.compact(self._starts))

    def counts(self) -> ControlCounts:
        """Return what it has found."""
        frontier = self.crawl.frontier
        answered = frontier.answered
        nodes = frontier.table.columns(answered, slice(None))
        numbers = self._first.table.find(self._first.table.keys(nodes))
        is_other = ~np.isin(numbers, self._starts)
        counted = recaptured(self._first, numbers[is_other])
        kept = nodes[is_other].tobytes()
        return ControlCounts(self.zone, kept, len(numbers[is_other]), counted, self.crawl.queries)
