"""The peers of a swarm: what they send, which we leave alone, and what hostile ones can do to us.

All of it over streams in memory and in virtual time.
"""

import socket
import struct
import tracemalloc
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha1
from itertools import pairwise
from random import Random

import pytest
import trio

from crawler.core.exclusion import Exclusion
from crawler.db.records.torrents import PeerKind, PeerReport, PiecesHeld
from crawler.settings import PeerSettings
from crawler.torrents.peers import PeerClient
from crawler.torrents.peerwire.assembly import MAX_METADATA_BYTES
from crawler.torrents.peerwire.conversation import TALK_BYTES
from crawler.torrents.peerwire.extension import PART_BYTES
from crawler.torrents.peerwire.frames import FrameKind, FrameReader, encode_frame
from crawler.torrents.peerwire.handshake import HANDSHAKE_BYTES
from dhtnode import Address, Family, InfoHash, Scope
from dhtnode.bencode import encode
from dhtnode.torrents import parse_info
from tests.fake_peers import ALL, NONE, Peer, Swarm, extended, garbage, hello, send_and_wait, send_for_ever

SEED, LEECHER, UNKNOWN = PeerKind
INFO = {b"length": 160, b"name": b"a.iso", b"piece length": 16, b"pieces": b"p" * 200}  # 10 pieces
METADATA = encode(INFO)
INFO_HASH = InfoHash(sha1(METADATA).digest())  # noqa: S324  BEP 3


def address(number):
    return Address(f"127.0.{number // 200}.{number % 200 + 1}", 6881)


async def directly(function, *args, limiter):
    """Stand in for a worker thread, whose time is not virtual."""
    async with limiter:
        return function(*args)


@asynccontextmanager
async def swarm_of(*peers):
    async with trio.open_nursery() as nursery:
        yield Swarm(nursery, {address(number): peer for number, peer in enumerate(peers)})
        nursery.cancel_scope.cancel()


async def ask(swarm, addresses=None, *, scope=Scope.LOOPBACK, info_hash=INFO_HASH, excludes=None, **options):
    """Ask peers, all of the swarm if none are named."""
    asks = {name: options.pop(name) for name in ("pieces", "wants_metadata") if name in options}
    client = PeerClient(
        {Family.IPV4: scope},
        PeerSettings(**options),
        Random(1),
        excludes=excludes,
        connect=swarm.connect,
        run_sync=directly,
        own={"6.6.6.6", "127.0.0.1"},
    )
    return await client.contact_peers(info_hash, addresses or list(swarm.peers), **asks)


async def test_seeds_leechers_and_the_name_are_told(autojump_clock):
    bitfield = encode_frame(FrameKind.BITFIELD, b"\xf0\x00")
    peers = [
        Peer(INFO_HASH, ALL, METADATA, extra={b"upload_only": 1}),
        Peer(INFO_HASH, encode_frame(FrameKind.BITFIELD, b"\xff\xc0"), METADATA),
        Peer(INFO_HASH, bitfield + encode_frame(FrameKind.HAVE, (9).to_bytes(4)), METADATA),
        Peer(INFO_HASH, NONE),
        Peer(INFO_HASH, b""),
        Peer(INFO_HASH, encode_frame(FrameKind.BITFIELD, b"\xff\xff"), METADATA),
    ]
    async with swarm_of(*peers) as swarm:
        told = await ask(swarm)

    holdings = Counter(report.holding for report in told.reports)
    assert told.info == parse_info(METADATA)
    assert holdings == Counter(
        {
            PiecesHeld(SEED, 10, 10): 2,
            PiecesHeld(LEECHER, 5, 10): 1,
            PiecesHeld(LEECHER, 0, 10): 2,
            PiecesHeld(UNKNOWN, None, 10): 1,  # spare bits that are set
        }
    )
    assert PeerReport(PiecesHeld(SEED, 10, 10), True, "LT") in told.reports
    assert (told.peers_named, told.peers_tried, told.failures, told.skipped) == (6, 6, {}, {})


async def test_peers_in_both_families_are_told_by_their_ids(autojump_clock):
    """Two are; one has IPv4 alone, one IPv6 alone, and an id that two hosts of a family have names none."""
    named = {"1.2.3.4": 1, "1.2.3.5": 2, "1.2.3.6": 3, "1.2.3.7": 4, "1.2.3.8": 4}
    named |= {"2a00::1": 1, "2a01::1": 2, "2a02::1": 4, "2a03::1": 5}
    async with trio.open_nursery() as nursery:
        swarm = Swarm(
            nursery,
            {
                Address(host, 6881): Peer(INFO_HASH, peer_id=bytes([name]) * 20)
                for host, name in named.items()
            },
        )
        client = PeerClient(
            dict.fromkeys(Family, Scope.PUBLIC), PeerSettings(), Random(1), connect=swarm.connect, own=()
        )
        told = await client.contact_peers(INFO_HASH, list(swarm.peers), wants_metadata=False)
        nursery.cancel_scope.cancel()
    assert (len(told.reports), told.in_both_families) == (9, 2)


async def test_only_handshakes_and_requests_for_metadata_are_sent(autojump_clock):
    info = encode(INFO | {b"pieces": b"p" * 20 * 3000})
    peer = Peer(InfoHash(sha1(info).digest()), ALL, info)  # noqa: S324  BEP 3
    async with swarm_of(peer) as swarm:
        told = await ask(swarm, info_hash=peer.info_hash)
        await trio.testing.wait_all_tasks_blocked()
        assert swarm.open_now == 0
    assert told.info is not None
    assert peer.was_sent() == [FrameKind.HAVE_NONE] + [FrameKind.EXTENDED] * (1 + -(-len(info) // PART_BYTES))
    assert told.bytes_sent == len(peer.received)


async def test_what_is_known_is_not_asked_for(autojump_clock):
    peer = Peer(INFO_HASH, encode_frame(FrameKind.BITFIELD, b"\xff\xc0"), METADATA)
    async with swarm_of(peer) as swarm:
        told = await ask(swarm, pieces=10, wants_metadata=False)
    assert told.info is None
    assert told.reports == (PeerReport(PiecesHeld(SEED, 10, 10), False, "LT"),)
    assert peer.was_sent() == [FrameKind.HAVE_NONE, FrameKind.EXTENDED]


async def test_private_torrent_ends_the_asking(autojump_clock):
    """Nothing is returned of its peers, and the rest are left alone."""
    info = encode(INFO | {b"private": 1})
    info_hash = InfoHash(sha1(info).digest())  # noqa: S324  BEP 3
    async with swarm_of(*[Peer(info_hash, ALL, info) for _ in range(30)]) as swarm:
        told = await ask(swarm, info_hash=info_hash, connections_at_once=2, connection_rate=1.0)
    assert told.info is not None
    assert told.info.is_private
    assert told.reports == ()
    assert len(swarm.connected) < 10


async def test_peers_that_may_not_be_contacted_are_not(autojump_clock):
    peers = [
        Address("8.8.8.8", 6881),
        Address("8.8.8.8", 6882),
        Address("8.8.8.8", 6883),
        Address("127.0.0.1", 6881),
        Address("10.0.0.1", 6881),
        Address("192.168.1.1", 6881),
        Address("169.254.1.1", 6881),
        Address("224.0.0.1", 6881),
        Address("9.9.9.9", 0),
        Address("9.9.9.9", 22),
        Address("9.9.9.9", 1023),
        Address("5.5.5.5", 6881),
        Address("6.6.6.6", 6881),
        Address("2001:470::1", 6881),
        Address("9.9.9.9", 1024),
    ]
    async with swarm_of() as swarm:
        told = await ask(swarm, peers, scope=Scope.PUBLIC, excludes=Exclusion.read(["5.5.0.0/16"]).excludes)

    assert set(swarm.connected) == {
        Address("8.8.8.8", 6881),
        Address("8.8.8.8", 6882),
        Address("9.9.9.9", 1024),
    }
    assert told.skipped == {
        "another port of a host": 1,
        "address that we do not talk to": 7,
        "address of this machine": 1,
        "port below 1024": 2,
        "excluded": 1,
    }
    assert told.failures == {"connection refused": 3}


async def test_connections_are_few_at_once_and_paced(autojump_clock):
    async with swarm_of(*[Peer(INFO_HASH, NONE) for _ in range(50)]) as swarm:
        began = trio.current_time()
        told = await ask(swarm, connections_at_once=3, connection_rate=2.0, peers=21)
    assert swarm.most_open == 3
    assert told.peers_tried == len(told.reports) == 21
    assert told.skipped == {"enough others": 29}
    assert trio.current_time() - began >= (21 - 3) / 2.0  # virtual time


@pytest.mark.parametrize("ports", [(7814, 34334), (34334, 7814)])
async def test_port_with_swapped_bytes_does_not_hide_the_peer(autojump_clock, ports):
    """As rTorrent's nodes return it beside the right one: the second is tried, if the first is nothing."""
    right, named = Address("45.0.0.1", 7814), [Address("45.0.0.1", port) for port in ports]
    async with trio.open_nursery() as nursery:
        swarm = Swarm(nursery, {right: Peer(INFO_HASH, ALL, METADATA)})
        told = await ask(swarm, named, scope=Scope.PUBLIC)
        nursery.cancel_scope.cancel()
    assert told.info == parse_info(METADATA)
    assert [report.holding.kind for report in told.reports] == [SEED]
    assert swarm.connected == named[: 1 + named.index(right)]


async def test_host_in_many_swarms_is_asked_about_each_in_turn(autojump_clock):
    """A seedbox has the names of all of them, and one connection from us at a time."""
    infos = [encode(INFO | {b"name": b"%d" % number}) for number in range(6)]
    hashes = [InfoHash(sha1(info).digest()) for info in infos]  # noqa: S324  BEP 3
    seedbox = Address("45.0.0.1", 7820)
    told = {}

    async def serve(stream):
        data = await stream.receive_some(4096)
        which = hashes.index(data[28:48])
        await Peer(hashes[which], ALL, infos[which], is_greeted=True)(stream)

    async with trio.open_nursery() as nursery:
        swarm = Swarm(nursery, {seedbox: serve})
        client = PeerClient(
            {Family.IPV4: Scope.PUBLIC}, PeerSettings(), Random(1), connect=swarm.connect, run_sync=directly
        )

        async def ask_about(info_hash):
            told[info_hash] = await client.contact_peers(info_hash, [seedbox])

        async with trio.open_nursery() as asking:
            for info_hash in hashes:
                asking.start_soon(ask_about, info_hash)
        nursery.cancel_scope.cancel()
    assert {each.info.name for each in told.values()} == {str(number) for number in range(6)}
    assert (swarm.most_open, len(swarm.connected), client.turns) == (1, 6, {})


@pytest.mark.parametrize("word", [b"", b"HTTP/1.1 400 Bad Request", hello(InfoHash(b"x" * 20))])
async def test_host_that_accepts_and_is_no_peer_is_sent_few_packets(autojump_clock, word):
    """However many swarms name it, at any port: of ten packets in ten seconds a connection has nine."""
    opened = []

    async def victim(stream):
        opened.append(trio.current_time())
        await stream.send_all(word)

    async with trio.open_nursery() as nursery:
        ports = [Address("9.9.9.9", port) for port in range(7000, 7040)]
        swarm = Swarm(nursery, dict.fromkeys(ports, victim))
        client = PeerClient(
            {Family.IPV4: Scope.PUBLIC}, PeerSettings(), Random(1), connect=swarm.connect, run_sync=directly
        )
        async with trio.open_nursery() as asking:
            for number in range(40):
                info_hash = InfoHash(bytes([number]) * 20)
                asking.start_soon(client.contact_peers, info_hash, ports[number:])
        nursery.cancel_scope.cancel()
    assert len(opened) > 1
    assert min(later - earlier for earlier, later in pairwise(opened)) > 10


class Late(Peer):
    """A peer that answers every three seconds, and then all requests that have come."""

    async def __call__(self, stream):
        offer = {b"m": {b"ut_metadata": 5}, b"metadata_size": len(self.metadata)}
        await stream.send_all(hello(self.info_hash, self.has, extended(0, offer)))
        reader, to_skip = FrameReader(), HANDSHAKE_BYTES
        while True:
            await trio.sleep(3)
            if not (data := await stream.receive_some(65536)):
                return
            reader.feed(data[to_skip:])
            to_skip = max(0, to_skip - len(data))
            for frame in iter(reader.next_untrusted, None):
                if frame.kind == FrameKind.EXTENDED and frame.payload[:1] == b"\x05":
                    await stream.send_all(self._part(frame.payload[1:]))


async def test_peer_that_answers_late_gives_600_kib(autojump_clock):
    """As Transmission does."""
    info = encode(INFO | {b"pieces": b"p" * 20 * 30_700})
    info_hash = InfoHash(sha1(info).digest())  # noqa: S324  BEP 3
    async with swarm_of(Late(info_hash, ALL, info)) as swarm:
        told = await ask(swarm, info_hash=info_hash)
    assert (told.info, told.failures) == (parse_info(info), {})


async def test_requests_that_a_peer_forgets_are_made_again_one_at_a_time(autojump_clock):
    """As rTorrent does with those that come while it sends, however many it says to take at once."""
    info = encode(INFO | {b"pieces": b"p" * 20 * 3070})
    info_hash = InfoHash(sha1(info).digest())  # noqa: S324  BEP 3
    async with swarm_of(Forgetful(info_hash, ALL, info, extra={b"reqq": 2048})) as swarm:
        told = await ask(swarm, info_hash=info_hash)
    assert told.info == parse_info(info)
    assert told.failures == {}


class Forgetful(Peer):
    """A peer that answers no request for metadata within half a second of the last one."""

    async def __call__(self, stream):
        await stream.send_all(hello(self.info_hash, self.has, self.offer()))
        reader, busy_until, to_skip = FrameReader(), -1.0, HANDSHAKE_BYTES
        while data := await stream.receive_some(4096):
            reader.feed(data[to_skip:])
            to_skip = max(0, to_skip - len(data))
            while (frame := reader.next_untrusted()) is not None:
                is_request = frame.kind == FrameKind.EXTENDED and frame.payload[:1] == b"\x05"
                if is_request and trio.current_time() >= busy_until:
                    busy_until = trio.current_time() + 0.5
                    await stream.send_all(self._part(frame.payload[1:]))

    def offer(self):
        offer = {b"m": {b"ut_metadata": 5}, b"metadata_size": len(self.metadata)}
        return extended(0, offer | self.extra)


@pytest.mark.parametrize(("said", "kind"), [(bytes(4), LEECHER), (encode_frame(1), LEECHER), (b"", UNKNOWN)])
async def test_peer_without_bep_6_that_sends_no_bitfield_first_has_nothing(autojump_clock, said, kind):
    """RTorrent sends a keep-alive in its place; one that says nothing at all may still be asked later."""
    offer = extended(0, {b"m": {b"ut_metadata": 5}, b"metadata_size": len(METADATA)})
    start = bytearray(hello(INFO_HASH, offer, said))
    start[27] &= ~4  # the bit of BEP 6

    async def peer(stream):
        await send_and_wait(stream, bytes(start))

    async with swarm_of(peer) as swarm:
        told = await ask(swarm, wants_metadata=False, pieces=10)
    assert [report.holding.kind for report in told.reports] == [kind]


SLOW_DRIP = bytes(4)
TOO_LARGE = extended(0, {b"m": {b"ut_metadata": 5}, b"metadata_size": MAX_METADATA_BYTES + 1})
FORGED = encode(INFO | {b"name": b"b.iso"})
HAVE = encode_frame(FrameKind.HAVE, bytes(4))

HOSTILE = {  # a peer, and what is said of it
    "garbage": (garbage(1), "not the BitTorrent protocol"),
    "silent": (lambda stream: send_and_wait(stream, b""), "no handshake"),
    "half a handshake": (lambda stream: send_and_wait(stream, hello(INFO_HASH)[:60]), "no handshake"),
    "closes at once": (lambda stream: stream.aclose(), None),
    "drips": (lambda stream: send_for_ever(stream, b"\x13", 1.0), "not the BitTorrent protocol"),
    "another swarm": (Peer(InfoHash(b"x" * 20)), "speaks of another swarm"),
    "oversized message": (
        lambda s: send_and_wait(s, hello(INFO_HASH, b"\x7f\xff\xff\xff")),
        "message too long",
    ),
    "keep-alives": (lambda s: keep_sending(s, bytes(4 * 1000)), "says too much"),
    "slow keep-alives": (lambda s: keep_sending(s, SLOW_DRIP, 0.5), None),
    "haves": (lambda s: keep_sending(s, HAVE * 1000), "says too much"),
    "two bitfields": (lambda s: send_and_wait(s, hello(INFO_HASH, ALL, ALL)), None),
    "content": (
        lambda s: send_and_wait(s, hello(INFO_HASH, ALL, encode_frame(FrameKind.PIECE, bytes(16392)))),
        "sends content that was not requested",
    ),
    "too much metadata": (lambda s: send_and_wait(s, hello(INFO_HASH, ALL, TOO_LARGE)), None),
    "wrong hash": (Peer(INFO_HASH, ALL, FORGED), "metadata with another hash"),
    "wrong size": (Peer(INFO_HASH, ALL, METADATA, size=20_000), "part of metadata of the wrong length"),
    "refuses": (Peer(INFO_HASH, ALL, None, size=100), None),
    "dawdles": (Peer(INFO_HASH, ALL, METADATA, delay=1000.0), None),
}


async def keep_sending(stream, data, pause=0.0):
    await stream.send_all(hello(INFO_HASH))
    await send_for_ever(stream, data, pause)


@pytest.mark.parametrize(("peer", "reason"), HOSTILE.values(), ids=HOSTILE)
async def test_hostile_peer_is_left_and_the_others_are_asked(peer, reason, autojump_clock):
    honest = Peer(INFO_HASH, ALL, METADATA, delay=0.1)
    async with swarm_of(peer, honest) as swarm:
        told = await ask(swarm)
    assert told.info == parse_info(METADATA)
    assert PeerReport(PiecesHeld(SEED, 10, 10), False, "LT") in told.reports
    if reason is not None:
        assert told.failures == {reason: 1}
        assert [report.holding.kind for report in told.reports] in ([SEED], [SEED, UNKNOWN], [UNKNOWN, SEED])
    assert told.bytes_received <= 2 * (TALK_BYTES + PART_BYTES)


async def test_crowd_of_hostile_peers_ends_in_time(autojump_clock):
    drips = [lambda s: keep_sending(s, SLOW_DRIP, 0.5) for _ in range(200)]
    async with swarm_of(*drips) as swarm:
        began = trio.current_time()
        told = await ask(swarm, peers=200, swarm_time=60.0)
    assert trio.current_time() - began <= 61.0  # virtual time
    assert told.info is None
    assert {report.holding.kind for report in told.reports} == {UNKNOWN}


async def test_memory_is_bounded_when_all_peers_are_hostile(autojump_clock):
    forged = bytes(2 << 20)  # of `MAX_METADATA_BYTES` it is four times as much, and takes long
    bitfield = encode_frame(FrameKind.BITFIELD, b"\xaa" * 125_000)
    peers = [Peer(INFO_HASH, bitfield, forged) for _ in range(8)]
    async with swarm_of(*peers) as swarm:
        tracemalloc.start()
        told = await ask(swarm)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert told.failures == {"metadata with another hash": len(peers)}
    assert (
        peak < 2 * 2 * len(forged) + len(peers) * 300_000
    )  # the parts and the whole, twice; docs/reference/torrents.md


async def test_connection_without_an_answer_is_given_up(autojump_clock):
    async def never(_):
        await trio.sleep_forever()

    client = PeerClient({Family.IPV4: Scope.LOOPBACK}, PeerSettings(), Random(1), connect=never)
    told = await client.contact_peers(INFO_HASH, [address(number) for number in range(20)])
    assert told.failures == {"no connection": 20}


async def test_unreadable_metadata_is_not_asked_for_twice(autojump_clock):
    metadata = b"d4:name5:a.isoe"
    info_hash = InfoHash(sha1(metadata).digest())  # noqa: S324  BEP 3
    peers = [Peer(info_hash, ALL, metadata) for _ in range(5)]
    async with swarm_of(*peers) as swarm:
        told = await ask(swarm, info_hash=info_hash, connections_at_once=1)
    assert told.info is None
    assert [peer.was_sent().count(FrameKind.EXTENDED) for peer in peers] == [2, 1, 1, 1, 1]
    assert len(told.reports) == 5


async def test_cancelled_asking_leaves_nothing_behind(autojump_clock):
    async with swarm_of(*[Peer(INFO_HASH, ALL, METADATA, delay=100.0) for _ in range(8)]) as swarm:
        with trio.move_on_after(2.0):
            await ask(swarm)
        await trio.testing.wait_all_tasks_blocked()
        assert len(swarm.connected) == 8
        await trio.sleep(200.0)  # for those that were about to answer
        assert swarm.open_now == 0


async def test_port_that_is_closed_is_told_from_silence():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = PeerClient({Family.IPV4: Scope.LOOPBACK}, PeerSettings(), Random(1))
        told = await client.contact_peers(INFO_HASH, [Address("127.0.0.1", port)])
    assert told.failures == {"connection refused": 1}


async def test_connection_reset_over_tcp_is_no_error():
    async def reset(stream):
        await stream.receive_some(68)
        await stream.send_all(hello(INFO_HASH, ALL)[:40])
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, reset, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        client = PeerClient({Family.IPV4: Scope.LOOPBACK}, PeerSettings(), Random(1))
        told = await client.contact_peers(INFO_HASH, [Address("127.0.0.1", port)])
        nursery.cancel_scope.cancel()

    assert told.reports == ()
    assert told.failures == {"connection broke": 1}
