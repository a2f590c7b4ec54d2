"""Torrent files: what names their swarms, who may look for these, and what is refused."""

import hashlib
from functools import partial
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.bencode import encode
from dhtnode.errors import InvalidTorrent, PrivateTorrent
from dhtnode.ids import InfoHash
from dhtnode.metainfo import Metainfo, parse_metainfo, public_info_hash
from dhtnode.torrents import TorrentInfo, TorrentMark, parse_details, parse_info
from tests.strategies import bencode_values

sha1 = partial(hashlib.sha1, usedforsecurity=False)

V1 = {b"length": 5, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 40}
V2 = {
    b"file tree": {b"a.iso": {b"": {b"length": 5, b"pieces root": b"r" * 32}}},
    b"meta version": 2,
    b"name": b"a.iso",
    b"piece length": 16384,
}
HYBRID = V1 | V2


def torrent(info=V1, **others):
    return encode(
        {name.replace("_", " ").encode(): value for name, value in others.items()} | {b"info": info}
    )


TWICE = b"d4:info" + encode(V1)[:-1] + b"%see"


def without(info, key):
    """Return a dictionary without one of its keys."""
    return {each: value for each, value in info.items() if each != key}


def deep(levels):
    """Return the info of a torrent whose file tree has so many levels below the outermost dictionary."""
    tree = {}
    for _ in range(levels - 2):
        tree = {b"d": tree}
    return V2 | {b"file tree": tree}


REFUSED = {  # the bytes, and what is said about them
    "empty": (b"", "not bencode"),
    "text": (b"hello", "not bencode"),
    "a web page": (b"<!DOCTYPE html><html>", "not bencode"),
    "a list": (b"le", "not a dictionary"),
    "a number": (b"i1e", "not a dictionary"),
    "no info": (encode({b"announce": b"x"}), "no info dictionary"),
    "info is a list": (torrent([]), "no info dictionary"),
    "cut short": (torrent()[:-1], "not bencode"),
    "cut inside": (torrent()[:60], "not bencode"),
    "negative length of a key": (b"d4:info-6:e", "not bencode"),
    "negative length of a text": (b"d4:info-5:helloe", "not bencode"),
    "key that is no text": (b"di1ei1ee", "a key is no string"),
    "longer than itself": (b"d4:info99999999999999999999:xe", "string cut short"),
    "digits": (b"1" * 10_000_000, "bad length"),
    "deep lists": (b"l" * 10_000_000, "too deep"),
    "deep dictionaries": (b"d1:a" * 100_000, "too deep"),
    "too deep": (torrent(deep(100)), "too deep"),
    "too long": (torrent(comment=b"c" * 100_000_000), "longer than 100000000 bytes"),
    "no pieces": (torrent(without(V1, b"pieces")), "neither pieces nor a file tree"),
    "pieces cut short": (torrent(V1 | {b"pieces": b"p" * 39}), "bad piece hashes"),
    "pieces are a list": (torrent(V1 | {b"pieces": [b"p" * 20]}), "bad piece hashes"),
    "empty pieces": (torrent(V1 | {b"pieces": b""}), "bad piece hashes"),
    "no piece length": (torrent(without(V1, b"piece length")), "bad piece length"),
    "negative piece length": (torrent(V1 | {b"piece length": -1}), "bad piece length"),
    "no piece length at all": (torrent(V1 | {b"piece length": 0}), "bad piece length"),
    "negative length": (torrent(V1 | {b"length": -5}), "bad length"),
    "negative length of a file": (torrent(V1 | {b"files": [{b"length": -1}]}), "bad length"),
    "file is a number": (torrent(V1 | {b"files": [1]}), "bad length"),
    "files are a text": (torrent(V1 | {b"files": b"a"}), "bad files"),
    "version of the future": (torrent(V2 | {b"meta version": 3}), "unknown meta version"),
    "version is a list": (torrent(V1 | {b"meta version": []}), "unknown meta version"),
    "version 2 without files": (torrent(without(V2, b"file tree")), "no file tree"),
    "hybrid without files": (torrent(without(HYBRID, b"file tree")), "no file tree"),
}


def test_version_1_is_named_by_the_sha1_of_its_info():
    info_hash = InfoHash(sha1(encode(V1)).digest())
    assert parse_metainfo(torrent(comment=b"http://t.example")) == Metainfo("a.iso", info_hash, None)
    assert parse_metainfo(torrent()).info_hashes == (info_hash,)


def test_version_2_is_named_by_a_cut_sha256():
    """Whole in the value, cut for the DHT (BEP 52)."""
    metainfo = parse_metainfo(torrent(V2, piece_layers={}))
    assert metainfo == Metainfo("a.iso", None, sha256(encode(V2)).digest())
    assert metainfo.info_hashes == (sha256(encode(V2)).digest()[:20],)


def test_hybrid_has_both_names():
    first, second = parse_metainfo(torrent(HYBRID)).info_hashes
    assert first == sha1(encode(HYBRID)).digest()
    assert second == sha256(encode(HYBRID)).digest()[:20]
    assert public_info_hash(parse_metainfo(torrent(HYBRID))) == first


def test_tree_of_hashes_serves_in_place_of_pieces():
    """BEP 30."""
    info = without(V1, b"pieces") | {b"root hash": b"r" * 20}
    assert parse_metainfo(torrent(info)).info_hashes == (sha1(encode(info)).digest(),)


@pytest.mark.parametrize(
    "info",
    [
        b"d6:pieces20:" + b"p" * 20 + b"12:piece lengthi1e4:name1:ae",  # the keys are not sorted
        b"d04:name1:a12:piece lengthi01e6:pieces020:" + b"p" * 20 + b"e",
    ],
)
def test_hash_is_that_of_the_original_bytes(info):
    expected = sha1(info).digest()
    assert parse_metainfo(b"d4:info" + info + b"e").info_hashes == (expected,)
    assert parse_metainfo(b"d1:zi1e4:info" + info + b"1:ai1ee\r\n").info_hashes == (expected,)


def test_info_inside_something_else_does_not_count():
    data = b"d1:a" + torrent(V2) + torrent()[1:]
    assert parse_metainfo(data).info_hashes == (sha1(encode(V1)).digest(),)


@pytest.mark.parametrize("value", [1, 2, -1, b"1", b"", [], {}, 10**19])
def test_whatever_marks_a_torrent_as_private_keeps_it_out_of_the_dht(value):
    metainfo = parse_metainfo(torrent(V1 | {b"private": value}))
    assert metainfo.is_private
    with pytest.raises(PrivateTorrent, match=r"^'a\.iso' is a private torrent"):
        public_info_hash(metainfo)


@pytest.mark.parametrize("info", [V1, V1 | {b"private": 0}, V2 | {b"private": 0}])
def test_public_torrent_may_be_looked_for(info):
    """A mark outside of the info means nothing (BEP 27)."""
    metainfo = parse_metainfo(torrent(info, private=1))
    assert not metainfo.is_private
    assert public_info_hash(metainfo) == metainfo.info_hashes[0]


def test_info_hash_alone_is_public():
    assert public_info_hash(InfoHash(b"h" * 20)) == b"h" * 20


def test_name_of_any_bytes_is_shown_in_one_line():
    metainfo = parse_metainfo(torrent(V1 | {b"name": b"\xff\n\x1b[2J", b"private": 1}))
    assert metainfo.name == "\ufffd\n\x1b[2J"
    with pytest.raises(PrivateTorrent) as refused:
        public_info_hash(metainfo)
    assert str(refused.value).isprintable()


CHINESE = "\u4e2d\u6587"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({b"name": CHINESE.encode("gbk"), b"name.utf-8": CHINESE.encode()}, CHINESE),
        ({b"name.utf-8": CHINESE.encode()}, CHINESE),
        ({b"name": CHINESE.encode(), b"name.utf-8": CHINESE.encode("gbk")}, CHINESE),
        ({b"name": CHINESE.encode(), b"name.utf-8": b""}, CHINESE),
        ({b"name": CHINESE.encode(), b"name.utf-8": 1}, CHINESE),
        ({b"name": b"a\xff", b"name.utf-8": b"b\xff"}, "a\ufffd"),
        ({b"name": b""}, ""),
        ({b"name": 1}, ""),
        ({}, ""),
    ],
)
def test_name_is_the_one_that_is_utf_8_and_may_be_missing(names, expected):
    info = encode(without(V1, b"name") | names)
    metainfo = parse_metainfo(b"d4:info" + info + b"e")
    assert metainfo == Metainfo(expected, InfoHash(sha1(info).digest()), None)
    assert parse_info(info).name == expected


@pytest.mark.parametrize(
    "data",
    [
        b"d7:comment1:a7:comment1:b" + torrent()[1:],
        b"d1:ad1:bd1:ci1e1:ci1eee" + torrent()[1:],
        b"d4:info" + encode(V1)[:-1] + b"6:md5sum1:a6:md5sum1:a4:name1:bee",
    ],
    ids=["comment", "inside", "in the info"],
)
def test_key_that_decides_nothing_may_be_there_twice(data):
    """The first counts, as in libtorrent."""
    info = data[data.index(b"4:info") + 6 : data.rindex(b"e")]
    assert parse_metainfo(data) == Metainfo("a.iso", InfoHash(sha1(info).digest()), None)
    assert parse_info(info).name == "a.iso"


def test_torrent_of_too_many_values_is_refused(monkeypatch):
    monkeypatch.setattr("dhtnode.metainfo.MAX_ITEMS", 1000)
    monkeypatch.setattr("dhtnode.torrents.info.MAX_INFO_ITEMS", 500)
    for count, parse, rest in ((1000, parse_metainfo, torrent()[1:]), (500, parse_info, encode(V1)[1:])):
        few = 20
        assert parse(b"d1:al" + b"0:" * (count - few) + b"e" + rest).name == "a.iso"
        with pytest.raises(InvalidTorrent, match="too many items"):
            parse(b"d1:al" + b"0:" * count + b"e" + rest)


def test_torrent_of_a_terabyte_is_read():
    info = encode(V1 | {b"length": 700_000 << 20, b"piece length": 1 << 20, b"pieces": b"p" * 20 * 700_000})
    assert parse_metainfo(b"d4:info" + info + b"e").info_hash_v1 == sha1(info).digest()


@pytest.mark.slow  # a million values take seconds
def test_torrent_of_many_files_is_read():
    file = encode({b"length": 1, b"path": [b"folder", b"a name as people have them"]})
    info = encode(V1)[:-1] + b"5:filesl" + file * 170_000 + b"e7:unknowni1ee"
    assert parse_metainfo(b"d4:info" + info + b"e").info_hash_v1 == sha1(info).digest()


@pytest.mark.parametrize("wrong", [None, 5, "d4:infodee", bytearray(torrent()), [torrent()]], ids=type)
@pytest.mark.parametrize("parse", [parse_info, parse_metainfo])
def test_what_is_no_bytes_is_no_torrent(parse, wrong):
    with pytest.raises(InvalidTorrent, match=f"not from {type(wrong).__name__}$"):
        parse(wrong)


@pytest.mark.parametrize(
    ("entries", "trackers"),
    [
        ({}, ()),
        ({"announce": b"udp://a:1"}, (("udp://a:1",),)),
        ({"announce": b"udp://a:1", "announce-list": [[b"x", b"y", b"x"], [b"z"]]}, (("x", "y"), ("z",))),
        ({"announce": b"udp://a:1", "announce-list": [[], b" w ", 3, [7, b""]]}, (("w",),)),
        ({"announce": b"udp://a:1", "announce-list": 5}, (("udp://a:1",),)),
        ({"announce": 7}, ()),
    ],
)
def test_trackers_stand_in_tiers(entries, trackers):
    """If there are tiers, `announce` does not count; what is none of them is left out (BEP 12)."""
    assert parse_metainfo(torrent(**entries)).trackers == trackers


def test_trackers_of_a_file_are_bounded():
    found = parse_metainfo(torrent(**{"announce-list": [[b"u%d" % n for n in range(15)]] * 200})).trackers
    assert [len(tier) for tier in found] == [15] * 66 + [10]
    found = parse_metainfo(torrent(**{"announce-list": [[b"u"]] * 200})).trackers
    assert found == (("u",),) * 100


def test_links_that_are_too_long_are_left_out():
    read = parse_metainfo(torrent(**{"announce": b"u" * 2049, "url-list": [b"u" * 2049, b"u" * 2048]}))
    assert (read.trackers, read.web_seeds) == ((), ("u" * 2048,))


@pytest.mark.parametrize(
    ("data", "info"),
    [
        (torrent()[:-1] + b"4:info" + encode(V2) + b"e", encode(V1)),
        (TWICE % b"6:pieces20:qqqqqqqqqqqqqqqqqqqq", encode(V1)[:-1] + b"6:pieces20:qqqqqqqqqqqqqqqqqqqqe"),
        (TWICE % b"4:name1:b", encode(V1)[:-1] + b"4:name1:be"),
    ],
    ids=["info", "pieces", "name"],
)
def test_of_keys_that_stand_twice_the_first_counts(data, info):
    """As in libtorrent; the hash is that of the bytes as they stand."""
    read = parse_details(data)
    assert read.metainfo == Metainfo("a.iso", InfoHash(sha1(info).digest()), None)
    assert (read.marks, read.pieces) == ((TorrentMark.REPEATED_KEYS, TorrentMark.WRONG_PIECES), 2)


@pytest.mark.parametrize(
    "data",
    [
        TWICE % b"7:privatei0e7:privatei1e",
        TWICE % b"7:privatei1e7:privatei0e",
        torrent()[:-1] + b"4:info" + encode(V1 | {b"private": 1}) + b"e",
    ],
)
def test_torrent_is_private_if_one_of_two_marks_says_so(data):
    """Clients disagree on which counts."""
    assert parse_metainfo(data).is_private


@pytest.mark.parametrize(
    ("value", "seeds"), [(b"http://a/", ("http://a/",)), ([b"x", 1, b"x"], ("x",)), (7, ())]
)
def test_web_seeds(value, seeds):
    read = parse_metainfo(torrent(**{"url-list": value, "httpseeds": value}))
    assert (read.web_seeds, read.http_seeds) == (seeds, seeds)


def test_nodes_are_bootstrap_nodes():
    good = [[b"127.0.0.1", 6881], [b"dht.example.org", 1], [b"::1", 65535]]
    bad = [[b"a", 0], [b"a", 65536], [b"a", -1], [b"a"], [b"a", b"1"], [1, 2], b"a:1", [b"", 1], [], {}]
    odd = [[b"a b", 1], [b"\xff", 1], [b"a\n", 1], [b"a:b:c]d", 1], [b"[]", 1]]
    assert parse_metainfo(torrent(nodes=bad + odd + good)).nodes == (
        "127.0.0.1:6881",
        "dht.example.org:1",
        "[::1]:65535",
    )
    assert parse_metainfo(torrent(nodes=b"a:1")).nodes == ()
    assert len(parse_metainfo(torrent(nodes=[[b"a", 1]] * 1000)).nodes) == 32


def test_deepest_tree_allowed_is_read():
    assert parse_metainfo(torrent(deep(99))).info_hash_v2


@pytest.mark.parametrize(("data", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_torrent_is_one_line(data, complaint):
    with pytest.raises(InvalidTorrent) as refused:
        parse_metainfo(data)
    assert complaint in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 100


@given(bencode_values(), st.dictionaries(st.binary(max_size=8), bencode_values(), max_size=4))
def test_hash_is_found_wherever_the_info_stands(inside, beside):
    info = V1 | {b"x": inside}
    metainfo = parse_metainfo(encode(beside | {b"info": info}))
    assert metainfo.info_hashes == (sha1(encode(info)).digest(),)


@given(
    st.dictionaries(
        st.sampled_from([b"info", b"nodes", b"a"]),
        st.dictionaries(st.sampled_from([*HYBRID, b"private", b"files"]), bencode_values())
        | bencode_values(),
    ).map(encode)
    | st.binary(max_size=200)
)
def test_any_bytes_are_a_torrent_or_one_error(data):
    try:
        metainfo = parse_metainfo(data)
    except InvalidTorrent:
        return
    assert metainfo.info_hashes


FILES = {
    b"files": [
        {b"length": 20_000, b"path": [b"a"]},
        {b"attr": b"p", b"length": 12_768, b"path": [b".pad", b"12768"]},
        {b"attr": b"x", b"length": 5, b"path": [b"b", b"c"]},
    ],
    b"name": b"many",
    b"piece length": 16384,
    b"pieces": b"p" * 60,
}
TREE = V2 | {
    b"file tree": {
        b"a": {b"": {b"length": 16385, b"pieces root": b"r" * 32}},
        b"d": {b"b": {b"": {b"length": 1, b"pieces root": b"r" * 32}}, b"empty": {b"": {b"length": 0}}},
    }
}


@pytest.mark.parametrize(
    ("info", "versions", "size", "files", "pieces"),
    [
        (V1, {1}, 5, 1, 2),
        (V2, {2}, 5, 1, 1),
        (HYBRID, {1, 2}, 5, 1, 2),
        (FILES, {1}, 20_005, 2, 3),
        (TREE, {2}, 16_386, 3, 3),
        (
            {b"length": 40_000, b"name": b"m", b"piece length": 16384, b"root hash": b"r" * 20},
            {1},
            40_000,
            1,
            3,
        ),
    ],
    ids=["version 1", "version 2", "hybrid", "padded", "tree", "merkle"],
)
def test_info_dictionary_says_what_is_in_a_torrent(info, versions, size, files, pieces):
    data = encode(info)
    assert parse_info(data) == TorrentInfo(
        name=info[b"name"].decode(),
        info_hash_v1=InfoHash(sha1(data).digest()) if 1 in versions else None,
        info_hash_v2=sha256(data).digest() if 2 in versions else None,
        is_private=False,
        size=size,
        files=files,
        pieces=pieces,
    )


def test_private_info_dictionary_is_told():
    assert [parse_info(encode(V1 | {b"private": value})).is_private for value in (0, 1, b"", 2)] == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not bencode"),
        (b"li1ee", "not a dictionary"),
        (encode(V1)[:-1], "not bencode"),
        (encode(V1 | {b"length": -1}), "bad length"),
        (encode(V1 | {b"length": 2**63}), "bad length"),
        (encode(V1 | {b"files": [{b"length": 2**63 - 1}, {b"length": 1}]}), "bad length"),
        (encode(V2 | {b"file tree": {b"a": 1}}), "bad file tree"),
        (encode(V2 | {b"file tree": {b"a": {b"": {b"length": -1}}}}), "bad length"),
        (encode(V2 | {b"file tree": {b"a": {b"": b""}}}), "bad length"),
        (b"d" + b"4:name" * 10_000_000, "longer than"),
    ],
)
def test_bad_info_dictionary_is_refused(data, reason):
    with pytest.raises(InvalidTorrent, match=reason):
        parse_info(data)


@given(st.binary(max_size=300) | bencode_values().map(encode))
def test_any_bytes_are_read_as_info_or_refused(data):
    try:
        parse_info(data)
    except InvalidTorrent as error:
        assert str(error)
