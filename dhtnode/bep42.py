"""Node ids bound to IP addresses (BEP 42): derive one, tell whether one conforms, and what it is worth.

The first 21 bits of an id follow from the address and from 3 random bits, its last ones.  So whoever
holds one address can choose between 8 small parts of the id space, and not sit wherever he likes.
The low bits of an address count less: with IPv6 a host conforms anywhere in its /64.

Addresses that are no place on the public network (private, loopback, link-local, shared by NAT) are
exempt: any id conforms.  The hash is CRC32C over 4 or 8 bytes, hence as many look-ups in tables;
to call into a compiled library would cost as much.
"""

from dhtnode.addresses import Address, Scope, pack_host
from dhtnode.ids import ID_BYTES, NodeId

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits in reverse
_MASK_V6 = bytes.fromhex("0103070f1f3f7fff")  # that of IPv4 is 030f3fff
_BOUND_BITS = 0xFFFFF8  # of the first three bytes of an id


def _shift_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ _POLYNOMIAL * (crc & 1)
    return crc


_TABLE = tuple(map(_shift_byte, range(256)))


def crc32c(data: bytes) -> int:
    """Return the CRC32C of a few bytes, as 32 bits."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _tables(length: int) -> tuple[tuple[int, ...], ...]:
    """Return what each byte adds to the CRC of so many bytes, the first one first: a CRC is linear."""
    tables = [_TABLE]
    for _ in range(length - 1):
        tables.insert(0, tuple([crc >> 8 ^ _TABLE[crc & 0xFF] for crc in tables[0]]))
    return tuple(tables)


_BYTES_V6 = _tables(8)
_BYTE_1, _BYTE_2, _BYTE_3, _BYTE_4 = _BYTES_V6[4:]
_ZEROS_V4, _ZEROS_V6 = crc32c(bytes(4)), crc32c(bytes(8))


def bound_part(packed_host: bytes, last_byte: int) -> int:
    """Return the first 3 bytes of an id at an IP of 4 or 16 bytes, as a number whose low 3 bits are free.

    `last_byte` is that of the id.
    """
    drawn = (last_byte & 7) << 5
    if len(packed_host) == 4:
        a, b, c, d = packed_host
        crc = _ZEROS_V4 ^ _BYTE_1[a & 0x03 | drawn] ^ _BYTE_2[b & 0x0F] ^ _BYTE_3[c & 0x3F] ^ _BYTE_4[d]
    else:
        crc = _ZEROS_V6 ^ _BYTES_V6[0][drawn]
        for table, byte, mask in zip(_BYTES_V6, packed_host, _MASK_V6, strict=False):  # the first half
            crc ^= table[byte & mask]
    return crc >> 8 & _BOUND_BITS


def is_exempt(host: str) -> bool:
    """Return whether an IP in text, being no place on the public network, goes with every id."""
    return not Scope.PUBLIC.allows(Address(host, 1))


def conforms(node_id: bytes, host: str) -> bool:
    """Return whether an id may be that of a node at an IP in text; 2 to 4 us, with IPv6 5 times that."""
    claimed = int.from_bytes(node_id[:3], "big") & _BOUND_BITS
    return claimed == bound_part(pack_host(host), node_id[-1]) or is_exempt(host)


def kept_places(width: int, conforming_share: float) -> int:
    """Return how many of `width` places are for nodes that conform when such a share of our table does.

    Half of them, so that Sybils with ids of their choice get no more than the other half, or fewer
    where fewer are to be expected.  All of them, as BEP 42 has it once it is enforced, would lead
    past nodes that others find as long as many honest ones do not conform.
    """
    return min(width // 2, int(width * conforming_share))


def secure_id(host: str, drawn: bytes) -> NodeId:
    """Return the id that 20 random bytes become at an IP in text; they are one where any id conforms."""
    if len(drawn) != ID_BYTES:
        raise ValueError(f"{len(drawn)} bytes drawn instead of {ID_BYTES}")
    if is_exempt(host):
        return NodeId(drawn)
    bound = bound_part(pack_host(host), drawn[-1]) | drawn[2] & 7
    return NodeId(bound.to_bytes(3, "big") + drawn[3:])
