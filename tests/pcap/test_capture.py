"""A capture of sockets on loopback: all that passes, in order, and whatever becomes of the file."""

import errno
import logging
import os
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest
import trio

import dhtnode
from dhtnode import Address, CaptureError, InfoHash, InvalidArgument
from dhtnode.net import open_udp_socket
from dhtnode.pcap import file as file_module
from dhtnode.pcap.file import CaptureFile
from dhtnode.pcap.packets import udp_packet
from dhtnode.testing import open_testnet
from dhtnode.tracker_client import open_trackers
from dhtnode.trackers import parse_tracker_url
from tests.pcap.reading import blocks_of, read_capture
from tests.tracker_client.fake_trackers import UdpTracker, serving_udp

SYN, RST_ACK = 2, 20
SWARM = InfoHash(bytes(range(20)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ours.pcapng"


async def exchange(host="127.0.0.1"):
    """Send a datagram from one socket to another, and a batch of two back; return both addresses."""
    one, other = open_udp_socket(Address(host, 0)), open_udp_socket(Address(host, 0))
    try:
        assert one.send_nowait(b"first", other.address)
        await other.wait_readable()
        assert other.receive_nowait() == (b"first", one.address)
        assert other.send_batch([(b"second", one.address), (b"third", one.address)]) == {}
        heard = []
        while len(heard) < 2:
            await one.wait_readable()
            heard += one.receive_batch(10)
    finally:
        one.close()
        other.close()
    return one.address, other.address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_datagrams_of_both_directions(path, host):
    try:
        open_udp_socket(Address(host, 0)).close()
    except dhtnode.CannotListen:
        pytest.skip(f"no {host} here")
    with dhtnode.capture(path):
        one, other = await exchange(host)
    packets, counts = read_capture(path)
    assert [(p.source, p.destination, p.payload, p.outbound) for p in packets] == [
        (one, other, b"first", True),
        (one, other, b"first", False),
        (other, one, b"second", True),
        (other, one, b"third", True),
        (other, one, b"second", False),
        (other, one, b"third", False),
    ]
    assert counts == (6, 0)
    assert [p.at for p in packets] == sorted(p.at for p in packets)


async def test_only_what_was_opened_within_the_block_is_captured(path):
    before = open_udp_socket(Address("127.0.0.1", 0))
    with dhtnode.capture(path):
        before.send_nowait(b"x", before.address)
    before.close()
    await exchange()
    assert read_capture(path) == ([], (0, 0))
    assert trio.socket.set_custom_socket_factory(None) is None


async def test_socket_of_all_addresses_has_the_one_that_its_packets_leave_from(path):
    with dhtnode.capture(path):
        everywhere, here = open_udp_socket(Address("0.0.0.0", 0)), open_udp_socket(Address("127.0.0.1", 0))
        everywhere.send_nowait(b"x", here.address)
        everywhere.close()
        here.close()
    [packet], _ = read_capture(path)
    assert packet.source == ("127.0.0.1", everywhere.address.port)


async def test_node_and_its_lookup(path):
    async with open_testnet(8, seed=1) as testnet:
        testnet.place_swarm(SWARM, seeds=2, leechers=1)
        with dhtnode.capture(path):
            async with dhtnode.open_node(bootstrap=testnet.bootstrap) as node:
                await node.scrape(SWARM)
                counted = sum((Counter(each.counts) for each in node.statistics().sockets), Counter())
                packets, _ = read_capture(path)
    is_outbound = Counter(packet.outbound for packet in packets)
    assert is_outbound[True] == counted["datagrams sent"] > 0
    # Some may have come and wait for their turn.
    assert is_outbound[False] >= counted["datagrams received"] > 0


async def test_udp_tracker(path):
    tracker = UdpTracker({SWARM: (5, 9, 3)})
    async with serving_udp(tracker) as url:
        with dhtnode.capture(path):
            async with open_trackers(random=Random(1)) as client:
                [asked] = await client.scrape(parse_tracker_url(url), [SWARM], is_typed=True)
    assert asked.answer
    packets, _ = read_capture(path)
    assert [p.payload for p in packets if p.outbound] == tracker.packets
    assert {p.destination for p in packets if p.outbound} == {("127.0.0.1", int(url.rsplit(":")[-1]))}
    assert {p.source for p in packets if not p.outbound} == {p.destination for p in packets if p.outbound}


@asynccontextmanager
async def serving(handle):
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()
        nursery.cancel_scope.cancel()


async def shout(stream):
    """Send back in capitals what comes, up to its end."""
    async with stream:
        async for data in stream:
            await stream.send_all(data.upper())
        await stream.send_eof()


def conversation(packets):
    """Return flags of the packets without data, with their direction, and what each side said."""
    said = [b"".join(p.payload for p in packets if p.outbound == outbound) for outbound in (True, False)]
    return [(p.flags, p.outbound) for p in packets if not p.payload], *said


async def test_connection(path):
    """Also one that a task within the block accepts: that is served, and not recorded."""
    with dhtnode.capture(path):
        async with serving(shout) as there:
            stream = await trio.open_tcp_stream(*there)
            here = stream.socket.getsockname()
            await stream.send_all(b"abc" * 30_000)
            await stream.send_eof()
            heard = b"".join([bytes(data) async for data in stream])
            await stream.aclose()
    packets, _ = read_capture(path)
    assert heard == b"ABC" * 30_000
    assert conversation(packets) == (
        [(SYN, True), (18, False), (16, True), (17, True), (17, False), (16, True)],
        b"abc" * 30_000,
        heard,
    )
    assert {(p.source, p.destination) for p in packets if p.outbound} == {(here, there)}


async def test_connection_that_is_refused(path):
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        there = taken.getsockname()
        with dhtnode.capture(path), pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(*there)
    packets, _ = read_capture(path)
    assert conversation(packets) == ([(SYN, True), (RST_ACK, False)], b"", b"")
    assert packets[0].destination == there


async def test_connection_that_is_broken_off(path):
    with dhtnode.capture(path):
        async with serving(shout) as there:
            stream = await trio.open_tcp_stream(*there)
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"X"
            await stream.aclose()
    packets, _ = read_capture(path)
    assert (packets[-1].flags, packets[-1].outbound) == (RST_ACK, True)


async def test_cancelled_connection_closes_its_socket(path):
    """One to a host that takes no more of them: what is last is what we sent."""
    packets, streams = [], []
    with trio.socket.socket() as full, dhtnode.capture(path):
        await full.bind(("127.0.0.1", 0))
        full.listen(0)
        while not packets or packets[-1].flags != SYN:
            with trio.move_on_after(0.1):
                streams.append(await trio.open_tcp_stream(*full.getsockname()))
            packets, _ = read_capture(path)
        for stream in streams:
            await stream.aclose()
    assert packets[-1].outbound


async def test_file_is_for_its_owner_and_replaces_none(path):
    old = os.umask(0)
    try:
        with dhtnode.capture(path):
            pass
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    with pytest.raises(CaptureError, match="is there already"), dhtnode.capture(path):
        pytest.fail("there is a file")
    assert path.read_bytes() == content
    link = path.with_name("link")
    link.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(CaptureError), dhtnode.capture(link):
        pytest.fail("there is a link")
    with pytest.raises(CaptureError, match="cannot write"), dhtnode.capture(path / "below"):
        pytest.fail("there is no such folder")


async def test_wrong_arguments(path):
    for arguments in ({"limit": 999}, {"limit": 1e6}, {"limit": None}):
        with pytest.raises(InvalidArgument), dhtnode.capture(path, **arguments):
            pytest.fail("it was taken")
    assert not path.exists()


def test_outside_of_trio(path):
    with pytest.raises(RuntimeError, match="within Trio"), dhtnode.capture(path):
        pytest.fail("it was taken")
    assert not path.exists()


async def test_whatever_is_written_is_there_at_once(path):
    """As a process that is killed leaves it: all blocks whole, and only the counts at the end are missing."""
    with dhtnode.capture(path):
        await exchange()
        packets, counts = read_capture(path)
    assert (len(packets), counts) == (6, None)


PACKET = (udp_packet(("127.0.0.1", 1), ("127.0.0.1", 2), bytes(72)), True)


def test_file_grows_up_to_its_limit(path, caplog):
    file = CaptureFile(path, 3000)
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            file.add([PACKET] * 5)
        file.skip(2)
        file.close()
    packets, (seen, dropped) = read_capture(path)
    assert 3000 - 2 * 144 < path.stat().st_size <= 3000
    assert (len(packets), seen) == (52 - dropped, 52)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: no more packets are captured: it is as long as it may be"
    ]


def test_full_disk_ends_the_capture_and_nothing_else(path, caplog, monkeypatch):
    """What of a block was written already is taken back."""
    file = CaptureFile(path, 100_000)
    file.add([PACKET] * 3)
    write, left = os.write, [200]

    def write_some(number, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(number, bytes(data)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(file_module.os, "write", write_some)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            file.add([PACKET] * 2)
        monkeypatch.undo()
        file.close()
    packets, counts = read_capture(path)
    assert (len(packets), counts) == (3, (9, 6))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: no more packets are captured: No space left on device"
    ]


def test_disk_that_is_full_from_the_beginning(path, caplog, monkeypatch):
    def refuse(_number, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_module.os, "write", refuse)
    with caplog.at_level(logging.WARNING):
        file = CaptureFile(path, 100_000)
        file.add([PACKET])
        file.close()
    monkeypatch.undo()
    assert blocks_of(path.read_bytes()) == []
    assert len(caplog.records) == 1
