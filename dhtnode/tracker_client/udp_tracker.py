"""One UDP tracker, asked through a socket of its own (BEP 15).

A connected socket takes packets from the address asked only, and learns when nothing listens there.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import ECONNREFUSED
from functools import partial
from math import ceil, inf
from typing import TypeVar

import trio

from dhtnode.addresses import Address, Family
from dhtnode.ids import InfoHash
from dhtnode.tracker_client.pace import HostPace
from dhtnode.trackers.messages import AnnounceAnswer, AnnounceRequest, Outcome, ScrapeAnswer, TrackerError
from dhtnode.trackers.udp_packets import (
    CONNECTION_SECONDS,
    Action,
    is_about_connection,
    pack_announce,
    pack_connect,
    pack_scrape,
    read_announce,
    read_connect,
    read_header,
    read_scrape,
)

T = TypeVar("T")

PATIENCE, ANNOUNCE_PATIENCE = (5.0, 15.0), (15.0, 30.0)
"""Seconds that each packet of a request is waited for; then the tracker is silent."""

REFUSED_PAUSE = 600.0
"""Seconds in which a tracker is left alone that refused a connection id, and the one it gave then."""

MAX_PACKET = 65_536


class UdpTracker:
    """A conversation with one tracker at one address; its requests take turns."""

    def __init__(self, address: Address, pace: HostPace) -> None:
        """Open the socket."""
        self._address = address
        self._pace = pace
        is_ipv4 = address.family is Family.IPV4
        self._socket = trio.socket.socket(
            trio.socket.AF_INET if is_ipv4 else trio.socket.AF_INET6, trio.socket.SOCK_DGRAM
        )
        self._is_connected = False
        self._turn = trio.Lock()
        self._connection = 0
        self._expires_at = -1.0
        self._left_alone_until = -inf

    @property
    def is_busy(self) -> bool:
        """Return whether a request is under way."""
        return self._turn.locked()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def scrape(self, info_hashes: tuple[InfoHash, ...]) -> ScrapeAnswer:
        """Return the counts of different info-hashes, as many as one packet takes; raises `TrackerError`."""
        return await self._request(
            PATIENCE,
            Action.SCRAPE,
            lambda connection, transaction: pack_scrape(connection, transaction, info_hashes),
            lambda packet: read_scrape(packet, info_hashes),
        )

    async def announce(self, request: AnnounceRequest, url_data: bytes) -> AnnounceAnswer:
        """Announce a peer; raises `TrackerError`."""
        return await self._request(
            ANNOUNCE_PATIENCE,
            Action.ANNOUNCE,
            lambda connection, transaction: pack_announce(connection, transaction, request, url_data),
            lambda packet: read_announce(packet, self._address.family),
        )

    async def _request(
        self,
        patience: Sequence[float],
        action: Action,
        pack: Callable[[int, int], bytes],
        read: Callable[[bytes], T],
    ) -> T:
        """Send a request under a connection id, and under a new one once if the tracker refuses that.

        Some leave a host without answers, or ban it, whose ids are wrong again and again.
        """
        async with self._turn:
            left = self._left_alone_until - trio.current_time()
            if left > 0:
                await trio.lowlevel.checkpoint()
                raise TrackerError(Outcome.LATER, "it takes no connection id", ceil(left))
            try:
                if not self._is_connected:
                    await self._socket.connect(tuple(self._address))
                    self._is_connected = True
                try:
                    return await self._exchange(patience, action, pack, read)
                except TrackerError as error:
                    if not is_about_connection(error):
                        raise
                self._expires_at = -1.0
                try:
                    return await self._exchange(patience, action, pack, read)
                except TrackerError as error:
                    if is_about_connection(error):
                        self._expires_at = -1.0
                        self._left_alone_until = trio.current_time() + REFUSED_PAUSE
                    raise
            except OSError as error:
                reason = error.strerror or str(error)
                raise TrackerError(Outcome.UNREACHABLE, reason) from error

    async def _exchange(
        self,
        patiences: Sequence[float],
        action: Action,
        pack: Callable[[int, int], bytes],
        read: Callable[[bytes], T],
    ) -> T:
        for patience in patiences:
            # A retry may take so long that the connection id has expired.
            if trio.current_time() >= self._expires_at:
                packet = await self._answer_to(pack_connect, Action.CONNECT, patience)
                if packet is None:
                    continue
                self._connection = read_connect(packet)
                self._expires_at = trio.current_time() + CONNECTION_SECONDS
            packet = await self._answer_to(partial(pack, self._connection), action, patience)
            if packet is not None:
                return read(packet)
        raise TrackerError(Outcome.SILENT)

    async def _answer_to(self, pack: Callable[[int], bytes], action: Action, patience: float) -> bytes | None:
        """Send one packet and return the answer to it, or None if none comes in time."""
        await self._pace.wait_to_send(self._address.host)
        transaction = secrets.randbits(32)
        await self._socket.send(pack(transaction))
        with trio.move_on_after(patience):
            while True:
                packet = await self._received()
                # Anything else is an answer that comes late, or a forged one.
                with suppress(TrackerError):
                    header = read_header(packet)
                    if header.transaction == transaction and header.action in (action, Action.ERROR):
                        self._pace.hear(self._address.host)
                        return packet
        return None

    async def _received(self) -> bytes:
        try:
            return await self._socket.recv(MAX_PACKET)
        except OSError as error:
            if error.errno == ECONNREFUSED:
                raise TrackerError(Outcome.UNREACHABLE, "no tracker listens there") from error
            raise
