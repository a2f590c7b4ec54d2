"""What nodes said about one swarm, without an address of a peer: what is stored and estimated from.

The peers that a node named become host hashes and bits of filters.  So an observation can be stored, and
the estimate computed again from what was stored is the same to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from dhtnode.addresses import Address, Family, pack_host
from dhtnode.ids import NodeId
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask, union_of_packed
from dhtnode.outcomes import Outcome

HOST_HASH_BYTES = 8
"""Length of what stands for a host: two of 10,000 hosts share one in 4 of 10**12 cases."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one node said about one swarm.

    `rank` is the place of the node by distance among those queried, 0 the closest.  The filters are the
    256-byte ones of BEP 33, None where the node sent none.  `values_count` is how many peers it named,
    `host_hashes` holds 8 bytes for each host of these, `named_filter` their bits as in BEP 33, and
    `unplaced_filter` the bits of those in no seed filter of the measurement; None where none was named.
    `marks` name what makes the reply suspect (`Mark`).  A node without an answer has an `outcome` and
    nothing else.
    """

    node_id: NodeId
    address: Address
    rank: int = 0
    seeds_filter: bytes | None = None
    peers_filter: bytes | None = None
    values_count: int = 0
    version: bytes | None = None
    rtt_ms: float | None = None
    marks: tuple[str, ...] = ()
    outcome: Outcome = Outcome.ANSWERED
    asked_at: str | None = None
    host_hashes: frozenset[bytes] = frozenset()
    named_filter: bytes | None = None
    unplaced_filter: bytes | None = None

    @property
    def family(self) -> Family:
        """Return the family of the node's address."""
        return self.address.family

    @property
    def named_tokens(self) -> bytes | None:
        """Return the host hashes one after the other, as databases hold them; None without any."""
        return b"".join(sorted(self.host_hashes)) or None

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
    def stored(self) -> ScrapeFilter:
        """Return the filter of all the peers that the node stores, seeds and others."""
        return union_of_packed((self.seeds_filter, self.peers_filter))

    @property
    def named(self) -> ScrapeFilter:
        """Return the filter of the hosts that the node named."""
        return union_of_packed((self.named_filter,))


def with_named_hosts(
    observations: Sequence[Observation], peers: Sequence[Sequence[Address]], key: bytes = b""
) -> tuple[Observation, ...]:
    """Return the observations of one measurement with the hosts that each node named.

    `peers` holds the addresses that each of the nodes named, in the same order.  `key` of up to 64 bytes
    goes into the host hashes: without it they can be traced back to addresses by trying them all, so keep
    it secret while hashes are stored.  Hashes of different keys do not compare.  The seed filters of nodes
    that are not believed say nothing about the hosts that others named.
    Costs 3 us per host named by one node; raises `ValueError` for a longer key.
    """
    seeds = union_of_packed(each.seeds_filter for each in observations if each.is_believed).bits
    known: dict[str, tuple[bytes, int]] = {}
    return tuple(
        _with_hosts(observation, named, key, seeds, known) if named else observation
        for observation, named in zip(observations, peers, strict=True)
    )


def _with_hosts(
    observation: Observation,
    peers: Sequence[Address],
    key: bytes,
    seeds: int,
    known: dict[str, tuple[bytes, int]],
) -> Observation:
    hashes = set[bytes]()
    named = unplaced = 0
    for peer in peers:
        found = known.get(peer.host)
        if found is None:
            packed = pack_host(peer.host)
            found = blake2b(packed, digest_size=HOST_HASH_BYTES, key=key).digest(), host_mask(packed)
            known[peer.host] = found
        host_hash, mask = found
        hashes.add(host_hash)
        named |= mask
        if seeds & mask != mask:
            unplaced |= mask
    return replace(
        observation,
        values_count=len(peers),
        host_hashes=frozenset(hashes),
        named_filter=ScrapeFilter(named).to_bytes(),
        unplaced_filter=ScrapeFilter(unplaced).to_bytes(),
    )
