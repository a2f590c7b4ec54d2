"""What a torrent holds: the files and pieces of its info dictionary (BEP 3, 30, 47, 52)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256

from dhtnode.bencode import Value
from dhtnode.errors import InvalidTorrent
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.metainfo import decoded, is_marked_private, read_value, text_of, versions_of

MAX_INFO_BYTES = 10_000_000
"""Length of an info dictionary that a peer sends."""

MAX_INFO_ITEMS = 1_000_000
"""Values and keys in one that a peer sends: a hostile one takes 2 s and 150 MB to read."""

MAX_SIZE = (1 << 63) - 1
"""Bytes of all files together: what a signed integer of 64 bits can count, as in SQLite."""


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


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """One file of a torrent, as strangers wrote it: nothing keeps its path from leading elsewhere.

    `path` has the directories and the name, without that of the torrent, which alone is the path of a lone
    file.  `size` is in bytes.  Padding (BEP 47) fills up a piece, and is not to be downloaded.
    """

    path: tuple[str, ...]
    size: int
    is_padding: bool = False


def parse_info(data: bytes) -> TorrentInfo:
    """Read the bytes of an info dictionary, as peers send it (BEP 9); raises `InvalidTorrent`.

    Takes up to 3 us for each value in it, 3 s and 150 MB at worst: check the hash of untrusted bytes
    first.
    """
    info, _, repeated = read_value(data, MAX_INFO_BYTES, MAX_INFO_ITEMS)
    has_version_1, has_version_2 = versions_of(info)
    files = list(files_of(info))
    return TorrentInfo(
        text_of(info, b"name"),
        InfoHash(sha1(data, usedforsecurity=False).digest()) if has_version_1 else None,
        sha256(data).digest() if has_version_2 else None,
        is_private=is_marked_private(info, repeated),
        size=size_of(files),
        files=sum(not file.is_padding for file in files),
        pieces=count_pieces(info, files),
    )


def files_of(info: dict[bytes, Value], encoding: str = "utf-8") -> Iterator[TorrentFile]:
    """Yield the files of an info dictionary that `versions_of` has checked, those of version 1 if it has any.

    Raises `InvalidTorrent` for a bad file tree.
    """
    if is_v1(info):
        return files_in_list(info, encoding)
    files = list(files_in_tree(info, encoding))
    if len(files) == 1 and files[0].path == (text_of(info, b"name", encoding),):
        return iter([TorrentFile((), files[0].size)])
    return iter(files)


def is_v1(info: dict[bytes, Value]) -> bool:
    """Return whether an info dictionary is of version 1, of a hybrid too: by the hashes of its pieces."""
    return b"pieces" in info or b"root hash" in info


def files_in_list(info: dict[bytes, Value], encoding: str = "utf-8") -> Iterator[TorrentFile]:
    """Yield the files of version 1."""
    files = info.get(b"files")
    for file in files if isinstance(files, list) else [info]:
        if isinstance(file, dict):
            length, attributes = file.get(b"length", 0), file.get(b"attr")
            is_padding = isinstance(attributes, bytes) and b"p" in attributes
            path = () if file is info else _path_of(file, encoding)
            yield TorrentFile(path, length if isinstance(length, int) else 0, is_padding)


def files_in_tree(info: dict[bytes, Value], encoding: str = "utf-8") -> Iterator[TorrentFile]:
    """Yield the files of version 2 (BEP 52, "file tree"), which has no padding; raises `InvalidTorrent`."""
    for path, file in _leaves(info):
        length = file.get(b"length", 0) if isinstance(file, dict) else None
        if not isinstance(length, int) or length < 0:
            raise InvalidTorrent("bad length")
        yield TorrentFile(tuple(decoded(part, encoding) for part in path), length)


def has_roots(info: dict[bytes, Value]) -> bool:
    """Return whether each file of version 2 that is not empty has the root of its hashes."""
    return all(
        isinstance(file, dict) and (file.get(b"length") == 0 or len(_bytes_in(file, b"pieces root")) == 32)
        for _, file in _leaves(info)
    )


def _leaves(info: dict[bytes, Value]) -> Iterator[tuple[tuple[bytes, ...], Value]]:
    places: list[tuple[tuple[bytes, ...], Value | None]] = [((), info.get(b"file tree"))]
    while places:
        path, tree = places.pop()
        if not isinstance(tree, dict):
            raise InvalidTorrent("bad file tree")
        if b"" in tree:
            yield path, tree[b""]
        # The last is taken first.
        places += [((*path, name), below) for name, below in reversed(tree.items()) if name]


def _bytes_in(file: dict[bytes, Value], key: bytes) -> bytes:
    value = file.get(key)
    return value if isinstance(value, bytes) else b""


def size_of(files: Iterable[TorrentFile]) -> int:
    """Return the bytes of all files without padding; raises `InvalidTorrent` for more than there can be."""
    size = sum(file.size for file in files if not file.is_padding)
    if size > MAX_SIZE:
        raise InvalidTorrent("bad length")
    return size


def count_pieces(info: dict[bytes, Value], files: Iterable[TorrentFile]) -> int:
    """Return the number of pieces: as many as have a hash, or as its files fill."""
    pieces = info.get(b"pieces")
    if isinstance(pieces, bytes):
        return len(pieces) // ID_BYTES
    return pieces_filled(info, files, in_one_row=b"root hash" in info)


def pieces_filled(info: dict[bytes, Value], files: Iterable[TorrentFile], *, in_one_row: bool) -> int:
    """Return how many pieces files fill: in version 2 each begins one, else they stand in one row."""
    piece_length = info[b"piece length"]
    # `versions_of` has made sure of it.
    assert isinstance(piece_length, int)  # noqa: S101
    lengths = (file.size for file in files)
    return sum(-(-length // piece_length) for length in ([sum(lengths)] if in_one_row else lengths))


def _path_of(file: dict[bytes, Value], encoding: str) -> tuple[str, ...]:
    """Return the path of a file of version 1: the one in UTF-8, if that is there and is what it says."""
    parts = next((each for key in (b"path.utf-8", b"path") if isinstance(each := file.get(key), list)), [])
    return tuple(decoded(part, encoding) if isinstance(part, bytes) else "" for part in parts)
