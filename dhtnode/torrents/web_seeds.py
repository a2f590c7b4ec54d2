"""Web seeds: what to ask one for, and what its answer says (BEP 17, 19)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import quote, quote_from_bytes

from dhtnode.ids import ID_BYTES
from dhtnode.magnet import Magnet
from dhtnode.torrents.details import TorrentDetails
from dhtnode.torrents.info import TorrentFile

RANGE_BYTES = 16384
"""Bytes that are asked for: the end of the largest file, so that one of another length is found out."""

HTTP_SEED_BYTES = 1024
"""Bytes that are asked for of an HTTP seed of BEP 17: the start of the first piece."""

MAX_PIECE = 4 << 20
"""Bytes of the largest piece that is fetched to be held against its hash."""

MAX_PAUSE = 7 * 86_400.0
"""Seconds of the longest pause that a server may ask for."""

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19})\s*", re.IGNORECASE)


class WebSeedKind(StrEnum):
    """Which protocol a web seed speaks."""

    RANGES = "ranges"
    """Files by HTTP and ranges of bytes (BEP 19, `url-list`, `ws`)."""
    PIECES = "pieces"
    """Pieces by a script (BEP 17, `httpseeds`)."""


class WebSeedOutcome(StrEnum):
    """What became of a check; the last ones are those of a host that cannot be asked."""

    ALIVE = "alive"
    """It gave the bytes that were asked for, of a file of the right length."""
    NO_RANGES = "no-ranges"
    """It gives whole files only, and this one has the right length, or none that it tells."""
    WRONG_LENGTH = "wrong-length"
    """It has a file of another length there: clients that use it get what does not fit."""
    LATER = "later"
    """It is alive, and too busy (429, 503)."""
    HASH_WRONG = "hash-wrong"
    """It gave a piece that is not that of the torrent."""
    GONE = "gone"
    REFUSED = "refused"
    HTTP = "http"
    """It answered with another status."""
    MALFORMED = "malformed"
    """Its answer cannot be used: packed, cut short, or redirected to where nothing is asked."""
    BAD_URL = "bad-url"
    """Its URL leads nowhere, or the path of the file does not fit into one."""
    NOT_ASKED = "not-asked"
    """It is FTP, or another protocol that is not spoken here."""
    NOT_PUBLIC = "not-public"
    NO_SUCH_NAME = "no-such-name"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    SILENT = "silent"
    """No whole answer came in time."""

    @property
    def is_alive(self) -> bool:
        """Return whether a swarm without peers is alive by this seed."""
        return self in {WebSeedOutcome.ALIVE, WebSeedOutcome.NO_RANGES, WebSeedOutcome.LATER}


class NoRequest(ValueError):
    """A web seed that is not asked, with its `outcome` in place of an answer."""

    def __init__(self, outcome: WebSeedOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class WebSeedRequest:
    """A GET that tells whether a web seed has the largest file of a torrent.

    `first` and `last` are the bytes to be asked for in a `Range`, None without one; `wanted` is how many are
    to come, and `total` the length of the file, None where it is not known.  With a `sha1` they are a whole
    piece, of which it is the hash.
    """

    kind: WebSeedKind
    url: str
    wanted: int
    first: int | None = None
    last: int | None = None
    total: int | None = None
    sha1: bytes | None = None


def web_seed_request(url: str, details: TorrentDetails) -> WebSeedRequest:
    """Return what to ask a web seed of BEP 19 for; raises `NoRequest`.

    A URL that ends in a slash is that of a folder, and so is any of a torrent of several files (W-2).
    """
    largest = _largest(details)
    place = _place(url, details, largest)
    first = max(0, largest.size - RANGE_BYTES)
    return WebSeedRequest(
        WebSeedKind.RANGES, place, largest.size - first, first, largest.size - 1, largest.size
    )


def piece_request(url: str, details: TorrentDetails) -> WebSeedRequest | None:
    """Return what asks a web seed of BEP 19 for one whole piece of the largest file; raises `NoRequest`.

    None where no piece of 4 MiB or less lies in that file alone, or there are no hashes of version 1.
    """
    largest, length = _largest(details), details.piece_length
    place = _place(url, details, largest)
    begins = sum(file.size for file in details.files[: details.files.index(largest)])
    number = -(-begins // length)
    first = number * length - begins
    last = min(first + length, largest.size) - 1
    sha1 = details.piece_hashes[number * ID_BYTES : (number + 1) * ID_BYTES]
    # The last piece of all may be shorter; another one would go on in the next file.
    ends_whole = last - first + 1 == length or largest is details.files[-1]
    if length > MAX_PIECE or first >= largest.size or not ends_whole or len(sha1) < ID_BYTES:
        return None
    wanted = last - first + 1
    return WebSeedRequest(WebSeedKind.RANGES, place, wanted, first, last, largest.size, sha1)


def magnet_seed_request(url: str, magnet: Magnet) -> WebSeedRequest:
    """Return what to ask a web seed in a magnet link for: its end, or where no size is told, one byte.

    A link does not tell whether the torrent has several files; the URL is taken for that of one file.
    """
    place = _checked(url)
    if place.endswith("/"):
        place += "/".join(_parts(magnet.name, TorrentFile((), 0)))
    if not magnet.size:
        return WebSeedRequest(WebSeedKind.RANGES, place, 1, 0, 0)
    first = max(0, magnet.size - RANGE_BYTES)
    return WebSeedRequest(WebSeedKind.RANGES, place, magnet.size - first, first, magnet.size - 1, magnet.size)


def pause_asked(text: str, now: float) -> float | None:
    """Return the seconds of a pause in a `Retry-After` or in the body of BEP 17, a week at most; else None.

    It is a number or a date; `now` is in seconds since 1970.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return min(float(text), MAX_PAUSE)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), MAX_PAUSE)
    except (ValueError, OverflowError):
        return None


def http_seed_request(url: str, details: TorrentDetails) -> WebSeedRequest:
    """Return what to ask an HTTP seed of BEP 17 for; raises `NoRequest`."""
    place, info_hash = _checked(url), details.metainfo.info_hash_v1
    if info_hash is None:
        raise NoRequest(WebSeedOutcome.NOT_ASKED, "it gives pieces of version 1 only")
    wanted = min(HTTP_SEED_BYTES, details.piece_length, details.size)
    if not wanted:
        raise NoRequest(WebSeedOutcome.BAD_URL, "the torrent has no bytes")
    joint = "&" if "?" in place else "?"
    query = f"info_hash={quote_from_bytes(info_hash, safe='')}&piece=0&ranges=0-{wanted - 1}"
    return WebSeedRequest(WebSeedKind.PIECES, f"{place}{joint}{query}", wanted)


def judge(request: WebSeedRequest, status: int, headers: Mapping[str, str]) -> WebSeedOutcome:
    """Return what the head of an answer says; names of `headers` are in small letters.

    `ALIVE` is to be believed once the bytes that were wanted have come.
    """
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        return WebSeedOutcome.MALFORMED
    match status:
        case 206 if request.first is not None:
            return _judge_range(request, headers.get("content-range", ""))
        case 200 if request.kind is WebSeedKind.PIECES:
            return WebSeedOutcome.ALIVE
        case 200:
            length = headers.get("content-length")
            fits = length is None or request.total is None or length.strip() == str(request.total)
            return WebSeedOutcome.NO_RANGES if fits else WebSeedOutcome.WRONG_LENGTH
        case 416:
            return WebSeedOutcome.WRONG_LENGTH
        case 404 | 410:
            return WebSeedOutcome.GONE
        case 401 | 403:
            return WebSeedOutcome.REFUSED
        case 429 | 503:
            return WebSeedOutcome.LATER
    return WebSeedOutcome.HTTP


def _judge_range(request: WebSeedRequest, content_range: str) -> WebSeedOutcome:
    read = _CONTENT_RANGE.fullmatch(content_range)
    if read is None:
        return WebSeedOutcome.MALFORMED
    first, last, total = map(int, read.groups())
    if request.total is not None and total != request.total:
        return WebSeedOutcome.WRONG_LENGTH
    is_asked = (first, last) == (request.first, request.last)
    return WebSeedOutcome.ALIVE if is_asked else WebSeedOutcome.MALFORMED


def _largest(details: TorrentDetails) -> TorrentFile:
    files = [file for file in details.files if not file.is_padding and file.size]
    if not files:
        raise NoRequest(WebSeedOutcome.BAD_URL, "the torrent has no bytes")
    return max(files, key=lambda file: file.size)


def _place(url: str, details: TorrentDetails, file: TorrentFile) -> str:
    place = _checked(url)
    if not file.path and not place.endswith("/"):
        return place
    return place.removesuffix("/") + "/" + "/".join(_parts(details.metainfo.name, file))


def _checked(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    if not colon or not rest.strip("/"):
        # archive.org has had torrents with `/1/items/`.
        raise NoRequest(WebSeedOutcome.BAD_URL, "no absolute URL")
    if scheme.lower() not in {"http", "https"}:
        raise NoRequest(WebSeedOutcome.NOT_ASKED, f"{scheme[:20]} is not spoken")
    return url


def _parts(name: str, file: TorrentFile) -> list[str]:
    parts = (name, *file.path)
    if any(part in {"", ".", ".."} or "/" in part or "\ufffd" in part for part in parts):
        raise NoRequest(WebSeedOutcome.BAD_URL, "the path of the file does not fit into a URL")
    return [quote(part, safe="") for part in parts]
