"""What a synthetic tracker answers to a packet (BEP 15), in the manner of its style."""

import struct

from crawler.synthetic.trackers.tracker import Announcement, SyntheticTracker

_PROTOCOL = 0x41727101980
_CONNECT, _ANNOUNCE, _SCRAPE, _ERROR = range(4)
_ACTIONS = ("connect", "announce", "scrape")
_HEAD = struct.Struct(">QII")
_REQUEST = struct.Struct(">20s20sQQQI4sIiH")  # of an announce, after the head: what follows port is options
_HASH_BYTES = 20
_LEFT, _EVENT, _IP, _WANTED, _PORT = 3, 5, 6, 8, 9  # fields of it
_STOPPED, _PAUSED = 3, 4

MAX_ROWS = 5400  # that a datagram has room for


def answer_packet(
    tracker: SyntheticTracker, packet: bytes, source: tuple[str, int], now: float
) -> bytes | None:
    """Return what comes back from a tracker, or None."""
    if len(packet) < _HEAD.size:
        tracker.hear(now, source[0], "udp", "too short", 0)
        return None
    connection, action, transaction = _HEAD.unpack_from(packet)
    is_scrape = action == _SCRAPE
    name = _ACTIONS[action] if action < len(_ACTIONS) else "unknown"
    tracker.hear(now, source[0], "udp", name, (len(packet) - _HEAD.size) // _HASH_BYTES if is_scrape else 1)
    if tracker.style.fault == "silent" or tracker.is_banned(source[0], now):
        return None
    if action == _CONNECT:
        if connection != _PROTOCOL:
            return None
        return _head(_CONNECT, transaction) + tracker.connection_id(source, now).to_bytes(8, "big")
    if not tracker.takes_id(connection, source, now):
        if tracker.style.wrong_id == "drop":
            return None
        return _error(transaction, "Connection ID missmatch.")
    if action == _SCRAPE:
        return _scrape(tracker, packet[_HEAD.size :], transaction, now)
    if action == _ANNOUNCE and len(packet) >= _HEAD.size + _REQUEST.size:
        return _announce(tracker, packet, transaction, source, now)
    return _error(transaction, "Unknown action")


def _scrape(tracker: SyntheticTracker, hashes: bytes, transaction: int, now: float) -> bytes | None:
    style = tracker.style
    refusal = _refusal(tracker, transaction)
    if refusal is not None:
        return refusal
    if not hashes and style.full_udp != "empty":
        return _error(transaction, "Full scrapes are not allowed") if style.full_udp == "error" else None
    if len(hashes) % _HASH_BYTES and style.odd_list != "rows":
        return _error(transaction, "Invalid info hash list") if style.odd_list == "error" else None
    asked = [hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)]
    asked = asked[: style.udp_cap or MAX_ROWS]
    if not style.answers_twice:
        asked = list(dict.fromkeys(asked))
    rows = tracker.rows(asked, now)
    body = b"".join(
        struct.pack(">III", row.seeds, row.downloaded, row.leechers) if row else bytes(12) for row in rows
    )
    if style.fault == "truncated":
        body = body[:-5]
    if style.fault == "no-numbers":
        body = b"\xff" * len(body)
    return _head(_SCRAPE, transaction) + body


def _announce(
    tracker: SyntheticTracker, packet: bytes, transaction: int, source: tuple[str, int], now: float
) -> bytes | None:
    style, fields = tracker.style, _REQUEST.unpack_from(packet, _HEAD.size)
    refusal = _refusal(tracker, transaction)
    if refusal is not None:
        return refusal
    event, port, ip = fields[_EVENT], fields[_PORT], fields[_IP]
    if event == _PAUSED and style.event_4 != "none":
        return _error(transaction, "malformed event ID") if style.event_4 == "error" else None
    if not port and style.port_0 == "error":
        return _error(transaction, "malformed port")
    if not port and style.port_0 == "source":
        port = source[1]
    # Kept under no address at all, as the one that is never handed out.
    host = "0.0.0.0" if style.replaces_ip and ip != bytes(4) else source[0]  # noqa: S104
    heard = Announcement(fields[0], host, port, fields[_LEFT] == 0, event == _STOPPED, fields[_WANTED])
    peers = tracker.announce(heard, now)
    if peers is None:
        return _head(_ANNOUNCE, transaction) if style.short_refusal else _error(transaction, "not allowed")
    said = tracker.listed(heard.info_hash, now)
    seeds, leechers = (said.seeds, said.leechers) if said else (0, 0)
    numbers = struct.pack(">III", tracker.interval(now), leechers, seeds)
    return _head(_ANNOUNCE, transaction) + numbers + b"".join(peers)


def _refusal(tracker: SyntheticTracker, transaction: int) -> bytes | None:
    """Return the error in place of every answer, if there is one."""
    if tracker.style.fault in ("error", "retry-in", "never"):
        return _error(transaction, "go away\x1b[31m\nsecond line")
    if tracker.style.fault == "html":
        return b"<html>" + bytes(20)
    return None


def _head(action: int, transaction: int) -> bytes:
    return struct.pack(">II", action, transaction)


def _error(transaction: int, text: str) -> bytes:
    return _head(_ERROR, transaction) + text.encode() + b"\0"
