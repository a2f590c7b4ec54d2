"""What a synthetic tracker answers over HTTP (BEP 3, 23, 24, 31, 48), in the manner of its style."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

from bencode2 import bencode

from crawler.synthetic.trackers.tracker import Announcement, SwarmAt, SyntheticTracker

PRIVATE_TARGETS = (
    "http://127.0.0.1:1/announce",
    "http://10.0.0.1/announce",
    "http://192.168.1.1/announce",
    "http://169.254.169.254/latest/meta-data/announce",
    "http://[::1]/announce",
    "http://[fe80::1]/announce",
    "http://localhost/announce",
    "udp://10.0.0.1:6969/announce",
)
"""Where the style `redirects` leads to, in turn."""

HOME = "/home/"  # where `redirects-home` leads to, which answers

_PART_BYTES = 1 << 20
_STATUS_500 = "status 500: the request is too long"


@dataclass(slots=True)
class HttpReply:
    """A reply: its body comes in parts, which may have no end."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: Iterable[bytes] = ()


def answer_request(
    tracker: SyntheticTracker, target: str, takes_gzip: bool, source: tuple[str, int], now: float
) -> HttpReply | None:
    """Return the reply to a GET, or None if none ever comes."""
    path, _, query = target.partition("?")
    directory, _, name = path.rpartition("/")
    fields = _read(query)
    hashes = fields.get(b"info_hash", [])
    tracker.hear(now, source[0], "http", name if name in ("announce", "scrape") else "other", len(hashes))
    style = tracker.style
    if len(target) > style.longest_request:
        return HttpReply(500, parts=[_STATUS_500.encode()])
    if name not in ("announce", "scrape") or (name == "scrape" and not style.has_scrape):
        return HttpReply(404, parts=[b"<html>not found</html>"])
    if style.fault in _FAULTY:
        return _FAULTY[style.fault](tracker, target)
    if style.fault == "silent":
        return None
    if style.fault == "redirects-home" and not directory.startswith(HOME.rstrip("/")):
        return _redirect(f"{HOME}{name}?{query}")
    if name == "scrape":
        return _packed(bencode(_scrape(tracker, hashes, now)), takes_gzip and not hashes)
    answer = _announce(tracker, {key: values[-1] for key, values in fields.items()}, source, now)
    return HttpReply(400, parts=[b"Invalid Request"]) if answer is None else _told(answer)


def _scrape(tracker: SyntheticTracker, hashes: list[bytes], now: float) -> dict[bytes, Any]:
    style = tracker.style
    if not hashes and not style.full_http:
        return _failure("Full scrapes are not allowed")
    if any(len(info_hash) != 20 for info_hash in hashes):
        return _failure("Invalid info hash")
    asked = list(dict.fromkeys(hashes))[: style.http_cap]
    rows: Iterable[tuple[bytes, SwarmAt | None]] = zip(asked, tracker.rows(asked, now), strict=True)
    if not hashes:
        rows = tracker.known(now)
    said = {key: row or SwarmAt(0, 0, 0) for key, row in rows if row or style.lists_unknown}
    files = {_key(key, is_text=style.utf8_keys): _entry(row) for key, row in said.items()}
    if style.fault == "no-numbers":
        files = {key: entry | {b"complete": -65000} for key, entry in files.items()}
    answer: dict[bytes, Any] = {b"files": files}
    if style.min_request_interval is not None:
        answer[b"flags"] = {b"min_request_interval": style.min_request_interval}
    return answer


def _announce(
    tracker: SyntheticTracker, fields: Mapping[bytes, bytes], source: tuple[str, int], now: float
) -> dict[bytes, Any] | None:
    """Return the answer to an announce; None if it is refused by its status."""
    style, info_hash = tracker.style, fields.get(b"info_hash", b"")
    is_compact = fields.get(b"compact", b"1") != b"0"
    if not is_compact and style.compact_0 == "400":
        return None
    if not is_compact and style.compact_0 == "error":
        return _failure("only compact lists are supported")
    port = _number(fields.get(b"port"), 0)
    if len(info_hash) != 20 or port > 65535 or (not port and style.port_0 == "error"):
        return _failure("invalid announce")
    is_gone, wanted = fields.get(b"event") == b"stopped", _number(fields.get(b"numwant"), -1)
    heard = Announcement(info_hash, source[0], port, fields.get(b"left") == b"0", is_gone, wanted)
    peers = tracker.announce(heard, now)
    if peers is None:
        return _failure("Requested download is not authorized for use with this tracker.")
    said = tracker.listed(info_hash, now) or SwarmAt(0, 0, 0)
    answer: dict[bytes, Any] = {
        b"complete": said.seeds,
        b"incomplete": said.leechers,
        b"downloaded": said.downloaded,
        b"interval": tracker.interval(now),
        b"peers": b"".join(peers) if is_compact else [_dictionary(peer) for peer in peers],
    }
    if style.min_interval is not None:
        answer[b"min interval"] = style.min_interval
    if style.external_ip:
        answer[b"external ip"] = bytes(map(int, source[0].split(".")))
    return answer


def _failure(text: str, **more: Any) -> dict[bytes, Any]:
    return {b"failure reason": text.encode()} | {
        name.replace("_", " ").encode(): value for name, value in more.items()
    }


def _told(reason: dict[bytes, Any]) -> HttpReply:
    return HttpReply(parts=[bencode(reason)])


def _redirect(place: str) -> HttpReply:
    return HttpReply(302, [("Location", place)])


def _redirect_to_private(tracker: SyntheticTracker, _: str) -> HttpReply:
    tracker.redirected += 1
    return _redirect(PRIVATE_TARGETS[(tracker.redirected - 1) % len(PRIVATE_TARGETS)])


def _bomb(tracker: SyntheticTracker, _: str) -> HttpReply:
    return HttpReply(headers=[("Content-Encoding", "gzip")], parts=_packed_zeros(tracker.style.bomb_bytes))


def _packed_zeros(count: int) -> Iterator[bytes]:
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(_PART_BYTES)
    for left in range(count, 0, -_PART_BYTES):
        yield packer.compress(zeros[:left])
    yield packer.flush()


def _without_end() -> Iterator[bytes]:
    yield b"d5:filesd"
    number = 0
    while True:
        number += 1
        yield b"20:" + number.to_bytes(20, "big") + b"d8:completei1e10:incompletei1ee"


_FAULTY: Mapping[str, Callable[[SyntheticTracker, str], HttpReply]] = {
    "gzip-bomb": _bomb,
    "redirects": _redirect_to_private,
    "redirects-loop": lambda _, target: _redirect(target),
    "endless": lambda *_: HttpReply(parts=_in_parts(_without_end())),
    "error": lambda *_: _told(_failure("go away\x1b[31m\nsecond line")),
    "retry-in": lambda *_: _told(_failure("overloaded", retry_in=10)),
    "never": lambda *_: _told(_failure("closed for ever", retry_in=b"never")),
    "html": lambda *_: HttpReply(parts=[b"<html><body>It works!</body></html>"]),
    "truncated": lambda *_: HttpReply(parts=[b"d5:filesd20:" + bytes(20) + b"d8:comple"]),
}


def _in_parts(pieces: Iterator[bytes]) -> Iterator[bytes]:
    while part := b"".join(islice(pieces, 1000)):
        yield part


def _packed(body: bytes, is_packed: bool) -> HttpReply:
    if is_packed:
        return HttpReply(headers=[("Content-Encoding", "gzip")], parts=[gzip.compress(body)])
    return HttpReply(parts=[body])


def _key(info_hash: bytes, *, is_text: bool) -> bytes:
    return info_hash.decode("latin-1").encode() if is_text else info_hash


def _entry(row: SwarmAt) -> dict[bytes, int]:
    return {b"complete": row.seeds, b"downloaded": row.downloaded, b"incomplete": row.leechers}


def _dictionary(peer: bytes) -> dict[bytes, Any]:
    host = ".".join(map(str, peer[:4]))
    return {b"ip": host.encode(), b"peer id": bytes(20), b"port": int.from_bytes(peer[4:], "big")}


def _number(text: bytes | None, default: int) -> int:
    try:
        return int(text or b"x")
    except ValueError:
        return default


def _read(query: str) -> dict[bytes, list[bytes]]:
    """Return the fields of a query, each with all its values."""
    fields: dict[bytes, list[bytes]] = {}
    for field_text in query.split("&"):
        name, _, value = field_text.partition("=")
        fields.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return fields
