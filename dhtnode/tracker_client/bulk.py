"""Very many scrapes over UDP: all trackers of a family on one socket, and no task for any of them.

A turn receives many answers, decides what each tracker is sent next, and sends that at once.
"""

import errno
from collections.abc import Awaitable, Callable, Sequence
from heapq import heapify, heappop, heappush
from math import inf

import trio

from dhtnode.net.udp import DatagramSocket
from dhtnode.tracker_client.pace import SweepPace
from dhtnode.trackers.messages import Outcome, TrackerError
from dhtnode.trackers.udp_scrapes import UdpScrapes

RECEIVED_AT_ONCE = 256  # packets
IDLE = 0.01  # seconds until a tracker that had nothing to be asked for is looked at again
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, 0})  # the packet is lost, and repeated


async def scrape_over_udp(
    socket: DatagramSocket,
    scrapes: Sequence[UdpScrapes],
    pace: SweepPace,
    before_turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> None:
    """Hold conversations with trackers until each is done; their addresses differ.

    `before_turn` is awaited before each turn of the loop.
    """
    turns = _Turns(scrapes, pace)
    while turns.are_left:
        await before_turn()
        packets, due_at = turns.take(trio.current_time())
        for at, code in socket.send_batch([(data, scrape.address) for data, scrape in packets]).items():
            if code not in _FULL:
                packets[at][1].end(TrackerError(Outcome.UNREACHABLE, errno.errorcode.get(code, str(code))))
                turns.put(packets[at][1], trio.current_time())
        with trio.move_on_at(due_at):
            await socket.wait_readable()
        received, now = socket.receive_batch(RECEIVED_AT_ONCE), trio.current_time()
        for data, source in received:
            turns.hear(data, source, now)


class _Turns:
    """When each conversation is to be looked at next."""

    def __init__(self, scrapes: Sequence[UdpScrapes], pace: SweepPace) -> None:
        self._scrapes = scrapes
        self._pace = pace
        self._numbers = {scrape: number for number, scrape in enumerate(scrapes)}
        self._by_source = {tuple(scrape.address): scrape for scrape in scrapes}
        self._due = [-inf] * len(scrapes)
        self._heap = [(-inf, number) for number in range(len(scrapes))]
        heapify(self._heap)

    @property
    def are_left(self) -> bool:
        """Return whether a conversation is not at its end."""
        return bool(self._heap)

    def put(self, scrape: UdpScrapes, due: float) -> None:
        """Have a conversation looked at when it is due."""
        number = self._numbers[scrape]
        self._due[number] = due
        heappush(self._heap, (due, number))

    def take(self, now: float) -> tuple[list[tuple[bytes, UdpScrapes]], float]:
        """Return the packets to send now, and when the next look is due."""
        packets, heap, due = list[tuple[bytes, UdpScrapes]](), self._heap, self._due
        while heap and heap[0][0] <= now:
            at, number = heappop(heap)
            scrape = self._scrapes[number]
            # It has been put elsewhere since.
            if due[number] != at:
                continue
            packet = self._next_packet(scrape, now)
            if packet is not None:
                packets.append((packet, scrape))
        while heap and due[heap[0][1]] != heap[0][0]:
            heappop(heap)
        return packets, heap[0][0] if heap else now

    def hear(self, packet: bytes, source: tuple[str, int], now: float) -> None:
        """Take in a packet, if it answers one that is under way at its source."""
        scrape = self._by_source.get(source)
        if scrape is not None and scrape.on_packet(packet, now):
            self._pace.hear(scrape.address.host)
            self.put(scrape, now)

    def _next_packet(self, scrape: UdpScrapes, now: float) -> bytes | None:
        """Return the next packet of a conversation, and put it where it is looked at again."""
        host = scrape.address.host
        if scrape.deadline is not None:
            scrape.on_late()
            self._pace.miss(host)
        if scrape.is_done:
            return None
        if not scrape.may_follow:
            ready = self._pace.ready_at(host, now, is_pair=scrape.needs_connection(now))
            if ready > now:
                self.put(scrape, ready)
                return None
        packet = scrape.next_packet(now)
        if packet is not None:
            self._pace.sent(host, now)
            self.put(scrape, scrape.deadline or now)
        elif not scrape.is_done:
            self.put(scrape, now + IDLE)
        return packet
