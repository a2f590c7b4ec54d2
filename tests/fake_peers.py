"""Peers of a swarm that a test writes itself, honest and hostile, behind streams in memory.

Each is a function that gets its end of the connection.  What it is sent is kept, so that a test can
say what we do send and what we never do.
"""

from dataclasses import dataclass, field
from random import Random

import trio
from trio.testing import memory_stream_pair

from crawler.torrents.peerwire.extension import PART_BYTES
from crawler.torrents.peerwire.frames import FrameKind, FrameReader, encode_frame
from crawler.torrents.peerwire.handshake import HANDSHAKE_BYTES, Handshake, encode_handshake
from dhtnode.bencode import encode, read_prefix_untrusted
from dhtnode.krpc.compact import pack_address

PEER_ID = b"-LT2110-" + b"p" * 12
ALL, NONE = encode_frame(FrameKind.HAVE_ALL), encode_frame(FrameKind.HAVE_NONE)


def extended(number, entries, rest=b""):
    return encode_frame(FrameKind.EXTENDED, bytes((number,)) + encode(entries) + rest)


def hello(info_hash, *frames, peer_id=PEER_ID):
    return encode_handshake(Handshake(info_hash, peer_id)) + b"".join(frames)


@dataclass
class Swarm:
    """Be the peers of a test by address; `connect` is for the client."""

    nursery: trio.Nursery
    peers: dict = field(default_factory=dict)
    connected: list = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0

    async def connect(self, address):
        """Open a connection, if there is such a peer."""
        await trio.lowlevel.checkpoint()
        self.connected.append(address)
        if address not in self.peers:
            raise ConnectionRefusedError
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, self.peers[address], theirs)
        return ours

    async def _serve(self, peer, stream):
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            async with stream:
                await peer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has had enough
        finally:
            self.open_now -= 1


@dataclass
class Peer:
    """Be an honest peer, or one that lies about some of it; keeps the bytes that it was sent last."""

    info_hash: bytes
    has: bytes = ALL
    metadata: bytes | None = None
    size: int | None = None
    extra: dict = field(default_factory=dict)
    delay: float = 0.0
    is_greeted: bool = False
    peer_id: bytes = PEER_ID
    received: bytearray = field(default_factory=bytearray)

    async def __call__(self, stream):
        """Say hello, then answer requests for metadata until the other side has closed."""
        size = self.size if self.size is not None else len(self.metadata or b"")
        offer = {b"metadata_size": size} if size else {}
        entries = {b"m": {b"ut_metadata": 5}, b"v": b"fake 1.0"} | offer | self.extra
        await stream.send_all(hello(self.info_hash, self.has, extended(0, entries), peer_id=self.peer_id))
        self.received.clear()
        reader, is_greeted = FrameReader(), self.is_greeted
        while data := await _received(stream):
            self.received += data
            if not is_greeted and len(self.received) >= HANDSHAKE_BYTES:
                is_greeted, data = True, bytes(self.received[HANDSHAKE_BYTES:])
            if is_greeted:
                reader.feed(data)
            while (frame := reader.next_untrusted()) is not None:
                if frame.kind == FrameKind.EXTENDED and frame.payload[:1] == b"\x05":
                    await trio.sleep(self.delay)
                    await stream.send_all(self._part(frame.payload[1:]))

    def _part(self, request):
        entries, _ = read_prefix_untrusted(request)
        part = entries[b"piece"]
        if self.metadata is None:
            return extended(1, {b"msg_type": 2, b"piece": part})
        data = self.metadata[part * PART_BYTES : (part + 1) * PART_BYTES]
        return extended(1, {b"msg_type": 1, b"piece": part, b"total_size": len(self.metadata)}, data)

    def was_sent(self):
        reader = FrameReader()
        reader.feed(bytes(self.received[HANDSHAKE_BYTES:]))
        return [frame.kind for frame in iter(reader.next_untrusted, None)]


class Telling(Peer):
    """A peer that names others in a message of BEP 11 when it has heard that we read them."""

    others = ()
    times = 1

    async def __call__(self, stream):
        self.extra = {b"m": {b"ut_metadata": 5, b"ut_pex": 3}}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, stream)
            await super().__call__(stream)
            nursery.cancel_scope.cancel()

    async def _tell(self, stream):
        await trio.sleep(1)
        added = b"".join(pack_address(address) for address in self.others)
        await stream.send_all(self.times * extended(2, {b"added": added}))


async def send_and_wait(stream, data):
    await stream.send_all(data)
    while await stream.receive_some(4096):
        pass


async def send_for_ever(stream, data, pause=0.0):
    """Send the same bytes again and again."""
    while True:
        await stream.send_all(data)
        await trio.sleep(pause)


def garbage(seed):
    return lambda stream: send_and_wait(stream, Random(seed).randbytes(5000))


async def _received(stream):
    """Return what has come; nothing when the other side has closed, which resets the connection."""
    try:
        return await stream.receive_some(4096)
    except trio.BrokenResourceError:
        return b""
