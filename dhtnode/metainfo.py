"""Torrent files: the info-hashes of their swarms, and whether they are private (BEP 3, 27, 52).

The info-hash is that of the bytes of the info dictionary as they stand in the file.  A file is not
trusted: length, items and depth bound the work, and `InvalidTorrent` is all that a reader can raise.
Of two equal keys the first counts, as in libtorrent; but where that is about being private, a torrent is
private as soon as one of them says so.  All that says nothing about its swarms may be wrong or missing.
"""

import re
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from encodings.aliases import aliases
from hashlib import sha1, sha256
from pathlib import Path

from dhtnode.bencode import BencodeError, FileValue, Value, read_file_untrusted
from dhtnode.errors import InvalidInfoHash, InvalidTorrent, PrivateTorrent
from dhtnode.files import read_file
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.magnet import parse_info_hash

MAX_BYTES = 100_000_000
"""Length of a file: enough for 5 million pieces, or a million names."""

MAX_ITEMS = 3_000_000
"""Values and keys in one file: 420,000 files, as libtorrent.  A hostile one takes 6 s and 450 MB to read."""

MAX_DEPTH = 100
"""Lists and dictionaries inside one another, as libtorrent: the directories of version 2 are nested."""

MAX_NODES = 32
"""Bootstrap nodes that are taken from one file; each may cost a look-up of a name."""

MAX_TIERS, MAX_URLS, MAX_URL_BYTES = 100, 1000, 2048
"""Tiers of trackers that are taken from one file, URLs of all tiers or of one list, and bytes of each."""

# Those that texts are in, where they are not in UTF-8.
_CODE_PAGE = re.compile("gb|hz|big5|euc|shift_jis|koi8|iso8859|latin|cp[0-9]")
_CODE_PAGES = {name: codec for name, codec in aliases.items() if _CODE_PAGE.match(codec)}
_CODE_PAGES |= {codec: codec for codec in _CODE_PAGES.values()}
_HOST = re.compile(rb"[0-9A-Za-z._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class Metainfo:
    """The swarms of a torrent file.

    `name` is empty when the file has none.  `info_hash_v1` is the SHA-1, `info_hash_v2` the whole SHA-256
    of the info dictionary; at least one is there, and both in a hybrid.  `nodes` are bootstrap nodes,
    `HOST:PORT` (BEP 5).  `trackers` are URLs in their tiers (BEP 12), `web_seeds` and `http_seeds` those of
    BEP 19 and BEP 17: texts as they stand in the file.
    """

    name: str
    info_hash_v1: InfoHash | None
    info_hash_v2: bytes | None
    is_private: bool = False
    nodes: tuple[str, ...] = ()
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()
    http_seeds: tuple[str, ...] = ()

    @property
    def tracker_urls(self) -> tuple[str, ...]:
        """Return the URLs of all tiers, in their order."""
        return tuple(url for tier in self.trackers for url in tier)

    @property
    def info_hashes(self) -> tuple[InfoHash, ...]:
        """Return the info-hashes of its swarms; of a hybrid, that of version 1 first (BEP 52)."""
        hashes = (self.info_hash_v1, self.info_hash_v2 and self.info_hash_v2[:ID_BYTES])
        return tuple(InfoHash(each) for each in hashes if each)


def read_torrent(path: Path | str) -> Metainfo:
    """Read a torrent file, of 100 MB at most; raises `OSError` or `InvalidTorrent`."""
    return parse_metainfo(read_file_bytes(path))


def read_file_bytes(path: Path | str) -> bytes:
    """Return what may be a torrent file, but not more of it than is read; raises as `read_torrent` does."""
    if not isinstance(path, Path | str):
        raise InvalidTorrent(f"the path of a torrent is a Path or str, not a {type(path).__name__}")
    try:
        return read_file(path, MAX_BYTES + 1)
    except ValueError as error:
        # Such as a NUL in the path.
        raise InvalidTorrent(str(error)) from error


def parse_metainfo(data: bytes) -> Metainfo:
    """Read the bytes of a torrent file; raises `InvalidTorrent`.

    Takes up to 2 us for each value in it.
    """
    return metainfo_of(data, read_value(data, MAX_BYTES, MAX_ITEMS))


def metainfo_of(data: bytes, value: FileValue) -> Metainfo:
    """Return what the bytes of a torrent file say of its swarms, read by `read_value` already."""
    entries, places, repeated = value
    info = entries.get(b"info")
    if not isinstance(info, dict):
        raise InvalidTorrent("no info dictionary")
    has_version_1, has_version_2 = versions_of(info)
    original = data[places[b"info"]]
    # What stands in a second info dictionary is not known: any mark in the file counts then.
    may_be_private = b"info" in repeated and b"7:private" in data
    return Metainfo(
        text_of(info, b"name", encoding_of(entries)),
        InfoHash(sha1(original, usedforsecurity=False).digest()) if has_version_1 else None,
        sha256(original).digest() if has_version_2 else None,
        is_private=may_be_private or is_marked_private(info, repeated),
        nodes=tuple(_nodes_in(entries)),
        trackers=_trackers_in(entries),
        web_seeds=_texts_in(entries.get(b"url-list")),
        http_seeds=_texts_in(entries.get(b"httpseeds")),
    )


def is_path(torrent: object) -> bool:
    """Return whether a torrent is given by its file: a `Path`, or a text that ends in `.torrent`."""
    return isinstance(torrent, Path) or (
        isinstance(torrent, str) and torrent[-8:].lower() == ".torrent" and torrent[:7].lower() != "magnet:"
    )


def read_swarm(torrent: InfoHash | Metainfo | Path | str) -> InfoHash | Metainfo:
    """Return the info-hash in a text, or what a torrent file says; anything else raises `InvalidInfoHash`.

    Texts are those that `parse_info_hash` reads, and paths that end in `.torrent`.  A file that cannot be
    read raises `OSError` or `InvalidTorrent`.
    """
    match torrent:
        case Metainfo():
            return torrent
        case Path() | str() if is_path(torrent):
            return read_torrent(torrent)
        case str():
            return parse_info_hash(torrent)
        case bytes() if len(torrent) == ID_BYTES:
            return InfoHash(bytes(torrent))
        case bytes():
            raise InvalidInfoHash(
                f"an info-hash has {ID_BYTES} bytes, not {len(torrent)}: of a SHA-256 the DHT uses the first"
                f" {ID_BYTES} (BEP 52), as in `Metainfo.info_hashes`"
            )
    raise InvalidInfoHash(
        f"a swarm is given as InfoHash, Metainfo, Path or str, not as {type(torrent).__name__}"
    )


def public_info_hash(torrent: InfoHash | Metainfo | Path | str) -> InfoHash:
    """Return the info-hash to look up, given as for `read_swarm`; of a torrent file, the first one.

    Raises `PrivateTorrent`.  An info-hash alone does not show whether its torrent is private.
    """
    read = read_swarm(torrent)
    if not isinstance(read, Metainfo):
        return read
    if read.is_private:
        raise PrivateTorrent(f"{read.name[:80]!r} is a private torrent: its peers are for its tracker alone")
    if not read.info_hashes:
        raise InvalidTorrent("no info-hash")
    return public_info_hash(read.info_hashes[0])


def read_value(data: bytes, max_bytes: int, max_items: int) -> FileValue:
    """Return the dictionary in the bytes of a torrent file, or of its info; raises `InvalidTorrent`."""
    if not isinstance(data, bytes):
        raise InvalidTorrent(f"a torrent is read from bytes, not from {type(data).__name__}")
    if len(data) > max_bytes:
        raise InvalidTorrent(f"longer than {max_bytes} bytes")
    try:
        return read_file_untrusted(data, max_items, MAX_DEPTH)
    except BencodeError as error:
        raise InvalidTorrent(str(error)) from error


def is_marked_private(info: dict[bytes, Value], repeated: Container[bytes]) -> bool:
    """Return whether an info dictionary says that it is private, in whatever way (BEP 27)."""
    # libtorrent takes what is not a number for public.  We do not: a leak cannot be undone.
    return info.get(b"private", 0) != 0 or b"private" in repeated


def versions_of(info: dict[bytes, Value]) -> tuple[bool, bool]:
    """Return whether an info dictionary is of version 1, and of version 2; raises `InvalidTorrent`.

    Checks that lengths are numbers; those of version 2 are in the file tree, which is not looked at.
    """
    _check_lengths(info)
    return _has_version_1(info), _has_version_2(info)


def encoding_of(entries: dict[bytes, Value]) -> str:
    """Return the encoding of the texts of a file: the one that it names, of those in use, or UTF-8."""
    named, page = entries.get(b"encoding"), entries.get(b"codepage")
    texts = [
        named.decode("ascii", "replace") if isinstance(named, bytes) else "",
        f"cp{page}" if isinstance(page, int) else "",
    ]
    names = (text.strip().lower().replace("-", "_") for text in texts)
    # Not by `codecs.lookup`, which keeps every name that it was ever asked for.
    return next((_CODE_PAGES[name] for name in names if name in _CODE_PAGES), "utf-8")


def text_of(entries: dict[bytes, Value], key: bytes, encoding: str = "utf-8") -> str:
    """Return a text of a dictionary, empty where it has none.

    Clients of Asia have it in a code page of theirs, and in UTF-8 beside it (`name.utf-8`).
    """
    texts = [text for each in (key + b".utf-8", key) if isinstance(text := entries.get(each), bytes) and text]
    for text in texts:
        with suppress(UnicodeDecodeError):
            return text.decode("utf-8")
    return decoded(texts[-1], encoding) if texts else ""


def decoded(text: bytes, encoding: str) -> str:
    """Return a text in UTF-8, else in an encoding of `encoding_of`; what is neither becomes U+FFFD."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode(encoding, "replace")


def _has_version_1(info: dict[bytes, Value]) -> bool:
    # The hashes of version 1 are those of pieces, or the root of a tree (BEP 30).
    if b"pieces" not in info and b"root hash" not in info:
        if not _has_version_2(info):
            raise InvalidTorrent("neither pieces nor a file tree")
        return False
    pieces = info.get(b"pieces", info.get(b"root hash"))
    if not isinstance(pieces, bytes) or not pieces or len(pieces) % ID_BYTES:
        raise InvalidTorrent("bad piece hashes")
    return True


def _has_version_2(info: dict[bytes, Value]) -> bool:
    version = info.get(b"meta version", 1)
    if version not in (1, 2):
        raise InvalidTorrent("unknown meta version")
    if version == 1:
        return False
    if not isinstance(info.get(b"file tree"), dict):
        raise InvalidTorrent("no file tree")
    return True


def _check_lengths(info: dict[bytes, Value]) -> None:
    piece_length = info.get(b"piece length")
    if not isinstance(piece_length, int) or piece_length <= 0:
        raise InvalidTorrent("bad piece length")
    files = info.get(b"files", [])
    if not isinstance(files, list):
        raise InvalidTorrent("bad files")
    for file in (info, *files):
        length = file.get(b"length", 0) if isinstance(file, dict) else None
        if not isinstance(length, int) or length < 0:
            raise InvalidTorrent("bad length")


def _trackers_in(entries: dict[bytes, Value]) -> tuple[tuple[str, ...], ...]:
    """Return the tiers of a file; where they hold nothing, `announce` is the only one (B12-1)."""
    listed = entries.get(b"announce-list")
    tiers, left = list[tuple[str, ...]](), MAX_URLS
    for tier in (listed if isinstance(listed, list) else [])[:MAX_TIERS]:
        tiers.append(_texts_in(tier, left))
        left -= len(tiers[-1])
    return tuple(filter(None, tiers)) or tuple(filter(None, [_texts_in(entries.get(b"announce"))]))


def _texts_in(value: Value | None, most: int = MAX_URLS) -> tuple[str, ...]:
    """Return the texts of a list, or the one that stands in its place; without what is none."""
    listed = value if isinstance(value, list) else [value]
    short = (each for each in listed[:most] if isinstance(each, bytes) and len(each) <= MAX_URL_BYTES)
    return tuple(dict.fromkeys(filter(None, (each.decode("utf-8", "replace").strip() for each in short))))


def _nodes_in(entries: dict[bytes, Value]) -> Iterator[str]:
    # Bootstrap nodes are hints, so entries that are not a host with a port are left out.
    nodes = entries.get(b"nodes")
    for node in nodes[:MAX_NODES] if isinstance(nodes, list) else ():
        match node:
            case [bytes(host), int(port)] if 0 < port < 65536 and _HOST.fullmatch(host):
                name = host.decode("ascii").strip("[]")
                yield f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
