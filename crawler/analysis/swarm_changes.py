"""Who came and who left between two measurements of a swarm, from the filters of the nodes asked (BEP 33).

A node forgets a peer that is still there when its announcement gets lost, so two filters of one node say
little.  Two *different* nodes lose different announcements.  Peers that one node had before and another has
now are compared with those that two nodes have at one time: what is missing has left, what is new has come.
How many peers each node knows, and how well each peer announces, is in both and cancels out, and so does the
noise of bits that peers share, but for the peers that came or left.

docs/explanation/swarm_size.md has formulas, evidence and limits.  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dhtnode import Address, Family, Interval, NodeId
from dhtnode.krpc import FILTER_BITS, ScrapeFilter, hosts_between
from dhtnode.swarm import FEWEST_ZERO_BITS, NORMAL_95, Observation, is_near_cap

FEWEST_NODES = 3
"""Nodes with filters at both times from which only these are compared, and fewest at either time."""

EXPIRY = 0.5
"""Hours that a node remembers an announcement, after which all peers have announced again (libtorrent)."""

MOST_UNEQUAL = 1.0
"""The most that the squared variation of how well peers announce is taken to be."""

_FloatArray: TypeAlias = NDArray[np.float64]
_Stores: TypeAlias = dict[tuple[NodeId, Address], ScrapeFilter]


@dataclass(frozen=True, slots=True)
class SwarmChange:
    """What became of a swarm between two measurements, in peers and with 95 % intervals.

    `arrivals` are there now and were not before, `departures` the other way round: who came and left in
    between is in neither.  `change` is the difference of both, by which the size has changed.  `nodes` are
    those whose filters were compared.
    """

    arrivals: Interval
    departures: Interval
    change: Interval
    nodes: int

    @property
    def is_clear(self) -> bool:
        """Return whether the size has changed; 5 of 100 swarms that have not seem to have."""
        return not self.change.low <= 0 <= self.change.high


class _Turnover(NamedTuple):
    """What the nodes of one family tell: its size by pairs, then shares of it, and how well they are known.

    `known` is the mean size of the stores that pairs are made of, where larger ones count more.
    `shares` are the peers that came, those that left, and the difference; `errors` their standard errors
    between nodes.  `hidden` is the variance that each peer that came or left adds by the bits it shares.
    """

    peers: float
    known: float
    shares: _FloatArray
    errors: _FloatArray
    hidden: float
    nodes: int


def swarm_change(
    before: Sequence[Observation],
    after: Sequence[Observation],
    sizes: tuple[Interval, Interval],
    hours: float | None = None,
) -> SwarmChange | None:
    """Compare what nodes said of a swarm at two times; None where too few sent filters that overlap.

    Pass what is believed; full stores are left out.  `sizes` are the estimates of both measurements, above 0,
    and `hours` the time between them, if that is known.  Costs 6 us for each pair of nodes.
    """
    found = [
        turnover
        for family in Family
        if (turnover := _turnover(_stores(before, family), _stores(after, family))) is not None
    ]
    by_pairs = sum(each.peers for each in found)
    if not found or min(each.estimate for each in sizes) <= 0:
        return None
    shares = sum((each.shares * each.peers for each in found), np.zeros(3)) / by_pairs
    variances = sum(((each.errors * each.peers) ** 2 for each in found), np.zeros(3)) / by_pairs**2
    # Both sizes are of much the same peers, so that each tells of the other.
    size = sqrt(sizes[0].estimate * sizes[1].estimate / (1 + float(shares[2])))
    unequal = min(max(size / by_pairs - 1, 0.0), MOST_UNEQUAL)
    errors = _Errors(
        [float(each) for each in variances * size**2],
        sum(each.hidden * each.peers for each in found) / by_pairs,
        unequal,
        _lost(sum(each.known for each in found) / (by_pairs * (1 + unequal)), unequal),
        size * (1.0 if hours is None else min(hours / EXPIRY, 1.0)),
        max((each.high - each.low) / (2 * NORMAL_95 * each.estimate) for each in sizes),
    )
    came, left, change = (float(each) for each in shares * size)
    return SwarmChange(
        errors.around_peers(came, errors.between[0], max(left, 0.0)),
        errors.around_peers(left, errors.between[1], max(came, 0.0)),
        errors.around_change(change, max(left, 0.0) + max(came, 0.0)),
        sum(each.nodes for each in found),
    )


def _lost(share: float, unequal: float) -> float:
    """Return how many announcements do not arrive, from the share of the peers that a node knows.

    Half of the peers are taken to announce twice while a node remembers it.  Those that count for pairs are
    the ones that announce well.
    """
    return 1 - (3 - sqrt(9 - 8 * min(share * (1 + 2 * unequal), 1.0))) / 2


class _Errors(NamedTuple):
    """All that makes counts of peers uncertain.

    `between` is the variance between nodes of arrivals, departures and change; `hidden` that of each peer
    that came or left, by bits; `unequal` the squared variation of how well peers announce; `lost` the share
    of announcements that do not arrive; `renewed` how many peers have announced again; `scale` the error of
    the size of the swarm as a share of it.
    """

    between: Sequence[float]
    hidden: float
    unequal: float
    lost: float
    renewed: float
    scale: float

    @property
    def luck(self) -> float:
        """Return the most peers that seem to have come, and to have left, though they were always there.

        Some announce once while a node remembers them, and some twice: these are known to more nodes, and at
        another time it is others.
        """
        return self.renewed * (self.lost / (2 + self.lost)) ** 2

    @property
    def of_luck(self) -> float:
        """Return the variance that the same adds to arrivals and departures."""
        return 4 * self.luck * self.unequal

    def around_peers(self, count: float, variance: float, others: float) -> Interval:
        """Return arrivals with their interval, where `others` are departures, or the other way round.

        The ends are whole counts from which the estimate is 1.96 standard deviations away.  Who has just come
        may have announced once only, and is known to fewer nodes than others.
        """
        squared = NORMAL_95**2
        variance += others * self.unequal + self.of_luck
        lead = max(1 - squared * self.scale**2, 0.5)
        ends = []
        for value, side in ((count - self.luck, -1), (count * (1 + self.lost / 2), 1)):
            middle = value + squared * (self.hidden + self.unequal) / 2
            half = sqrt(max(middle**2 - lead * (value**2 - squared * variance), 0.0))
            ends.append(max((middle + side * half) / lead, 0.0))
        estimate = max((count - self.luck / 2) * (1 + self.lost / 4), 0.0)
        return Interval(estimate, ceil(ends[0] - 0.5), floor(ends[1] + 0.5))

    def around_change(self, change: float, others: float) -> Interval:
        """Return a change of size with its interval in whole peers; `others` have come or left."""
        variance = self.between[2] + 4 * self.of_luck + (self.scale * change) ** 2
        half = NORMAL_95 * sqrt(variance + others * (self.hidden + self.unequal**2))
        return Interval(change, ceil(change - half - 0.5), floor(change + half + 0.5))


def _stores(observations: Sequence[Observation], family: Family) -> _Stores:
    return {
        (node.node_id, node.address): node.stored
        for node in observations
        if node.family is family and node.has_filters and not _is_full(node)
    }


def _is_full(node: Observation) -> bool:
    """Return whether a store may hold who came first: it changes when they leave, not when others come."""
    return node.is_full or is_near_cap(node.peers_told)


def _turnover(before: _Stores, after: _Stores) -> _Turnover | None:
    """Compare the stores of one family; None where they do not tell."""
    nodes = [node for node in before if node in after]
    if len(nodes) < FEWEST_NODES:
        nodes = list(before | after)
    sums, zero_share = _sums_of_pairs([(before.get(node), after.get(node)) for node in nodes])
    total = sums.sum(axis=0) / 2
    whole = _values(total)
    without = [_values(total - own) for own in sums]
    if len(nodes) < FEWEST_NODES or whole is None or not all(without):
        return None
    peers, *shares = whole
    spread = np.array([each[1:] for each in without if each]) - shares
    errors = np.sqrt((1 - 1 / len(nodes)) * (spread**2).sum(axis=0))
    known = [store.estimate() for stores in (before, after) for store in stores.values()]
    known_to_pairs = sum(each**2 for each in known) / sum(known)
    hidden = (1 / zero_share - 1) / 2
    return _Turnover(peers, known_to_pairs, np.array(shares), errors, hidden, len(nodes))


def _sums_of_pairs(
    nodes: Sequence[tuple[ScrapeFilter | None, ScrapeFilter | None]],
) -> tuple[_FloatArray, float]:
    """Return a row of sums for each node over its pairs, and the mean share of zero bits in their unions.

    The sums are those of peers shared before, across the times, and now; then those of products of sizes.
    """
    sums = np.zeros((len(nodes), 6))
    zero_shares = []
    sizes = [[each.estimate() if each else 0.0 for each in node] for node in nodes]
    for one, two in combinations(range(len(nodes)), 2):
        for time_of_one in (0, 1):
            for time_of_two in (0, 1):
                left, right = nodes[one][time_of_one], nodes[two][time_of_two]
                if left is None or right is None:
                    continue
                zero_bits = (left | right).zero_bits
                if zero_bits < FEWEST_ZERO_BITS:
                    continue
                zero_shares.append(zero_bits / FILTER_BITS)
                size, other = sizes[one][time_of_one], sizes[two][time_of_two]
                place = time_of_one + time_of_two
                sums[[one, two], place] += size + other - hosts_between(FILTER_BITS, zero_bits)
                sums[[one, two], place + 3] += size * other
    return sums, sum(zero_shares) / max(len(zero_shares), 1)


def _values(sums: _FloatArray) -> tuple[float, float, float, float] | None:
    """Return the size before by pairs, and arrivals, departures and change as shares of it."""
    if min(sums[0], sums[2], *sums[3:]) <= 0:
        return None
    before, across, now = (float(each) for each in sums[:3] / sums[3:])
    return 1 / before, (before - across) / now, (now - across) / now, before / now - 1
