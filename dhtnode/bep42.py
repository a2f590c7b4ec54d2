"""Node ids bound to IP addresses (BEP 42): deriving and checking them, and what they are worth.

The first 21 bits of an id follow from the address and from the last 3 bits of the id.  So the holder
of one address can choose between 8 small parts of the id space, and not any place in it.
The low bits of an address count less: an IPv6 host is compliant anywhere in its /64.

Addresses outside the public network (private, loopback, link-local, shared by NAT) are exempt: any
id is compliant.
"""

from dhtnode.addresses import Address, Scope, pack_host, unpack_host
from dhtnode.ids import ID_BYTES, NodeId

# CRC32C: the polynomial of Castagnoli, bits in reverse.
_POLYNOMIAL = 0x82F63B78
# The bits of an IPv6 address that count; of IPv4 they are 030f3fff.
_MASK_V6 = bytes.fromhex("0103070f1f3f7fff")
# The bits of the first three bytes of an id that follow from the address.
_BOUND_BITS = 0xFFFFF8
# By the first octet, whether all IPv4 addresses are.
_IS_PUBLIC = [each is True for each in Scope.PUBLIC.first_octets()]


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
    # A CRC is linear: each byte adds a term that depends on its place only.  So a hash is one look-up
    # a byte, and a call into a compiled library would cost as much.
    tables = [_TABLE]
    for _ in range(length - 1):
        tables.insert(0, tuple([crc >> 8 ^ _TABLE[crc & 0xFF] for crc in tables[0]]))
    return tuple(tables)


_BYTES_V6 = _tables(8)
_BYTE_1, _BYTE_2, _BYTE_3, _BYTE_4 = _BYTES_V6[4:]
_ZEROS_V4, _ZEROS_V6 = crc32c(bytes(4)), crc32c(bytes(8))


def bound_prefix(packed_host: bytes, last_byte: int) -> int:
    """Return the first 3 bytes of a compliant id, as a number whose low 3 bits are free.

    `packed_host` has 4 or 16 bytes; `last_byte` is that of the id.
    """
    drawn = (last_byte & 7) << 5
    if len(packed_host) == 4:
        a, b, c, d = packed_host
        crc = _ZEROS_V4 ^ _BYTE_1[a & 0x03 | drawn] ^ _BYTE_2[b & 0x0F] ^ _BYTE_3[c & 0x3F] ^ _BYTE_4[d]
    else:
        crc = _ZEROS_V6 ^ _BYTES_V6[0][drawn]
        # Only the first half of an IPv6 address is hashed.
        for table, byte, mask in zip(_BYTES_V6, packed_host, _MASK_V6, strict=False):
            crc ^= table[byte & mask]
    return crc >> 8 & _BOUND_BITS


def is_exempt(host: str) -> bool:
    """Return whether every id is compliant at an IP in text, because it is not a public one."""
    return not Scope.PUBLIC.allows(Address(host, 1))


def is_compliant(node_id: bytes, host: str) -> bool:
    """Return whether an id may be that of a node at an IP in text; 2 to 4 us, with IPv6 5 times that."""
    return is_compliant_at(node_id, pack_host(host))


def is_compliant_at(node_id: bytes, packed_host: bytes) -> bool:
    """Return whether an id may be that of a node at an IP of 4 or 16 bytes."""
    claimed = int.from_bytes(node_id[:3], "big") & _BOUND_BITS
    if claimed == bound_prefix(packed_host, node_id[-1]):
        return True
    if len(packed_host) == 4 and _IS_PUBLIC[packed_host[0]]:
        return False
    return is_exempt(unpack_host(packed_host))


def reserved_slots(width: int, compliant_share: float) -> int:
    """Return how many of `width` slots to reserve for compliant nodes, from their share in our table.

    It is the number to be expected, and at most half.
    """
    # With half of the slots, Sybils with ids of their choice get no more than the other half.  With all
    # of them (BEP 42, once enforced) we would pass over the many honest nodes that are not compliant.
    return min(width // 2, int(width * compliant_share))


def secure_id(host: str, drawn: bytes) -> NodeId:
    """Return the compliant id made of 20 random bytes at an IP in text; at an exempt IP, those bytes.

    Raises `ValueError` for another number of bytes.
    """
    if len(drawn) != ID_BYTES:
        raise ValueError(f"{len(drawn)} bytes drawn instead of {ID_BYTES}")
    if is_exempt(host):
        return NodeId(drawn)
    prefix = bound_prefix(pack_host(host), drawn[-1]) | drawn[2] & 7
    return NodeId(prefix.to_bytes(3, "big") + drawn[3:])
