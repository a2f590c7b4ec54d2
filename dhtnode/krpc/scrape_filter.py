"""The Bloom filters of BEP 33: the addresses of a swarm in 256 bytes.

An address sets two bits of 2048, chosen by its SHA-1; ports do not count.  Filters of several nodes
are ORed first and estimated afterwards, never added up: the nodes store the same peers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from math import log, log1p

# m and k of BEP 33: the bits of a filter, and those set per address.
FILTER_BITS = 2048
FILTER_HASHES = 2
FILTER_BYTES = FILTER_BITS // 8

_FULL = (1 << FILTER_BITS) - 1
LOG_MISSED_BY_ONE_HOST = FILTER_HASHES * log1p(-1 / FILTER_BITS)
"""Logarithm of the probability that one address does not set a given bit."""


@dataclass(frozen=True, slots=True)
class ScrapeFilter:
    """One filter, as an integer whose bit i is bit i of BEP 33.

    Its little-endian bytes are the wire form.
    """

    bits: int = 0

    @classmethod
    def from_bytes(cls, packed: bytes) -> "ScrapeFilter":
        """Read the 256 bytes of a `BFsd` or `BFpe`; raise `ValueError` for any other length."""
        if len(packed) != FILTER_BYTES:
            raise ValueError(f"a filter has {FILTER_BYTES} bytes, not {len(packed)}")
        return cls(int.from_bytes(packed, "little"))

    @classmethod
    def of(cls, hosts: Iterable[bytes]) -> "ScrapeFilter":
        """Return the filter of packed addresses, 4 or 16 bytes each; about 1 us per address."""
        bits = 0
        for host in hosts:
            bits |= host_mask(host)
        return cls(bits)

    def to_bytes(self) -> bytes:
        """Return the 256 bytes that go on the wire."""
        return self.bits.to_bytes(FILTER_BYTES, "little")

    def __or__(self, other: "ScrapeFilter") -> "ScrapeFilter":
        return ScrapeFilter(self.bits | other.bits)

    @property
    def zero_bits(self) -> int:
        """Return how many bits are zero."""
        return FILTER_BITS - self.bits.bit_count()

    @property
    def is_empty(self) -> bool:
        """Return whether no address was put in."""
        return not self.bits

    @property
    def is_full(self) -> bool:
        """Return whether every bit is set, so that the filter means "about 8000 or more"."""
        return self.bits == _FULL

    def estimate(self) -> float:
        """Return the estimated number of addresses in the filter (BEP 33).

        Other than in BEP 33, an empty filter is 0 and not 0.5, and a full one counts as if one bit were
        zero: 7805.7, the largest finite value.
        """
        return hosts_between(FILTER_BITS, self.zero_bits)


def union_of(filters: Iterable[ScrapeFilter]) -> ScrapeFilter:
    """Return the filter of all addresses in any of the filters."""
    bits = 0
    for each in filters:
        bits |= each.bits
    return ScrapeFilter(bits)


def union_of_packed(filters: Iterable[bytes | None]) -> ScrapeFilter:
    """Return the filter of all addresses in any of the filters of 256 bytes; None is one without any.

    Raises `ValueError` for any other length.
    """
    bits = 0
    # Most stores of a swarm are equal, and to compare bytes costs less than to read them.
    for packed in set(filters):
        if packed is not None:
            if len(packed) != FILTER_BYTES:
                raise ValueError(f"a filter has {FILTER_BYTES} bytes, not {len(packed)}")
            bits |= int.from_bytes(packed, "little")
    return ScrapeFilter(bits)


def host_mask(packed_host: bytes) -> int:
    """Return the one or two bits that an address sets: what a peer store ORs into its filters.

    The two indices are the first two little-endian 16-bit words of the SHA-1, modulo 2048.
    """
    digest = sha1(packed_host, usedforsecurity=False).digest()
    first = digest[0] | digest[1] << 8
    second = digest[2] | digest[3] << 8
    return 1 << first % FILTER_BITS | 1 << second % FILTER_BITS


# The stores of one swarm are compared two by two, so the same numbers come up again and again.
@lru_cache(maxsize=1 << 14)
def hosts_between(zero_bits_before: int, zero_bits_after: int) -> float:
    """Return the estimated number of addresses that turned one number of zero bits into the other.

    No zero bit counts as one, because the logarithm ends there.
    """
    return log(max(zero_bits_after, 1) / max(zero_bits_before, 1)) / LOG_MISSED_BY_ONE_HOST
