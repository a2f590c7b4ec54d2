"""Queries to HTTP trackers, and their answers (BEP 3, 7, 21, 23, 24, 31, 48).

Answers are bencoded dictionaries of strangers: the readers bound their work and raise `TrackerError` and
nothing else.  Keys that say nothing we understand are as good as missing.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from urllib.parse import quote

from dhtnode.addresses import Address, Family, normalize_host, unpack_host
from dhtnode.bencode import BencodeError, Value, read_untrusted
from dhtnode.ids import ID_BYTES, InfoHash
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
from dhtnode.trackers.udp_packets import MAX_COUNT
from dhtnode.trackers.urls import TrackerUrl
from dhtnode.user_keys import hide_keys

MAX_ANNOUNCE_BYTES, MAX_SCRAPE_BYTES = 1 << 20, 4 << 20
"""Lengths of answers, after they are unpacked."""

FIRST_BATCH = 50
"""Info-hashes in one query, until a tracker shows that it takes fewer."""

MAX_ITEMS = 200_000
"""Values and keys in one answer; a hostile one takes 0.1 s to read."""

DEFAULT_INTERVAL = 1800
"""Seconds until the next announce, where a tracker does not say."""

_NEVER = b"never"


def escape_query(raw: bytes) -> str:
    """Return bytes as a query of a URL has them: all but letters, digits and `-._~` as %XX."""
    return quote(raw, safe="")


def announce_target(url: TrackerUrl, request: AnnounceRequest) -> str:
    """Return path and query of an announce."""
    fields = {
        "info_hash": escape_query(request.info_hash),
        "peer_id": escape_query(request.peer_id),
        "port": str(request.port),
        "uploaded": "0",
        "downloaded": "0",
        "left": str(request.left),
        "compact": "1",
        "numwant": str(request.wanted),
        "key": f"{request.key:08x}",
        "event": request.event.value,
        "trackerid": escape_query(request.tracker_id),
    }
    return _with_query(url.path, [f"{name}={value}" for name, value in fields.items() if value])


def scrape_target(url: TrackerUrl, info_hashes: Sequence[InfoHash]) -> str:
    """Return path and query of a scrape; raises `TrackerError` if the tracker has none (B48-1)."""
    path = url.scrape_path
    if path is None:
        raise TrackerError(Outcome.NO_SCRAPE)
    wanted = [f"info_hash={escape_query(info_hash)}" for info_hash in info_hashes]
    return _with_query(path, wanted) if wanted else path


def read_announce(data: bytes) -> AnnounceAnswer:
    """Return the answer to an announce; a failure that the tracker tells is raised."""
    entries = _read(data)
    peers, named = _peers_in(entries.get(b"peers"))
    more, _ = _peers_in(entries.get(b"peers6"), Family.IPV6)
    if b"peers" not in entries and b"peers6" not in entries:
        raise malformed("neither peers nor a failure")
    return AnnounceAnswer(
        _number(entries, b"interval") or DEFAULT_INTERVAL,
        (*peers, *more),
        _number(entries, b"complete"),
        _number(entries, b"incomplete"),
        _number(entries, b"min interval"),
        _text(entries.get(b"warning message")),
        tracker_id=_bytes(entries.get(b"tracker id"))[:MAX_TEXT],
        external_host=_host(entries.get(b"external ip")),
        named=named,
    )


def read_scrape(data: bytes, asked: Collection[InfoHash]) -> ScrapeAnswer:
    """Return the counts of the info-hashes asked for that an answer lists; a failure is raised.

    Some trackers write the 20 bytes as text in UTF-8, and some call `files` `host`.
    """
    entries = _read(data)
    files = entries.get(b"files", entries.get(b"host"))
    if not isinstance(files, dict):
        raise malformed("neither files nor a failure")
    wanted, counts, has_utf8_keys = frozenset(asked), dict[InfoHash, SwarmCounts](), False
    for key, listed in files.items():
        info_hash = InfoHash(key)
        if len(key) != ID_BYTES:
            info_hash = info_hash_of_text(key)
        if info_hash in wanted and info_hash not in counts and isinstance(listed, dict):
            counts[info_hash] = counts_in(listed)
            has_utf8_keys |= info_hash != key
    flags = entries.get(b"flags")
    pause = _number(flags, b"min_request_interval") if isinstance(flags, dict) else None
    warning = _text(entries.get(b"warning message"))
    return ScrapeAnswer(counts, has_utf8_keys=has_utf8_keys, min_interval=pause, warning=warning)


def _with_query(path: str, fields: Sequence[str]) -> str:
    return path + ("&" if "?" in path else "?") + "&".join(fields)


def _read(data: bytes) -> Mapping[bytes, Value]:
    """Return the entries of an answer, or raise the failure that it tells (BEP 31)."""
    try:
        entries = read_untrusted(data, MAX_ITEMS)
    except BencodeError as error:
        raise malformed(str(error)) from error
    if not isinstance(entries, dict):
        raise malformed("not a dictionary")
    if b"failure reason" not in entries:
        return entries
    reason = _text(entries[b"failure reason"])
    if entries.get(b"retry in") == _NEVER:
        raise TrackerError(Outcome.NEVER, reason)
    minutes = _number(entries, b"retry in")
    if minutes:
        raise TrackerError(Outcome.LATER, reason, 60 * minutes)
    raise TrackerError(Outcome.REFUSED, reason, _number(entries, b"interval"))


def counts_in(listed: Mapping[bytes, Value]) -> SwarmCounts:
    """Return the counts of one swarm; raises `TrackerError` for what is no number of peers."""
    names = (b"complete", b"incomplete", b"downloaded", b"downloaders")
    seeds, leechers, downloaded, downloaders = (_number(listed, name, strict=True) for name in names)
    return SwarmCounts(seeds or 0, leechers or 0, downloaded, downloaders)


def _number(entries: Mapping[bytes, Value], name: bytes, *, strict: bool = False) -> int | None:
    """Return a number, digits in text too; what is neither is an error if `strict`, else as if missing."""
    value = entries.get(name)
    if isinstance(value, bytes) and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, int) and 0 <= value <= MAX_COUNT:
        return value
    if strict and value is not None:
        raise malformed(f"{name.decode()}: no number of peers")
    return None


def _peers_in(
    peers: Value | None, family: Family = Family.IPV4
) -> tuple[tuple[Address, ...], tuple[tuple[str, int], ...]]:
    """Return the peers of an answer, compact or as dictionaries (BEP 23), and those given by a name."""
    match peers:
        case bytes():
            size = family.address_bytes
            if len(peers) % size:
                raise malformed(f"{len(peers)} bytes of peers")
            found = (unpack_address(peers[at : at + size]) for at in range(0, len(peers), size))
            return tuple(peer for peer in found if peer.port), ()
        case list():
            return _listed(peers)
    return (), ()


def _listed(peers: Sequence[Value]) -> tuple[tuple[Address, ...], tuple[tuple[str, int], ...]]:
    addresses, named = list[Address](), list[tuple[str, int]]()
    for peer in peers:
        match peer:
            case {b"ip": bytes(ip), b"port": int(port)} if (
                0 < port < 65536 and ip.isascii() and len(ip) < 254
            ):
                host = ip.decode("ascii")
                try:
                    addresses.append(Address(normalize_host(host), port))
                except ValueError:
                    named.append((host, port))
    return tuple(addresses), tuple(named)


def info_hash_of_text(key: bytes) -> InfoHash:
    """Return the info-hash that was written as text, each byte a character."""
    with suppress(UnicodeError):
        return InfoHash(key.decode("utf-8").encode("latin-1"))
    return InfoHash(b"")


def _bytes(value: Value | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: Value | None) -> str:
    text = _bytes(value)[: 4 * MAX_TEXT].decode("utf-8", "replace").strip()
    return hide_keys(text)[:MAX_TEXT]


def _host(value: Value | None) -> str | None:
    packed = _bytes(value)
    return unpack_host(packed) if len(packed) in (4, 16) else None
