"""Clients that know nothing but the gateway as their tracker, and a seed that only the DHT knows.

    unshare --user --map-root-user --net python -m tests.real_clients.gateway_clients CLIENT udp|http [RUNS]

To be run in a network namespace of its own, with public addresses on the loopback interface, where nothing
leaves.  Each run has a torrent of its own, of 1 MiB.  CLIENT may be `behind` as well: then the seed is behind
the gateway, which announces it, and a client downloads from it that has the DHT only.  Prints one JSON
object with the seconds that each run took, null for one that did not end.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from pathlib import Path
from random import Random
from typing import Any

import bencode2
import click
import libtorrent
import trio

from dhtnode import DhtError, InfoHash, NodeSettings, open_node
from tests.real_clients.other_clients import HOSTS, OURS, PORT, THEIR_PORT, THEIRS, running

SEED, BEHIND = "45.60.0.1", "127.0.0.1"
PIECE, PIECES = 1 << 15, 32
PATIENCE = 120.0  # seconds
NAME = "letters.bin"


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent of 1 MiB, and its data."""

    info: dict[bytes, Any]
    data: bytes

    @property
    def info_hash(self) -> InfoHash:
        return InfoHash(sha1(bencode2.bencode(self.info)).digest())  # noqa: S324

    def write(self, folder: Path, *, complete: bool, tracker: str | None = None) -> None:
        folder.mkdir()
        torrent = {b"info": self.info} | ({b"announce": tracker.encode()} if tracker else {})
        (folder / f"{NAME}.torrent").write_bytes(bencode2.bencode(torrent))
        if complete:
            (folder / NAME).write_bytes(self.data)


def new_torrent(number: int) -> Torrent:
    data = Random(number).randbytes(PIECE * PIECES)
    pieces = [sha1(data[at : at + PIECE]).digest() for at in range(0, len(data), PIECE)]  # noqa: S324
    info = {b"length": len(data), b"name": NAME.encode(), b"piece length": PIECE, b"pieces": b"".join(pieces)}
    return Torrent(info, data)


def transmission(folder: Path) -> list[str]:
    home = folder / "home"
    home.mkdir()
    settings = {
        "download-dir": f"{folder}",
        "incomplete-dir-enabled": False,
        "rename-partial-files": False,
        "watch-dir": f"{folder}",
        "watch-dir-enabled": True,
        "rpc-enabled": False,
        "dht-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "port-forwarding-enabled": False,
        "bind-address-ipv4": THEIRS,
        "peer-port": THEIR_PORT,
    }
    (home / "settings.json").write_text(json.dumps(settings))
    return ["transmission-daemon", "--foreground", "--config-dir", f"{home}"]


def aria2(folder: Path) -> list[str]:
    options = ["--no-conf", f"--dir={folder}", "--enable-dht=false", "--enable-peer-exchange=false"]
    options += [f"--listen-port={THEIR_PORT}", f"--interface={THEIRS}", "--file-allocation=none"]
    return ["aria2c", *options, f"{folder}/{NAME}.torrent"]


def rtorrent(folder: Path) -> list[str]:
    (folder / "session").mkdir()
    (folder / "rc").write_text(
        f"system.daemon.set = true\ndirectory.default.set = {folder}\nsession.path.set = {folder}/session\n"
        f"network.bind_address.set = {THEIRS}\nnetwork.port_range.set = {THEIR_PORT}-{THEIR_PORT}\n"
        "dht.mode.set = disable\nprotocol.pex.set = no\n"
    )
    return ["rtorrent", "-n", "-o", f"import={folder}/rc", f"{folder}/{NAME}.torrent"]


def qbittorrent(folder: Path) -> list[str]:
    config = folder / "qBittorrent" / "config"
    config.mkdir(parents=True)
    (config / "qBittorrent.conf").write_text(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n"
        f"Session\\PeXEnabled=false\nSession\\Interface=lo\nSession\\InterfaceAddress={THEIRS}\n"
        f"Session\\Port={THEIR_PORT}\n[Preferences]\nWebUI\\Enabled=false\nConnection\\UPnP=false\n"
    )
    where = f"--profile={folder}", f"--save-path={folder}"
    return ["qbittorrent-nox", *where, "--add-paused=false", f"{folder}/{NAME}.torrent"]


CLIENTS: dict[str, Callable[[Path], list[str]]] = {
    "transmission-daemon": transmission,
    "aria2c": aria2,
    "rtorrent": rtorrent,
    "qbittorrent-nox": qbittorrent,
}


class Session:
    """A libtorrent session, with the DHT or with trackers."""

    def __init__(self, *hosts: str, dht: bool) -> None:
        self._session = libtorrent.session(
            {
                "listen_interfaces": ",".join(f"{host}:{THEIR_PORT}" for host in hosts),
                "outgoing_interfaces": hosts[0],
                "enable_dht": dht,
                "dht_bootstrap_nodes": f"{HOSTS[0]}:{PORT}" if dht else "",
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "dht_upload_rate_limit": 100_000_000,
                "dht_block_ratelimit": 1_000_000,
                "alert_mask": 0,
            }
        )
        self._handles: list[Any] = []

    def add(self, folder: Path) -> None:
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info(f"{folder}/{NAME}.torrent")
        parameters.save_path = f"{folder}"
        parameters.flags |= libtorrent.torrent_flags.disable_pex | libtorrent.torrent_flags.disable_lsd
        parameters.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
        self._handles.append(self._session.add_torrent(parameters))

    def announce(self) -> None:
        """Announce in the DHT, as it does by itself after some minutes."""
        for handle in self._handles:
            handle.force_dht_announce()


async def until_found(node: Any, info_hash: InfoHash, again: Callable[[], None] = lambda: None) -> None:
    """Wait until the DHT knows a peer of a swarm."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(DhtError):
                async with node.get_peers(info_hash) as peers:
                    if [peer async for peer in peers]:
                        return
            again()
            # Our own bound on what goes to one host leaves no room for lookups one after the other.
            await trio.sleep(5)


async def until_downloaded(torrent: Torrent, folder: Path, again: Callable[[], None]) -> float | None:
    """Return after how many seconds a file was whole."""
    began = trio.current_time()
    with trio.move_on_after(PATIENCE):
        while not (folder / NAME).exists() or (folder / NAME).read_bytes() != torrent.data:
            again()
            await trio.sleep(0.2)
        return trio.current_time() - began
    return None


def open_gateway_command(stack: AsyncExitStack, protocol: str, host: str, *more: str) -> str:
    """Run `dhtnode gateway` as a user would, and return the URL to announce to."""
    options = ["--listen", f"{OURS}:{PORT}", "--bootstrap", f"{HOSTS[0]}:{PORT}", "--no-default-bootstrap"]
    command = [sys.executable, "-m", "dhtnode", "gateway", f"--{protocol}", f"{host}:6969", *options, *more]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.terminate)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"(?:udp|http)://\S+", line):
            return found[0]
    raise RuntimeError("the gateway has not started")


async def download(name: str, url: str, torrent: Torrent, folder: Path) -> float | None:
    """Download a torrent with a client that knows the gateway only."""
    torrent.write(folder, complete=False, tracker=url)
    with ExitStack() as stack:
        if name == "libtorrent":
            session = Session(THEIRS, dht=False)
            session.add(folder)
            stack.callback(lambda: session)
        else:
            stack.enter_context(running(CLIENTS[name](folder), folder))
        return await until_downloaded(torrent, folder, lambda: None)


async def measure(name: str, protocol: str, runs: int, folder: Path) -> list[float | None]:
    opened = partial(open_node, bootstrap=[f"{HOSTS[0]}:{PORT}"], well_known=False)
    torrents, found = [new_torrent(number) for number in range(runs)], []
    async with AsyncExitStack() as stack:
        for host in HOSTS:
            await stack.enter_async_context(opened(listen=[f"{host}:{PORT}"]))
        quiet = NodeSettings(read_only=True)
        node = await stack.enter_async_context(opened(listen=["45.51.0.1:6881"], settings=quiet))
        if name == "behind":
            # Its clients reach it on loopback, and others reach them at its public address.
            url = open_gateway_command(stack, protocol, BEHIND, "--announce-for", "127.0.0.0/8")
            seed = Session(OURS, BEHIND, dht=False)
            client = Session(SEED, dht=True)
        else:
            url = open_gateway_command(stack, protocol, OURS, "--open")
            seed = Session(SEED, dht=True)
        for number, torrent in enumerate(torrents):
            tracker = url if name == "behind" else None
            torrent.write(folder / f"seed{number}", complete=True, tracker=tracker)
            seed.add(folder / f"seed{number}")
            here = folder / f"run{number}"
            if name == "behind":
                torrent.write(here, complete=False)
                await until_found(node, torrent.info_hash)
                client.add(here)
                found.append(await until_downloaded(torrent, here, client.announce))
            else:
                await until_found(node, torrent.info_hash, seed.announce)
                found.append(await download(name, url, torrent, here))
    return found


def main(name: str, protocol: str, runs: str = "1") -> None:
    with tempfile.TemporaryDirectory() as made:
        click.echo(json.dumps({"seconds": trio.run(measure, name, protocol, int(runs), Path(made))}))


if __name__ == "__main__":
    places = (*HOSTS, OURS, "45.51.0.1", SEED, THEIRS)
    lines = ["link set lo up", *(f"address add {host}/32 dev lo" for host in places)]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
    main(*sys.argv[1:])
