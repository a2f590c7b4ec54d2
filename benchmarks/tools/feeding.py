"""A socket that is no socket: it feeds a node with packets made one by one, and takes its replies.

The packets go through the node's own receive loop and all that follows, but not through the kernel:
so they can come from any number of sources.
"""

from collections import Counter
from collections.abc import Iterator

import trio

from dhtnode import Address
from dhtnode.net import DatagramSocket
from dhtnode.net.udp import Received


class FeedingSocket(DatagramSocket):
    """The `DatagramSocket` of one node."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.errors: Counter[str] = Counter()
        self.last_response = b""
        self.sent = 0
        self._packets: Iterator[Received] = iter(())
        self._has_packets = trio.Event()
        self._is_fed = trio.Event()

    async def feed(self, packets: Iterator[Received]) -> None:
        """Let the node receive packets; each is made when the one before has been dealt with."""
        self._packets, self._is_fed = packets, trio.Event()
        self._has_packets.set()
        await self._is_fed.wait()

    async def wait_readable(self) -> None:
        """Wait for `feed`."""
        await trio.lowlevel.checkpoint()
        await self._has_packets.wait()

    def receive_nowait(self) -> Received | None:
        """Return the next packet."""
        packet = next(self._packets, None)
        if packet is None:
            self._has_packets = trio.Event()
            self._is_fed.set()
        return packet

    def receive_batch(self, most: int) -> list[Received]:  # noqa: ARG002
        """Return the next packet only: what comes after it may depend on the reply."""
        packet = self.receive_nowait()
        return [] if packet is None else [packet]

    def send_nowait(self, data: bytes, _destination: Address) -> bool:
        """Keep the last response for the packet generator; nothing is sent."""
        if data.endswith(b"1:y1:re"):
            self.last_response = data
        self.sent += 1
        return True

    async def wait_writable(self) -> None:
        """Return at once: everything is taken."""
        await trio.lowlevel.checkpoint()

    def dropped_by_kernel(self) -> int | None:
        """Return None: no kernel takes part."""
        return None

    def close(self) -> None:
        """Do nothing."""
