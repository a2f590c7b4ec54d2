"""All that a torrent file says of itself, and what is odd about it."""

import pytest
from hypothesis import given

from dhtnode.bencode import encode
from dhtnode.errors import InvalidTorrent
from dhtnode.torrents import TorrentFile, TorrentMark, TorrentVersion, parse_details, read_details
from tests.strategies import bencode_values

V1 = {b"length": 5, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 20}
LEAF = {b"": {b"length": 5, b"pieces root": b"r" * 32}}
V2 = {b"file tree": {b"a.iso": LEAF}, b"meta version": 2, b"name": b"a.iso", b"piece length": 16384}
FILES = {
    b"files": [
        {b"length": 3, b"path": [b"a"]},
        {b"attr": b"p", b"length": 16381, b"path": [b".pad", b"16381"]},
        {b"length": 4, b"path": [b"b", b"c"]},
    ],
    b"name": b"dir",
    b"piece length": 16384,
    b"pieces": b"p" * 40,
}
CHINESE = "\u4e2d\u6587"


def without(info, key):
    return {each: value for each, value in info.items() if each != key}


def read(info=V1, **others):
    """Return what is read of a torrent with this info; keys of `others` have `_` for a space."""
    return parse_details(
        encode({k.replace("_", " ").encode(): v for k, v in others.items()} | {b"info": info})
    )


def test_plain_torrent_has_nothing_odd():
    details = read()
    assert (details.version, details.size, details.pieces, details.piece_length) == ("1", 5, 1, 16384)
    assert details.files == (TorrentFile((), 5),)
    assert details.marks == ()
    assert details.unknown_keys == 0


@pytest.mark.parametrize(
    ("info", "version"),
    [
        (V1, TorrentVersion.V1),
        (V2, TorrentVersion.V2),
        (V1 | V2, TorrentVersion.HYBRID),
        (without(V1, b"pieces") | {b"root hash": b"r" * 20}, TorrentVersion.MERKLE),
    ],
)
def test_version_is_told_by_the_hashes(info, version):
    details = read(info)
    assert (details.version, details.size, details.pieces, details.marks) == (version, 5, 1, ())


def test_texts_around_the_info_are_read():
    details = read(
        comment=b"hello",
        created_by=b"mktorrent 1.1",
        creation_date=1700000000,
        publisher=b"me",
        source=b"tracker",
        similar=[b"t" * 20],
    )
    assert (details.comment, details.created_by, details.created_at) == ("hello", "mktorrent 1.1", 1700000000)
    assert (details.publisher, details.source, details.similar) == ("me", "tracker", (b"t" * 20,))


@pytest.mark.parametrize("wrong", [-1, 1 << 36, b"5", []])
def test_time_that_cannot_be_is_none(wrong):
    assert read(creation_date=wrong).created_at is None


def test_similar_torrents_stand_in_the_info_and_beside_it():
    """BEP 38; what is no info-hash is left out."""
    inside = V1 | {b"similar": [b"s" * 20, b"x", 5], b"collections": [b"c"], b"update-url": b"http://u/"}
    details = read(inside, similar=[b"s" * 20, b"t" * 20], collections=[b"d", b"c"])
    assert details.similar == (b"s" * 20, b"t" * 20)
    assert (details.collections, details.update_url) == (("c", "d"), "http://u/")
    assert len(read(similar=[b"%20d" % n for n in range(500)]).similar) == 100


def test_files_have_paths_and_padding_does_not_count():
    details = read(FILES)
    assert (details.size, details.pieces, details.marks) == (7, 2, ())
    assert details.files == (
        TorrentFile(("a",), 3),
        TorrentFile((".pad", "16381"), 16381, is_padding=True),
        TorrentFile(("b", "c"), 4),
    )


def test_files_of_a_tree_come_in_its_order():
    tree = {b"a": LEAF, b"b": {b"c": LEAF, b"d": LEAF}, b"e": LEAF}
    paths = [file.path for file in read(V2 | {b"file tree": tree}).files]
    assert paths == [("a",), ("b", "c"), ("b", "d"), ("e",)]


def test_lone_file_of_version_2_has_the_name_of_the_torrent():
    assert [file.path for file in read(V2).files] == [()]
    assert [file.path for file in read(V2 | {b"name": b"dir"}).files] == [("a.iso",)]


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ({"encoding": b"GBK"}, "gbk"),
        ({"encoding": b"gb2312"}, "gbk"),
        ({"codepage": 936}, "gbk"),
        ({"encoding": b"Big5"}, "big5"),
        ({"encoding": b"UTF-8", "codepage": 936}, "gbk"),
    ],
)
def test_names_in_the_encoding_that_the_file_tells_are_read(encoding, codec):
    name = CHINESE.encode(codec)
    file = {b"length": 5, b"path": [name]}
    details = read(without(V1, b"length") | {b"name": name, b"files": [file]}, comment=name, **encoding)
    assert (details.metainfo.name, details.comment, details.files[0].path) == (CHINESE, CHINESE, (CHINESE,))
    assert details.marks == (TorrentMark.NOT_UTF_8,)


@pytest.mark.parametrize("encoding", [b"zip", b"idna", b"unicode_escape", b"x" * 5000, b"\xff\0", 5, []])
def test_encoding_that_no_text_has_does_not_count(encoding):
    assert read(V1 | {b"name": b"\xff"}, encoding=encoding).metainfo.name == "\ufffd"


def test_path_in_utf_8_counts_before_the_other():
    file = {b"length": 5, b"path": [CHINESE.encode("gbk")], b"path.utf-8": [CHINESE.encode()]}
    assert read(without(V1, b"length") | {b"files": [file]}).files[0].path == (CHINESE,)


@pytest.mark.parametrize(
    ("info", "mark"),
    [
        (V1 | {b"pieces": b"p" * 40}, TorrentMark.WRONG_PIECES),
        (V1 | {b"length": 2**62}, TorrentMark.WRONG_PIECES),
        (V1 | V2 | {b"length": 6}, TorrentMark.INCONSISTENT_HYBRID),
        (V1 | V2 | {b"name": b"z"}, TorrentMark.INCONSISTENT_HYBRID),
        (V1 | {b"root hash": b"r" * 20}, TorrentMark.MERKLE_AND_PIECES),
        (V2 | {b"piece length": 1000}, TorrentMark.ODD_PIECE_LENGTH),
        (V2 | {b"piece length": 3 * 16384}, TorrentMark.ODD_PIECE_LENGTH),
        (V1 | {b"private": b"1"}, TorrentMark.ODD_PRIVATE),
        (V1 | {b"private": 2}, TorrentMark.ODD_PRIVATE),
        (without(V1, b"name"), TorrentMark.NO_NAME),
        (V1 | {b"name": b".."}, TorrentMark.ODD_FILES),
        (V1 | {b"name": b"a/b"}, TorrentMark.ODD_FILES),
        (FILES | {b"files": [{b"length": 20000, b"path": [b"..", b"x"]}]}, TorrentMark.ODD_FILES),
        (FILES | {b"files": [{b"length": 20000}]}, TorrentMark.ODD_FILES),
        (FILES | {b"files": [{b"length": 20000, b"path": [b"x"]}, {b"path": [b"y"]}]}, TorrentMark.ODD_FILES),
        (V2 | {b"file tree": {b"a": {b"": {b"length": 5}}}}, TorrentMark.NO_ROOTS),
        (V1 | {b"name": b"\xff"}, TorrentMark.NOT_UTF_8),
    ],
)
def test_odd_torrent_is_read_and_marked(info, mark):
    assert read(info).marks == (mark,)


def test_torrent_without_files_is_marked():
    assert TorrentMark.NO_FILES in read(FILES | {b"files": []}).marks
    assert TorrentMark.NO_FILES in read(V1 | {b"length": 0}).marks


def test_empty_file_of_version_2_needs_no_root():
    tree = {b"a": LEAF, b"empty": {b"": {b"length": 0}}}
    assert read(V2 | {b"file tree": tree}).marks == ()


def test_keys_that_mean_nothing_are_counted():
    assert read(V1 | {b"x": 1, b"y": 2}, z=3).unknown_keys == 3


def test_file_is_read_from_its_path(tmp_path):
    path = tmp_path / "a.torrent"
    path.write_bytes(encode({b"info": V1}))
    assert read_details(path) == parse_details(path.read_bytes())
    with pytest.raises(FileNotFoundError):
        read_details(tmp_path / "none.torrent")
    with pytest.raises(InvalidTorrent):
        read_details("a\0.torrent")


@given(bencode_values())
def test_any_info_is_read_or_one_error(info):
    for known in ({}, V1, V2, FILES):
        merged = known | info if isinstance(info, dict) else info
        try:
            details = parse_details(encode({b"info": merged}))
        except InvalidTorrent:
            continue
        assert details.size == sum(file.size for file in details.files if not file.is_padding)
