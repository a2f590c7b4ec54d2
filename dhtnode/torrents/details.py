"""All that a torrent file says of itself (BEP 3, 5, 12, 17, 19, 27, 30, 38, 39, 47, 52)."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dhtnode.bencode import Value
from dhtnode.errors import InvalidTorrent
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.metainfo import (
    MAX_BYTES,
    MAX_ITEMS,
    Metainfo,
    decoded,
    encoding_of,
    metainfo_of,
    read_file_bytes,
    read_value,
    text_of,
)
from dhtnode.torrents.info import (
    TorrentFile,
    count_pieces,
    files_in_list,
    files_in_tree,
    files_of,
    has_roots,
    is_v1,
    pieces_filled,
    size_of,
)

MAX_SIMILAR = 100
"""Similar torrents and collections that are taken from one file, of each."""

_KNOWN_KEYS = frozenset(
    {
        *(b"announce", b"announce-list", b"codepage", b"comment", b"comment.utf-8", b"created by"),
        *(b"creation date", b"encoding", b"httpseeds", b"info", b"nodes", b"piece layers", b"publisher"),
        *(b"publisher.utf-8", b"publisher-url", b"publisher-url.utf-8", b"url-list"),
        *(b"collections", b"similar", b"source", b"update-url"),
    }
)
_KNOWN_IN_INFO = frozenset(
    {
        *(b"attr", b"file tree", b"files", b"length", b"md5sum", b"meta version", b"name", b"name.utf-8"),
        *(b"piece length", b"pieces", b"private", b"root hash", b"sha1", b"symlink path"),
        *(b"collections", b"originator", b"similar", b"source", b"update-url"),
    }
)


class TorrentVersion(StrEnum):
    """The version of BitTorrent that a torrent is made for."""

    V1 = "1"
    MERKLE = "1, Merkle"
    """The root of a tree in place of the hashes of pieces (BEP 30)."""
    V2 = "2"
    HYBRID = "1 and 2"


class TorrentMark(StrEnum):
    """Something odd about a torrent, of which clients make different things."""

    REPEATED_KEYS = "repeated-keys"
    """A key stands twice in one dictionary: the first counts here and in libtorrent, the last in others."""
    INCONSISTENT_HYBRID = "inconsistent-hybrid"
    """Its two versions name different files or sizes: clients of both refuse it."""
    MERKLE_AND_PIECES = "merkle-and-pieces"
    """It has the hashes of pieces, which count, and the root of a tree."""
    WRONG_PIECES = "wrong-pieces"
    """It has more or fewer hashes than its files fill pieces: libtorrent refuses it."""
    ODD_PIECE_LENGTH = "odd-piece-length"
    """The pieces of version 2 are no power of two of 16 KiB or more: libtorrent refuses it."""
    ODD_PRIVATE = "odd-private"
    """The mark of private torrents is neither 0 nor 1: private here, and public to some clients."""
    NO_ROOTS = "no-roots"
    """A file of version 2 has no root of its hashes, hence cannot be checked: libtorrent refuses it."""
    NO_NAME = "no-name"
    """libtorrent refuses it."""
    NO_FILES = "no-files"
    """It is of files, and there is none, or nothing is in them."""
    ODD_FILES = "odd-files"
    """A file has no length, no path, or one that leads elsewhere: with `..`, a slash or an empty part."""
    NOT_UTF_8 = "not-utf-8"
    """Its name is in another encoding, and perhaps wrong here."""


@dataclass(frozen=True, slots=True)
class TorrentDetails:
    """What a torrent file says: as strangers wrote it, and nothing of it was checked.

    Sizes are in bytes; `size` counts no padding, which is among the `files`.  `created_at` is in seconds
    since 1970.  `similar` are torrents with files in common and `collections` names of groups of these
    (BEP 38), `update_url` is where a newer one may be (BEP 39), `source` what some trackers add so that the
    info-hash is their own.  `unknown_keys` counts those that no BEP and no common client has.  `piece_hashes`
    has the SHA-1 of each piece of version 1, one after the other.
    """

    metainfo: Metainfo
    version: TorrentVersion
    size: int
    files: tuple[TorrentFile, ...]
    pieces: int
    piece_length: int
    comment: str
    created_by: str
    created_at: int | None
    publisher: str
    source: str
    update_url: str
    similar: tuple[InfoHash, ...]
    collections: tuple[str, ...]
    unknown_keys: int
    marks: tuple[TorrentMark, ...]
    piece_hashes: bytes = field(repr=False)


def read_details(path: Path | str) -> TorrentDetails:
    """Read a torrent file, of 100 MB at most; raises `OSError` or `InvalidTorrent`."""
    return parse_details(read_file_bytes(path))


def parse_details(data: bytes) -> TorrentDetails:
    """Read the bytes of a torrent file; raises `InvalidTorrent`.  Takes up to 4 us for each value in it."""
    value = read_value(data, MAX_BYTES, MAX_ITEMS)
    entries, info = value.entries, value.entries.get(b"info")
    metainfo = metainfo_of(data, value)
    # `metainfo_of` has made sure of both.
    assert isinstance(info, dict)  # noqa: S101
    piece_length = info[b"piece length"]
    assert isinstance(piece_length, int)  # noqa: S101
    encoding = encoding_of(entries)
    files = tuple(files_of(info, encoding))
    created_at = entries.get(b"creation date")
    return TorrentDetails(
        metainfo,
        _version_of(metainfo, info),
        size_of(files),
        files,
        count_pieces(info, files),
        piece_length,
        comment=text_of(entries, b"comment", encoding),
        created_by=text_of(entries, b"created by", encoding),
        created_at=created_at if isinstance(created_at, int) and 0 <= created_at < 1 << 36 else None,
        publisher=text_of(entries, b"publisher", encoding),
        source=text_of(info, b"source", encoding) or text_of(entries, b"source", encoding),
        update_url=text_of(info, b"update-url") or text_of(entries, b"update-url"),
        similar=tuple(InfoHash(each) for each in _listed(entries, info, b"similar") if len(each) == ID_BYTES),
        collections=tuple(decoded(each, encoding) for each in _listed(entries, info, b"collections")),
        unknown_keys=len(entries.keys() - _KNOWN_KEYS) + len(info.keys() - _KNOWN_IN_INFO),
        marks=tuple(_marks_of(metainfo, info, files, value.repeated)),
        piece_hashes=pieces if isinstance(pieces := info.get(b"pieces"), bytes) else b"",
    )


def _version_of(metainfo: Metainfo, info: dict[bytes, Value]) -> TorrentVersion:
    if metainfo.info_hash_v2 is not None:
        return TorrentVersion.V2 if metainfo.info_hash_v1 is None else TorrentVersion.HYBRID
    return TorrentVersion.V1 if b"pieces" in info else TorrentVersion.MERKLE


def _listed(entries: dict[bytes, Value], info: dict[bytes, Value], key: bytes) -> list[bytes]:
    """Return the texts of a list that may stand in the info dictionary, beside it, or in both (BEP 38)."""
    lists = [each for each in (info.get(key), entries.get(key)) if isinstance(each, list)]
    texts = [text for each in lists for text in each[:MAX_SIMILAR] if isinstance(text, bytes)]
    return list(dict.fromkeys(texts))[:MAX_SIMILAR]


def _marks_of(
    metainfo: Metainfo,
    info: dict[bytes, Value],
    files: tuple[TorrentFile, ...],
    repeated: set[bytes],
) -> list[TorrentMark]:
    is_v1, is_v2 = metainfo.info_hash_v1 is not None, metainfo.info_hash_v2 is not None
    length = info[b"piece length"]
    found = {
        TorrentMark.REPEATED_KEYS: bool(repeated),
        TorrentMark.INCONSISTENT_HYBRID: is_v1 and is_v2 and not _versions_agree(info, metainfo.name),
        TorrentMark.MERKLE_AND_PIECES: b"pieces" in info and b"root hash" in info,
        TorrentMark.WRONG_PIECES: b"pieces" in info
        and count_pieces(info, files) != pieces_filled(info, files, in_one_row=True),
        TorrentMark.ODD_PIECE_LENGTH: is_v2
        and isinstance(length, int)
        and (length < 16384 or length & (length - 1) != 0),
        TorrentMark.ODD_PRIVATE: info.get(b"private", 0) not in (0, 1) or b"private" in repeated,
        TorrentMark.NO_ROOTS: is_v2 and not has_roots(info),
        TorrentMark.NO_NAME: not metainfo.name,
        TorrentMark.NO_FILES: not any(file.size for file in files),
        TorrentMark.ODD_FILES: _has_odd_files(info, metainfo.name, files),
        TorrentMark.NOT_UTF_8: not _is_utf_8(info.get(b"name.utf-8", info.get(b"name"))),
    }
    return [mark for mark, is_so in found.items() if is_so]


def _versions_agree(info: dict[bytes, Value], name: str) -> bool:
    """Return whether both versions of a hybrid name the same files and sizes (BEP 52)."""
    first = {(file.path or (name,), file.size) for file in files_in_list(info) if not file.is_padding}
    try:
        return first == {(file.path, file.size) for file in files_in_tree(info)}
    except InvalidTorrent:
        return False


def _has_odd_files(info: dict[bytes, Value], name: str, files: tuple[TorrentFile, ...]) -> bool:
    listed = info.get(b"files")
    entries = listed if isinstance(listed, list) else [info] if is_v1(info) else []
    has_no_length = any(isinstance(file, dict) and b"length" not in file for file in entries)
    is_lone = not isinstance(listed, list)
    named = [file.path for file in files if not file.is_padding]
    return (
        has_no_length
        or (bool(name) and _is_odd_name(name))
        or any(any(map(_is_odd_name, path)) or not (path or is_lone) for path in named)
    )


def _is_odd_name(part: str) -> bool:
    return part in {"", ".", ".."} or "/" in part or "\\" in part or "\0" in part


def _is_utf_8(name: Value | None) -> bool:
    try:
        return not isinstance(name, bytes) or name.decode() is not None
    except UnicodeDecodeError:
        return False
