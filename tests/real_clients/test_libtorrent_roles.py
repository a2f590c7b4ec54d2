"""Seeds, hidden seeds, partial seeds and leechers of libtorrent, told apart by their handshakes."""

from hashlib import sha1
from random import Random

import libtorrent as lt
import pytest

from crawler.settings import PeerSettings
from crawler.torrents import PeerClient, handshakes_of
from dhtnode import Family, InfoHash, Scope
from tests.real_clients.libtorrent_network import PATIENCE, libtorrent_clients, until

pytestmark = pytest.mark.real_clients

PIECE, PIECES = 16384, 64
CONTENT = Random(5).randbytes(PIECE * PIECES)
HALF = len(CONTENT) // 2
HASHES = [sha1(CONTENT[at : at + PIECE]).digest() for at in range(0, len(CONTENT), PIECE)]  # noqa: S324  BEP 3
INFO = {
    b"files": [{b"length": HALF, b"path": [b"first"]}, {b"length": HALF, b"path": [b"second"]}],
    b"name": b"two files",
    b"piece length": PIECE,
    b"pieces": b"".join(HASHES),
}
INFO_HASH = InfoHash(sha1(lt.bencode(INFO)).digest())  # noqa: S324  BEP 3
SUPERSEEDS, PARTIAL, SEEDS, LEECHERS = 3, 3, 2, 4


def parameters(folder, *, first, second):
    """Return what a client adds that has some of both files."""
    (folder / "two files").mkdir(parents=True)
    if first:
        (folder / "two files" / "first").write_bytes(CONTENT[:HALF])
    if second:
        (folder / "two files" / "second").write_bytes(CONTENT[HALF:])
    torrent = lt.add_torrent_params()
    torrent.ti = lt.torrent_info({b"info": INFO})
    torrent.save_path = str(folder)
    torrent.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    return torrent


def superseed(folder):
    torrent = parameters(folder, first=True, second=True)
    torrent.flags |= lt.torrent_flags.super_seeding
    return torrent


def partial_seed(folder):
    torrent = parameters(folder, first=True, second=False)
    torrent.file_priorities = [4, 0]
    return torrent


@pytest.mark.slow  # it waits for libtorrent to check files
async def test_roles_are_told_apart(tmp_path):
    made = [
        *[superseed(tmp_path / f"hidden {n}") for n in range(SUPERSEEDS)],
        *[partial_seed(tmp_path / f"partial {n}") for n in range(PARTIAL)],
        *[parameters(tmp_path / f"seed {n}", first=True, second=True) for n in range(SEEDS)],
        *[parameters(tmp_path / f"leecher {n}", first=False, second=False) for n in range(LEECHERS)],
    ]
    hosts = [f"127.140.{number}.1" for number in range(len(made))]
    async with libtorrent_clients(*hosts, bootstrap="") as clients:
        for client, torrent in zip(clients, made, strict=True):
            client.take_part(torrent)
        wanted = [PIECES] * SUPERSEEDS + [PIECES // 2] * PARTIAL + [PIECES] * SEEDS + [0] * LEECHERS
        await until(lambda: [client.pieces_held() for client in clients] == wanted)
        asker = PeerClient({Family.IPV4: Scope.LOOPBACK}, PeerSettings(swarm_time=PATIENCE), Random(1))
        contact = await asker.contact_peers(INFO_HASH, [client.address for client in clients])
    counts = handshakes_of(contact, "2025-01-01T00:00:00.000Z")
    assert (counts.peers_answered, counts.seeds, counts.unknown) == (len(made), SEEDS, 0)
    assert (counts.superseeds, counts.partial_seeds) == (SUPERSEEDS, PARTIAL)
    assert counts.leechers == SUPERSEEDS + PARTIAL + LEECHERS
    assert counts.seed_share_high > 0.5
    assert counts.lt_donthave == counts.holepunch == counts.pex == len(made)
