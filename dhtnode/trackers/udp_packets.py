"""The packets of UDP trackers (BEP 15, 41), all numbers big-endian.

What comes from a tracker is not trusted: the readers raise `TrackerError` and nothing else.  Bytes after
what a packet needs are borne (B15-1), an incomplete entry at the end is not used.
"""

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from dhtnode.addresses import Address, Family
from dhtnode.ids import InfoHash
from dhtnode.krpc import unpack_address
from dhtnode.trackers.messages import (
    MAX_TEXT,
    AnnounceAnswer,
    AnnounceRequest,
    Outcome,
    ScrapeAnswer,
    SwarmCounts,
    TrackerError,
    malformed,
)

MAX_SCRAPED = 70
"""Info-hashes in one packet: 1416 bytes, which pass an Ethernet whole; trackers answer for 50 to 75."""

MAX_SCRAPED_IPV6 = 60
"""The same over IPv6, whose paths may take no more than 1280 bytes."""

MAX_COUNT = (1 << 31) - 1
"""The largest number of peers that is believed to be one."""

CONNECTION_SECONDS = 60
"""How long a connection id may be used after it came (B15-2)."""

REQUEST = struct.Struct(">8s4s4s20s20s8xQ8xI4xIi2s")
"""An announce as a tracker reads it: connection id, action, transaction, info-hash, peer id, left, event,
key, wanted and port; what was transferred, and an address that a client may claim, are passed over."""

ANSWER_HEAD = struct.Struct(">4s4sIII")
"""The answer to an announce without its peers: action, transaction, interval, leechers, seeds."""

CONNECT_MAGIC = (0x41727101980).to_bytes(8, "big")
"""What a request for a connection id begins with."""

_PROTOCOL = int.from_bytes(CONNECT_MAGIC, "big")
_CONNECT = struct.Struct(">QII")
_ANNOUNCE = struct.Struct(">QII20s20sQQQIIIiH")
_ANSWER = struct.Struct(">III")
_ROW = struct.Struct(">III")  # seeds, downloads, leechers
_URL_DATA, _MAX_OPTION = 2, 255


class Action(IntEnum):
    """The kind of a packet."""

    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    ERROR = 3


class Header(NamedTuple):
    """The first 8 bytes of an answer."""

    action: int
    transaction: int


def pack_connect(transaction: int) -> bytes:
    """Return a request for a connection id."""
    return _CONNECT.pack(_PROTOCOL, Action.CONNECT, transaction)


def pack_announce(
    connection: int, transaction: int, request: AnnounceRequest, url_data: bytes = b""
) -> bytes:
    """Return an announce, with the path of the tracker's URL as options where there is one (BEP 41).

    The address is that of the packet: trackers either ignore another one, or spoil their list with it.
    """
    packet = _ANNOUNCE.pack(
        connection,
        Action.ANNOUNCE,
        transaction,
        request.info_hash,
        request.peer_id,
        0,
        request.left,
        0,
        request.event.number,
        0,
        request.key,
        request.wanted,
        request.port,
    )
    for start in range(0, len(url_data), _MAX_OPTION):
        part = url_data[start : start + _MAX_OPTION]
        packet += bytes((_URL_DATA, len(part))) + part
    return packet


def pack_scrape(connection: int, transaction: int, info_hashes: Sequence[InfoHash]) -> bytes:
    """Return a scrape of different info-hashes, `MAX_SCRAPED` at most.

    A tracker may answer for one that comes twice once only, and then all rows after it shift.
    """
    if not 0 < len(info_hashes) <= MAX_SCRAPED or len(set(info_hashes)) < len(info_hashes):
        raise ValueError(f"a scrape has 1 to {MAX_SCRAPED} different info-hashes")
    return _CONNECT.pack(connection, Action.SCRAPE, transaction) + b"".join(info_hashes)


def read_header(packet: bytes) -> Header:
    """Return what an answer is, and to which request."""
    if len(packet) < 8:
        raise malformed("shorter than a header")
    return Header(int.from_bytes(packet[:4], "big"), int.from_bytes(packet[4:8], "big"))


def read_connect(packet: bytes) -> int:
    """Return the connection id."""
    _check(packet, Action.CONNECT, 16)
    return int.from_bytes(packet[8:16], "big")


def read_announce(packet: bytes, family: Family) -> AnnounceAnswer:
    """Return the answer to an announce; peers are of the family of the packet (B15-5)."""
    if len(packet) == 8 and read_header(packet).action == Action.ANNOUNCE:
        # So opentracker refuses a torrent that it does not track.
        raise TrackerError(Outcome.REFUSED, "this torrent is not tracked here")
    _check(packet, Action.ANNOUNCE, 20)
    interval, leechers, seeds = _ANSWER.unpack_from(packet, 8)
    size = family.address_bytes
    peers = (unpack_address(packet[at : at + size]) for at in range(20, len(packet) - size + 1, size))
    return AnnounceAnswer(interval, tuple(_usable(peers)), _count(seeds), _count(leechers))


def read_scrape(packet: bytes, asked: Sequence[InfoHash]) -> ScrapeAnswer:
    """Return the counts of info-hashes, matched by their order.

    With fewer rows than were asked for, the rest was cut; with more, or a row cut short, none can be told.
    """
    count, rows = read_rows(packet, len(asked))
    counts = {info_hash: SwarmCounts(0, 0, 0) for info_hash in asked[:count]}
    for place, seeds, leechers, downloaded in rows:
        counts[asked[place]] = SwarmCounts(seeds, leechers, downloaded)
    return ScrapeAnswer(counts, is_cut=count < len(asked))


def read_rows(packet: bytes, asked: int) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Return for how many of the swarms asked for a packet answers, and the rows that are not all zero.

    A row has its place among them, seeds, leechers and downloads.  Some 0.3 us for each.
    """
    _check(packet, Action.SCRAPE, 8)
    count, rest = divmod(len(packet) - 8, _ROW.size)
    if rest or count > asked:
        raise malformed(f"{len(packet) - 8} bytes for {asked} swarms")
    numbers = struct.unpack_from(f">{3 * count}I", packet, 8)
    if count and max(numbers) > MAX_COUNT:
        raise malformed(f"{max(numbers)} peers")
    rows = zip(range(count), numbers[::3], numbers[2::3], numbers[1::3], strict=True)
    return count, [row for row in rows if row[1] or row[2] or row[3]]


def read_error(packet: bytes) -> TrackerError:
    """Return the error that a packet tells, up to its first NUL."""
    text = packet[8 : 8 + 4 * MAX_TEXT].partition(b"\0")[0].decode("utf-8", "replace")
    return TrackerError(Outcome.REFUSED, text.strip())


def is_about_connection(error: TrackerError) -> bool:
    """Return whether an error says that the connection id is not, or no longer, good."""
    return "conn" in error.reason.lower()


def _check(packet: bytes, action: Action, least: int) -> None:
    found = read_header(packet).action
    if found == Action.ERROR:
        raise read_error(packet)
    if found != action or len(packet) < least:
        raise malformed(f"action {found} in {len(packet)} bytes")


def _count(number: int) -> int:
    if number > MAX_COUNT:
        raise malformed(f"{number} peers")
    return number


def _usable(peers: Iterable[Address]) -> Iterable[Address]:
    return (peer for peer in peers if peer.port)
