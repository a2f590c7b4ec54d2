"""Marks of distrust: what about a reply to a scrape cannot be, word by word.

A marked reply is kept, and left out of the estimate.  Each test is one that honest nodes pass, whatever
client they are: docs/explanation/swarm_size.md says how often they do not, and what passes that should not.
"""

from collections.abc import Collection, Sequence
from functools import cache

from dhtnode.addresses import Address, Family, Scope, scope_of
from dhtnode.krpc.scrape_filter import hosts_between
from dhtnode.swarm.replies import Observation, ScrapeReply, observe
from dhtnode.swarm.store_overlap import NodeStore, outlier_stores

WRONG_ID = "wrong id"
FOREIGN_SOURCE = "foreign source"
IMPOSSIBLE = "impossible count"
SAME_ROLES = "seeds are leechers"
OTHER_NAMES = "names others than it stores"
SPECIAL_USE = "special-use addresses"
ANSWERS_ANYTHING = "answers anything"
COPIED = "copied filters"
STRANGER = "unknown to the others"

MARKS = (
    WRONG_ID,
    FOREIGN_SOURCE,
    IMPOSSIBLE,
    SAME_ROLES,
    OTHER_NAMES,
    SPECIAL_USE,
    ANSWERS_ANYTHING,
    COPIED,
    STRANGER,
)
"""All marks; the first two come from whoever asked, the others are found here."""

FEWEST = 10.0
"""Peers from which a part of a store is judged: below, a few in two roles or two families are likely."""

SMALL = 20.0
"""Peers in a store below which equal stores are no surprise: with 9 of 10 announces, 1 in 50 at 20."""

MOST_IN_BOTH = 0.5
"""Share of seeds or leechers, whichever are fewer, that may be in both filters (behind one address)."""

MOST_SPECIAL = 0.5
"""Share of names below which special-use addresses are taken for leaks of a local network."""

_TEST_NETWORK = ("198.18.", "198.19.")  # RFC 2544: test networks, ours too, have their peers there


def marks_of(
    replies: Sequence[ScrapeReply],
    evidence: Sequence[Observation],
    *,
    noticed: Sequence[Collection[str]] = (),
    probes: Sequence[ScrapeReply | None] = (),
) -> tuple[tuple[str, ...], ...]:
    """Return the marks of each reply, in the order of `MARKS`; () is a reply to be believed.

    `evidence` is that of the same replies.  `noticed` holds, for each reply, marks that whoever asked
    has set (`WRONG_ID`, `FOREIGN_SOURCE`); `probes` what the same node answered to a random info-hash,
    None where it was not asked.  Raises `ValueError` when these are not of one length.
    Costs 3 us per pair of nodes that told of peers, 1 us per peer named.
    """
    noticed, probes = noticed or [()] * len(replies), probes or [None] * len(replies)
    found = [
        {*words, *_own_marks(reply, node, probe)}
        for reply, node, words, probe in zip(replies, evidence, noticed, probes, strict=True)
    ]
    for place, word in _strangers(evidence, {place for place, words in enumerate(found) if words}):
        found[place].add(word)
    return tuple(tuple(word for word in MARKS if word in words) for words in found)


def left_out(marks: Sequence[Collection[str]]) -> frozenset[int]:
    """Return the places of replies that have a mark: what `observe` is to leave out."""
    return frozenset(place for place, words in enumerate(marks) if words)


def judge(
    replies: Sequence[ScrapeReply], key: bytes = b""
) -> tuple[tuple[tuple[str, ...], ...], tuple[Observation, ...]]:
    """Return the marks of each reply, and the evidence in those that have none.

    `key` goes into the tokens of hosts, see `observe`.
    """
    evidence = observe(replies, key)
    marks = marks_of(replies, evidence)
    marked = left_out(marks)
    if marked:  # seeds that liars named place nobody
        evidence = observe(replies, key, marked)
    return marks, tuple(node for place, node in enumerate(evidence) if place not in marked)


def _own_marks(reply: ScrapeReply, node: Observation, probe: ScrapeReply | None) -> set[str]:
    """Return the marks that need no other reply."""
    found = set()
    if node.stored.is_full:
        found.add(IMPOSSIBLE)
    if _has_same_roles(node):
        found.add(SAME_ROLES)
    if _names_others(node):
        found.add(OTHER_NAMES)
    if _is_special(reply.contact.address.host, reply.values):
        found.add(SPECIAL_USE)
    if probe is not None and (probe.values or not probe.stored.is_empty):
        found.add(ANSWERS_ANYTHING)
    return found


def _has_same_roles(node: Observation) -> bool:
    """Return whether most seeds of a store are leechers in it too, which no store has twice."""
    if node.seeds_filter is None or node.peers_filter is None:
        return False
    seeds, leechers = node.seeds_filter.estimate(), node.peers_filter.estimate()
    fewer = min(seeds, leechers)
    both = seeds + leechers - node.stored.estimate()
    return fewer >= FEWEST and both > MOST_IN_BOTH * fewer + 4 * (seeds * leechers / 2048) ** 0.5


def _names_others(node: Observation) -> bool:
    """Return whether most of the peers named are not in the filters that came with them."""
    if not node.has_both_filters or len(node.named) < FEWEST or node.stored.is_empty:
        return False
    before = node.stored.zero_bits
    missing = hosts_between(before, (node.stored | node.named_filter).zero_bits)
    return missing > MOST_IN_BOTH * len(node.named)


def _is_special(host: str, values: Sequence[Address]) -> bool:
    """Return whether a node names peers where none can be; on loopback every address serves."""
    scope = scope_of(host)
    if scope is Scope.LOOPBACK or not values:
        return False
    octets = _first_octets(scope)
    special = 0
    for value in values:
        first, _, _ = value.host.partition(".")
        is_usable = octets[int(first)] if value.family is Family.IPV4 else None
        if is_usable is None:
            is_usable = scope.allows(value) or value.host.startswith(_TEST_NETWORK)
        special += not is_usable
    return special >= MOST_SPECIAL * len(values)


@cache
def _first_octets(scope: Scope) -> tuple[bool | None, ...]:
    """Return what the first octet of an IPv4 address says about its use; most need no second look."""
    return scope.first_octets()


def _strangers(evidence: Sequence[Observation], marked: Collection[int]) -> list[tuple[int, str]]:
    """Return the marks that come from comparing nodes of one family."""
    found = []
    for family in {node.family for node in evidence}:
        alike: dict[int, list[int]] = {}
        sizes: dict[int, float] = {}
        parts: dict[int, bool] = {}
        for place, node in enumerate(evidence):
            store = node.stored | node.named_filter
            if node.family is family and place not in marked and not store.is_empty:
                alike.setdefault(store.bits, []).append(place)
                beside = hosts_between(node.named_filter.zero_bits, store.zero_bits)
                sizes[store.bits] = len(node.named) + beside
                parts[store.bits] = node.seeds_filter is None and node.peers_filter is not None
        groups = _witnesses(alike, sizes)
        stores = [NodeStore(bits, sizes[bits], parts[bits]) for bits, _ in groups]
        for place in outlier_stores(stores):
            members = groups[place][1]
            word = COPIED if len(alike[groups[place][0]]) > 1 else STRANGER
            found += [(member, word) for member in members]
    return found


def _witnesses(alike: dict[int, list[int]], sizes: dict[int, float]) -> list[tuple[int, list[int]]]:
    """Return the bits of each witness, and the places of the nodes that it stands for.

    Nodes with the same bits are one witness, as they may have copied.  But honest stores that hold
    the whole of a swarm are equal too: small ones, and those of most nodes, are believed to be that.
    """
    total = sum(map(len, alike.values()))
    witnesses = []
    for bits, places in alike.items():
        if sizes[bits] < SMALL or 2 * len(places) > total:
            witnesses += [(bits, [place]) for place in places]
        else:
            witnesses.append((bits, places))
    return witnesses
