"""The UDP tracker of the gateway on a socket: packets are answered in batches, without a task for each."""

import logging
from collections import Counter
from traceback import walk_tb
from typing import cast

import trio

from dhtnode.gateway import UdpTracker
from dhtnode.gateway.udp_tracker import Datagram
from dhtnode.gateway_server.gateway import Gateway
from dhtnode.ids import InfoHash
from dhtnode.net.udp import DatagramSocket

logger = logging.getLogger(__name__)

BATCH = 64  # datagrams received and answered at once
LOOK_EVERY = 0.25  # seconds between two looks for answers that are to wait no longer


class UdpServer:
    """One socket at which clients ask over UDP."""

    def __init__(self, gateway: Gateway, socket: DatagramSocket) -> None:
        self.socket = socket
        self._gateway = gateway
        self._tracker = UdpTracker(gateway.core, socket.address.family)
        self._counts: Counter[str] = gateway.core.counts

    async def serve(self) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_answering_late)
            with self.socket.calling(self.receive):
                while True:
                    await self.socket.wait_readable()
                    while self.receive(trio.current_time(), BATCH) == BATCH:
                        await trio.lowlevel.checkpoint()

    def receive(self, now: float, most: int) -> int:
        """Answer up to `most` datagrams, and return how many there were; never raises."""
        datagrams = self.socket.receive_batch(most)
        try:
            self._send(self._tracker.answer(cast("list[Datagram]", datagrams), now))
            self._gateway.start_lookups()
        except Exception as error:  # noqa: BLE001
            # The last barrier: a bug of ours costs a batch, not the gateway.
            self._counts["internal errors"] += 1
            *_, place = walk_tb(error.__traceback__)
            # No more than that: a message may tell who wants what.
            where = f"{place[0].f_code.co_filename}:{place[1]}"
            logger.error("failed on a datagram of a client: %s at %s", type(error).__name__, where)  # noqa: TRY400
        return len(datagrams)

    def answer_waiting(self, info_hash: InfoHash, now: float) -> None:
        """Answer those who have waited for the lookup of a swarm."""
        self._send(self._tracker.ready(info_hash, now))

    async def _keep_answering_late(self) -> None:
        while True:
            await trio.sleep(LOOK_EVERY)
            self._send(self._tracker.overdue(trio.current_time()))

    def _send(self, replies: list[Datagram]) -> None:
        if replies and (failed := self.socket.send_batch(replies)):
            self._counts["udp: not sent"] += len(failed)
