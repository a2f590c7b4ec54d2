"""Torrents and magnet links beside libtorrent's reading: what differs is named here, with its reason.

The corpus is made on the spot, by hand and by libtorrent.
"""

import shutil
import subprocess
import sys

import libtorrent as lt
import pytest

from dhtnode.bencode import encode
from dhtnode.errors import InvalidInfoHash, InvalidTorrent
from dhtnode.magnet import parse_magnet
from dhtnode.torrents import TorrentMark, parse_details

pytestmark = pytest.mark.real_clients

TORF = """
import sys, torf
made = torf.Torrent(path=sys.argv[2], comment="text")
made.trackers = [["http://t.example/announce"], ["udp://u.example:1/"]]
made.webseeds = ["http://w.example/"]
made.generate()
made.write(sys.argv[1])
"""

V1 = {b"length": 5, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 20}
LEAF = {b"": {b"length": 5, b"pieces root": b"r" * 32}}
V2 = {b"file tree": {b"a.iso": LEAF}, b"meta version": 2, b"name": b"a.iso", b"piece length": 16384}
HYBRID = V1 | V2
SEVERAL = {
    b"files": [{b"length": 3, b"path": [b"a"]}, {b"length": 4, b"path": [b"b", b"c"]}],
    b"name": b"dir",
    b"piece length": 16384,
    b"pieces": b"p" * 20,
}
CHINESE = "\u4e2d\u6587"
GBK = CHINESE.encode("gbk")


def torrent(info=V1, **others):
    """Return the bytes of a torrent; keys of `others` have `_` for the sign between words."""
    keys = {"announce_list": b"announce-list", "url_list": b"url-list"}
    return encode({keys.get(k, k.replace("_", " ").encode()): v for k, v in others.items()} | {b"info": info})


def without(info, key):
    return {each: value for each, value in info.items() if each != key}


def with_files(*files):
    return SEVERAL | {b"files": list(files)}


def twice(more):
    """Return a torrent with bytes at the end of its info dictionary."""
    return b"d4:info" + encode(V1)[:-1] + more + b"ee"


UNSORTED = b"d4:infod6:pieces20:" + b"p" * 20 + b"12:piece lengthi16384e4:name1:a6:lengthi5eee"
TORRENTS = {
    "plain": torrent(),
    "version 2": torrent(V2, piece_layers={}),
    "version 2 without layers": torrent(V2),
    "hybrid": torrent(HYBRID, piece_layers={}),
    "several files": torrent(SEVERAL),
    "several files and a length": torrent(SEVERAL | {b"length": 7}),
    "name in UTF-8 only": torrent(without(V1, b"name") | {b"name.utf-8": b"b.iso"}),
    "name in GBK, and in UTF-8": torrent(V1 | {b"name": GBK, b"name.utf-8": CHINESE.encode()}),
    "name in GBK": torrent(V1 | {b"name": GBK}, encoding=b"GBK"),
    "path in GBK, and in UTF-8": torrent(
        with_files({b"length": 3, b"path": [GBK], b"path.utf-8": [CHINESE.encode()]})
    ),
    "no name": torrent(without(V1, b"name")),
    "empty name": torrent(V1 | {b"name": b""}),
    "name is a number": torrent(V1 | {b"name": 5}),
    "name leads up": torrent(V1 | {b"name": b".."}),
    "name with a slash": torrent(V1 | {b"name": b"a/b"}),
    "info twice": torrent()[:-1] + b"4:info" + encode(V2) + b"e",
    "pieces twice": twice(b"6:pieces20:" + b"q" * 20),
    "name twice": twice(b"4:name1:b"),
    "private twice": twice(b"7:privatei0e7:privatei1e"),
    "private": torrent(V1 | {b"private": 1}),
    "private, a text": torrent(V1 | {b"private": b"1"}),
    "private, 2": torrent(V1 | {b"private": 2}),
    "private, a list": torrent(V1 | {b"private": []}),
    "Merkle": torrent(without(V1, b"pieces") | {b"root hash": b"r" * 20}),
    "Merkle and pieces": torrent(V1 | {b"root hash": b"r" * 20}),
    "version 3": torrent(V2 | {b"meta version": 3}),
    "version 1 that says so": torrent(V1 | {b"meta version": 1}),
    "no piece length": torrent(without(V1, b"piece length")),
    "odd piece length": torrent(V1 | {b"piece length": 1000}),
    "odd piece length, version 2": torrent(V2 | {b"piece length": 1000}),
    "pieces of a byte": torrent(V1 | {b"piece length": 1, b"pieces": b"p" * 100}),
    "a piece too many": torrent(V1 | {b"pieces": b"p" * 40}),
    "cut piece hash": torrent(V1 | {b"pieces": b"p" * 19}),
    "empty file": torrent(V1 | {b"length": 0, b"pieces": b""}),
    "empty file with a piece": torrent(V1 | {b"length": 0}),
    "no files": torrent(with_files()),
    "file without a path": torrent(with_files({b"length": 3})),
    "file of an empty path": torrent(with_files({b"length": 3, b"path": []})),
    "file without a length": torrent(with_files({b"path": [b"x"]}, {b"length": 3, b"path": [b"y"]})),
    "file of a negative length": torrent(with_files({b"length": -3, b"path": [b"x"]})),
    "path leads up": torrent(with_files({b"length": 3, b"path": [b"..", b"x"]})),
    "equal paths": torrent(with_files({b"length": 3, b"path": [b"a"]}, {b"length": 4, b"path": [b"a"]})),
    "link to a file": torrent(
        with_files(
            {b"length": 3, b"path": [b"a"]},
            {b"attr": b"l", b"length": 0, b"path": [b"l"], b"symlink path": [b"a"]},
        )
    ),
    "padding": torrent(
        with_files(
            {b"length": 3, b"path": [b"a"]},
            {b"attr": b"p", b"length": 16381, b"path": [b".pad", b"16381"]},
            {b"length": 4, b"path": [b"b"]},
        )
        | {b"pieces": b"p" * 40}
    ),
    "length is a text": torrent(V1 | {b"length": b"5"}),
    "huge length": torrent(V1 | {b"length": 2**62}),
    "hybrid of two lengths": torrent(HYBRID | {b"length": 6}, piece_layers={}),
    "hybrid of two names": torrent(HYBRID | {b"name": b"z"}, piece_layers={}),
    "no root": torrent(V2 | {b"file tree": {b"a": {b"": {b"length": 5}}}}),
    "large file without a layer": torrent(
        V2 | {b"file tree": {b"a": {b"": {b"length": 50000, b"pieces root": b"r" * 32}}}}
    ),
    "announce": torrent(announce=b"http://x.example/announce"),
    "announce is a number": torrent(announce=5),
    "tiers": torrent(
        announce=b"http://x.example/", announce_list=[[b"http://y.example/"], [b"udp://z.example:1"]]
    ),
    "tiers that are none": torrent(announce_list=[b"http://a.example/", b"http://b.example/"]),
    "one text for tiers": torrent(announce_list=b"http://a.example/"),
    "no tiers": torrent(announce=b"http://x.example/", announce_list=[]),
    "empty tiers": torrent(announce=b"http://x.example/", announce_list=[[], [b""]]),
    "web seed": torrent(url_list=b"http://w.example/"),
    "empty web seed": torrent(url_list=b""),
    "web seeds of all kinds": torrent(
        url_list=[b"http://w.example/", 5, [b"http://v.example/"], b"ftp://x.example/"]
    ),
    "HTTP seeds": torrent(httpseeds=[b"http://h.example/"]),
    "nodes": torrent(nodes=[[b"192.0.2.1", 5], [b"h.example", 0]]),
    "comments": torrent(comment=b"a", creation_date=-5),
    "similar": torrent(V1 | {b"similar": [b"s" * 20, b"x"]}, similar=[b"t" * 20]),
    "bytes after it": torrent() + b"xx",
    "leading zeros": b"d4:info" + encode(V1).replace(b"i5e", b"i05e") + b"e",
    "minus zero": b"d4:info" + encode(V1).replace(b"i5e", b"i-0e") + b"e",
    "unsorted": UNSORTED,
    "empty": b"de",
    "info is a text": encode({b"info": b"x"}),
}

MARKED = {
    TorrentMark.NO_NAME,
    TorrentMark.WRONG_PIECES,
    TorrentMark.NO_FILES,
    TorrentMark.ODD_FILES,
    TorrentMark.INCONSISTENT_HYBRID,
    TorrentMark.NO_ROOTS,
    TorrentMark.ODD_PIECE_LENGTH,
}
"""Of what libtorrent refuses and this reads: a measurement needs the info-hash, and no files."""

MERKLE = "libtorrent has left BEP 30; the swarm may be there all the same"
DIFFERENT = {
    "large file without a layer": "its name is in the info; libtorrent takes that of the only file",
    "Merkle": MERKLE,
    "name in GBK": "read by the encoding that the file tells; libtorrent has underscores",
    "name with a slash": "as it stands; libtorrent takes the slash out",
    "private twice": "a leak cannot be undone",
    "private, a text": "a leak cannot be undone",
    "private, a list": "a leak cannot be undone",
    "tiers that are none": "each text is a tier; libtorrent drops them",
    "HTTP seeds": "libtorrent has left BEP 17",
    "nodes": "port 0 is none",
    "one text for tiers": "libtorrent drops it, and so do we",
}


def libtorrent_reads(data):
    """Return what libtorrent says of a torrent, or None if it refuses it."""
    try:
        read = lt.load_torrent_buffer(data)
    except RuntimeError:
        return None
    info, layout = read.ti, read.ti.layout()
    padding = lt.file_flags_t.flag_pad_file
    hashes = info.info_hashes()
    files = [n for n in range(layout.num_files()) if not layout.file_flags(n) & padding]
    return {
        "name": info.name(),
        "v1": hashes.v1.to_bytes() if hashes.has_v1() else None,
        "v2": hashes.v2.to_bytes() if hashes.has_v2() else None,
        "size": sum(layout.file_size(n) for n in files),
        "files": len(files),
        "pieces": info.num_pieces(),
        "private": info.priv(),
        "trackers": list(zip(read.tracker_tiers, read.trackers, strict=True)),
        "web seeds": sorted(read.url_seeds),
        "nodes": sorted(f"{host}:{port}" for host, port in read.dht_nodes),
    }


def we_read(details):
    metainfo = details.metainfo
    return {
        "name": metainfo.name,
        "v1": metainfo.info_hash_v1,
        "v2": metainfo.info_hash_v2,
        "size": details.size,
        "files": sum(not file.is_padding for file in details.files),
        "pieces": details.pieces,
        "private": metainfo.is_private,
        "trackers": [(n, url) for n, tier in enumerate(metainfo.trackers) for url in tier],
        "web seeds": sorted(metainfo.web_seeds),
        "nodes": sorted(metainfo.nodes),
    }


@pytest.mark.parametrize(("name", "data"), TORRENTS.items(), ids=TORRENTS.keys())
def test_torrent_is_read_as_libtorrent_reads_it(name, data):
    theirs = libtorrent_reads(data)
    try:
        details = parse_details(data)
    except InvalidTorrent:
        assert theirs is None
        return
    if theirs is None:
        assert MARKED & set(details.marks) or name == "Merkle"
        return
    ours = we_read(details)
    assert not MARKED & set(details.marks) - {TorrentMark.ODD_FILES}
    if name not in DIFFERENT:
        assert ours == theirs
    assert (ours["v1"], ours["v2"], ours["size"], ours["files"]) == (
        theirs["v1"],
        theirs["v2"],
        theirs["size"],
        theirs["files"],
    )


@pytest.fixture
def folder(tmp_path):
    """Return a folder with files to make torrents of."""
    for name, size in (("a", 70_000), ("d/b", 5), ("d/empty", 0), ("\u00e9", 7)):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return tmp_path / "folder"


@pytest.mark.parametrize("kind", [lt.create_torrent.v1_only, lt.create_torrent.v2_only, 0])
def test_torrents_that_libtorrent_makes_are_read(folder, kind):
    """Of version 1, 2 and both, with padding, trackers in tiers and web seeds."""
    made = lt.create_torrent(lt.list_files(str(folder)), 16384, kind)
    made.add_tracker("http://t.example/announce", 0)
    made.add_tracker("udp://u.example:1", 1)
    made.add_url_seed("http://w.example/")
    made.set_comment("a comment")
    lt.set_piece_hashes(made, str(folder.parent))
    # `generate_buf` of the binding raises UnicodeDecodeError.
    data = lt.bencode(made.generate())
    details = parse_details(data)
    assert (details.marks, details.comment) == ((), "a comment")
    assert we_read(details) == libtorrent_reads(data)


MAKERS = {
    "mktorrent": ["mktorrent", "-a", "http://t.example/announce", "-w", "http://w.example/", "-o"],
    "transmission-create": ["transmission-create", "-t", "http://t.example/announce", "-c", "text", "-o"],
    "torf": [sys.executable, "-c", TORF],
}


@pytest.mark.parametrize(("name", "command"), MAKERS.items(), ids=MAKERS.keys())
def test_torrents_that_other_programs_make_are_read(tmp_path, folder, name, command):
    if name == "torf":
        pytest.importorskip("torf")
    elif shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    made = tmp_path / "made.torrent"
    subprocess.run([*command, str(made), str(folder)], check=True, capture_output=True, timeout=60)
    data = made.read_bytes()
    details = parse_details(data)
    assert (details.marks, details.size, details.unknown_keys) == ((), 70_012, 0)
    assert we_read(details) == libtorrent_reads(data)


HEX = "5d41402abc4b2a76b9719d911017c592aabbccdd"
LINK = f"magnet:?xt=urn:btih:{HEX}"
SHA256 = "cd" * 32
MAGNETS = {
    "plain": LINK,
    "capitals in the hash": LINK.replace(HEX, HEX.upper()),
    "base32": "magnet:?xt=urn:btih:LVAUAKV4JMVHNOLRTWIRAF6FSKVLXTG5",
    "hybrid": f"{LINK}&xt=urn:btmh:1220{SHA256}",
    "hybrid, version 2 first": f"magnet:?xt=urn:btmh:1220{SHA256}&xt=urn:btih:{HEX}",
    "version 2": f"magnet:?xt=urn:btmh:1220{SHA256}",
    "name first": f"magnet:?dn=A&xt=urn:btih:{HEX}",
    "name": f"{LINK}&dn=a+b%20c",
    "name with `=`": f"{LINK}&dn=a=b",
    "name with `#`": f"{LINK}&dn=Foo #1&tr=udp://a.example:1",
    "name in another script": f"{LINK}&dn={CHINESE}",
    "name in another script, escaped": f"{LINK}&dn=%E4%B8%AD",
    "empty values": f"{LINK}&tr=&dn=",
    "length": f"{LINK}&xl=123",
    "chosen files": f"{LINK}&so=0,2-4",
    "trackers": f"{LINK}&tr=udp://a.example:1&tr=http://b.example/announce",
    "numbered trackers": f"{LINK}&tr.1=udp://a.example:1&tr.2=udp://b.example:2",
    "escaped tracker": f"{LINK}&tr=udp%3A%2F%2Fa.example%3A1%2Fannounce%26x",
    "escaped tracker with a query": f"{LINK}&tr=http%3A%2F%2Ft.example%2Fa%3Fb%3D1%26c%3D2",
    "web seed": f"{LINK}&ws=http://a.example/b",
    "peers": f"{LINK}&x.pe=192.0.2.1:5&x.pe=[2001:db8::1]:6",
    "other topics": f"magnet:?xt=urn:sha1:AAAA&xt=urn:btih:{HEX}",
    "escaped topic": f"magnet:?xt=urn%3Abtih%3A{HEX}",
    "too long": f"{LINK}00",
    "too short": LINK[:-1],
    "no hash": "magnet:?dn=x",
    "nothing": "magnet:?",
    "a semicolon": f"{LINK};dn=x",
    "no name of the hash": f"magnet:?{HEX}",
    # What people paste, and libtorrent refuses or reads in part.
    "all capitals": LINK.upper(),
    "spaces around": f"  {LINK}\n",
    "brackets around": f"<{LINK}>",
    "quotes around": f'"{LINK}"',
    "escaped as a whole": f"magnet%3A%3Fxt%3Durn%3Abtih%3A{HEX}%26dn%3Da",
    "from a web page": f"{LINK}&amp;dn=x&amp;tr=udp://a.example:1",
    "from a web page, by number": f"{LINK}&#38;dn=x",
    "no question mark": f"magnet:xt=urn:btih:{HEX}",
    "slashes": f"magnet://?xt=urn:btih:{HEX}",
    "space in the topic": f"{LINK}%20&dn=a",
    "part of a page": f"{LINK}#frag",
    "numbered topics": f"magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:btih:{'ab' * 20}",
    "two torrents": f"{LINK}&xt=urn:btih:{'ab' * 20}",
    "name with `&`": f"{LINK}&dn=Tom & Jerry",
    "tracker with a query": f"{LINK}&tr=http://t.example/announce?a=1&uid=2&dn=x",
    "double ampersands": f"{LINK}&&&dn=a",
    "name that is no text": f"{LINK}&dn=%FF%FE",
    "peer by name": f"{LINK}&x.pe=name.example:7",
    "bad topic first": f"magnet:?xt=urn:btih:zz&xt=urn:btih:{HEX}",
    "topic last": f"magnet:?tr=udp://a.example:1&dn=a&xt=urn:btih:{HEX}",
    "topic in capitals": f"magnet:?XT=URN:BTIH:{HEX}&DN=a",
    "broken version 2": f"{LINK}&xt=urn:btmh:1220ab",
    "other hash of version 2": f"{LINK}&xt=urn:btmh:1114{'cd' * 20}",
    "name twice": f"{LINK}&dn=a&dn=b",
    "tracker twice": f"{LINK}&tr=udp://a.example:1&tr=udp://a.example:1",
    "blank tracker": f"{LINK}&tr=%20",
    "lone escape": f"{LINK}&dn=100%",
    "line inside": f"{LINK}&dn=a%0Ab",
    "unknown fields": f"{LINK}&foo=bar&x.y=z",
    "exact source": f"{LINK}&xs=http://a.example/a.torrent",
    "hidden space": f"\u200b{LINK}\ufeff",
}
ONLY_OURS = {
    *("all capitals", "spaces around", "brackets around", "quotes around", "escaped as a whole"),
    *("no question mark", "slashes", "space in the topic", "part of a page", "hidden space"),
    *("bad topic first", "broken version 2", "other hash of version 2", "topic in capitals"),
}
"""What people paste: libtorrent refuses it whole."""

READ_FURTHER = {
    "from a web page": "`&amp;` is `&`",
    "from a web page, by number": "`&#38;` is `&`",
    "numbered topics": "the first counts; libtorrent takes the last",
    "two torrents": "the first counts; libtorrent takes the last",
    "name with `&`": "what has no `=` belongs to the name",
    "tracker with a query": "what follows a `?` belongs to the link",
    "double ampersands": "an empty field is none",
    "peer by name": "peers are not resolved here, and shown as they stand",
    "name twice": "the first counts; libtorrent takes the last",
    "tracker twice": "each once",
    "blank tracker": "is none",
    "name that is no text": "U+FFFD; libtorrent's binding ends with an error",
    "lone escape": "a sign that escapes nothing stays",
}


@pytest.mark.parametrize(("name", "link"), MAGNETS.items(), ids=MAGNETS.keys())
def test_magnet_link_is_read_as_libtorrent_reads_it(name, link):
    try:
        theirs = lt.parse_magnet_uri(link)
    except RuntimeError:
        theirs = None
    try:
        ours = parse_magnet(link)
    except InvalidInfoHash:
        assert theirs is None
        return
    if theirs is None:
        assert name in ONLY_OURS
        assert bytes.fromhex(HEX) in ours.info_hashes
        return
    if name in READ_FURTHER:
        return
    hashes = theirs.info_hashes
    assert ours.info_hashes == (
        *([hashes.v1.to_bytes()] if hashes.has_v1() else []),
        *([hashes.v2.to_bytes()[:20]] if hashes.has_v2() else []),
    )
    assert (ours.name, list(ours.trackers)) == (theirs.name, theirs.trackers)
    assert list(ours.web_seeds) == theirs.url_seeds
    assert len(ours.peers) == len(theirs.peers)
