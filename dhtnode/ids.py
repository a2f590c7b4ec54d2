"""Node ids and info-hashes: 160-bit values under the XOR metric (BEP 5, "Overview").

Both are plain 20-byte `bytes`, and only the type checker tells them apart: a wrapper would have to be
built for every contact in every response.  For people, both are written as 40 lower-case hex digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:  # it is slow to import, and a program that reads an info-hash needs none
    from random import Random

NodeId = NewType("NodeId", bytes)
"""The 20 bytes that identify a node, in network order."""

InfoHash = NewType("InfoHash", bytes)
"""The 20 bytes that identify a swarm: the SHA-1 of an info dictionary, or a cut SHA-256 (BEP 52)."""

ID_BYTES = 20
ID_BITS = 160
IMPOSSIBLY_CLOSE = 6
"""Leading bytes shared with a target: among 2^24 nodes one in 16 million comes that close by chance."""

ZERO_ID = NodeId(bytes(ID_BYTES))


def as_int(identifier: bytes) -> int:
    """Read an id as an unsigned integer, most significant byte first."""
    return int.from_bytes(identifier, "big")


def as_id(number: int) -> NodeId:
    """Write an unsigned integer below 2**160 as an id."""
    return NodeId(number.to_bytes(ID_BYTES, "big"))


def distance(a: bytes, b: bytes) -> int:
    """Return the XOR distance of two ids; smaller is closer (BEP 5)."""
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def distance_bits(a: bytes, b: bytes) -> int:
    """Return how many bits the distance needs: 0 for equal ids, 160 for opposite halves."""
    return distance(a, b).bit_length()


def shared_prefix_bits(a: bytes, b: bytes) -> int:
    """Return the number of leading bits that two ids have in common, 0 to 160."""
    return ID_BITS - distance_bits(a, b)


def random_id(random: Random) -> NodeId:
    """Return an id drawn uniformly from the whole space."""
    return NodeId(random.randbytes(ID_BYTES))


def random_id_between(low: int, high: int, random: Random) -> NodeId:
    """Return an id drawn uniformly from `low <= id < high`."""
    return as_id(random.randrange(low, high))


def random_id_sharing(node_id: bytes, bits: int, random: Random) -> NodeId:
    """Return a random id that has exactly the first `bits` bits (0 to 159) in common with `node_id`."""
    rest = ID_BITS - 1 - bits
    other_half = as_int(node_id) >> rest ^ 1
    return as_id(other_half << rest | random.getrandbits(rest) if rest else other_half)


_FLIPPED = [bytes([byte ^ 1]) for byte in range(256)]


def flip_last_bit(node_id: bytes) -> NodeId:
    """Return the id nearest to `node_id` that is not `node_id` itself.

    A node that is queried for this target returns its own neighbours.
    """
    return NodeId(node_id[:-1] + _FLIPPED[node_id[-1]])
