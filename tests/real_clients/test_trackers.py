"""Trackers that others wrote: libtorrent announces there, and our scrape says what is there."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from dhtnode import InfoHash, open_trackers
from dhtnode.trackers import SwarmCounts
from tests.real_clients.other_clients import NODE_MODULES

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

SWARMS = [InfoHash(bytes([number]) * 20) for number in (1, 2)]
UNKNOWN = InfoHash(bytes(range(20)))
HAS_NPM_TRACKER = any((folder / "bittorrent-tracker/server.js").exists() for folder in NODE_MODULES)


def free_port():
    """Return a port that was free a moment ago, for UDP and TCP alike."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return tcp.getsockname()[1]


@contextmanager
def running(command, port, folder):
    """Run a tracker for the length of the block, from when it accepts connections on."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                assert process.poll() is None, f"{command[0]} has ended"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


@contextmanager
def opentracker(folder: Path, swarms=tuple(SWARMS)):
    """It leaves root for a user of no rights, and reads its list inside its folder."""
    port = free_port()
    folder.chmod(0o777)
    (folder / "allowed").write_text("".join(f"{swarm.hex()}\n" for swarm in swarms))
    command = [
        "opentracker",
        "-i",
        "127.0.0.1",
        "-p",
        f"{port}",
        "-P",
        f"{port}",
        "-w",
        "allowed",
        "-d",
        f"{folder}",
    ]
    with running([*command, "-u", "daemon"], port, folder):
        yield [f"udp://127.0.0.1:{port}", f"http://127.0.0.1:{port}/announce"]


@contextmanager
def npm_tracker(folder: Path):
    port = free_port()
    (modules,) = [each for each in NODE_MODULES if (each / "bittorrent-tracker").exists()][:1]
    (folder / "tracker.mjs").write_text(
        f"import Server from '{modules}/bittorrent-tracker/server.js'\n"
        f"new Server({{ ws: false, stats: false }}).on('error', () => {{}}).listen({port}, '127.0.0.1')\n"
    )
    with running(["node", "tracker.mjs"], port, folder):
        yield [f"udp://127.0.0.1:{port}", f"http://127.0.0.1:{port}/announce"]


@pytest.fixture(
    params=[
        pytest.param(
            opentracker,
            marks=pytest.mark.skipif(not shutil.which("opentracker"), reason="opentracker is not installed"),
        ),
        pytest.param(
            npm_tracker,
            marks=pytest.mark.skipif(not HAS_NPM_TRACKER, reason="bittorrent-tracker is not installed"),
        ),
    ]
)
def urls(request, tmp_path):
    with request.param(tmp_path) as found:
        yield found


async def test_scrape_says_who_has_announced(urls):
    """Peers that have nothing are leechers; of an unknown swarm nothing is told, or that it is empty."""
    async with open_trackers() as trackers:
        for url, swarm in zip(urls, SWARMS, strict=True):
            for number in (1, 2):
                (announced,) = await trackers.announce(url, swarm, 7000 + number, is_typed=True)
                assert announced.error is None, str(announced.error)
                (asked,) = await trackers.scrape(url, [UNKNOWN, swarm], is_typed=True)
                counts = asked.answer.counts
                assert (counts[swarm].seeds, counts[swarm].leechers) == (0, number), url
                assert counts.get(UNKNOWN, SwarmCounts(0, 0)).is_zero
            assert {peer.port for peer in announced.answer.peers} <= {7001, 7002}
