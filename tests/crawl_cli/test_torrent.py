"""`dhtcrawl torrent` says what files and links tell, and which web seeds are alive."""

import json
from hashlib import sha1

import pytest
import trio

import crawler
from crawler.cli.main import main
from crawler.db.database import CrawlDatabase
from crawler.db.records.torrents import HandshakeBatch, SwarmContact, known_of
from crawler.torrents import handshakes_of
from dhtnode import InfoHash, TorrentInfo, read_torrent
from dhtnode.bencode import encode
from dhtnode.testing import open_testnet
from tests.commands import run_command
from tests.databases import rows
from tests.tracker_client.fake_trackers import response, serving_http

HASH = "5d41402abc4b2a76b9719d911017c592aabbccdd"
INFO_HASH = InfoHash(bytes.fromhex(HASH))
NOW = "2025-01-01T00:00:00.000Z"
INFO = {b"length": 50_000, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 80}
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def torrent(tmp_path):
    """Return what writes a torrent, and returns its path."""

    def write(info=INFO, **others):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.torrent"
        path.write_bytes(
            encode({k.replace("_", "-").encode(): v for k, v in others.items()} | {b"info": info})
        )
        return str(path)

    return write


def run(*words):
    """Run the command and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["torrent", *words])
    return ended.value.code


def test_file_is_described(torrent, capsys):
    path = torrent(announce=f"http://t.example/{KEY}/announce".encode(), comment=b"hi\x1b[2J")
    assert run(path) == 0
    out = capsys.readouterr().out
    (info_hash,) = read_torrent(path).info_hashes
    assert out.splitlines()[0] == "a.iso"
    assert info_hash.hex() in out
    assert "50,000" in out
    assert "http://t.example/.../announce" in out
    assert KEY not in out
    assert "hi\\x1b[2J" in out


def test_json_has_the_same_of_each(torrent, capsys):
    files = {b"files": [{b"length": n, b"path": [b"%d" % n]} for n in range(1, 31)]}
    several = {name: value for name, value in INFO.items() if name != b"length"} | files
    assert (
        run(torrent(), torrent(several), f"magnet:?xt=urn:btih:{HASH}&dn=A%20%26+B&xl=7", HASH, "--json") == 0
    )
    lone, many, magnet, bare = map(json.loads, capsys.readouterr().out.splitlines())
    assert (lone["name"], lone["size"], lone["version"], lone["marks"]) == ("a.iso", 50_000, "1", [])
    assert (many["file_count"], len(many["files"]), many["marks"]) == (30, 20, ["wrong-pieces"])
    assert (magnet["name"], magnet["size"], magnet["info_hashes"]) == ("A & B", 7, [HASH])
    assert (bare["name"], bare["info_hashes"]) == ("", [HASH])


@pytest.mark.parametrize("around", ["<%s>", " '%s'\n", '"%s"'])
def test_link_is_described_as_it_was_pasted(capsys, around):
    assert run(around % f"magnet:?xt=urn:btih:{HASH}&dn=A&tr=udp://a.example:1", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["name"], record["trackers"]) == ("A", ["udp://a.example:1"])


def test_all_files_are_listed_when_asked_for(torrent, capsys):
    files = {b"files": [{b"length": n, b"path": [b"d", b"%d\n" % n]} for n in range(1, 31)]}
    path = torrent({name: value for name, value in INFO.items() if name != b"length"} | files)
    assert run(path) == 0
    assert "and 10 more" in capsys.readouterr().out
    assert run(path, "--files") == 0
    assert "d/30\\n" in capsys.readouterr().out


def test_what_cannot_be_read_is_one_line_and_the_others_are_described(torrent, tmp_path, capsys):
    (tmp_path / "bad.torrent").write_bytes(b"<html>")
    status = run(str(tmp_path / "bad.torrent"), str(tmp_path / "none.torrent"), "nothing", torrent())
    out, err = capsys.readouterr()
    assert (status, out.splitlines()[0]) == (1, "a.iso")
    assert len(err.splitlines()) == 4
    assert err.splitlines()[-1] == "dhtcrawl: 3 of 4 could not be read"


def test_database_tells_what_peers_said(torrent, tmp_path, capsys):
    db = tmp_path / "a.db"
    with CrawlDatabase.open(db) as database:
        run_id = database.runs.begin("metadata", {}, "0", NOW)
        told = TorrentInfo("told", INFO_HASH, None, False, 77, 2, 1)
        contact = SwarmContact(INFO_HASH, told, peers_named=0, peers_tried=0, reports=())
        database.write(run_id, [HandshakeBatch("given", handshakes_of(contact, NOW), known_of(told))])
    assert crawler.known_torrent(INFO_HASH, db=db).size == 77
    assert run(HASH, "--db", str(db)) == 0
    assert "told, 77 bytes in 2 files" in capsys.readouterr().out
    assert run(torrent(), "--db", str(db)) == 0
    assert "nothing: `dhtcrawl metadata`" in capsys.readouterr().out


@pytest.mark.parametrize(("private", "asked"), [(0, 1), (1, 0)])
async def test_web_seeds_are_checked(torrent, private, asked):
    """Those of a private torrent are left alone."""
    heard = []

    def answer(target, headers):
        heard.append(target)
        first, last = headers["range"].removeprefix("bytes=").split("-")
        return response(b"x" * 16384, "206 Partial Content", Content_Range=f"bytes {first}-{last}/50000")

    async with serving_http(answer) as origin:
        path = torrent(INFO | {b"private": private}, url_list=[f"{origin}/".encode(), b"/1/items/"])
        words = ["dhtcrawl", "torrent", path, "--check-web-seeds", "--local", "--json"]
        ended = await trio.to_thread.run_sync(lambda: run_command(*words))
    assert ended.status == 0
    records = [json.loads(line) for line in ended.stdout.splitlines()[1:]]
    assert (heard, len(records)) == (["/a.iso"] * asked, 2 * asked)
    assert {record["outcome"] for record in records} == ({"alive", "bad-url"} if asked else set())


async def test_checks_of_web_seeds_are_recorded(torrent, tmp_path):
    """With a piece held against its hash, by a torrent and by a link; a pause is kept the next time."""
    content = bytes(50_000)
    pieces = b"".join(sha1(content[at : at + 16384]).digest() for at in range(0, 50_000, 16384))  # noqa: S324

    def answer(target, headers):
        if target == "/busy":
            return response(b"", "503 Service Unavailable", Retry_After="3600")
        first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
        told = f"bytes {first}-{last}/50000"
        return response(content[first : last + 1], "206 Partial Content", Content_Range=told)

    async with serving_http(answer) as origin:
        path = torrent(
            INFO | {b"pieces": pieces}, url_list=[f"{origin}/".encode(), f"{origin}/busy".encode()]
        )
        link = f"magnet:?xt=urn:btih:{HASH}&ws={origin}/f"
        words = ["dhtcrawl", "torrent", path, link, "--check-web-seeds", "--local", "--verify-piece"]
        words += ["--db", str(tmp_path / "new.db")]
        first = await trio.to_thread.run_sync(lambda: run_command(*words))
        again = await trio.to_thread.run_sync(lambda: run_command(*words))
    assert (first.status, first.stderr, again.status) == (0, "", 0)
    assert first.stdout.count("the piece has the right hash") == 1
    assert (first.stdout.count("/busy  later"), again.stdout.count("/busy  later")) == (1, 0)
    columns = "outcome, status, length_ok, hash_ok, bytes"
    found = rows(tmp_path / "new.db", f"SELECT {columns} FROM web_seed_checks ORDER BY outcome, bytes")
    alive, of_link = ("alive", 206, 1, 1, 16384), ("alive", 206, None, None, 1)
    assert found == [of_link] * 2 + [alive] * 2 + [("later", 503, None, None, 0)]
    assert rows(tmp_path / "new.db", "SELECT command FROM runs") == [("torrent",)] * 2


async def test_watch_asks_web_seeds_of_files_and_of_links_in_its_list(torrent, tmp_path):
    """Once in so many hours, over restarts; the swarms are measured beside."""
    heard = []

    def answer(target, _):
        heard.append(target)
        return response(b"", "404 Not Found")

    async with (
        serving_http(answer) as origin,
        open_testnet(10, seed=1) as testnet,
    ):
        path = torrent(url_list=f"{origin}/".encode())
        (tmp_path / "list.txt").write_text(f"magnet:?xt=urn:btih:{HASH}&ws={origin}/f\n")
        words = [
            "dhtcrawl",
            "watch",
            path,
            "--from",
            str(tmp_path / "list.txt"),
            "--web-seeds",
            "6",
            "--local",
        ]
        words += ["--once", "--db", str(tmp_path / "a.db"), "--bootstrap", testnet.bootstrap[0]]
        first = await trio.to_thread.run_sync(lambda: run_command(*words))
        again = await trio.to_thread.run_sync(lambda: run_command(*words))
    assert (first.status, first.stderr, again.status) == (0, "", 0)
    assert (sorted(heard), first.stdout.count("  gone"), again.stdout) == (["/a.iso", "/f"], 2, "")
    assert len(rows(tmp_path / "a.db", "SELECT * FROM swarm_samples")) == 2
    checks = "SELECT outcome, status FROM web_seed_checks"
    assert rows(tmp_path / "a.db", checks) == [("gone", 404)] * 2


@pytest.mark.parametrize(("length", "is_consistent"), [(50_000, 1), (40_000, 0)])
async def test_both_swarms_of_a_hybrid_are_measured(torrent, tmp_path, length, is_consistent):
    """By a file and by a link, once and in a watch; their rows are joined."""
    tree = {b"a.iso": {b"": {b"length": length, b"pieces root": b"r" * 32}}}
    path = torrent(INFO | {b"meta version": 2, b"file tree": tree})
    metainfo = read_torrent(path)
    one, two = (info_hash.hex() for info_hash in metainfo.info_hashes)
    link = f"magnet:?xt=urn:btih:{HASH}&xt=urn:btmh:1220{'ab' * 32}"
    (tmp_path / "list.txt").write_text(f"{link}\n")
    async with open_testnet(10, seed=1) as testnet:
        words = ["--db", str(tmp_path / "a.db"), "--bootstrap", testnet.bootstrap[0], "--json"]
        scrape = ["dhtcrawl", "scrape", path, *words]
        watch = ["dhtcrawl", "watch", "--from", str(tmp_path / "list.txt"), "--once", *words]
        ended = [await trio.to_thread.run_sync(run_command, *each) for each in (scrape, watch)]
    assert [each.status for each in ended] == [0, 0]
    measured = [sorted(record["info_hash"] for record in each.records) for each in ended]
    assert measured == [sorted([one, two]), sorted([HASH, "ab" * 20])]
    columns = "info_hash, twin, source, is_consistent"
    assert set(rows(tmp_path / "a.db", f"SELECT {columns} FROM hybrid_torrents")) == {
        (one, two, "file", is_consistent),
        (HASH, "ab" * 20, "magnet", None),
    }
    joined = "SELECT info_hash, peers_v1, peers_v2 FROM hybrid_swarms ORDER BY info_hash"
    assert rows(tmp_path / "a.db", joined) == sorted([(one, 0, 0), (HASH, 0, 0)])


def test_excluded_web_seeds_are_left_alone(torrent, tmp_path, capsys):
    path = torrent(url_list=[b"http://127.0.0.1:1/", b"http://localhost:1/"])
    (tmp_path / "exclude.txt").write_text("127.0.0.0/8\nweb-seed seeds.example\n::1\n")
    status = run(path, "--check-web-seeds", "--local", "--exclude", str(tmp_path / "exclude.txt"))
    out = capsys.readouterr().out
    assert (status, out.count("not-asked  excluded")) == (1, 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--db", "none.db"], "there is no database none.db"),
        (["--verify-piece"], "need --check-web-seeds"),
    ],
)
def test_what_goes_with_checks_is_refused_without(torrent, tmp_path, capsys, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    assert run(torrent(), *options) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


def test_torrent_without_a_living_web_seed_is_status_1(torrent, capsys):
    assert run(torrent(url_list=b"http://127.0.0.1:1/"), "--check-web-seeds") == 1
    out, err = capsys.readouterr()
    assert "http://127.0.0.1:1/  not-public" in out
    assert err == "dhtcrawl: no web seed is alive\n"
