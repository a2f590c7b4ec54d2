"""Another client as the host of six torrents, asked for all their names by us at once.

    unshare --user --map-root-user --net python -m tests.real_clients.naming_clients CLIENT

To be run in a network namespace of its own, where public addresses are put on the loopback interface and
nothing leaves: so our bound on what one host is sent holds.  Prints one JSON object.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from pathlib import Path
from random import Random

import bencode2
import click
import libtorrent as lt
import trio

from crawler.settings import PeerSettings
from crawler.torrents import PeerClient
from dhtnode import Address, Family, InfoHash, Scope
from tests.real_clients.other_clients import PATIENCE, running

THEIRS, PORT, CONTROL = "45.100.0.1", 7100, 7200
PIECE = 4096
NO_TRACKER = b"http://127.0.0.1:1/announce"
KIB = 1024
SIZES = [16 * KIB, 17 * KIB, 600 * KIB, 16 * KIB - 1, 17 * KIB, 17 * KIB]
"""Of the metadata of each torrent: one part, whole or not, two, and thirty-eight."""


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent whose content is zeros, in a file of holes."""

    name: str
    metadata: bytes
    length: int

    @property
    def info_hash(self) -> InfoHash:
        return InfoHash(sha1(self.metadata).digest())  # noqa: S324  BEP 3

    def write(self, folder: Path, *, has_content: bool = True) -> Path:
        if has_content:
            with (folder / self.name).open("wb") as content:
                content.truncate(self.length)
        path = folder / f"{self.name}.torrent"
        # rTorrent takes none without a tracker, where it has no DHT.
        path.write_bytes(b"d8:announce%d:%b4:info%be" % (len(NO_TRACKER), NO_TRACKER, self.metadata))
        return path


def torrent(name: str, size: int) -> Torrent:
    """Return a torrent with exactly so many bytes of metadata."""
    digest = sha1(bytes(PIECE)).digest()  # noqa: S324  BEP 3
    pieces = size // len(digest) - 5
    while True:
        info = {
            b"length": pieces * PIECE,
            b"name": name.encode(),
            b"piece length": PIECE,
            b"pieces": pieces * digest,
        }
        metadata = bencode2.bencode(info)
        if len(metadata) == size:
            return Torrent(name, metadata, pieces * PIECE)
        pieces, name = (pieces, f"{name}x") if len(metadata) < size else (pieces - 1, name)


def transmission(folder: Path, torrents: list[Path]) -> list[str]:
    settings = {
        "download-dir": f"{folder}",
        "watch-dir": f"{folder}",
        "watch-dir-enabled": True,
        "rpc-enabled": False,
        "dht-enabled": False,
        "lpd-enabled": False,
        "utp-enabled": False,
        "port-forwarding-enabled": False,
        "bind-address-ipv4": THEIRS,
        "peer-port": PORT,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return ["transmission-daemon", "--foreground", "--config-dir", f"{folder}"]


def aria2(folder: Path, torrents: list[Path]) -> list[str]:
    options = ["--no-conf", f"--dir={folder}", "--enable-dht=false", "--bt-enable-lpd=false"]
    options += [f"--listen-port={PORT}", f"--interface={THEIRS}", "--file-allocation=none"]
    options += ["--seed-ratio=0", "--max-concurrent-downloads=20"]
    (folder / "list").write_text("".join(f"{path}\n" for path in torrents))
    return ["aria2c", *options, f"--input-file={folder}/list"]


def rtorrent(folder: Path, torrents: list[Path]) -> list[str]:
    (folder / "session").mkdir()
    (folder / "rc").write_text(
        f"system.daemon.set = true\ndirectory.default.set = {folder}\nsession.path.set = {folder}/session\n"
        f"network.bind_address.set = {THEIRS}\nnetwork.port_range.set = {PORT}-{PORT}\n"
        "dht.mode.set = disable\nprotocol.pex.set = no\n"
    )
    return ["rtorrent", "-n", "-o", f"import={folder}/rc", *map(str, torrents)]


def qbittorrent(folder: Path, torrents: list[Path]) -> list[str]:
    config = folder / "qBittorrent" / "config"
    config.mkdir(parents=True)
    (config / "qBittorrent.conf").write_text(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n"
        f"Session\\PeXEnabled=false\nSession\\Interface=lo\nSession\\InterfaceAddress={THEIRS}\n"
        f"Session\\Port={PORT}\nSession\\QueueingSystemEnabled=false\n"
        "[Preferences]\nWebUI\\Enabled=false\nConnection\\UPnP=false\n"
    )
    where = f"--profile={folder}", f"--save-path={folder}"
    return ["qbittorrent-nox", *where, "--skip-hash-check", "--add-paused=false", *map(str, torrents)]


def deluge(folder: Path, torrents: list[Path]) -> list[str]:
    settings = {
        "daemon_port": CONTROL,
        "download_location": f"{folder}",
        "listen_interface": THEIRS,
        "listen_ports": [PORT, PORT],
        "random_port": False,
        **dict.fromkeys(["dht", "lsd", "upnp", "natpmp", "utpex", "new_release_check"], False),
        **dict.fromkeys(["max_active_limit", "max_active_seeding", "max_active_downloading"], 20),
    }
    (folder / "core.conf").write_text(json.dumps({"file": 1, "format": 1}) + json.dumps(settings))
    return ["deluged", "--do-not-daemonize", "--config", f"{folder}"]


def add_to_deluge(folder: Path, torrents: list[Path]) -> list[str]:
    files = " ".join(map(str, torrents))
    return [
        "deluge-console",
        "--config",
        f"{folder}",
        f"connect 127.0.0.1:{CONTROL}; add -p {folder} {files}",
    ]


def libtorrent(folder: Path, torrents: list[Path]) -> list[str]:
    return [sys.executable, "-m", "tests.real_clients.naming_clients", "--seed", *map(str, torrents)]


def seed_with_libtorrent(torrents: list[str]) -> None:
    ours = {"listen_interfaces": f"{THEIRS}:{PORT}"}
    off = ["enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"]
    session = lt.session(ours | dict.fromkeys(off, False))
    for path in torrents:
        parameters = lt.add_torrent_params()
        parameters.ti, parameters.save_path = lt.torrent_info(path), str(Path(path).parent)
        parameters.flags = lt.torrent_flags.seed_mode
        session.add_torrent(parameters)
    time.sleep(PATIENCE)


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its program, how to run it with the files of torrents, and how to add these afterwards.

    `never_sends` are the lengths of metadata that it offers and never sends.  One that is no seed takes too
    long to look through what it has.
    """

    program: str
    command: Callable[[Path, list[Path]], list[str]]
    then: Callable[[Path, list[Path]], list[str]] | None = None
    never_sends: tuple[int, ...] = ()
    is_seed: bool = True

    @property
    def missing(self) -> str | None:
        """Return the program that is not installed."""
        needed = [self.program] if self.then is None else [self.program, self.then(Path(), [])[0]]
        return next((each for each in needed if shutil.which(each) is None), None)


CLIENTS = {
    "transmission": Client("transmission-daemon", transmission),
    "aria2": Client("aria2c", aria2, is_seed=False),
    "rtorrent": Client("rtorrent", rtorrent, never_sends=(16 * KIB,)),
    "qbittorrent": Client("qbittorrent-nox", qbittorrent),
    "deluge": Client("deluged", deluge, add_to_deluge),
    "libtorrent": Client(sys.executable, libtorrent),
}


def new_asker() -> PeerClient:
    return PeerClient({Family.IPV4: Scope.PUBLIC}, PeerSettings(), Random(1))


async def ready(client: Client, folder: Path, torrents: list[Torrent], files: list[Path]) -> None:
    """Wait until the client has them all: it answers in each swarm."""
    with trio.fail_after(PATIENCE):
        if client.then is not None:
            add = partial(trio.run_process, client.then(folder, files), check=False, capture_stdout=True)
            env = os.environ | {"HOME": f"{folder}"}
            while (await add(capture_stderr=True, env=env)).returncode:  # noqa: ASYNC110  no event tells
                await trio.sleep(0.2)
        for each in torrents:
            while not (  # noqa: ASYNC110  nor here
                await new_asker().contact_peers(each.info_hash, [Address(THEIRS, PORT)], wants_metadata=False)
            ).reports:
                await trio.sleep(0.2)


async def ask_all(torrents: list[Torrent]) -> list[object]:
    """Ask for all names at once, as a crawl does; return whether each came, and how many were tried."""
    asker = new_asker()
    told: dict[str, object] = {}

    async def ask(each: Torrent) -> None:
        contact = await asker.contact_peers(each.info_hash, [Address(THEIRS, PORT)])
        name = None if contact.info is None else contact.info.name
        told[each.name] = [name == each.name, contact.peers_tried, contact.failures]

    async with trio.open_nursery() as nursery:
        for each in torrents:
            nursery.start_soon(ask, each)
    return [told[each.name] for each in torrents]


async def measure(client: Client, folder: Path) -> list[object]:
    torrents = [torrent(f"torrent-{number}", size) for number, size in enumerate(SIZES)]
    files = [each.write(folder, has_content=client.is_seed) for each in torrents]
    with ExitStack() as stack:
        stack.enter_context(running(client.command(folder, files), folder))
        await ready(client, folder, torrents, files)
        return await ask_all(torrents)


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        click.echo(json.dumps(trio.run(measure, CLIENTS[name], Path(folder))))


if __name__ == "__main__":
    if sys.argv[1] == "--seed":
        seed_with_libtorrent(sys.argv[2:])
    else:
        lines = ["link set lo up", f"address add {THEIRS}/32 dev lo"]
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        main(sys.argv[1])
