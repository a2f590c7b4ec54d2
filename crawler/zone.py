"""A part of the id space: all ids that begin with the same bits, or all there are."""

from dataclasses import dataclass
from random import Random
from typing import Self

from dhtnode.arguments import check_type
from dhtnode.ids import ID_BITS, NodeId

MAX_BITS = 32  # beyond, no node is left in a network of any size


@dataclass(frozen=True, slots=True)
class Zone:
    """The ids whose first `bits` bits are `prefix`; the default is the whole space."""

    prefix: int = 0
    bits: int = 0

    @classmethod
    def parse(cls, text: str, random: Random) -> Self:
        """Read how long the prefix is, `8`, or the prefix itself in hex, `0x5b`: then 4 bits a digit.

        Of a length alone the prefix is drawn.  Raises `ValueError`.
        """
        check_type("zone", text, str)
        if text.lower().startswith("0x"):
            digits = text[2:]
            if not digits or 4 * len(digits) > MAX_BITS:
                raise ValueError(f"a prefix has 1 to {MAX_BITS // 4} hex digits: {text!r}")
            return cls(int(digits, 16), 4 * len(digits))
        bits = int(text)
        if not 0 <= bits <= MAX_BITS:
            raise ValueError(f"a prefix has 0 to {MAX_BITS} bits: {text!r}")
        return cls(random.getrandbits(bits) if bits else 0, bits)

    def covers(self, node_id: bytes) -> bool:
        """Return whether an id lies in the zone."""
        return not self.bits or int.from_bytes(node_id[:4], "big") >> 32 - self.bits == self.prefix

    @property
    def id_range(self) -> tuple[bytes, bytes]:
        """Return the first and the last id of the zone."""
        rest = ID_BITS - self.bits
        low = self.prefix << rest
        return low.to_bytes(20, "big"), (low + (1 << rest) - 1).to_bytes(20, "big")

    def random_id(self, random: Random) -> NodeId:
        """Return an id drawn uniformly from the zone; costs some 0.3 us."""
        rest = ID_BITS - self.bits
        return NodeId((self.prefix << rest | random.getrandbits(rest)).to_bytes(20, "big"))

    def __str__(self) -> str:
        return f"{self.prefix:0{self.bits}b}" if self.bits else "whole"
