"""Stores that keep no more peers, and whether what they keep is a random part of the swarm.

Clients keep 500, 2048 or 6000 peers of a swarm.  Some keep a random part, others those that came first
(libtorrent): then full stores hold the same peers however large the swarm is, and the overlap of stores
says nothing about it.  Random parts have the same overlap, by the product of their sizes, near the
info-hash and far from it, in full stores and in others.  The first that came to each node have not: nodes
that fewer announces reach keep later ones too.
"""

from collections.abc import Sequence
from enum import Enum
from math import expm1, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import FILTER_BITS, LOG_MISSED_BY_ONE_HOST, ScrapeFilter, hosts_between
from dhtnode.swarm.filter_size import relative_error

CAPS = (500.0, 2048.0, 6000.0)
"""Peers that clients keep of one swarm: libtorrent, others."""

NEAR_CAP, FARTHEST_FROM_CAP = 0.05, 0.15
"""Shares of a cap within which a store counts as full, at least and at most, by the error of its filter."""

ERRORS = 3.5
"""Errors of a filter within which it does: stores of the same peers err all by the same."""

LITTLE_ABOVE = 0.15
"""Share of a cap above it up to which full stores hold most of a swarm, first comers or not."""

CLEAR_OF_CAP = 0.08
"""Share of a cap within which no store counts as surely not full where any is."""

FEWEST = 3
"""Stores from which a size is told: not full ones, or full ones that are random parts."""

FEWEST_ZERO_BITS = 30
"""Zero bits below which a filter, or the union of two, tells too little: from some 4,300 peers on."""

NEAREST = 8
"""Nodes that most announces reach."""

FEWEST_NEAR = 3
"""Full stores among the nearest nodes without which those farther away look like random parts."""

TIGHT = 0.6
"""Share of a full store that the next one holds too, above which the swarm may end there or go on.

A swarm so small would leave the stores farther away, that hear of fewer peers, not full.
"""

FULL_UNLIKE, NEAR_UNLIKE = 1.5, 2.2
"""Standard errors by which full stores, or near ones, may share more than all stores do."""

_SPREAD, _SPREAD_OF_ONE = 0.1, 2.5  # how far the mean square of so many pairs may be above 1


_MARGINS = [(cap, cap * min(max(ERRORS * relative_error(cap), NEAR_CAP), FARTHEST_FROM_CAP)) for cap in CAPS]


class Parts(Enum):
    """The ways in which stores stand for a swarm."""

    ALL = 0
    """Each is a random part of what its node was told."""

    REST = 1
    """Those that are not full are."""

    NONE = 2
    """The stores are full, or too few are not: the swarm has what was seen, or any number more."""


class Pair(NamedTuple):
    """What two stores have in common: how many peers, the product of their sizes, the noise of the bits."""

    one: int
    two: int
    shared: float
    product: float
    noise: float


def is_near_cap(peers: float) -> bool:
    """Return whether a store of so many peers may be full."""
    return any(abs(peers - cap) <= margin for cap, margin in _MARGINS)


def is_clear_of_caps(peers: float) -> bool:
    """Return whether a store of so many peers is surely not full."""
    return not is_near_cap(peers) and all(abs(peers - cap) > CLEAR_OF_CAP * cap for cap in CAPS)


def is_little_above_cap(peers: float) -> bool:
    """Return whether full stores would hold most of a swarm of so many peers."""
    return any(cap <= peers <= (1 + LITTLE_ABOVE) * cap for cap in CAPS)


def parts_of(stores: Sequence[ScrapeFilter], sizes: Sequence[float], near: int) -> Parts:
    """Return which stores are random parts of the swarm.

    `stores` are in the order of distance, and the first `near` of them are those of the nearest nodes.
    Costs 3 us per pair where any is full, else 1 us per store.
    """
    full = [is_near_cap(size) for size in sizes]
    if not any(full):
        return Parts.ALL
    pairs = _pairs_of(stores, sizes)
    is_alike = len(stores) >= FEWEST and bool(pairs) and not _are_unlike(pairs, full, near)
    clear = [is_clear_of_caps(size) for size in sizes]
    if sum(clear) >= FEWEST:
        return Parts.ALL if is_alike else Parts.REST
    tells = is_alike and sum(full) >= FEWEST and sum(full[:near]) >= FEWEST_NEAR
    if tells and not are_tight(pairs, sizes):
        return Parts.ALL
    return Parts.REST if sum(clear) == FEWEST - 1 and _agree(pairs, clear) else Parts.NONE


def _pairs_of(stores: Sequence[ScrapeFilter], sizes: Sequence[float]) -> list[Pair]:
    """Return all pairs of which the union leaves enough zero bits."""
    odds = [expm1(-LOG_MISSED_BY_ONE_HOST * size) for size in sizes]
    pairs = []
    for two, store in enumerate(stores):
        for one in range(two):
            zero_bits = FILTER_BITS - (stores[one].bits | store.bits).bit_count()
            if zero_bits >= FEWEST_ZERO_BITS:
                shared = sizes[one] + sizes[two] - hosts_between(FILTER_BITS, zero_bits)
                # Bits that both have by chance; the most there can be, as if they shared no peer.
                noise = FILTER_BITS / 4 * odds[one] * odds[two] + 1
                pairs.append(Pair(one, two, shared, sizes[one] * sizes[two], noise))
    return pairs


def _agree(pairs: Sequence[Pair], clear: Sequence[bool]) -> bool:
    """Return whether two stores that are not full tell the same size by each other and by the full ones.

    One that is full at a cap of its own would hold what these hold, and not what the other does.
    """
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        found = tuple(place for place in (pair.one, pair.two) if clear[place])
        if found:
            groups.setdefault(found, []).append(pair)
    told = []
    for group in groups.values():
        product = sum(pair.product for pair in group)
        density = sum(pair.shared for pair in group) / product
        # Full stores hold the same peers: many tell no more than one.
        variance = sum(max(pair.shared, 0.0) + pair.noise for pair in group) * len(group) / product**2
        told.append((density, variance))
    return len(told) > sum(clear) and all(
        one[0] > 0 and abs(one[0] - other[0]) <= NEAR_UNLIKE * sqrt(one[1] + other[1])
        for place, one in enumerate(told)
        for other in told[:place]
    )


def _are_unlike(pairs: Sequence[Pair], full: Sequence[bool], near: int) -> bool:
    """Return whether some pairs share more than random parts of one swarm would."""
    if not pairs:
        return False
    density = sum(pair.shared for pair in pairs) / sum(pair.product for pair in pairs)
    if density <= 0:
        return False
    over = [pair.shared - density * pair.product for pair in pairs]
    variances = [density * pair.product + pair.noise for pair in pairs]
    spread = sum(each**2 / variance for each, variance in zip(over, variances, strict=True)) / len(pairs)
    if spread > 1 + _SPREAD + _SPREAD_OF_ONE / sqrt(len(pairs)):
        return True
    for chosen, most in (
        ([full[pair.one] and full[pair.two] for pair in pairs], FULL_UNLIKE),
        ([pair.two < near for pair in pairs], NEAR_UNLIKE),
    ):
        excess = weight = 0.0
        for pair, more, variance, yes in zip(pairs, over, variances, chosen, strict=True):
            if yes:
                excess += more * pair.product / variance
                weight += pair.product**2 / variance
        if excess > most * sqrt(weight):
            return True
    return False


def are_tight(pairs: Sequence[Pair], sizes: Sequence[float]) -> bool:
    """Return whether full stores of the same cap, the lowest that two have, hold mostly the same peers."""
    for cap in CAPS:
        shares = [
            pair.shared / min(sizes[pair.one], sizes[pair.two])
            for pair in pairs
            if all(abs(sizes[place] - cap) <= cap / 4 for place in (pair.one, pair.two))
        ]
        if shares:
            return max(shares) > TIGHT
    return True
