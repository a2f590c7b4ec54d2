"""Marks of replies: what about a reply to a scrape cannot be, word by word.

A marked reply is kept, and left out of the estimate.  Each test is one that honest nodes pass, whatever
client they are: docs/explanation/swarm_size.md says how often they do not, and what passes that should not.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache
from statistics import median_low
from typing import Self

from dhtnode.addresses import Family, Scope, scope_of
from dhtnode.krpc.compact import unpack_address
from dhtnode.krpc.scrape_filter import hosts_between, union_of_packed
from dhtnode.swarm.capture_recapture import pair_ratio
from dhtnode.swarm.full_stores import FEWEST_ZERO_BITS
from dhtnode.swarm.replies import Marks, Observation, Reply, observe
from dhtnode.swarm.store_overlap import FEWEST_PEERS, FEWEST_STORES, NodeStore, outlier_stores


class Mark(StrEnum):
    """The ways in which a reply cannot be true; `meaning` goes on after "the node"."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a mark of the word that the database holds."""
        mark = str.__new__(cls, word)
        mark._value_ = word
        mark.meaning = meaning
        return mark

    # These three are found by those who send the queries.
    WRONG_ID = "wrong-id", "answered under another id"
    FOREIGN_SOURCE = "foreign-source", "was answered for from another address"
    ANSWERS_ANYTHING = "answers-anything", "named peers of a swarm that no peer announced"

    IMPOSSIBLE_COUNT = "impossible-count", "sent a filter with every bit set, which no store fills"
    SEEDS_ARE_LEECHERS = "seeds-are-leechers", "has the same peers as seeds and as leechers"
    NAMES_OTHERS = "names-others-than-it-stores", "named peers that are not in its filters"
    SPECIAL_USE = "special-use-addresses", "named peers where none can be"
    COPIED_FILTERS = (
        "copied-filters",
        "sent the same filters as another node, which the others do not bear out",
    )
    OUTLIER = "unknown-to-the-others", "told of peers that the others do not know"


FEWEST = 10.0
"""Peers from which a part of a store is judged: below, a few in two roles or two families are likely."""

SMALL = 20.0
"""Peers in a store below which equal stores are no surprise: with 9 of 10 announces, 1 in 50 at 20."""

MOST_IN_BOTH = 0.5
"""Share of seeds or leechers, whichever are fewer, that may be in both filters (behind one address)."""

MOST_SPECIAL = 0.5
"""Share of names below which special-use addresses are taken for leaks of a local network."""

FILLS_A_FILTER = 4500.0
"""Peers from which a store may set every bit: 1 in 10 at 6000, half at 8000; there are few that large."""

# 198.18.0.0/15 (RFC 2544): test networks, ours too, have their peers there.
_TEST_NETWORK = (bytes((198, 18)), bytes((198, 19)))


def meaning_of(word: str) -> str:
    """Return what a mark in a database means; a word of a later version stands for itself."""
    return next((mark.meaning for mark in Mark if mark == word), word)


def classify(replies: Sequence[Reply], key: bytes = b"") -> tuple[Observation, ...]:
    """Return what is kept of the replies of one measurement, with their marks.

    `key` and errors are those of `observe`; costs what it costs, and what `marks_of` does.
    """
    observed = observe(replies, key)
    marks = marks_of(observed, [reply.peers for reply in replies])
    if marks == [reply.marks for reply in replies]:
        return observed
    # Once more: the seeds of liars place no peer.
    return observe(replies, key, marks)


def marks_of(observations: Sequence[Observation], peers: Sequence[Sequence[bytes]]) -> list[Marks]:
    """Return the marks of each reply in the order of `Mark`, with those it has; () is one to be believed.

    `peers` holds the compact addresses that each node named; raises `ValueError` when it has another length.
    Costs 3 us per pair of nodes that told of peers, 0.1 us per peer named.
    """
    is_large = any(node.stored.is_full for node in observations) and _tell_of_thousands(observations)
    found = [
        (*node.marks, *_own_marks(node, named, is_large)) if node.told.bits else node.marks
        for node, named in zip(observations, peers, strict=True)
    ]
    for place, mark in _outliers(observations, found):
        found[place] = (*found[place], mark)
    return [tuple(mark for mark in Mark if mark in words) if words else () for words in found]


def _tell_of_thousands(observations: Sequence[Observation]) -> bool:
    """Return whether the stores tell of a swarm that may fill a filter, by usual size or overlaps."""
    stores = [node.stored for node in observations if node.has_both_filters and not node.marks]
    stores = [store for store in stores if not store.is_empty]
    if len(stores) < FEWEST_STORES:
        return False
    by_pairs = pair_ratio([store for store in stores if not store.is_full])
    usual = median_low(store.estimate() for store in stores)
    return usual >= FILLS_A_FILTER or (by_pairs is not None and by_pairs.estimate >= FILLS_A_FILTER)


def _own_marks(node: Observation, peers: Sequence[bytes], is_large: bool) -> Iterator[Mark]:
    """Yield the marks that need no other reply, in a swarm that may fill a filter if it `is_large`."""
    if node.stored.is_full and not is_large:
        yield Mark.IMPOSSIBLE_COUNT
    if node.has_both_filters:
        if _has_same_roles(node):
            yield Mark.SEEDS_ARE_LEECHERS
        if len(node.host_hashes) >= FEWEST and _names_others(node):
            yield Mark.NAMES_OTHERS
    if peers and _is_special(node.address.host, peers):
        yield Mark.SPECIAL_USE


def _has_same_roles(node: Observation) -> bool:
    """Return whether most seeds of a store are leechers in it too, which no store has twice."""
    if node.stored.estimate() < FEWEST or node.stored.zero_bits < FEWEST_ZERO_BITS:
        return False
    seeds = union_of_packed((node.seeds_filter,)).estimate()
    leechers = union_of_packed((node.peers_filter,)).estimate()
    fewer = min(seeds, leechers)
    both = seeds + leechers - node.stored.estimate()
    return fewer >= FEWEST and both > MOST_IN_BOTH * fewer + 4 * (seeds * leechers / 2048) ** 0.5


def _names_others(node: Observation) -> bool:
    """Return whether most of the peers named are not in the filters that came with them."""
    missing = hosts_between(node.stored.zero_bits, node.told.zero_bits)
    return not node.stored.is_empty and missing > MOST_IN_BOTH * len(node.host_hashes)


def _is_special(host: str, peers: Sequence[bytes]) -> bool:
    """Return whether a node names peers where none can be; on loopback every address serves."""
    scope = scope_of(host)
    if scope is Scope.LOOPBACK:
        return False
    octets = _first_octets(scope)
    special = 0
    for peer in peers:
        is_ipv4 = len(peer) == Family.IPV4.address_bytes
        is_usable = octets[peer[0]] if is_ipv4 else None
        if is_usable is None:
            is_usable = scope.allows(unpack_address(peer)) or (is_ipv4 and peer.startswith(_TEST_NETWORK))
        special += not is_usable
    return special >= MOST_SPECIAL * len(peers)


@cache
def _first_octets(scope: Scope) -> tuple[bool | None, ...]:
    """Return what the first octet of an IPv4 address says about its use; most need no second look."""
    return scope.first_octets()


def _outliers(observations: Sequence[Observation], found: Sequence[Marks]) -> Iterator[tuple[int, Mark]]:
    """Yield the places and marks that come from comparing the nodes of each family without marks."""
    for family in {node.family for node in observations}:
        alike: dict[int, list[int]] = {}
        stores: dict[int, NodeStore] = {}
        for place, node in enumerate(observations):
            bits = node.told.bits
            if bits and node.family is family and not found[place]:
                alike.setdefault(bits, []).append(place)
                is_part = node.seeds_filter is None and node.peers_filter is not None
                stores[bits] = NodeStore(bits, node.peers_told, is_part, not node.has_filters)
        if not any(store.peers >= FEWEST_PEERS for store in stores.values()):
            continue
        groups = list(_witnesses(alike, stores))
        for number in outlier_stores([store for store, _ in groups]):
            store, places = groups[number]
            mark = Mark.COPIED_FILTERS if len(alike[store.bits]) > 1 else Mark.OUTLIER
            yield from ((place, mark) for place in places)


def _witnesses(
    alike: dict[int, list[int]], stores: dict[int, NodeStore]
) -> Iterator[tuple[NodeStore, list[int]]]:
    """Yield the store of each witness, and the places of the nodes that it stands for.

    Nodes with the same bits are one witness, as they may have copied.  But honest stores that hold
    the whole of a swarm are equal too: small ones, and those of most nodes, are believed to be that.
    """
    total = sum(map(len, alike.values()))
    for bits, places in alike.items():
        if stores[bits].peers < SMALL or 2 * len(places) > total:
            yield from ((stores[bits], [place]) for place in places)
        else:
            yield stores[bits], places
