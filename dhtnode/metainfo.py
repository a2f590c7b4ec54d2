"""Torrent files: the info-hashes of their swarms, and whether they are private (BEP 3, 27, 52).

The info-hash is that of the bytes of the info dictionary as they stand in the file.  A file is not
trusted: length, items and depth bound the work, and `InvalidTorrent` is all that a reader can raise.
Clients disagree on which of two equal keys counts, so a file in which one of them decides of which swarm
it is, or whether it is private, is refused.  All that says nothing about either may be wrong or missing.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path

from dhtnode.bencode import BencodeError, Value, read_file_untrusted
from dhtnode.errors import InvalidInfoHash, InvalidTorrent, PrivateTorrent
from dhtnode.files import read_file
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.magnet import parse_info_hash

MAX_BYTES = 100_000_000
"""Length of a file: enough for 5 million pieces, or a million names."""

MAX_ITEMS = 3_000_000
"""Values and keys in one file: 420,000 files, as libtorrent.  A hostile one takes 6 s and 450 MB to read."""

MAX_INFO_BYTES = 10_000_000
"""Length of an info dictionary that a peer sends."""

MAX_INFO_ITEMS = 1_000_000
"""Values and keys in one that a peer sends: a hostile one takes 2 s and 150 MB to read."""

MAX_DEPTH = 100
"""Lists and dictionaries inside one another, as libtorrent: the directories of version 2 are nested."""

MAX_SIZE = (1 << 63) - 1
"""Bytes of all files together: what a signed integer of 64 bits can count, as in SQLite."""

MAX_NODES = 32
"""Bootstrap nodes that are taken from one file; each may cost a look-up of a name."""

MAX_TIERS, MAX_URLS = 64, 64
"""Tiers of trackers that are taken from one file, and URLs of one tier or list."""

_DECISIVE = frozenset({b"info", b"private", b"meta version", b"pieces", b"root hash", b"file tree"})
"""Keys that decide of which swarm a torrent is, and whether it is private."""

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
    def info_hashes(self) -> tuple[InfoHash, ...]:
        """Return the info-hashes of its swarms; of a hybrid, that of version 1 first (BEP 52)."""
        hashes = (self.info_hash_v1, self.info_hash_v2 and self.info_hash_v2[:ID_BYTES])
        return tuple(InfoHash(each) for each in hashes if each)


def read_torrent(path: Path | str) -> Metainfo:
    """Read a torrent file, of 100 MB at most; raises `OSError` or `InvalidTorrent`."""
    if not isinstance(path, Path | str):
        raise InvalidTorrent(f"the path of a torrent is a Path or str, not a {type(path).__name__}")
    try:
        data = read_file(path, MAX_BYTES + 1)
    except ValueError as error:
        # Such as a NUL in the path.
        raise InvalidTorrent(str(error)) from error
    return parse_metainfo(data)


def parse_metainfo(data: bytes) -> Metainfo:
    """Read the bytes of a torrent file; raises `InvalidTorrent`.

    Takes up to 2 us for each value in it.
    """
    entries, places = _read(data, MAX_BYTES, MAX_ITEMS)
    info = entries.get(b"info")
    if not isinstance(info, dict):
        raise InvalidTorrent("no info dictionary")
    _check_lengths(info)
    original = data[places[b"info"]]
    return Metainfo(
        _name_in(info),
        InfoHash(sha1(original, usedforsecurity=False).digest()) if _has_version_1(info) else None,
        sha256(original).digest() if _has_version_2(info) else None,
        # libtorrent takes what is not a number for public.  We do not: a leak cannot be undone.
        is_private=info.get(b"private", 0) != 0,
        nodes=tuple(_nodes_in(entries)),
        trackers=_trackers_in(entries),
        web_seeds=_texts_in(entries.get(b"url-list")),
        http_seeds=_texts_in(entries.get(b"httpseeds")),
    )


@dataclass(frozen=True, slots=True)
class TorrentInfo:
    """The contents of an info dictionary.

    `size` is in bytes, of `files` files; padding (BEP 47) counts in neither.  `pieces` is the number
    of pieces, hence of bits in a bitfield.  The info-hashes are as in `Metainfo`.
    """

    name: str
    info_hash_v1: InfoHash | None
    info_hash_v2: bytes | None
    is_private: bool
    size: int
    files: int
    pieces: int


def parse_info(data: bytes) -> TorrentInfo:
    """Read the bytes of an info dictionary, as peers send it (BEP 9); raises `InvalidTorrent`.

    Takes up to 3 us for each value in it, 3 s and 150 MB at worst: check the hash of untrusted bytes
    first.
    """
    info, _ = _read(data, MAX_INFO_BYTES, MAX_INFO_ITEMS)
    _check_lengths(info)
    has_version_1 = _has_version_1(info)
    has_version_2 = _has_version_2(info)
    lengths = list(_lengths_of_files(info) if has_version_1 else _lengths_in_tree(info))
    size = sum(length for length, is_padding in lengths if not is_padding)
    if size > MAX_SIZE:
        raise InvalidTorrent("bad length")
    return TorrentInfo(
        _name_in(info),
        InfoHash(sha1(data, usedforsecurity=False).digest()) if has_version_1 else None,
        sha256(data).digest() if has_version_2 else None,
        is_private=info.get(b"private", 0) != 0,
        size=size,
        files=sum(not is_padding for _, is_padding in lengths),
        pieces=_count_pieces(info, [length for length, _ in lengths]),
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


def _read(data: bytes, max_bytes: int, max_items: int) -> tuple[dict[bytes, Value], dict[bytes, slice]]:
    if not isinstance(data, bytes):
        raise InvalidTorrent(f"a torrent is read from bytes, not from {type(data).__name__}")
    if len(data) > max_bytes:
        raise InvalidTorrent(f"longer than {max_bytes} bytes")
    try:
        return read_file_untrusted(data, max_items, MAX_DEPTH, _DECISIVE)
    except BencodeError as error:
        raise InvalidTorrent(str(error)) from error


def _name_in(info: dict[bytes, Value]) -> str:
    # Clients of Asia have the name in a code page of theirs, and in UTF-8 beside it.
    names = [name for key in (b"name.utf-8", b"name") if isinstance(name := info.get(key), bytes) and name]
    for name in names:
        with suppress(UnicodeDecodeError):
            return name.decode("utf-8")
    return names[-1].decode("utf-8", "replace") if names else ""


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
    # Lengths of version 2 are in the file tree, which is read by `_lengths_in_tree` only.
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


def _lengths_of_files(info: dict[bytes, Value]) -> Iterator[tuple[int, bool]]:
    """Yield the length of each file of version 1, and whether it is padding."""
    files = info.get(b"files")
    for file in files if isinstance(files, list) else [info]:
        length = file.get(b"length", 0) if isinstance(file, dict) else None
        if isinstance(file, dict) and isinstance(length, int):
            attributes = file.get(b"attr")
            yield length, isinstance(attributes, bytes) and b"p" in attributes


def _lengths_in_tree(info: dict[bytes, Value]) -> Iterator[tuple[int, bool]]:
    """Yield the length of each file of version 2 (BEP 52, "file tree"); it has no padding."""
    trees = [info.get(b"file tree")]
    while trees:
        tree = trees.pop()
        if not isinstance(tree, dict):
            raise InvalidTorrent("bad file tree")
        for name, below in tree.items():
            if name:
                trees.append(below)
                continue
            length = below.get(b"length", 0) if isinstance(below, dict) else None
            if not isinstance(length, int) or length < 0:
                raise InvalidTorrent("bad length")
            yield length, False


def _count_pieces(info: dict[bytes, Value], lengths: Iterable[int]) -> int:
    pieces = info.get(b"pieces")
    if isinstance(pieces, bytes):
        return len(pieces) // ID_BYTES
    piece_length = info[b"piece length"]
    # `_check_lengths` has made sure of it.
    assert isinstance(piece_length, int)  # noqa: S101
    if b"root hash" in info:
        lengths = [sum(lengths)]
    # In version 2 each file begins a piece.
    return sum(-(-length // piece_length) for length in lengths)


def _trackers_in(entries: dict[bytes, Value]) -> tuple[tuple[str, ...], ...]:
    """Return the tiers of a file; where they hold nothing, `announce` is the only one (B12-1)."""
    tiers = entries.get(b"announce-list")
    listed = [_texts_in(tier) for tier in (tiers if isinstance(tiers, list) else [])[:MAX_TIERS]]
    return tuple(filter(None, listed)) or tuple(filter(None, [_texts_in(entries.get(b"announce"))]))


def _texts_in(value: Value | None) -> tuple[str, ...]:
    """Return the texts of a list, or the one that stands in its place; without what is none."""
    listed = value if isinstance(value, list) else [value]
    texts = (each.decode("utf-8", "replace").strip() for each in listed[:MAX_URLS] if isinstance(each, bytes))
    return tuple(dict.fromkeys(filter(None, texts)))


def _nodes_in(entries: dict[bytes, Value]) -> Iterator[str]:
    # Bootstrap nodes are hints, so entries that are not a host with a port are left out.
    nodes = entries.get(b"nodes")
    for node in nodes[:MAX_NODES] if isinstance(nodes, list) else ():
        match node:
            case [bytes(host), int(port)] if 0 < port < 65536 and _HOST.fullmatch(host):
                name = host.decode("ascii").strip("[]")
                yield f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
