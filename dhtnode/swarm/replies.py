"""What nodes said about one swarm: as it came, and as it is stored and estimated from.

The peers that a node named become host hashes and bits of filters.  So an observation can be stored, and
the estimate computed again from what was stored is the same to the last digit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

from dhtnode.addresses import Address, Family
from dhtnode.ids import NodeId
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask, hosts_between, union_of_packed
from dhtnode.outcomes import Outcome
from dhtnode.swarm.full_stores import is_near_cap

HOST_HASH_BYTES = 8
"""Length of what stands for a host: two of 10,000 hosts share one in 4 of 10**12 cases."""

_EMPTY = ScrapeFilter()

Marks: TypeAlias = tuple[str, ...]
"""What makes a reply suspect; () is one to be believed."""


@dataclass(slots=True, eq=False)
class Reply:
    """What one node said about one swarm, with the `peers` that it named in their compact form.

    The other fields are those of an `Observation`.
    """

    node_id: NodeId
    address: Address
    rank: int = 0
    seeds_filter: bytes | None = None
    peers_filter: bytes | None = None
    peers: Sequence[bytes] = ()
    version: bytes | None = None
    rtt_ms: float | None = None
    marks: Marks = ()
    outcome: Outcome = Outcome.ANSWERED
    asked_at: str | None = None
    is_full: bool = False


# Not frozen, or 18 fields would take 10 us to set.
@dataclass(slots=True)
class Observation:
    """What one node said about one swarm.

    `rank` is the place of the node by distance among those queried, 0 the closest.  The filters are the
    256-byte ones of BEP 33, None where the node sent none.  `values_count` is how many peers it named,
    `host_hashes` holds 8 bytes for each host of these, `named_filter` their bits as in BEP 33, and
    `unplaced_filter` the bits of those in no seed filter of the measurement; None where none was named.
    `is_full` says that the store of the node may keep no more peers, by its filters (`is_near_cap`) or by how
    its lists repeat (`repeated_lists`): nothing speaks against the node, but others may have been left out.
    `marks` name what makes the reply suspect (`Mark`).  A node without an answer has an `outcome` and
    nothing else.

    `family` is that of its address.  `stored` is the filter of all peers that the node stores, `named`
    that of those it named, and `told` that of both.
    """

    node_id: NodeId
    address: Address
    rank: int = 0
    seeds_filter: bytes | None = None
    peers_filter: bytes | None = None
    values_count: int = 0
    version: bytes | None = None
    rtt_ms: float | None = None
    marks: Marks = ()
    outcome: Outcome = Outcome.ANSWERED
    asked_at: str | None = None
    host_hashes: frozenset[bytes] = frozenset()
    named_filter: bytes | None = None
    unplaced_filter: bytes | None = None
    is_full: bool = False
    # What follows is derived.
    family: Family = field(init=False, repr=False, compare=False)
    stored: ScrapeFilter = field(init=False, repr=False, compare=False)
    named: ScrapeFilter = field(init=False, repr=False, compare=False)
    told: ScrapeFilter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the filters once; raise `ValueError` for one of another length."""
        self.family = self.address.family
        self.stored, self.named, self.told = _read(self.seeds_filter, self.peers_filter, self.named_filter)

    @property
    def is_believed(self) -> bool:
        """Return whether the node answered, and nothing speaks against what it said."""
        return self.outcome is Outcome.ANSWERED and not self.marks

    @property
    def has_filters(self) -> bool:
        """Return whether the node sent at least one filter."""
        return self.seeds_filter is not None or self.peers_filter is not None

    @property
    def has_both_filters(self) -> bool:
        """Return whether the node sent all that it stores as filters."""
        return self.seeds_filter is not None and self.peers_filter is not None

    @property
    def peers_told(self) -> float:
        """Return how many peers the node told of: those that it named, and others in its filters."""
        return len(self.host_hashes) + hosts_between(self.named.zero_bits, self.told.zero_bits)


# Most nodes near an info-hash store the same peers: their filters are read once.
@lru_cache(maxsize=256)
def _read(
    seeds: bytes | None, leechers: bytes | None, named: bytes | None
) -> tuple[ScrapeFilter, ScrapeFilter, ScrapeFilter]:
    """Return the filters of the peers that a node stores, of those that it named, and of both."""
    stored = _EMPTY if seeds is leechers is None else union_of_packed((seeds, leechers))
    if named is None:
        return stored, _EMPTY, stored
    of_names = ScrapeFilter.from_bytes(named)
    return stored, of_names, stored | of_names


def observe(
    replies: Sequence[Reply], key: bytes = b"", marks: Sequence[Marks] | None = None
) -> tuple[Observation, ...]:
    """Return what is kept of the replies of one measurement, with `marks` in place of their own.

    `key` of up to 64 bytes goes into the host hashes: without it they can be traced back to addresses by
    trying them all, so keep it secret while hashes are stored.  Hashes of different keys do not compare.
    The seed filters of nodes that are not believed say nothing about the hosts that others named.
    Costs 3 us per reply and 2 us per host named; raises `ValueError` for a longer key.
    """
    if marks is None:
        marks = [reply.marks for reply in replies]
    seeds = union_of_packed(
        reply.seeds_filter
        for reply, words in zip(replies, marks, strict=True)
        if reply.outcome is Outcome.ANSWERED and not words
    )
    hosts = _Hosts(key, seeds.bits)
    observations = tuple(
        Observation(
            reply.node_id,
            reply.address,
            reply.rank,
            reply.seeds_filter,
            reply.peers_filter,
            len(reply.peers),
            reply.version,
            reply.rtt_ms,
            words,
            reply.outcome,
            reply.asked_at,
            *(hosts.of(reply.peers) if reply.peers else _NO_HOSTS),
            reply.is_full,
        )
        for reply, words in zip(replies, marks, strict=True)
    )
    for node in observations:
        node.is_full |= node.has_filters and is_near_cap(node.peers_told)
    return observations


_Named: TypeAlias = tuple[frozenset[bytes], bytes | None, bytes | None]
"""The hashes, the bits, and the bits in no seed filter of the hosts that one node named."""

_NO_HOSTS: _Named = frozenset(), None, None


class _Hosts:
    """The hosts that nodes named, each hashed once however many nodes name it."""

    def __init__(self, key: bytes, seeds: int) -> None:
        """Start without hosts; `seeds` are the bits of all seeds."""
        self._state = blake2b(digest_size=HOST_HASH_BYTES, key=key)
        self._seeds = seeds
        self._hashes: dict[bytes, bytes] = {}  # by compact address
        self._masks: dict[bytes, int] = {}  # by hash
        self._unplaced = set[bytes]()
        self._found: dict[frozenset[bytes], _Named] = {}  # by compact addresses

    def of(self, peers: Collection[bytes]) -> _Named:
        """Return the hosts of compact addresses; nodes that name the same ones share the result."""
        named = frozenset(peers)
        found = self._found.get(named)
        if found is None:
            for peer in named.difference(self._hashes):
                self._add(peer)
            hashes = frozenset(map(self._hashes.__getitem__, named))
            unplaced = hashes & self._unplaced
            found = self._found[named] = hashes, self._filter_of(hashes), self._filter_of(unplaced)
        return found

    def _add(self, peer: bytes) -> None:
        host, state = peer[:-2], self._state.copy()
        state.update(host)
        host_hash, mask = state.digest(), host_mask(host)
        self._hashes[peer] = host_hash
        self._masks[host_hash] = mask
        if self._seeds & mask != mask:
            self._unplaced.add(host_hash)

    def _filter_of(self, hashes: frozenset[bytes]) -> bytes:
        bits, masks = 0, self._masks
        for each in hashes:
            bits |= masks[each]
        return ScrapeFilter(bits).to_bytes()
