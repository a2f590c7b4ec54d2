"""The commands that ask peers, as they are installed: peers of the test on loopback, in a DHT of ours."""

import json
import sys
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha1
from pathlib import Path

import pytest
import trio

import crawler
from crawler import CrawlOptions, PeerSettings, WatchSettings
from dhtnode import Address, InfoHash, open_node
from dhtnode.addresses import pack_host
from dhtnode.bencode import encode
from dhtnode.krpc.compact import pack_address
from dhtnode.testing import open_testnet
from tests.commands import SCRAPE_KEYS
from tests.databases import rows
from tests.fake_peers import ALL, Peer, Telling

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
INFO = {b"length": 160, b"name": b"\x1b[2Jn\xc3\xa4me", b"piece length": 16, b"pieces": b"p" * 200}
SHOWN = "\\x1b[2Jn\N{LATIN SMALL LETTER A WITH DIAERESIS}me"


def torrent(**more):
    data = encode(INFO | {name.encode(): value for name, value in more.items()})
    return data, InfoHash(sha1(data).digest())  # noqa: S324  BEP 3


@asynccontextmanager
async def swarm(*torrents, others=()):
    """Run a DHT where a peer of each torrent is announced, at 127.0.0.1, and names others; yield a way in."""
    async with (
        open_testnet(10, seed=1) as testnet,
        open_node(bootstrap=testnet.bootstrap) as node,
        trio.open_nursery() as nursery,
    ):
        for data, info_hash in torrents:
            peer = Telling(info_hash, ALL, data) if others else Peer(info_hash, ALL, data)
            peer.others = others

            async def serve(stream, peer=peer):
                async with stream:
                    await peer(stream)

            [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            await node.announce(info_hash, listener.socket.getsockname()[1], seed=True)
        yield testnet.bootstrap[0]
        nursery.cancel_scope.cancel()


async def crawl(command, database, way_in, *options, status=0, **environment):
    """Run a command of the crawler; return its lines on stdout and all of its stderr."""
    with trio.fail_after(60.0):
        done = await trio.run_process(
            [sys.executable, "-m", "crawler", command, "--db", database, "--bootstrap", way_in, *options],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "", **environment},
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
    assert done.returncode == status, done.stderr
    return done.stdout.decode().splitlines(), done.stderr.decode()


async def test_name_and_private_torrent_are_told(tmp_path):
    public, private = torrent(), torrent(private=1)
    async with swarm(public, private) as way_in:
        lines, complaints = await crawl(
            *("metadata", tmp_path / "a.db", way_in, public[1].hex(), private[1].hex()),
            PYTHONIOENCODING="ascii",
            PYTHONUTF8="0",
        )
        again, _ = await crawl("metadata", tmp_path / "a.db", way_in, "--missing", "5", "--json")

    name = SHOWN.encode("ascii", "backslashreplace").decode()
    told = "of 1 peers contacted 1 answered: 1 seeds, 0 leechers, 0 that did not say"
    assert complaints == ""
    assert set(lines) == {
        f"{public[1].hex()} '{name}', 160 bytes in 1 files; {told}",
        f"{private[1].hex()} a private torrent: its peers are left alone",
    }
    assert again == []  # nothing is missing
    assert rows(tmp_path / "a.db", "SELECT name, is_private FROM torrents ORDER BY is_private") == [
        (SHOWN, 0),
        (None, 1),
    ]
    assert [status for (status,) in rows(tmp_path / "a.db", "SELECT status FROM runs")] == ["finished"] * 2


async def test_private_swarms_are_not_scraped_once_they_are_known(tmp_path):
    """One line says so; with nothing left to measure the status is 1."""
    public, private = torrent(), torrent(private=1)
    both = (public[1].hex(), private[1].hex())
    async with swarm(public, private) as way_in:
        await crawl("metadata", tmp_path / "a.db", way_in, private[1].hex())
        lines, said = await crawl("scrape", tmp_path / "a.db", way_in, *both, "--json")
        _, refused = await crawl("scrape", tmp_path / "a.db", way_in, private[1].hex(), status=1)
    assert [json.loads(line)["info_hash"] for line in lines] == [public[1].hex()]
    assert said.splitlines()[0] == "1 of 2 swarms are private and left alone"
    assert refused.splitlines()[0] == "1 of 1 swarms are private and left alone"
    assert rows(tmp_path / "a.db", "SELECT DISTINCT info_hash FROM swarm_samples") == [(public[1].hex(),)]


async def test_scrape_asks_peers_only_when_told_to(tmp_path):
    data, info_hash = torrent()
    async with swarm((data, info_hash)) as way_in:
        without, _ = await crawl("scrape", tmp_path / "a.db", way_in, info_hash.hex(), "--json")
        before = rows(tmp_path / "a.db", "SELECT * FROM swarm_handshakes")
        lines, _ = await crawl("scrape", tmp_path / "a.db", way_in, "--metadata", info_hash.hex(), "--json")

    [measured, told] = map(json.loads, lines)
    assert len(without) == 1
    assert before == []
    assert list(measured) == SCRAPE_KEYS
    assert told == {
        "info_hash": info_hash.hex(),
        "is_private": False,
        "name": SHOWN,
        "size": 160,
        "files": 1,
        "peers_tried": 1,
        "peers_answered": 1,
        "seeds": 1,
        "leechers": 0,
        "unknown": 0,
        "partial_seeds": 0,
        "superseeds": 0,
        "seeds_high": 1,
        "superseed_score": None,
        "median_share": 1.0,
        "seed_share": 1.0,
        "seed_share_low": pytest.approx(0.2065, abs=1e-4),
        "seed_share_high": 1.0,
    }
    assert rows(tmp_path / "a.db", "SELECT name FROM latest_swarms") == [(SHOWN,)]


async def test_watch_has_peers_name_others_and_writes_no_address_of_these(tmp_path):
    """Each round has its rows; the log beside the database (WAL) is searched while it is there."""
    data, info_hash = torrent()
    others = [Address(f"127.77.{number}.9", 50_000 + number) for number in range(9)]
    told, written = [], []

    def on_fetched(fetched):
        told.append(fetched)
        written.extend(each.read_bytes() for each in tmp_path.iterdir())

    async with swarm((data, info_hash), others=others) as way_in:
        with trio.fail_after(60.0):
            counts = await crawler.watch(
                [info_hash],
                CrawlOptions(tmp_path / "a.db", bootstrap=[way_in]),
                settings=WatchSettings(budget=36_000),
                once=True,
                on_fetched=on_fetched,
                peer_settings=PeerSettings(pex=True),
            )
    assert counts.measured == 1
    assert [each.exchange.distinct_addresses for each in told] == [9]
    columns = "info_hash, peers_asked, peers_told, addresses_named"
    assert rows(tmp_path / "a.db", f"SELECT {columns} FROM pex_rounds") == [(info_hash.hex(), 1, 1, 9)]
    assert rows(tmp_path / "a.db", "SELECT seeds FROM swarm_handshakes") == [(1,)]
    written.extend(each.read_bytes() for each in tmp_path.iterdir())
    assert any(info_hash.hex().encode() in each for each in written)
    for peer in others:
        for form in (peer.host.encode(), str(peer).encode(), pack_host(peer.host), pack_address(peer)):
            assert not any(form in each for each in written)


async def test_without_a_name_the_status_is_1(tmp_path):
    """A peer that is excluded is not contacted, and elsewhere no peer is there; both are recorded."""
    data, info_hash = torrent()
    (tmp_path / "alone.txt").write_text("127.0.0.0/8  # asked for it\n")
    async with swarm((data, info_hash)) as way_in:
        lines, complaint = await crawl(
            *("metadata", tmp_path / "a.db", way_in, info_hash.hex(), "ab" * 20),
            *("--exclude", tmp_path / "alone.txt"),
            status=1,
        )

    told = "no name; of 0 peers contacted 0 answered: 0 seeds, 0 leechers, 0 that did not say"
    assert set(lines) == {f"{info_hash.hex()} {told}", f"{'ab' * 20} {told}"}
    assert complaint == "dhtcrawl: 0 of 2 names known, 0 torrents private\n"
    assert set(
        rows(tmp_path / "a.db", "SELECT info_hash, peers_named, peers_tried FROM swarm_handshakes")
    ) == {(info_hash.hex(), 1, 0), ("ab" * 20, 0, 0)}
