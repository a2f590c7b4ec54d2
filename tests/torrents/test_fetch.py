"""Peers of many swarms: all are asked, what they say is written, and their addresses are not."""

from contextlib import asynccontextmanager
from hashlib import sha1
from random import Random

import pytest
import trio

from crawler.db.database import CrawlDatabase
from crawler.db.records.torrents import KnownTorrent
from crawler.db.writer import open_writer
from crawler.settings import PeerSettings
from crawler.torrents.fetch import look_up_and_fetch, open_fetcher
from crawler.torrents.peers import PeerClient
from crawler.torrents.seed_share import share_interval
from dhtnode import Address, Family, InfoHash, NotJoined, Scope
from dhtnode.addresses import pack_host
from dhtnode.bencode import encode
from dhtnode.krpc.compact import pack_address
from dhtnode.nurseries import open_service_nursery
from tests.databases import rows
from tests.fake_peers import ALL, NONE, Peer, Swarm, Telling

EPOCH = 1_700_000_000.0


def info_of(number, **more):
    entries = {b"length": 16, b"name": b"torrent %d" % number, b"piece length": 16, b"pieces": b"p" * 20}
    data = encode(entries | {key.encode(): value for key, value in more.items()})
    return data, InfoHash(sha1(data).digest())  # noqa: S324  BEP 3


def address(swarm, peer):
    return Address(f"127.{100 + swarm}.{45 + peer // 200}.{peer % 200 + 1}", 50_000 + peer)


async def directly(function, *args, limiter):
    async with limiter:
        return function(*args)


@asynccontextmanager
async def fetcher_with(path, reachable, on_fetched, **settings):
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("metadata", {}, "0", "2024-01-01T00:00:00.000Z")
        async with open_writer(store, run_id, run_sync=directly) as writer, open_service_nursery() as nursery:
            swarm = Swarm(nursery, reachable)
            client = PeerClient(
                {Family.IPV4: Scope.LOOPBACK},
                PeerSettings(connection_rate=1000.0, **settings),
                Random(1),
                connect=swarm.connect,
                run_sync=directly,
            )
            async with open_fetcher(client, writer, run_id, on_fetched, wall_clock=lambda: EPOCH) as fetcher:
                fetcher.swarm = swarm
                yield fetcher


async def test_all_swarms_that_were_offered_are_asked(tmp_path, autojump_clock):
    torrents = [info_of(0), info_of(1), info_of(2, private=1), info_of(3)]
    peers = {address(0, 0): Peer(torrents[0][1], ALL, torrents[0][0])}
    peers |= {
        address(1, peer): Peer(torrents[1][1], [ALL, NONE][peer % 2], torrents[1][0]) for peer in range(6)
    }
    peers |= {address(2, 0): Peer(torrents[2][1], ALL, torrents[2][0])}
    told = []
    async with fetcher_with(tmp_path / "crawl.db", peers, told.append) as fetcher:
        for number, (_, info_hash) in enumerate(torrents):
            fetcher.offer(info_hash, [address(number, peer) for peer in range(6)])

    by_hash = {fetched.info_hash: fetched for fetched in told}
    assert [by_hash[info_hash].torrent for _, info_hash in torrents] == [
        KnownTorrent(False, "torrent 0", 16, 1, 1),
        KnownTorrent(False, "torrent 1", 16, 1, 1),
        KnownTorrent(True),
        None,
    ]
    assert (fetcher.tally.named, fetcher.tally.private, fetcher.tally.nameless) == (2, 1, 1)
    assert dict(
        rows(tmp_path / "crawl.db", "SELECT info_hash, seeds || ' ' || leechers FROM swarm_handshakes")
    ) == {torrents[0][1].hex(): "1 0", torrents[1][1].hex(): "3 3", torrents[3][1].hex(): "0 0"}


async def test_known_torrent_is_not_fetched_again(tmp_path, autojump_clock):
    public, private = info_of(0), info_of(1, private=1)
    peers = {address(0, 0): Peer(public[1], ALL, public[0]), address(1, 0): Peer(private[1], ALL, private[0])}
    for _ in range(2):
        told = []
        async with fetcher_with(tmp_path / "crawl.db", peers, told.append) as fetcher:
            await fetcher.fetch(public[1], [address(0, 0)])
            await fetcher.fetch(private[1], [address(1, 0)])

    assert fetcher.swarm.connected == [address(0, 0)]
    assert [fetched.torrent for fetched in told] == [
        KnownTorrent(False, "torrent 0", 16, 1, 1),
        KnownTorrent(True),
    ]
    assert rows(tmp_path / "crawl.db", "SELECT count(*), sum(seeds) FROM swarm_handshakes") == [(2, 2)]


async def test_no_address_of_a_peer_is_written(tmp_path, autojump_clock):
    torrents = [info_of(number) for number in range(4)]
    named = [address(swarm, peer) for swarm in range(4) for peer in range(20)]
    peers = {
        peer: Peer(torrents[number // 20][1], [ALL, NONE][number % 2], torrents[number // 20][0])
        for number, peer in enumerate(named)
        if number % 3
    }
    path = tmp_path / "crawl.db"
    async with fetcher_with(path, peers, lambda _: None) as fetcher:
        for number, (_, info_hash) in enumerate(torrents):
            fetcher.offer(info_hash, named[20 * number : 20 * number + 20])
        await fetcher.finish()
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())  # with the log of SQLite

    written += path.read_bytes()
    assert fetcher.tally.named == 4
    assert b"torrent 3" in written
    assert set(fetcher.swarm.connected) == set(named)
    for peer in named:
        for form in (peer.host.encode(), str(peer).encode(), pack_host(peer.host), pack_address(peer)):
            assert form not in written


async def test_swarms_that_find_no_room_are_counted(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr("crawler.torrents.fetch.MAX_WAITING", 3)
    told = []
    async with fetcher_with(tmp_path / "crawl.db", {}, told.append) as fetcher:
        for number in range(10):
            fetcher.offer(info_of(number)[1], [])
    assert fetcher.tally.no_room == 7
    assert len(told) == 3


async def test_failing_block_does_not_wait_for_peers(tmp_path, autojump_clock):
    data, info_hash = info_of(0)
    peers = {address(0, 0): Peer(info_hash, ALL, data, delay=15.0)}
    with pytest.raises(KeyError):
        async with fetcher_with(tmp_path / "crawl.db", peers, lambda _: None) as fetcher:
            fetcher.offer(info_hash, list(peers))
            await trio.sleep(5.0)
            raise KeyError
    assert fetcher.swarm.connected == list(peers)
    assert rows(tmp_path / "crawl.db", "SELECT * FROM torrents") == []


class ScriptedNode:
    """Name the peers of a swarm, or fail; keeps what it was asked."""

    def __init__(self, peers):
        self.asked = []
        self._peers = peers

    @asynccontextmanager
    async def get_peers(self, info_hash):
        """Yield the peers one after the other."""
        self.asked.append(info_hash)

        async def stream():
            if info_hash not in self._peers:
                raise NotJoined("no node answered")
            for peer in self._peers[info_hash]:
                await trio.sleep(0.1)
                yield peer

        yield stream()


async def test_peers_are_looked_up_and_asked(tmp_path, autojump_clock):
    torrents = [info_of(number) for number in range(3)]
    named = {torrents[0][1]: [address(0, 0)], torrents[2][1]: [address(2, peer) for peer in range(300)]}
    peers = {
        named[info_hash][0]: Peer(info_hash, ALL, data) for data, info_hash in torrents if info_hash in named
    }
    told, failed = [], []
    path = tmp_path / "crawl.db"
    async with fetcher_with(path, peers, told.append, peers=200) as fetcher:
        await look_up_and_fetch(
            ScriptedNode(named),
            fetcher,
            [info_hash for _, info_hash in torrents],
            at_once=2,
            random=Random(3),
            on_failure=lambda info_hash, _: failed.append(info_hash),
        )

    assert failed == [torrents[1][1]]
    assert (fetcher.tally.failed, len(told)) == (1, 2)
    assert rows(path, "SELECT peers_named, peers_tried FROM swarm_handshakes ORDER BY peers_named") == [
        (1, 1),
        (300, 200),
    ]


async def test_peers_of_a_private_torrent_are_not_looked_up(tmp_path, autojump_clock):
    """Once it is known to be private, no node is queried for them."""
    data, info_hash = info_of(0, private=1)
    node = ScriptedNode({info_hash: [address(0, 0)]})
    told = []
    async with fetcher_with(
        tmp_path / "crawl.db", {address(0, 0): Peer(info_hash, ALL, data)}, told.append
    ) as fetcher:
        for _ in range(2):
            await look_up_and_fetch(
                node, fetcher, [info_hash], at_once=1, random=Random(3), on_failure=lambda *_: None
            )

    assert node.asked == [info_hash]
    assert [fetched.torrent for fetched in told] == [KnownTorrent(True)] * 2
    assert fetcher.tally.private == 2


def test_interval_of_a_share_is_wilsons():
    assert share_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


async def test_no_address_that_a_peer_names_is_written(tmp_path, autojump_clock):
    """BEP 11: counts alone; of a private torrent not even these."""
    public, private = info_of(0), info_of(1, private=1)
    others = [address(9, number) for number in range(60)]
    peers = {
        address(number, 0): Telling(each[1], ALL, each[0]) for number, each in enumerate((public, private))
    }
    for peer in peers.values():
        peer.others = others
    told = []
    async with fetcher_with(tmp_path / "crawl.db", peers, told.append, pex=True) as fetcher:
        for number, (_, info_hash) in enumerate((public, private)):
            fetcher.offer(info_hash, [address(number, 0)])
        await fetcher.finish()
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    exchanges = {each.info_hash: each.exchange for each in told}
    assert (exchanges[public[1]].distinct_addresses, exchanges[private[1]]) == (60, None)
    columns = "info_hash, peers_asked, peers_told, addresses_named, n_estimate"
    found = rows(tmp_path / "crawl.db", f"SELECT {columns} FROM pex_rounds")
    assert found == [(public[1].hex(), 1, 1, 60, None)]
    for peer in others:
        for form in (peer.host.encode(), str(peer).encode(), pack_host(peer.host), pack_address(peer)):
            assert form not in written
