"""A small pure simulation of a crawl: ids, tables, loss, and what a census counts on the way.

Live nodes and stale contacts share one id space.  What a node names for a target:

- its buckets of 8: nodes in the half of the space that holds the target, seen from the node,
  drawn with weights that are heavy-tailed (Pareto), so that some nodes are in very many tables and
  others in hardly any;
- its neighbourhood: where a bucket has room for all, it holds each of them with that member's own
  probability to be known, `u ** (1 / deep - 1)` for a uniform u: the mean is `deep`, and with
  `deep` below 1 some nodes are hardly known to their own neighbours.

A datagram is lost with the probability `loss`, in either direction.  Stale contacts never answer.
No time passes: no node joins or leaves during a crawl.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

import numpy as np

from crawler.analysis.crawl_size import CrawlCounts
from crawler.analysis.distance_size import spread_targets
from crawler.analysis.outside_referrers import named_from_outside
from crawler.analysis.species_richness import EXACT_REFERRERS

WIDTH = 8  # contacts in a bucket and in a reply
ID_BITS = 62  # enough to tell nodes apart, and quick to compute with
BOOTSTRAP_NODES = 4
_DRAWS = 1 << 32
_SHIFT = ID_BITS - 32  # what the census keeps of an id


@dataclass(frozen=True, slots=True)
class SizeModel:
    """The properties of a simulated network.

    `stale` is the share of table entries that never answer, `loss` that of datagrams, `tail` the
    exponent of the Pareto weights, `deep` the mean probability to be known to a neighbour.
    """

    nodes: int
    stale: float = 0.3
    loss: float = 0.02
    tail: float = 1.2
    deep: float = 1.0


class ModelNetwork:
    """One network drawn from a model."""

    def __init__(self, model: SizeModel, random: Random) -> None:
        self._random = random
        total = round(model.nodes / (1 - model.stale))
        ids: set[int] = set()
        while len(ids) < total:
            ids.add(random.getrandbits(ID_BITS))
        self.ids = sorted(ids)
        self.is_live = [True] * model.nodes + [False] * (total - model.nodes)
        random.shuffle(self.is_live)
        self._weights = list(accumulate((random.paretovariate(model.tail) for _ in self.ids), initial=0.0))
        steep = 1 / model.deep - 1
        self._known = [random.random() ** steep for _ in self.ids]
        self._narrow = max(1, ID_BITS - total.bit_length() + 2)
        self._seed = random.getrandbits(32)
        self.lost = 1 - (1 - model.loss) ** 2

    def answers(self, node: int) -> bool:
        """Send a query to a node; return whether an answer comes back."""
        return self.is_live[node] and self._random.random() >= self.lost

    def named_by(self, node: int, target: int) -> list[int]:
        """Return a node's contacts for a target: up to 8 members, as indices."""
        height = (self.ids[node] ^ target).bit_length()  # the bucket spans the half below this bit
        low, high = self._below(target, height - 1) if height else (node, node)
        return self._drawn(low, high) if high - low > WIDTH else self._neighbours(node, target, height)

    def _below(self, target: int, height: int) -> tuple[int, int]:
        """Return the range of members that differ from a target in the lowest `height` bits only."""
        base = (target >> height) << height
        return bisect_left(self.ids, base), bisect_left(self.ids, base + (1 << height))

    def _drawn(self, low: int, high: int) -> list[int]:
        """Draw a bucket by weight from a range of members."""
        weights, chosen = self._weights, set[int]()
        floor, width = weights[low], weights[high] - weights[low]
        for _ in range(4 * WIDTH):
            chosen.add(bisect_left(weights, floor + width * self._random.random(), low + 1, high) - 1)
            if len(chosen) == WIDTH:
                break
        return list(chosen)

    def _knows(self, node: int, neighbour: int) -> bool:
        """Tell whether a node has room for a neighbour, and has heard of it: the same every time."""
        return hash((node, neighbour, self._seed)) % _DRAWS < self._known[neighbour] * _DRAWS

    def _neighbours(self, node: int, target: int, height: int) -> list[int]:
        """Return the 8 closest to a target of the members that a node knows around itself."""
        known: list[int] = []
        height = max(height, self._narrow)  # below, few nodes are left to tell apart
        below, above = self._below(target, height - 1)
        fresh = [*range(below, above)]
        while True:
            known += [each for each in fresh if each != node and self._knows(node, each)]
            if len(known) >= WIDTH or height > ID_BITS:
                break
            low, high = self._below(target, height)
            fresh = [*range(low, below), *range(above, high)]
            below, above = low, high
            height += 1
        return sorted(known, key=lambda each: self.ids[each] ^ target)[:WIDTH]


@dataclass(slots=True)
class _Sighted:
    """What a crawl knows of one contact."""

    half: int
    referrers: set[int] = field(default_factory=set)
    visits: int = 0
    has_answered: bool = False


class Crawl:
    """Visit a network as `dhtcrawl census` does, and count."""

    def __init__(self, network: ModelNetwork, random: Random, *, zone_bits: int = 0) -> None:
        self._network = network
        self._random = random
        self._zone_bits = zone_bits
        self._outside = ID_BITS - zone_bits
        self._sighted: dict[int, _Sighted] = {}
        self._queue: deque[int] = deque()
        self._first_sent = self._second_sent = self._second_unanswered = 0

    def run(self) -> CrawlCounts:
        """Visit everything, then silent contacts named by two others once more; return the counts."""
        for node in self._bootstrap_nodes():
            self._hear_of(node)
        self._empty_queue()
        again = [
            node
            for node, known in self._sighted.items()
            if not known.has_answered and len(known.referrers) >= 2
        ]
        self._queue.extend(again)
        self._empty_queue()
        return self._counts()

    def _bootstrap_nodes(self) -> Iterator[int]:
        """Yield a few live nodes to start from; those of a lookup, for a zone."""
        ids, live = self._network.ids, self._network.is_live
        inside = [node for node, own in enumerate(ids) if live[node] and not own >> self._outside]
        yield from self._random.sample(inside, min(BOOTSTRAP_NODES, len(inside)))

    def _hear_of(self, node: int, referrer: int | None = None) -> None:
        if self._network.ids[node] >> self._outside:
            return  # not in the zone, which is the one whose bits are all 0
        known = self._sighted.get(node)
        if known is None:
            known = self._sighted[node] = _Sighted(self._random.getrandbits(1))
            self._queue.append(node)
        if referrer is not None:
            known.referrers.add(referrer)

    def _empty_queue(self) -> None:
        while self._queue:
            self._visit(self._queue.popleft())

    def _visit(self, node: int) -> None:
        known = self._sighted[node]
        known.visits += 1
        self._first_sent += 1
        if not self._network.answers(node):
            return
        known.has_answered = True
        self._take(node, self._network.ids[node] ^ 1)
        self._second_sent += 1
        if self._network.answers(node):
            self._take(node, self._random.getrandbits(self._outside))
        else:
            self._second_unanswered += 1

    def _take(self, node: int, target: int) -> None:
        for named in self._network.named_by(node, target):
            self._hear_of(named, node)

    def _counts(self) -> CrawlCounts:
        answered = [known for known in self._sighted.values() if known.has_answered]
        by_half = [{self._sighted[each].half for each in known.referrers} for known in answered]
        times = [min(len(known.referrers), EXACT_REFERRERS + 1) for known in answered]
        once, twice, thrice, four_times, more = map(times.count, range(1, EXACT_REFERRERS + 2))
        ids = self._network.ids
        pairs = sorted(
            ((ids[node], known) for node, known in self._sighted.items() if known.has_answered),
            key=lambda pair: pair[0],
        )
        distances = np.zeros(
            (len(pairs), max([len(known.referrers) for known in answered], default=0)), np.uint32
        )
        for row, (own, known) in enumerate(pairs):
            distances[row, : len(known.referrers)] = [(own ^ ids[each]) >> _SHIFT for each in known.referrers]
        own_ids = np.array([own >> _SHIFT for own, _ in pairs], np.uint32)
        outside = named_from_outside(own_ids, distances, WIDTH * len(answered) // max(len(self._sighted), 1))
        return CrawlCounts(
            answered=len(answered),
            by_a=sum(0 in halves for halves in by_half),
            by_b=sum(1 in halves for halves in by_half),
            by_both=sum(len(halves) == 2 for halves in by_half),
            named=(once, twice, thrice, four_times, more),
            recovered=sum(known.visits == 2 for known in answered),
            second_sent=self._second_sent,
            second_unanswered=self._second_unanswered,
            zone_bits=self._zone_bits,
            outside=outside,
        )

    def answered_ids(self) -> list[int]:
        """Return the sorted ids of the nodes that answered."""
        ids = self._network.ids
        return sorted(ids[node] for node, known in self._sighted.items() if known.has_answered)

    @property
    def queries(self) -> int:
        """Return how many queries were sent."""
        return self._first_sent + self._second_sent


def look_up(network: ModelNetwork, target: int, start: int, k: int) -> float | None:
    """Look a target up as a node would; return the distance of the k-th closest that answered.

    A share of the id space.  Silent nodes are asked twice.  None when fewer answered.
    """
    ids = network.ids
    heard, asked, found = {start}, set[int](), list[int]()
    while True:
        found.sort()
        limit = found[WIDTH - 1] if len(found) >= WIDTH else 1 << ID_BITS
        waiting = sorted((ids[each] ^ target, each) for each in heard - asked if ids[each] ^ target < limit)
        if not waiting:
            return found[k - 1] / 2**ID_BITS if len(found) >= k else None
        for distance, each in waiting[:4]:
            asked.add(each)
            if network.answers(each) or network.answers(each):
                found.append(distance)
                heard.update(network.named_by(each, target))


def looked_up_distances(network: ModelNetwork, random: Random, lookups: int, k: int) -> list[float]:
    """Return what so many lookups of random targets find, each from a random live node."""
    live = [node for node, is_live in enumerate(network.is_live) if is_live]
    targets = spread_targets(lookups, [random.random() for _ in range(lookups)], ID_BITS)
    found = (look_up(network, target, random.choice(live), k) for target in targets)
    return [distance for distance in found if distance is not None]
