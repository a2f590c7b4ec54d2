"""What nodes said about one swarm: their replies, and what of these may be kept.

A `ScrapeReply` names peers and stays in memory.  A `Observation` is what an estimate needs of it:
filters, and a token for each host that was named.  It holds no address of a peer, so it can be stored,
and the estimate computed again from what was stored is the same to the last digit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from dhtnode.addresses import Address, Contact, Family, pack_host
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask, union_of

TOKEN_BYTES = 8
"""Length of what stands for a host: two of 10,000 hosts share one in 4 of 10**12 cases."""

_EMPTY = ScrapeFilter()


@dataclass(frozen=True, slots=True)
class ScrapeReply:
    """Hold what one node answered when asked about a swarm.

    The filters are None from nodes without BEP 33.  `values` are the peers it named, possibly in
    answer to a second query without `scrape`: libtorrent names none beside its filters.
    `rtt` is in seconds.
    """

    contact: Contact
    rtt: float
    seeds_filter: ScrapeFilter | None
    peers_filter: ScrapeFilter | None
    values: tuple[Address, ...]
    version: bytes | None
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def has_filters(self) -> bool:
        """Return whether the node sent at least one filter."""
        return self.seeds_filter is not None or self.peers_filter is not None

    @property
    def stored(self) -> ScrapeFilter:
        """Return the filter of all the peers that the node stores, seeds and others."""
        return (self.seeds_filter or _EMPTY) | (self.peers_filter or _EMPTY)


@dataclass(frozen=True, slots=True)
class Observation:
    """Hold what one node said about one swarm, without an address of a peer.

    `family` is that of the node's address.  The filters are None from nodes without BEP 33.
    `named` holds a token of 8 bytes for each host that the node named, `named_filter` the bits of
    BEP 33 of these hosts, `unplaced_filter` the bits of those of them that no seed filter of the
    sample holds.
    """

    family: Family
    seeds_filter: ScrapeFilter | None
    peers_filter: ScrapeFilter | None
    named: frozenset[bytes]
    named_filter: ScrapeFilter
    unplaced_filter: ScrapeFilter

    @property
    def has_filters(self) -> bool:
        """Return whether the node sent at least one filter."""
        return self.seeds_filter is not None or self.peers_filter is not None

    @property
    def has_both_filters(self) -> bool:
        """Return whether the node sent all that it stores as filters."""
        return self.seeds_filter is not None and self.peers_filter is not None

    @property
    def stored(self) -> ScrapeFilter:
        """Return the filter of all the peers that the node stores, seeds and others."""
        return (self.seeds_filter or _EMPTY) | (self.peers_filter or _EMPTY)


def observe(
    replies: Sequence[ScrapeReply], key: bytes = b"", left_out: Collection[int] = frozenset()
) -> tuple[Observation, ...]:
    """Return the evidence in the replies of one sample, one for each and in their order.

    `key` of up to 64 bytes goes into the tokens: without it they can be traced back to addresses by
    trying them all, so keep it secret while tokens are stored.  Tokens of different keys do not
    compare.  `left_out` are the places of replies that are not believed: their seed filters say
    nothing about the hosts that others named.
    Costs 3 us per host named by one node; raises `ValueError` for a longer key.
    """
    believed = (reply for place, reply in enumerate(replies) if place not in left_out)
    seeds = union_of(reply.seeds_filter for reply in believed).bits
    known: dict[str, tuple[bytes, int]] = {}
    return tuple(_evidence(reply, key, seeds, known) for reply in replies)


def _evidence(reply: ScrapeReply, key: bytes, seeds: int, known: dict[str, tuple[bytes, int]]) -> Observation:
    """Return the evidence in one reply; `known` remembers token and mask of each host."""
    tokens = set[bytes]()
    named = unplaced = 0
    for address in reply.values:
        found = known.get(address.host)
        if found is None:
            packed = pack_host(address.host)
            found = blake2b(packed, digest_size=TOKEN_BYTES, key=key).digest(), host_mask(packed)
            known[address.host] = found
        token, mask = found
        tokens.add(token)
        named |= mask
        if seeds & mask != mask:
            unplaced |= mask
    return Observation(
        reply.contact.address.family,
        reply.seeds_filter,
        reply.peers_filter,
        frozenset(tokens),
        ScrapeFilter(named),
        ScrapeFilter(unplaced),
    )
