"""A conversation with a peer over a stream, each stage within its time."""

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from crawler.settings import PeerSettings
from crawler.torrents.peerwire.conversation import Conversation
from dhtnode import Address

CHUNK_BYTES = 16 * 1024  # read at once
PART_TIME = 1.0  # seconds more for the metadata, for each part of it that has come
PARTING_TIME = 1.0  # seconds for a peer to close its side after we closed ours
PARTING_BYTES = 64 * 1024

Connect: TypeAlias = Callable[[Address], Awaitable[trio.abc.HalfCloseableStream]]
"""Opens a connection to a peer; raises `OSError`."""


CONNECTION_PACKETS = 9
"""What a connection to a host sends at most that is no peer: SYN, ACK, a handshake with five repetitions
while it is not acknowledged, RST.  When nothing answers, SYN three times."""

REFUSED = "connection refused"
"""How this is counted among failures."""

_RESET = struct.pack("ii", 1, 0)


async def connect_tcp(address: Address) -> trio.abc.HalfCloseableStream:
    """Open a TCP connection; the host is an address, so that no name is looked up."""
    try:
        stream = await trio.open_tcp_stream(address.host, address.port)
    except OSError as error:
        # Trio tells of several attempts together, of which there is one.
        several = error.__cause__
        if isinstance(several, BaseExceptionGroup) and several.subgroup(ConnectionRefusedError):
            raise ConnectionRefusedError(str(error)) from error
        raise
    # What the host did not acknowledge is not to be repeated for minutes after we have closed.
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _RESET)
    return stream


class PeerConnection:
    """One conversation over a stream.

    Its methods raise `BadPeer` when the peer breaks the protocol, and `trio.BrokenResourceError` when
    the connection breaks.
    """

    def __init__(
        self, stream: trio.abc.HalfCloseableStream, conversation: Conversation, settings: PeerSettings
    ) -> None:
        self.bytes_sent = 0
        self._stream = stream
        self._conversation = conversation
        self._settings = settings
        self.has_ended = False

    async def introduce(self) -> None:
        """Exchange handshakes, and receive what the peer has, as far as it says so in time."""
        with trio.move_on_after(self._settings.hello_time):
            await self._send(self._conversation.opening())
            while not self._conversation.is_introduction_complete and not self.has_ended:
                await self._exchange()

    async def linger(self) -> None:
        """Receive a little longer which pieces the peer has, unless it has them all."""
        if self._conversation.is_introduced and not self._conversation.is_seed:
            with trio.move_on_after(self._settings.linger_time):
                while not self.has_ended:
                    await self._exchange()
            now = trio.current_time()
            with trio.move_on_at(now + self._settings.linger_time):
                # One that may hide its pieces gets a little more time to show some.
                while self._conversation.may_show_pieces(now) and not self.has_ended:
                    await self._exchange()

    async def hear_of_others(self) -> None:
        """Receive the first peers and trackers that the peer names, if it may name any (BEP 11, BEP 28)."""
        with trio.move_on_after(self._settings.pex_time):
            while self._conversation.may_tell_of_others and not self.has_ended:
                await self._exchange()

    async def fetch(self, is_wanted: Callable[[], bool]) -> bytes | None:
        """Request the metadata, and return it when it came in time and is right.

        Gives up when `is_wanted` returns False, or when the peer refuses.
        """
        conversation = self._conversation
        with trio.move_on_after(self._settings.fetch_time) as scope:
            await self._send(conversation.begin_fetch())
            while conversation.is_fetching and is_wanted() and not self.has_ended:
                before = conversation.parts_received
                with trio.move_on_after(conversation.patience) as silence:
                    await self._exchange()
                if silence.cancelled_caught:
                    await self._send(conversation.fetch_again())
                scope.deadline += PART_TIME * (conversation.parts_received - before)
        return self._conversation.metadata()

    async def part(self) -> None:
        """Close our side, and give the peer a moment to close its own: it may still be sending."""
        left = PARTING_BYTES
        with trio.move_on_after(PARTING_TIME), suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
            while left > 0 and (data := await self._stream.receive_some(CHUNK_BYTES)):
                left -= len(data)

    async def _exchange(self) -> None:
        data = await self._stream.receive_some(CHUNK_BYTES)
        self.has_ended = not data
        if data:
            await self._send(self._conversation.receive_untrusted(bytes(data), trio.current_time()))

    async def _send(self, data: bytes) -> None:
        if data:
            self.bytes_sent += len(data)
            await self._stream.send_all(data)
