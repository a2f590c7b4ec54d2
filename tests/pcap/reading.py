"""What a capture holds, read by the book: blocks of pcapng, IP, UDP and TCP, each checksum checked."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6


@dataclass
class Packet:
    """One packet of a capture; `flags`, `number` and `acknowledged` are those of TCP."""

    at: int
    outbound: bool
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    flags: int | None = None
    number: int = 0
    acknowledged: int = 0


def blocks_of(data):
    """Return kind and body of each block; all are whole."""
    found, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, at + size - 4) == (size,), "a block that is not whole"
        found.append((kind, data[at + 8 : at + size - 4]))
        at += size
    assert at == len(data)
    return found


def options_of(data):
    found, at = {}, 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return found


def read_capture(path):
    """Return the packets of a file, and the counts at its end: how many there were, how many it lacks."""
    (first, section), (second, interface), *others = blocks_of(Path(path).read_bytes())
    assert (first, section[:4], second) == (SECTION, bytes.fromhex("4d3c2b1a"), INTERFACE)
    assert struct.unpack_from("<H", interface) == (101,)
    assert options_of(interface[8:])[9] == bytes([9])
    packets, counts = [], None
    for kind, body in others:
        assert counts is None
        if kind == STATISTICS:
            options = options_of(body[12:])
            counts = tuple(int.from_bytes(options[code], "little") for code in (4, 5))
        else:
            assert kind == PACKET
            _, high, low, size, whole = struct.unpack_from("<IIIII", body)
            assert size == whole
            flags = options_of(body[20 + size + -size % 4 :])[2]
            packets.append(
                read_packet(body[20 : 20 + size], (high << 32) + low, outbound=flags == b"\x02\0\0\0")
            )
    return packets, counts


def read_packet(data, at=0, *, outbound=True):
    if data[0] >> 4 == 4:
        assert (data[0], folded(data[:20]), int.from_bytes(data[2:4], "big")) == (0x45, 0xFFFF, len(data))
        protocol, hosts, rest = data[9], (data[12:16], data[16:20]), data[20:]
    else:
        assert (data[0], int.from_bytes(data[4:6], "big")) == (0x60, len(data) - 40)
        protocol, hosts, rest = data[6], (data[8:24], data[24:40]), data[40:]
    assert folded(b"".join(hosts) + struct.pack(">IBBH", len(rest), 0, 0, protocol) + rest) == 0xFFFF
    names = [str(ip_address(host)) for host in hosts]
    ports = struct.unpack_from(">HH", rest)
    places = list(zip(names, ports, strict=True))
    if protocol == 17:
        assert struct.unpack_from(">H", rest, 4) == (len(rest),)
        assert rest[6:8] != b"\0\0"
        return Packet(at, outbound, *places, rest[8:])
    assert protocol == 6
    number, acknowledged, offset, flags = struct.unpack_from(">IIBB", rest, 4)
    assert offset == 5 << 4
    return Packet(at, outbound, *places, rest[20:], flags, number, acknowledged)


def folded(data):
    """Return the sum of 16-bit words, carries added again (RFC 1071)."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
