"""Another client as a seed in a network of our nodes: it joins, announces, is found, counted and asked.

    unshare --user --map-root-user --net python -m tests.real_clients.other_clients CLIENT

To be run in a network namespace of its own: clients leave loopback and private networks out, so
public addresses are put on the loopback interface there, where nothing leaves.  Prints one JSON object.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from pathlib import Path

import bencode2
import click
import trio

from dhtnode import DhtError, InfoHash, NodeSettings, open_node

HOSTS = [f"45.{number}.0.1" for number in range(1, 13)]
OURS, CRAWLER, THEIRS = "45.50.0.1", "45.51.0.1", "45.100.0.1"
PORT, THEIR_PORT = 6881, 7100
PATIENCE = 300.0  # seconds; jech's library, inside Transmission, takes half a minute to announce
NAME, CONTENT = "letter.bin", b"sixteen letters." * 1024
INFO = {
    b"length": len(CONTENT),
    b"name": NAME.encode(),
    b"piece length": 16384,
    b"pieces": sha1(CONTENT).digest(),  # noqa: S324
}
INFO_HASH = InfoHash(sha1(bencode2.bencode(INFO)).digest())  # noqa: S324
# All hosts of this network are this machine, whose peers are not asked otherwise.
NOT_OUR_MACHINE = (
    "import crawler.api.metadata as metadata; metadata.own_hosts = frozenset;"
    "from crawler.cli.main import main; main()"
)
# Where npm puts what it installs for all: beside node, or where Debian does.
NODE_PREFIX = Path(shutil.which("node") or "/usr/bin/node").resolve().parents[1]
NODE_MODULES = [NODE_PREFIX / "lib/node_modules", Path("/usr/share/nodejs")]


def transmission(folder: Path) -> list[str]:
    home = folder / "transmission"
    home.mkdir()
    (home / "dht.bootstrap").write_text("".join(f"{host} {PORT}\n" for host in HOSTS))
    settings = {
        "download-dir": f"{folder}",
        "watch-dir": f"{folder}",
        "watch-dir-enabled": True,
        "rpc-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "port-forwarding-enabled": False,
        "bind-address-ipv4": THEIRS,
        "peer-port": THEIR_PORT,
    }
    (home / "settings.json").write_text(json.dumps(settings))
    return ["transmission-daemon", "--foreground", "--config-dir", f"{home}", "--dht"]


def aria2(folder: Path) -> list[str]:
    return [
        "aria2c",
        "--no-conf",
        f"--dir={folder}",
        "--enable-dht",
        f"--dht-file-path={folder}/dht.dat",
        f"--dht-entry-point={HOSTS[0]}:{PORT}",
        f"--dht-listen-port={THEIR_PORT}",
        f"--listen-port={THEIR_PORT}",
        f"--interface={THEIRS}",
        "--bt-seed-unverified",
        "--check-integrity",
        "--seed-ratio=0",
        "--enable-peer-exchange=false",
        f"{folder}/{NAME}.torrent",
    ]


def rtorrent(folder: Path) -> list[str]:
    (folder / "session").mkdir()
    (folder / "rc").write_text(
        f"system.daemon.set = true\ndirectory.default.set = {folder}\nsession.path.set = {folder}/session\n"
        f"network.bind_address.set = {THEIRS}\nnetwork.port_range.set = {THEIR_PORT}-{THEIR_PORT}\n"
        f"dht.port.set = {THEIR_PORT}\ndht.mode.set = on\nprotocol.pex.set = no\n"
        f'schedule2 = nodes, 2, 5, ((dht.add_node, "{HOSTS[0]}:{PORT}"))\n'
    )
    return ["rtorrent", "-n", "-o", f"import={folder}/rc", f"{folder}/{NAME}.torrent"]


def qbittorrent(folder: Path) -> list[str]:
    config = folder / "qBittorrent" / "config"
    config.mkdir(parents=True)
    (config / "qBittorrent.conf").write_text(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=true\nSession\\LSDEnabled=false\n"
        f"Session\\PeXEnabled=false\nSession\\Interface=lo\nSession\\InterfaceAddress={THEIRS}\n"
        f"Session\\Port={THEIR_PORT}\n[Preferences]\nWebUI\\Enabled=false\nConnection\\UPnP=false\n"
    )
    where = f"--profile={folder}", f"--save-path={folder}"
    return ["qbittorrent-nox", *where, "--skip-hash-check", "--add-paused=false", f"{folder}/{NAME}.torrent"]


def webtorrent(folder: Path) -> list[str]:
    """Run bittorrent-dht, a DHT without a client around it."""
    (module,) = [path for each in NODE_MODULES if (path := each / "bittorrent-dht/index.js").exists()][:1]
    (folder / "dht.mjs").write_text(
        f'import DHT from "{module}"\n'
        f'const dht = new DHT({{ bootstrap: ["{HOSTS[0]}:{PORT}"] }})\n'
        f'const announce = () => dht.announce("{INFO_HASH.hex()}", {THEIR_PORT}, () => {{}})\n'
        f'dht.listen({THEIR_PORT}, "{THEIRS}", () => {{ announce(); setInterval(announce, 2000) }})\n'
    )
    return ["node", f"{folder}/dht.mjs"]


@dataclass(frozen=True, slots=True)
class Client:
    """A client, how to run it in a folder, and what it is known to do otherwise than others."""

    program: str
    command: Callable[[Path], list[str]]
    says_seed: bool = False
    has_peers: bool = True

    @property
    def is_installed(self) -> bool:
        if shutil.which(self.program) is None:
            return False
        return self.program != "node" or any((each / "bittorrent-dht").exists() for each in NODE_MODULES)


CLIENTS = {
    "transmission": Client("transmission-daemon", transmission),
    "aria2": Client("aria2c", aria2),
    "rtorrent": Client("rtorrent", rtorrent),
    "qbittorrent": Client("qbittorrent-nox", qbittorrent, says_seed=True),
    "bittorrent-dht": Client("node", webtorrent, has_peers=False),
}


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """Run a program for the length of the block; its words go to a file."""
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"HOME": f"{folder}"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


async def found_by(node):
    """Wait until the swarm has a peer."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(DhtError):
                async with node.get_peers(INFO_HASH) as peers:
                    if found := [peer async for peer in peers]:
                        return found
            await trio.sleep(0.5)


async def names_of(folder):
    """Ask the peers for the name of the torrent, as a user would."""
    options = ["--db", f"{folder}/names.db", "--bootstrap", f"{HOSTS[0]}:{PORT}", "--listen", f"{CRAWLER}:0"]
    command = [sys.executable, "-c", NOT_OUR_MACHINE, "metadata", INFO_HASH.hex(), "--json", *options]
    done = await trio.run_process(command, capture_stdout=True, check=False)
    return [record for line in done.stdout.splitlines() if (record := json.loads(line)).get("name")]


async def measure(client, folder):
    opened = partial(open_node, bootstrap=[f"{HOSTS[0]}:{PORT}"], well_known=False)
    async with AsyncExitStack() as stack:
        network = [await stack.enter_async_context(opened(listen=[f"{host}:{PORT}"])) for host in HOSTS]
        quiet = NodeSettings(read_only=True)
        node = await stack.enter_async_context(opened(listen=[f"{OURS}:{PORT}"], settings=quiet))
        stack.enter_context(running(client.command(folder), folder))
        found = await found_by(node)
        estimate = (await node.scrape(INFO_HASH)).estimate
        known = {contact.address.host for each in network for contact in each.contacts()}
        return {
            "found": [str(peer) for peer in found],
            "counted": [estimate.seeds, estimate.leechers],
            "is_a_node": THEIRS in known,
            "names": [record["name"] for record in await names_of(folder)] if client.has_peers else [],
        }


def malformed(capture):
    """Return the packets that Wireshark's dissector cannot read, but for what it is wrong about.

    It takes an empty `samples` for an error.
    """
    shown = '_ws.malformed && !(udp.payload contains "7:samples0:")'
    command = ["tshark", "-r", f"{capture}", "-T", "fields"]
    read = partial(subprocess.run, capture_output=True, text=True, check=True)
    seen = read([*command, "-Y", "bt-dht", "-e", "frame.number"]).stdout.split()
    return len(seen), read([*command, "-Y", shown, "-e", "udp.payload"]).stdout.split()


@contextmanager
def captured(capture):
    """Write all packets to a file for the length of the block, where tshark is installed."""
    if shutil.which("tshark") is None:
        yield
        return
    with running(["tshark", "-q", "-i", "lo", "-f", "udp", "-w", f"{capture}"], capture.parent):
        deadline = time.monotonic() + PATIENCE
        while not capture.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield


def main(name):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / NAME).write_bytes(CONTENT)
        nodes = [[host.encode(), PORT] for host in HOSTS]
        (folder / f"{NAME}.torrent").write_bytes(bencode2.bencode({b"info": INFO, b"nodes": nodes}))
        capture = folder / "capture.pcapng"
        with captured(capture):
            result = trio.run(measure, CLIENTS[name], folder)
        if capture.exists():
            dissected, result["malformed"] = malformed(capture)
            result["is_dissected"] = dissected > 100
        click.echo(json.dumps(result))


if __name__ == "__main__":
    lines = ["link set lo up", *(f"address add {host}/32 dev lo" for host in (*HOSTS, OURS, CRAWLER, THEIRS))]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
    main(sys.argv[1])
