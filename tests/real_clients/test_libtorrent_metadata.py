"""Real swarms: 40 libtorrent clients with five torrents, found, counted, named and told apart.

All on loopback, each client at an address of its own, because filters count addresses.
"""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest
import trio

from dhtnode import InfoHash, open_node
from dhtnode.krpc.compact import pack_address
from dhtnode.testing import open_testnet
from tests.commands import run_command
from tests.databases import rows
from tests.real_clients.libtorrent_network import PATIENCE, Client, libtorrent_clients, magnet_of, until

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

ROOT = Path(__file__).resolve().parents[2]
PIECE = 16 * 1024
PEERS = 8  # of each torrent


@dataclass
class Torrent:
    """Be a torrent of the test: `partial` of its leechers have half of it, `magnets` only the magnet link."""

    name: str
    pieces: int
    seeds: int
    partial: int = 0
    magnets: int = 0
    files: int = 1
    clients: list[Client] = field(default_factory=list)

    @cached_property
    def content(self):
        """Return the content, the same each time; the last piece is a short one."""
        return Random(self.pieces).randbytes(self.pieces * PIECE - 100)

    @cached_property
    def info(self):
        pieces = [self.content[at : at + PIECE] for at in range(0, len(self.content), PIECE)]
        info = {
            b"name": self.name.encode(),
            b"piece length": PIECE,
            b"pieces": b"".join(map(hash_of, pieces)),
        }
        if self.files == 1:
            return info | {b"length": len(self.content)}
        return info | {b"files": [{b"length": len(part), b"path": [name]} for name, part in self._parts()]}

    @property
    def info_hash(self):
        return InfoHash(hash_of(lt.bencode(self.info)))

    def roles(self):
        """Return how many pieces each of its peers has, None for those with a magnet link."""
        some = [self.pieces // 2] * self.partial
        return ([self.pieces] * self.seeds + some + [None] * self.magnets + [0] * PEERS)[:PEERS]

    def parameters(self, folder, have):
        """Return what a client adds that has so many pieces; those are written into the folder."""
        if have is None:
            return magnet_of(self.info_hash, folder)
        torrent = lt.add_torrent_params()
        torrent.ti = lt.torrent_info({b"info": self.info})
        torrent.save_path = str(folder)
        torrent.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        if have == self.pieces:
            torrent.flags |= lt.torrent_flags.seed_mode
        if not (folder / self.name).exists():  # others with as many pieces read the same files
            self._write(folder, have * PIECE)
        return torrent

    def _write(self, folder, length):
        if self.files == 1 and length:
            (folder / self.name).write_bytes(self.content[:length])
        elif length:
            (folder / self.name).mkdir(exist_ok=True)
            for name, part in self._parts():
                (folder / self.name / name.decode()).write_bytes(part[: max(0, length)])
                length -= len(part)

    def _parts(self):
        size = len(self.content) // self.files + 1
        for number in range(self.files):
            yield b"part %d" % number, self.content[number * size : (number + 1) * size]


def hash_of(data):
    return sha1(data).digest()  # noqa: S324  BEP 3


TORRENTS = [
    Torrent("one piece.iso", 1, seeds=4),
    Torrent("eight pieces", 8, seeds=1, partial=3),
    Torrent("neun St\N{LATIN SMALL LETTER U WITH DIAERESIS}cke \N{GRINNING FACE}", 9, seeds=7),
    Torrent("some magnets", 20, seeds=2, partial=1, magnets=3, files=3),
    Torrent("metadata in two parts", 900, seeds=5),
]


def hosts():
    """Return an address for each client: one /16 for each torrent, so that tables hold them."""
    return [f"127.{120 + torrent}.{peer}.1" for torrent in range(len(TORRENTS)) for peer in range(PEERS)]


def start(torrents, clients, folder):
    for torrent in torrents:
        torrent.clients = [clients.pop() for _ in range(PEERS)]
        for client, have in zip(torrent.clients, torrent.roles(), strict=True):
            own = folder / f"{torrent.pieces} of which {have}"
            own.mkdir(exist_ok=True)
            client.take_part(torrent.parameters(own, have))


async def announced(node, torrent):
    async with node.get_peers(torrent.info_hash) as peers:
        found = {peer async for peer in peers}
    return found >= {client.address for client in torrent.clients}


@asynccontextmanager
async def swarms(folder):
    """Run a DHT of ours with all the clients in it, all announced; yield a bootstrap node."""
    async with open_testnet(20, seed=1) as testnet:
        [way_in, *_] = testnet.bootstrap
        async with (
            libtorrent_clients(*hosts(), bootstrap=way_in) as clients,
            open_node(bootstrap=[way_in]) as node,
        ):
            await until(lambda: all(client.poll() or client.table_size >= 8 for client in clients))
            start(TORRENTS, list(clients), folder)
            with trio.fail_after(PATIENCE):
                for torrent in TORRENTS:
                    while not await announced(node, torrent):
                        for client in torrent.clients:
                            client.announce_again()
                        await trio.sleep(0.5)
            yield way_in


async def crawl(command, *options):
    """Run a command of the crawler, and return what it printed, one object a line."""
    done = await trio.to_thread.run_sync(run_command, "dhtcrawl", command, *options, "--json")
    assert done.status == 0, done.stderr
    return done.records


def by_first(path, query):
    return {first: tuple(others) for first, *others in rows(path, query)}


def truth(torrent):
    seeds = torrent.seeds
    return torrent.name, len(torrent.content), torrent.files, PEERS, seeds, PEERS - seeds, 0


async def test_swarms_of_real_clients_are_counted_and_named(tmp_path):
    (tmp_path / "content").mkdir()
    database = tmp_path / "crawl.db"
    hashes = {torrent.info_hash.hex(): torrent for torrent in TORRENTS}
    async with swarms(tmp_path / "content") as way_in:
        await crawl("scrape", "--db", database, "--metadata", "--bootstrap", way_in, *hashes)
        again = await crawl("metadata", "--db", database, "--rate", 1000, "--bootstrap", way_in, *hashes)

    samples = by_first(
        database, "SELECT info_hash, peers_low, peers_high, seeds, leechers, peers FROM latest_swarms"
    )
    told = by_first(
        database,
        "SELECT info_hash, name, size, files, peers_answered, seeds, leechers, unknown FROM torrent_swarms",
    )
    assert samples.keys() == hashes.keys()
    for low, high, *_ in samples.values():
        assert low <= PEERS <= high
    assert told == {info_hash: truth(torrent) for info_hash, torrent in hashes.items()}
    assert by_first(database, "SELECT info_hash, name FROM swarms") == {
        info_hash: (torrent.name,) for info_hash, torrent in hashes.items()
    }
    assert {record["info_hash"]: (record["name"], record["seeds"]) for record in again} == {
        info_hash: (torrent.name, torrent.seeds) for info_hash, torrent in hashes.items()
    }
    written = b"".join(path.read_bytes() for path in tmp_path.glob("crawl.db*"))
    assert not any(
        pack_address(client.address) in written for torrent in TORRENTS for client in torrent.clients
    )
