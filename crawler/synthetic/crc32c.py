"""The part of a node id that BEP 42 derives from an IPv4 address.

Written again instead of taken from `dhtnode`: a model must not share the mistakes of what is
measured with it.
"""

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits in reverse
_MASK = 0x030F3FFF


def _step(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ _POLYNOMIAL * (crc & 1)
    return crc


_TABLE = tuple(map(_step, range(256)))


def secure_prefix(host: int, last_byte: int) -> int:
    """Return the first 21 bits of the id that a node at a host, 32 bits, has with this last byte."""
    word = host & _MASK | (last_byte & 7) << 29
    crc = 0xFFFFFFFF
    for byte in word.to_bytes(4, "big"):
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return (crc ^ 0xFFFFFFFF) >> 11
