"""Clients that others wrote announce to opentracker: a scrape counts them, an announce finds them."""

import json
import shutil
from contextlib import ExitStack

import bencode2
import libtorrent
import pytest
import trio

from dhtnode import open_trackers
from dhtnode.trackers import Event, Outcome, TrackerError
from tests.real_clients.other_clients import CONTENT, INFO, INFO_HASH, NAME, running
from tests.real_clients.test_trackers import free_port, opentracker

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

PATIENCE = 240.0  # seconds; clients look through what they have before they announce
OUR_PORT = 7007


def transmission(folder, port):
    settings = {
        "download-dir": f"{folder}",
        "watch-dir": f"{folder}",
        "watch-dir-enabled": True,
        "rpc-enabled": False,
        "dht-enabled": False,
        "lpd-enabled": False,
        "port-forwarding-enabled": False,
        "peer-port": port,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return ["transmission-daemon", "--foreground", "--config-dir", f"{folder}"]


def aria2(folder, port):
    options = ["--no-conf", f"--dir={folder}", "--enable-dht=false", f"--listen-port={port}"]
    options += ["--bt-seed-unverified", "--check-integrity", "--seed-ratio=0"]
    return ["aria2c", *options, f"{folder}/{NAME}.torrent"]


def rtorrent(folder, port):
    (folder / "session").mkdir()
    (folder / "rc").write_text(
        f"system.daemon.set = true\ndirectory.default.set = {folder}\nsession.path.set = {folder}/session\n"
        f"network.port_range.set = {port}-{port}\ndht.mode.set = disable\nprotocol.pex.set = no\n"
    )
    return ["rtorrent", "-n", "-o", f"import={folder}/rc", f"{folder}/{NAME}.torrent"]


def qbittorrent(folder, port, tracker_port=None):
    config = folder / "qBittorrent" / "config"
    config.mkdir(parents=True)
    tracker = "" if tracker_port is None else f"Advanced\\trackerPort={tracker_port}\n"
    (config / "qBittorrent.conf").write_text(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n"
        f"Session\\PeXEnabled=false\nSession\\Port={port}\nTrackerEnabled={str(bool(tracker)).lower()}\n"
        f"[Preferences]\nWebUI\\Enabled=false\nConnection\\UPnP=false\n{tracker}"
    )
    where = f"--profile={folder}", f"--save-path={folder}"
    return ["qbittorrent-nox", *where, "--skip-hash-check", "--add-paused=false", f"{folder}/{NAME}.torrent"]


CLIENTS = {
    "transmission-daemon": transmission,
    "aria2c": aria2,
    "rtorrent": rtorrent,
    "qbittorrent-nox": qbittorrent,
}


def folder_with_content(parent, name, *trackers):
    folder = parent / name
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    torrent = {b"announce-list": [[url.encode()] for url in trackers], b"info": INFO}
    torrent |= {b"announce": trackers[0].encode()} if trackers else {}
    (folder / f"{NAME}.torrent").write_bytes(bencode2.bencode(torrent))
    return folder


def seed_with_libtorrent(folder, port):
    session = libtorrent.session(
        {
            "listen_interfaces": f"127.0.0.1:{port}",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
        }
    )
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(f"{folder}/{NAME}.torrent")
    parameters.save_path = f"{folder}"
    session.add_torrent(parameters)
    return session


async def counted(trackers, url, wanted):
    """Wait until a scrape counts so many seeds, and return what it says then."""
    counts = None
    with trio.move_on_after(PATIENCE):
        while counts is None or counts.seeds < wanted:
            (asked,) = await trackers.scrape(url, [INFO_HASH], is_typed=True)
            counts = asked.answer and asked.answer.counts.get(INFO_HASH)
            await trio.sleep(0.2)
    return counts


@pytest.mark.skipif(not shutil.which("opentracker"), reason="opentracker is not installed")
async def test_every_client_that_announces_is_counted_and_found(tmp_path):
    """All at once, those that are installed: each is a seed, and its port is in our opted-in announce."""
    installed = [program for program in CLIENTS if shutil.which(program)]
    with ExitStack() as stack:
        place = tmp_path / "tracker"
        place.mkdir()
        tmp_path.chmod(0o755)
        urls = stack.enter_context(opentracker(place, [INFO_HASH]))
        ports = {program: free_port() for program in (*installed, "libtorrent")}
        for program in installed:
            # aria2 asks no UDP tracker without its DHT.
            folder = folder_with_content(tmp_path, program, urls[1] if program == "aria2c" else urls[0])
            stack.enter_context(running(CLIENTS[program](folder, ports[program]), folder))
        folder = folder_with_content(tmp_path, "libtorrent", urls[0])
        session = seed_with_libtorrent(folder, ports["libtorrent"])
        async with open_trackers() as trackers:
            for url in urls:
                counts = await counted(trackers, url, len(ports))
                assert (counts.seeds, counts.leechers) == (len(ports), 0), (url, sorted(ports))
                (asked,) = await trackers.announce(url, INFO_HASH, OUR_PORT, is_typed=True)
                assert {peer.port for peer in asked.answer.peers} - {OUR_PORT} == set(ports.values()), url
                await trackers.announce(url, INFO_HASH, OUR_PORT, event=Event.STOPPED, is_typed=True)
        del session


@pytest.mark.skipif(not shutil.which("qbittorrent-nox"), reason="qbittorrent-nox is not installed")
async def test_tracker_inside_qbittorrent(tmp_path):
    """It takes announces and tells our address; it has no scrape."""
    port = free_port()
    folder = folder_with_content(tmp_path, "qbittorrent")
    url = f"http://127.0.0.1:{port}/announce"
    with running(qbittorrent(folder, free_port(), port), folder):
        async with open_trackers() as trackers:
            with trio.fail_after(PATIENCE):
                while True:
                    (asked,) = await trackers.announce(url, INFO_HASH, 7001, is_typed=True)
                    if asked.outcome is not Outcome.UNREACHABLE:
                        break
                    await trio.sleep(0.2)
            assert isinstance(asked.error, TrackerError | None) and asked.error is None, str(asked.error)
            (asked,) = await trackers.announce(url, INFO_HASH, 7001, is_typed=True)
            assert 7001 in {peer.port for peer in asked.answer.peers}
            (asked,) = await trackers.scrape(url, [INFO_HASH], is_typed=True)
            assert asked.outcome is Outcome.HTTP
