"""Captures as Wireshark reads them: every packet by its dissector, and none with a complaint."""

import shutil
import subprocess
from functools import partial
from hashlib import sha1
from random import Random

import pytest
import trio

import dhtnode
from crawler.settings import PeerSettings
from crawler.torrents.peers import PeerClient
from dhtnode import Address, Family, InfoHash, Scope
from dhtnode.bencode import encode
from dhtnode.testing import open_testnet
from dhtnode.trackers import parse_tracker_url
from tests.fake_peers import ALL, Peer
from tests.pcap.reading import read_capture
from tests.tracker_client.fake_trackers import UdpTracker, response, serving_http, serving_udp

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="Wireshark's tshark is not installed")

METADATA = encode({b"length": 400_000, b"name": b"a.iso", b"piece length": 16, b"pieces": b"p" * 500_000})
SWARM = InfoHash(sha1(METADATA).digest())  # noqa: S324  BEP 3
ERROR = 0x800000  # severity of an expert's remark; warnings are 0x600000
COMPLAINTS = (
    f"_ws.malformed or _ws.expert.severity >= {ERROR} or _ws.short or tcp.analysis.flags"
    " or not (udp.checksum.status == 1 or tcp.checksum.status == 1)"
    " or (ip and not ip.checksum.status == 1)"
)
SUMS = [f"-o{name}.check_checksum:TRUE" for name in ("ip", "udp", "tcp")]


def run_tshark(*options):
    return subprocess.run([TSHARK, *options], capture_output=True, text=True, check=False, timeout=100)


def tshark(path, *options):
    """Return the lines that it prints; it had nothing to say against the file."""
    ended = run_tshark("-n", "-r", path, *SUMS, *options)
    assert ended.returncode == 0, ended.stderr
    assert "Running as user" in ended.stderr or not ended.stderr
    return ended.stdout.splitlines()


def dissected(path, protocol, *decode_as):
    """Check that there are no complaints; return how many packets of a protocol it finds."""
    decoded = [option for rule in decode_as for option in ("-d", rule)]
    assert tshark(path, *decoded, "-Y", COMPLAINTS) == []
    return len(tshark(path, *decoded, "-Y", protocol))


async def test_datagrams_of_a_node(tmp_path):
    path = tmp_path / "dht.pcapng"
    async with open_testnet(8, seed=1) as testnet:
        testnet.place_swarm(SWARM, seeds=20, leechers=1)
        with dhtnode.capture(path):
            async with dhtnode.open_node(bootstrap=testnet.bootstrap) as node:
                await node.scrape(SWARM)
                await node.announce(SWARM, 6881)
    packets, _ = read_capture(path)
    ports = {p.source[1] for p in packets}
    rules = [f"udp.port=={port},bt-dht" for port in ports]
    assert dissected(path, "bt-dht", *rules) == len(packets)
    directions = tshark(path, "-T", "fields", "-e", "frame.packet_flags_direction")
    assert directions.count("0x00000002") == sum(p.outbound for p in packets)


async def test_udp_tracker(tmp_path):
    path = tmp_path / "udp.pcapng"
    tracker = UdpTracker({SWARM: (5, 9, 3)}, peers=bytes((127, 0, 0, 1, 26, 225)))
    async with serving_udp(tracker) as url:
        with dhtnode.capture(path):
            async with dhtnode.open_trackers(random=Random(1)) as client:
                await client.scrape(parse_tracker_url(url), [SWARM], is_typed=True)
    packets, _ = read_capture(path)
    # Wireshark knows the protocol from 4.2 on.
    has_dissector = "\tbt-tracker\n" in run_tshark("-G", "protocols").stdout
    rules = [f"udp.port=={url.rsplit(':')[-1]},bt-tracker"] if has_dissector else []
    assert dissected(path, "bt-tracker" if has_dissector else "udp && data", *rules) == len(packets) > 3


async def test_http_tracker(tmp_path):
    """A request and a response that are put together from their segments."""
    path = tmp_path / "http.pcapng"
    body = b"d5:filesd20:" + SWARM + b"d8:completei11e10:downloadedi5e10:incompletei3eeee"

    def respond(_target, _headers):
        return response(body)

    async with serving_http(respond) as origin:
        with dhtnode.capture(path):
            async with dhtnode.open_trackers(random=Random(1)) as client:
                [asked] = await client.scrape(f"{origin}/announce", [SWARM], is_typed=True)
    assert asked.answer
    rule = f"tcp.port=={origin.rsplit(':')[-1]},http"
    assert dissected(path, "http", rule) == 2
    shown = tshark(
        path, "-d", rule, "-Y", "http", "-T", "fields", "-e", "http.request.uri", "-e", "http.response.code"
    )
    assert shown[0].startswith("/scrape?info_hash=")
    assert shown[1].strip() == "200"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_peer(tmp_path, host):
    """The handshake of BitTorrent, the extension protocol, and metadata of many segments."""
    path = tmp_path / "peer.pcapng"
    peer = Peer(SWARM, ALL, METADATA)

    async def serve(stream):
        async with stream:
            await peer(stream)

    async with trio.open_nursery() as nursery:
        try:
            [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        except OSError:
            pytest.skip(f"no {host} here")
        there = Address(*listener.socket.getsockname()[:2])
        with dhtnode.capture(path):
            scopes = dict.fromkeys(Family, Scope.LOOPBACK)
            contact = await PeerClient(scopes, PeerSettings(), random=Random(1)).contact_peers(SWARM, [there])
        nursery.cancel_scope.cancel()
    assert contact.info
    rule = f"tcp.port=={there.port},bittorrent"
    assert dissected(path, "bittorrent", rule) > 4
    kinds = tshark(path, "-d", rule, "-Y", "bittorrent", "-T", "fields", "-e", "bittorrent.info_hash")
    assert kinds[0] == SWARM.hex()


async def test_capture_that_was_cut(tmp_path):
    """A torn block at the end, as a power failure leaves it, hides none of those before it."""
    path = tmp_path / "cut.pcapng"
    async with open_testnet(3, seed=1) as testnet:
        with dhtnode.capture(path):
            async with dhtnode.open_node(bootstrap=testnet.bootstrap) as node:
                await node.find_node(SWARM)
                data = path.read_bytes()
    path.write_bytes(data)
    packets, _ = read_capture(path)
    path.write_bytes(data[:-7])
    ended = run_tshark("-n", "-r", path)
    assert "cut short in the middle of a packet" in ended.stderr
    assert len(ended.stdout.splitlines()) == len(packets) - 1 > 0
