"""IP packets around what sockets sent and received.

A socket knows addresses, ports and payloads.  The rest of the headers is made up: time to live,
identification, sequence numbers that begin with 0, a window.  Lengths and checksums are right.
"""

import struct
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias

Place: TypeAlias = tuple[str, int]
"""A host and a port, as a socket names them."""

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_TCP, _UDP = 6, 17
_LIVES = 64
_DONT_FRAGMENT = 0x4000
_WINDOW = 65_535


@lru_cache(4096)
def packed(host: str) -> bytes:
    """Return the bytes of an IP address, without the zone that a link-local one may have."""
    return ip_address(host.partition("%")[0]).packed


def udp_packet(source: Place, destination: Place, data: bytes) -> bytes:
    """Return a datagram as one IP packet, however long it is."""
    length = 8 + len(data)
    ports = struct.pack(">HHH", source[1], destination[1], length)
    hosts = packed(source[0]), packed(destination[0])
    # Zero would say that there is none.
    checksum = _checksum(_pseudo_header(hosts, _UDP, length) + ports + data) or 0xFFFF
    return b"".join((_ip_header(hosts, _UDP, length), ports, checksum.to_bytes(2, "big"), data))


def tcp_segment(
    source: Place, destination: Place, numbers: tuple[int, int], flags: int, data: bytes = b""
) -> bytes:
    """Return a TCP segment as one IP packet; `numbers` are its own and the one that it acknowledges."""
    length = 20 + len(data)
    ports = struct.pack(">HHIIBBH", source[1], destination[1], *numbers, 5 << 4, flags, _WINDOW)
    hosts = packed(source[0]), packed(destination[0])
    checksum = _checksum(_pseudo_header(hosts, _TCP, length) + ports + data)
    return b"".join((_ip_header(hosts, _TCP, length), ports, struct.pack(">HH", checksum, 0), data))


def _ip_header(hosts: tuple[bytes, bytes], protocol: int, length: int) -> bytes:
    if len(hosts[0]) == 16:
        return struct.pack(">IHBB16s16s", 6 << 28, length, protocol, _LIVES, *hosts)
    fields = (0x45, 0, 20 + length, 0, _DONT_FRAGMENT, _LIVES, protocol)
    checksum = _checksum(struct.pack(">BBHHHBBH4s4s", *fields, 0, *hosts))
    return struct.pack(">BBHHHBBH4s4s", *fields, checksum, *hosts)


def _pseudo_header(hosts: tuple[bytes, bytes], protocol: int, length: int) -> bytes:
    # That of IPv6; the same bytes in other places add up to that of IPv4.
    return b"".join((*hosts, struct.pack(">II", length, protocol)))


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071): one number modulo 65535 is the sum of its 16-bit words."""
    words = int.from_bytes(data, "big") << (8 * (len(data) % 2))
    return 0xFFFF - (words % 0xFFFF or 0xFFFF)
