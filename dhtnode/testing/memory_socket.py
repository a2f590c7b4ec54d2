"""Sockets in memory, which wait for the datagrams of a `MemoryNetwork` on Trio's clock."""

import math
from collections import Counter, deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

import trio

from dhtnode.addresses import Address
from dhtnode.net.udp import DatagramSocket

NAT_LIFETIME = 120.0  # seconds a NAT keeps a hole open; RFC 4787 asks for at least that much
QUEUE_LIMIT = 1000  # datagrams not yet read; about what a kernel buffer of 200 KiB holds


@dataclass(frozen=True, slots=True, order=True)
class Datagram:
    """A datagram on its way; sorts by time of arrival, then by the order of sending."""

    due: float
    sequence: int
    source: Address
    data: bytes


class Carrier(Protocol):
    """The network as a socket uses it."""

    cut_hosts: set[str]
    counts: Counter[str]

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Send a datagram on its way."""

    def remove(self, socket: "MemorySocket") -> None:
        """Take a socket off the network."""


class MemorySocket(DatagramSocket):
    """A `DatagramSocket` of a `MemoryNetwork`; one task at a time may wait for it."""

    def __init__(self, network: Carrier, address: Address, *, nat: bool) -> None:
        self.address = address
        # Stays empty: there is no kernel that could refuse.
        self.errors: Counter[str] = Counter()
        self._network = network
        self._family = address.family
        self._is_closed = False
        self._is_nated = nat
        self._sent_to: dict[Address, float] = {}
        self._expected: list[Datagram] = []  # a heap
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._wait = trio.CancelScope()
        self._dropped = 0

    @property
    def in_flight(self) -> int:
        """Return how many datagrams are on their way to this socket."""
        return len(self._expected)

    async def wait_readable(self) -> None:
        """Wait until a datagram is there; raises `trio.ClosedResourceError` when closed meanwhile."""
        if self._is_closed or self._has_datagram():
            await trio.lowlevel.checkpoint()
        while not self._is_closed and not self._has_datagram():
            # The wait ends at the deadline of its scope, and `expect` moves that deadline.  So a
            # datagram costs one wake-up; a task that delivers would make it two.
            deadline = self._expected[0].due if self._expected else math.inf
            with trio.CancelScope(deadline=deadline) as self._wait:
                await trio.sleep_forever()
        if self._is_closed:
            raise trio.ClosedResourceError

    def receive_nowait(self) -> tuple[bytes, Address] | None:
        """Return one datagram and its source, or None when none is there."""
        return self._queue.popleft() if self._has_datagram() else None

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Hand one datagram to the network; False when closed or when the families differ."""
        if self._is_closed or destination.family is not self._family:
            return False
        now = trio.current_time()
        if self._is_nated:
            # Before the NAT opens: it was closed for what has come until now.
            self.deliver_due(now)
            self._sent_to[destination] = now
        self._network.carry(data, self.address, destination, now)
        return True

    async def wait_writable(self) -> None:
        """Return at once: the network accepts everything."""
        await trio.lowlevel.checkpoint()

    def dropped_by_kernel(self) -> int:
        """Return how many datagrams found the queue full: those that a kernel would drop."""
        if self._expected:
            self.deliver_due(trio.current_time())
        return self._dropped

    def close(self) -> None:
        """Leave the network and wake the task that waits; datagrams under way are lost."""
        if self._is_closed:
            return
        self.deliver_due(trio.current_time())
        self._network.counts["unreachable"] += len(self._expected)
        self._expected.clear()
        self._is_closed = True
        self._network.remove(self)
        self._wait.cancel()

    def expect(self, datagram: Datagram) -> None:
        """Record a datagram that is on its way."""
        heappush(self._expected, datagram)
        if datagram.due < self._wait.deadline:
            self._wait.deadline = datagram.due

    def deliver_due(self, now: float) -> None:
        """Queue or drop the datagrams that have come.

        It may wait until the queue is read: only a reader frees places in the queue, and everything
        else that matters (`cut`, a NAT, `close`) calls this first.
        """
        while self._expected and self._expected[0].due <= now:
            datagram = heappop(self._expected)
            fate = self._fate(datagram)
            self._network.counts[fate] += 1
            if fate == "delivered":
                self._queue.append((datagram.data, datagram.source))

    def _fate(self, datagram: Datagram) -> str:
        if self.address.host in self._network.cut_hosts:
            return "cut_off"
        if self._is_nated and datagram.due - self._sent_to.get(datagram.source, -math.inf) > NAT_LIFETIME:
            return "dropped_at_nat"
        if len(self._queue) < QUEUE_LIMIT:
            return "delivered"
        self._dropped += 1
        return "queue_full"

    def _has_datagram(self) -> bool:
        if self._expected:
            self.deliver_due(trio.current_time())
        return bool(self._queue)
