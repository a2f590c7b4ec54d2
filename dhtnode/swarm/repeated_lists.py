"""Huge swarms by names: nodes are asked for peers several times, and what their lists share is exact.

Above some thousand peers a filter is full and says little.  The peers that a node lists are a random choice
for each query, so some queries tell most of its store.  Of stores that are random parts of the swarm the
overlaps give its size (Petersen, pooled over all pairs of nodes).

Some clients (jech/dht, Transmission) list what is next to each other in their store instead, in an order that
other nodes may share.  What two such lists of one node share stands together in both: they are left out.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, combinations, pairwise
from math import exp, inf, log, sqrt
from typing import NamedTuple

from dhtnode.swarm.filter_size import NORMAL_95, Interval
from dhtnode.swarm.full_stores import is_near_cap
from dhtnode.swarm.queried_nodes import NodeProgress, QueriedNode

LONGEST_LIST = 120
"""Peers that one reply lists at most, in practice: a node that listed more was asked several times."""

FEWEST_NODES = 3
MOST_LISTS = 20
"""Lists that one node is asked for, the first included."""

FEWEST_LISTS = 4
ENOUGH_SHARED = 800
"""Peers that pairs of nodes share, all pairs added up, from which the estimate is within some 4 %."""

MOST_PEERS = 2000
"""Peers that are kept of one node."""

_COMPARED = 12  # lists of one node that are looked at for windows
_FEWEST_SHARED = 20  # by fewer, the overlap may be chance
_SHARED_BY_TWO = 4  # peers in two lists of one node from which their places are compared
_IN_A_ROW = 0.8  # share of these that follow each other in both lists, in a window
_NEAREST = 8  # nodes that most announces reach
_NEAR_UNLIKE = 2.6  # standard errors by which pairs of these may share more than all do
_SPREAD, _SPREAD_OF_ONE = 0.1, 3.0  # how far the mean square of so many pairs may be above 1
_CLOSELY = 1.06  # how far off the size of a store may be, by a standard error, to tell that it is full
_OWN_CAP = 0.5  # share of the swarm below which three equal stores have a cap
_EQUAL = 1.06  # factor between the sizes of equal stores
_MUCH_LESS = 0.5  # of the overlap to be expected: a node that shares so little has made up its peers
_SIGNIFICANT = 5.0


class Overlaps(NamedTuple):
    """For each node the pairs of peers that it has with the others, and how many of these are one peer."""

    products: list[float]
    shared: list[float]

    @property
    def total_shared(self) -> float:
        """Return the peers that pairs of nodes share, all pairs added up."""
        return sum(self.shared) / 2


def lists_windows(lists: Sequence[Sequence[bytes]]) -> bool:
    """Return whether the lists of one node are windows of a fixed order, and no random choices."""
    compared = windows = 0
    places = [{peer: place for place, peer in enumerate(each)} for each in lists]
    for one, other in combinations(range(len(lists)), 2):
        shared = [peer for peer in lists[one] if peer in places[other]]
        if len(shared) < _SHARED_BY_TWO:
            continue
        compared += 1
        steps = [
            places[which][after] - places[which][before]
            for before, after in pairwise(shared)
            for which in (one, other)
        ]
        windows += sum(step == 1 for step in steps) >= _IN_A_ROW * len(steps)
    return compared > 0 and 2 * windows > compared


def overlaps_of(stores: Sequence[AbstractSet[Hashable]]) -> Overlaps:
    """Return what stores share, without those that share much less than the others do.

    Costs some 10 us for each pair.
    """
    sets = list(stores)
    found = _overlaps_of_all(sets)
    if len(sets) > FEWEST_NODES and found.total_shared:
        density = sum(found.shared) / sum(found.products)
        usual = [
            shared + _SIGNIFICANT * sqrt(shared + 1) >= _MUCH_LESS * density * product
            for shared, product in zip(found.shared, found.products, strict=True)
        ]
        if not all(usual) and sum(usual) >= FEWEST_NODES:
            found = _overlaps_of_all([each for each, yes in zip(sets, usual, strict=True) if yes])
    return found


def _overlaps_of_all(stores: Sequence[AbstractSet[Hashable]]) -> Overlaps:
    products, shared = [0.0] * len(stores), [0.0] * len(stores)
    for one, other in combinations(range(len(stores)), 2):
        product, both = len(stores[one]) * len(stores[other]), len(stores[one] & stores[other])
        for which in (one, other):
            products[which] += product
            shared[which] += both
    return Overlaps(products, shared)


def are_random_parts(listed: Sequence[AbstractSet[Hashable]]) -> bool:
    """Return whether what nodes listed, the closest first, is as random parts of one swarm would be.

    Where full stores keep early comers, some pairs share more than others, and most of all the nearest.
    """
    places = [place for place, hosts in enumerate(listed) if len(hosts) > LONGEST_LIST]
    pairs = [
        (two < _NEAREST, len(listed[one] & listed[two]), len(listed[one]) * len(listed[two]))
        for one, two in combinations(places, 2)
    ]
    both, product = (sum(pair[which] for pair in pairs) for which in (1, 2))
    if not both:
        return False
    expected = [both / product * pair[2] for pair in pairs]
    spread = sum((pair[1] - most) ** 2 / most for pair, most in zip(pairs, expected, strict=True)) / len(
        pairs
    )
    near = [(pair[1] - most, most) for pair, most in zip(pairs, expected, strict=True) if pair[0]]
    excess = sum(more for more, _ in near) / sqrt(sum(most for _, most in near) or 1.0)
    return excess <= _NEAR_UNLIKE and spread <= 1 + _SPREAD + _SPREAD_OF_ONE / sqrt(len(pairs))


def by_repeated_lists(listed: Iterable[AbstractSet[Hashable]]) -> Interval | None:
    """Estimate a swarm from the hosts that each node listed, in all of its lists together.

    Only nodes that were asked several times count; None with fewer than three, or with too few hosts that
    two of them share.  The interval is a jackknife over nodes, on logarithms, and not narrower than the
    number of shared hosts allows.
    """
    stores = [hosts for hosts in listed if len(hosts) > LONGEST_LIST]
    if len(stores) < FEWEST_NODES:
        return None
    products, shared = overlaps_of(stores)
    product, both = sum(products) / 2, sum(shared) / 2
    without_one = [(product - products[node], both - shared[node]) for node in range(len(products))]
    if both < _FEWEST_SHARED or min(part for _, part in without_one) <= 0:
        return None
    logs = [log(part_product / part_shared) for part_product, part_shared in without_one]
    mean = sum(logs) / len(logs)
    jackknife = sqrt((1 - 1 / len(logs)) * sum((value - mean) ** 2 for value in logs))
    spread = exp(NORMAL_95 * max(jackknife, 1 / sqrt(both)))
    return Interval(product / both, product / both / spread, product / both * spread)


def store_size(lists: Sequence[Sequence[bytes]]) -> Interval | None:
    """Return how many peers a node stores, by how often its own lists, random choices, repeat a peer.

    None where they repeat too few.  The ends are one standard error away.
    """
    pairs = [(len(one) * len(two), len(set(one) & set(two))) for one, two in combinations(lists, 2)]
    product, both = (sum(pair[which] for pair in pairs) for which in (0, 1))
    if both < _FEWEST_SHARED:
        return None
    spread = 1 + 1 / sqrt(both)
    return Interval(product / both, product / both / spread, product / both * spread)


def full_stores(sizes: Mapping[QueriedNode, Interval], swarm: float) -> list[QueriedNode]:
    """Return the nodes whose stores are full: near a cap that clients have, or one that they have themselves.

    A cap that is not known before is the size of three stores, closely known, of which each holds less than
    half of the swarm: nodes that are told of few peers are not told of equally many.
    """
    known = {node: size for node, size in sizes.items() if size.high <= _CLOSELY * size.estimate}
    parts = {node: size for node, size in known.items() if size.estimate < _OWN_CAP * swarm}

    def are_equal(one: Interval, other: Interval) -> bool:
        return max(one.estimate, other.estimate) <= _EQUAL * min(one.estimate, other.estimate)

    return [
        node
        for node, size in known.items()
        if is_near_cap(size.estimate)
        or (node in parts and sum(are_equal(size, other) for other in parts.values()) >= FEWEST_NODES)
    ]


def spread_of(interval: Interval) -> float:
    """Return the factor from the low end of an interval to its high one."""
    return interval.high / interval.low if interval.low > 0 else inf


class RepeatedLists:
    """The lists of the nodes of one family: which nodes to ask next, and what all lists of a node come to."""

    def __init__(self, nodes: Iterable[QueriedNode]) -> None:
        """Begin with what each node has listed so far, of those that say they have peers."""
        counting = (node for node in nodes if node.state is NodeProgress.COUNTS and node.claims_peers)
        self._lists = {node: [node.peers] if node.peers else [] for node in counting}
        self._rounds = 1

    def take(self, node: QueriedNode, peers: Sequence[bytes]) -> None:
        """Take in one more list; a node without any is not asked again."""
        if node not in self._lists:
            return
        if peers:
            self._lists[node].append(peers)
        else:
            del self._lists[node]

    def wanted(self) -> list[QueriedNode]:
        """Return the nodes to ask once more, each once; none when it is enough."""
        if self._rounds >= MOST_LISTS:
            return []
        drawn = {node: lists for node, lists in self._lists.items() if not self._are_windows(lists)}
        if self._rounds >= FEWEST_LISTS:
            stores = [frozenset[bytes]().union(*lists) for lists in drawn.values()]
            if overlaps_of(stores).total_shared >= ENOUGH_SHARED:
                return []
        self._rounds += 1
        return list(drawn)

    def hand_over(self) -> None:
        """Have each node name what is in all of its lists; of windows, in the first."""
        drawn = {node: each for node, each in self._lists.items() if not self._are_windows(each)}
        sizes = {node: size for node, lists in drawn.items() if (size := store_size(lists))}
        for node, lists in drawn.items():
            if len(lists) > 1:
                node.peers = list(dict.fromkeys(chain.from_iterable(lists)))[:MOST_PEERS]
        found = overlaps_of([frozenset(node.peers) for node in drawn])
        swarm = sum(found.products) / max(sum(found.shared), 1.0)
        for node in full_stores(sizes, swarm):
            node.is_full = True

    def _are_windows(self, lists: Sequence[Sequence[bytes]]) -> bool:
        return lists_windows(lists[:_COMPARED])
