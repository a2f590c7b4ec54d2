"""Which stores hold peers that no other store does, where the others agree.

Peers announce themselves to all nodes near an info-hash, so honest stores overlap: two of s and t peers
share about s * t / N of a swarm of N.  A store that is made up shares nothing, one that is padded holds
many that no other store has.  No store is judged where honest ones might look like that: on few
peers, among few stores, or where the others do not agree either.

Some clients tell of leechers only (mldht).  Two of those share more, s * t by the leechers, so they
are held against the others and not against each other.  Full stores that keep early peers share more, too:
where there may be such, those that are not full are judged among themselves, and any store that shares
nothing.
"""

from collections.abc import Collection, Sequence
from math import exp, expm1, log1p, sqrt
from typing import NamedTuple

from dhtnode.krpc.scrape_filter import FILTER_BITS, LOG_MISSED_BY_ONE_HOST, hosts_between
from dhtnode.swarm.full_stores import FEWEST_ZERO_BITS, Pair, are_tight, is_near_cap

FEWEST_STORES = 3
"""Stores from which two may outvote one."""

FEWEST_PEERS = 8.0
"""Peers in a store from which it is judged: a few that announced a moment ago prove nothing."""

MUCH_LESS = 0.65
"""Share of the overlap that honest stores have, below which a store is an outlier.

A store of which half is invented has 0.5; with 0.3 here, 41 of 55 such passed where stores are cut.
"""

NEXT_TO_NOTHING = 0.1
"""The same share where full stores may hold the same early peers, and others few of them."""

PADDED = 0.3
"""Share of a store that no other has, beyond what is to be expected, from which it is one."""

LARGEST_SWARM = 4000.0
"""Peers above which a store too full to be compared may be an honest one."""

FEWEST_TO_BE_FOREIGN = 1.9
"""Peers in a store of fewer than are compared, from which it is one that no other knows anything of."""

FOREIGN = 0.4
"""Share of its bits that are in no store of the core, from which it is."""

KNOWN_BUT_FOR = 0.1
"""Share of the swarm that all stores of the core may miss together, to tell that."""

SIGNIFICANT = 5.0
"""Standard deviations that an outlier is off: the core is chosen by its overlap, so 3 are no surprise."""

# Share of the usual overlap: stores that have that are the core that others are compared with.
_CORE = 0.5
_FEWEST_BITS = 3  # of two peers at least


class NodeStore(NamedTuple):
    """The store of one node: its bits, how many peers these are, and whether seeds are left out.

    Of one that sent no filters a list of peers `is_list`.
    """

    bits: int
    peers: float
    is_part: bool = False
    is_list: bool = False


class _Shared(NamedTuple):
    """The peers that two stores share, and how many that would be if both held the same one."""

    peers: float
    product: float
    noise: float


def outlier_stores(stores: Sequence[NodeStore]) -> frozenset[int]:
    """Return the places of stores that hold what the others do not; they are in the order of distance.

    Costs 3 us per pair of stores.
    """
    filled = [place for place, store in enumerate(stores) if store.peers > 0]
    shared = _overlaps(stores, filled)
    found = _outliers(stores, filled, shared, MUCH_LESS)
    if not found or not any(is_near_cap(stores[place].peers) for place in filled):
        return found
    nowhere = _outliers(stores, filled, shared, NEXT_TO_NOTHING)
    # Neither a list nor a part tells whether the whole of it is full.
    whole = {place for place in filled if not (stores[place].is_list or stores[place].is_part)}
    if not _keep_the_first(stores, filled, shared, found):
        return nowhere | (found & whole)
    others = [place for place in sorted(whole - nowhere) if not is_near_cap(stores[place].peers)]
    return nowhere | _outliers(stores, others, shared, MUCH_LESS)


def _keep_the_first(
    stores: Sequence[NodeStore],
    filled: Sequence[int],
    shared: dict[tuple[int, int], _Shared],
    apart: Collection[int],
) -> bool:
    """Return whether full stores may hold the same early peers, and those apart be honest.

    Honest ones share as much with each other as with the full ones, by the product of their sizes.
    """
    sizes = [store.peers for store in stores]
    within = [place for place in filled if place not in apart]
    full = [place for place in within if is_near_cap(sizes[place])]
    pairs = [
        Pair(one, two, *shared[one, two])
        for one in full
        for two in full
        if one < two and (one, two) in shared
    ]
    if not pairs:
        return False
    if are_tight(pairs, sizes):
        return True
    among = [shared[one, two] for one in apart for two in apart if one < two and (one, two) in shared]
    across = [shared[one, two] for one in apart for two in within if (one, two) in shared]
    if not among or not across:
        return False
    usual = max(sum(pair.peers for pair in across) / sum(pair.product for pair in across), 0.0)
    return usual > 0 and _density(among, usual).overlap >= MUCH_LESS * usual


def _outliers(
    stores: Sequence[NodeStore], filled: Sequence[int], shared: dict[tuple[int, int], _Shared], least: float
) -> frozenset[int]:
    """Return the outliers among some stores: those that share less than `least` of the usual overlap."""
    judged = [place for place in filled if stores[place].peers >= FEWEST_PEERS]
    if len(filled) < FEWEST_STORES or not judged:
        return frozenset()
    # Some pairs are too full to be compared, and with them whole stores may be.
    compared = [place for place in filled if any(place in pair for pair in shared)]
    if len(compared) < FEWEST_STORES:
        return frozenset()
    usual = {place: _second_highest(shared, place, compared) for place in compared}
    typical = sorted(usual.values())[len(usual) // 2]
    if typical <= 0:
        return frozenset()
    core = [place for place in compared if usual[place] >= _CORE * typical]
    if len(core) < 2:
        return frozenset()
    pairs = [shared[one, two] for one in core for two in core if one < two and (one, two) in shared]
    if not pairs:
        return frozenset()
    within = _density(pairs, typical)
    if within.overlap <= 0:
        return frozenset()
    apart = {place for place in judged if _is_apart(shared, place, core, within, least)}
    if least < MUCH_LESS:
        return frozenset(apart)
    believed = [place for place in core if place not in apart]
    swarm = 1 / within.overlap
    if swarm > LARGEST_SWARM:
        judged = [place for place in judged if place in usual]
    padded = {place for place in judged if _is_padded(stores, place, believed, swarm)}
    tiny = (place for place in filled if FEWEST_TO_BE_FOREIGN <= stores[place].peers < FEWEST_PEERS)
    return frozenset(apart | padded | {place for place in tiny if _is_foreign(stores, place, core, swarm)})


def _overlaps(stores: Sequence[NodeStore], filled: Sequence[int]) -> dict[tuple[int, int], _Shared]:
    """Return what each pair shares, in both orders; without pairs of parts, unless most stores are parts.

    Then whole stores are what is to be judged: two liars among many parts would have no store against them.
    """
    shared = {}
    has_whole = 2 * sum(not stores[place].is_part for place in filled) >= len(filled)
    odds = {place: expm1(-LOG_MISSED_BY_ONE_HOST * stores[place].peers) for place in filled}
    for number, one in enumerate(filled):
        for two in filled[:number]:
            a, b = stores[one], stores[two]
            if has_whole and a.is_part and b.is_part:
                continue
            zero_bits = FILTER_BITS - (a.bits | b.bits).bit_count()
            if zero_bits < FEWEST_ZERO_BITS:
                continue
            union = hosts_between(FILTER_BITS, zero_bits)
            # Bits that both have by chance; the most there can be, as if they shared no peer.
            noise = FILTER_BITS / 4 * odds[one] * odds[two] + 1
            both = _Shared(a.peers + b.peers - union, a.peers * b.peers, noise)
            shared[one, two] = shared[two, one] = both
    return shared


def _second_highest(shared: dict[tuple[int, int], _Shared], place: int, filled: Sequence[int]) -> float:
    """Return the overlap with the second best of the others."""
    # One that agrees may be an accomplice.
    ratios = sorted(
        shared[place, other].peers / shared[place, other].product
        for other in filled
        if (place, other) in shared
    )
    if not ratios:
        return 0.0
    return ratios[-2] if len(ratios) >= FEWEST_STORES else ratios[-1]


class _Density(NamedTuple):
    """The overlap of some pairs per product of their sizes, with its variance.

    For honest stores it is one by the number of peers in the swarm.
    """

    overlap: float
    variance: float


def _density(pairs: Collection[_Shared], usual: float) -> _Density:
    """Return the weighted mean over pairs, if `usual` is what they should come to."""
    weight = total = 0.0
    for pair in pairs:
        variance = pair.product * usual + pair.noise
        weight += pair.product**2 / variance
        total += pair.product * pair.peers / variance
    return _Density(total / weight, 1 / weight)


def _is_apart(
    shared: dict[tuple[int, int], _Shared],
    place: int,
    core: Sequence[int],
    within: _Density,
    least: float,
) -> bool:
    """Return whether a store shares much less with the core than the core does within itself."""
    pairs = [shared[place, other] for other in core if (place, other) in shared]
    if not pairs:
        return False
    own = _density(pairs, within.overlap)
    margin = SIGNIFICANT * sqrt(own.variance + within.variance)
    return own.overlap < least * within.overlap and within.overlap - own.overlap > margin


def _is_padded(stores: Sequence[NodeStore], place: int, core: Sequence[int], swarm: float) -> bool:
    """Return whether a store holds many peers that no store of the core does."""
    others = [other for other in core if other != place]
    whole = [other for other in others if not stores[other].is_part]
    if len(whole) >= 2:
        others = whole
    if len(others) < 2:
        return False
    store, known, log_missed = stores[place], 0, 0.0
    for other in others:
        known |= stores[other].bits
        log_missed += log1p(-min(stores[other].peers / swarm, 0.99))
    before = FILTER_BITS - known.bit_count()
    if before < FEWEST_ZERO_BITS:
        return False
    alone = hosts_between(before, FILTER_BITS - (known | store.bits).bit_count())
    expected = store.peers * exp(log_missed)
    odds = FILTER_BITS / max(before, 1) - 1
    noise = sqrt(expected + store.peers * odds / 2 + 1)
    return alone - expected > max(PADDED * store.peers, SIGNIFICANT * noise, FEWEST_PEERS)


def _is_foreign(stores: Sequence[NodeStore], place: int, core: Sequence[int], swarm: float) -> bool:
    """Return whether the few peers of a store are mostly in none of the core, which knows nearly all."""
    others = [other for other in core if other != place and stores[other].peers >= FEWEST_PEERS]
    known, log_missed = 0, 0.0
    for other in others:
        known |= stores[other].bits
        log_missed += log1p(-min(stores[other].peers / swarm, 0.99))
    outside = (stores[place].bits & ~known).bit_count()
    is_known = len(others) >= FEWEST_STORES and exp(log_missed) <= KNOWN_BUT_FOR
    return is_known and outside >= max(_FEWEST_BITS, FOREIGN * stores[place].bits.bit_count())


def lone_store(filters: Sequence[int]) -> int | None:
    """Return the place of the store that alone has bits of its own, where at least three others have none.

    Others that know the same peers, all of them, hardly miss one that a single node knows.
    """
    once = twice = 0
    for bits in filters:
        twice |= once & bits
        once |= bits
    once &= ~twice
    owners = [place for place, bits in enumerate(filters) if bits & once]
    filled = sum(map(bool, filters))
    return owners[0] if len(owners) == 1 and filled > FEWEST_STORES else None
