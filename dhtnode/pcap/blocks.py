"""Blocks of the capture format pcapng, as bytes (draft-ietf-opsawg-pcapng).

A file is a section header, one interface that takes raw IP packets of both families, and a block for each
packet.  All is little-endian, times are in nanoseconds.
"""

import struct

LINKTYPE_RAW = 101  # packets begin with the header of IPv4 or IPv6
LONGEST_PACKET = 65_575  # an IPv6 header, and the longest that its length field can tell

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER = 0x1A2B3C4D
_COMMENT, _APPLICATION, _NAME, _RESOLUTION = 1, 4, 2, 9
_RECEIVED, _DROPPED, _FLAGS = 4, 5, 2
_INBOUND, _OUTBOUND = 1, 2
_PACKET_HEAD = struct.Struct("<IIIIIII")
_PACKET_TAIL = struct.Struct("<HHIII")
_PACKET_BYTES = _PACKET_HEAD.size + _PACKET_TAIL.size


def head(application: str, comment: str) -> bytes:
    """Return the beginning of a file: what made it, and what a reader should know."""
    texts = _option(_COMMENT, comment.encode()) + _option(_APPLICATION, application.encode())
    section = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + texts + _option(0)
    nanoseconds = _option(_NAME, b"sockets") + _option(_RESOLUTION, bytes([9])) + _option(0)
    interface = struct.pack("<HHI", LINKTYPE_RAW, 0, LONGEST_PACKET) + nanoseconds
    return _block(_SECTION, section) + _block(_INTERFACE, interface)


def packet(data: bytes, at: int, *, outbound: bool) -> bytes:
    """Return the block of one packet with its time and direction."""
    padding = -len(data) % 4
    size = _PACKET_BYTES + len(data) + padding
    return b"".join(
        (
            _PACKET_HEAD.pack(_PACKET, size, 0, at >> 32, at & 0xFFFFFFFF, len(data), len(data)),
            data,
            bytes(padding),
            _PACKET_TAIL.pack(_FLAGS, 4, _OUTBOUND if outbound else _INBOUND, 0, size),
        )
    )


def statistics(at: int, packets: int, dropped: int) -> bytes:
    """Return the block that ends a file: how many packets there were, and how many of them it lacks."""
    counts = _option(_RECEIVED, packets.to_bytes(8, "little")) + _option(
        _DROPPED, dropped.to_bytes(8, "little")
    )
    return _block(_STATISTICS, struct.pack("<III", 0, at >> 32, at & 0xFFFFFFFF) + counts + _option(0))


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
