"""The conversations with UDP trackers in virtual time: pace, connection ids, silence, forged answers."""

from random import Random

import pytest
import trio

from dhtnode.addresses import Address
from dhtnode.ids import InfoHash
from dhtnode.net import DatagramSocket, OutgoingBound
from dhtnode.tracker_client import SweepPace, scrape_over_udp
from dhtnode.trackers import Outcome, UdpScrapes

HOST, OTHER = "192.0.2.7", "198.51.100.9"
SWARMS = [InfoHash(number.to_bytes(20, "big")) for number in range(1, 2000)]


class FakeSocket(DatagramSocket):
    """A socket with trackers behind it, which answer after a moment; what is sent is kept with its time."""

    def __init__(self, answer):
        self.sent = []
        self._answer = answer
        self._send, self._receive = trio.open_memory_channel(1000)
        self._waiting = None

    def send_batch(self, datagrams):
        for data, destination in datagrams:
            now = trio.current_time()
            self.sent.append((now, destination, data))
            answer = self._answer(data, destination, now)
            if answer is not None:
                self._send.send_nowait((now + 0.1, answer, tuple(destination)))
        return {}

    async def wait_readable(self):
        if self._waiting is None:
            self._waiting = await self._receive.receive()
        await trio.sleep_until(self._waiting[0])

    def receive_batch(self, most):
        found = []
        while self._waiting is not None and self._waiting[0] <= trio.current_time():
            found.append(self._waiting[1:])
            try:
                self._waiting = self._receive.receive_nowait()
            except trio.WouldBlock:
                self._waiting = None
        return found


class FakeTracker:
    """A tracker whose connection ids are good for a minute."""

    def __init__(self, wrong_ids=0):
        self.issued = {}
        self.wrong_ids = wrong_ids
        self.late = 0

    def __call__(self, packet, destination, now):
        transaction = packet[12:16]
        if packet[8:12] == bytes(4):
            connection = len(self.issued).to_bytes(8, "big")
            self.issued[connection] = now
            return bytes(4) + transaction + connection
        if self.wrong_ids:
            self.wrong_ids -= 1
            return b"\0\0\0\3" + transaction + b"Connection ID mismatch\0"
        self.late += now - self.issued[packet[:8]] > 60
        return b"\0\0\0\2" + transaction + bytes(12 * ((len(packet) - 16) // 20))


def conversation(address, batches):
    """Return a conversation about so many batches, and what it was answered."""
    left, heard = [SWARMS[:70] for _ in range(batches)], []
    scrapes = UdpScrapes(
        address, lambda: left.pop() if left else None, lambda *told: heard.append(told), Random(address.port)
    )
    return scrapes, heard


def most_in(times, seconds):
    return max(sum(start <= time <= start + seconds for time in times) for start in times)


def new_pace(rate=1.0):
    return SweepPace(rate, OutgoingBound(trio.current_time))


async def test_no_host_gets_more_than_ten_packets_in_ten_seconds(autojump_clock):
    """Two trackers of one host go together; a scrape follows the connect that it was waited for."""
    places = [Address(HOST, 6969), Address(HOST, 80), Address(OTHER, 6969)]
    talks = [conversation(place, 60) for place in places]
    tracker = FakeTracker()
    socket = FakeSocket(tracker)
    await scrape_over_udp(socket, [scrapes for scrapes, _ in talks], new_pace())
    assert [len(heard) for _, heard in talks] == [60] * 3
    assert [scrapes.error for scrapes, _ in talks] == [None] * 3
    for host in (HOST, OTHER):
        times = [time for time, destination, _ in socket.sent if destination.host == host]
        assert most_in(times, 0.99) <= 2
        assert most_in(times, 9.99) <= 10
        # As fast as it may be: no more than a connect a minute beside the scrapes.
        scrapes = 60 * (2 if host == HOST else 1)
        assert times[-1] - times[0] <= 1.06 * scrapes + 6
    assert tracker.late == 0


@pytest.mark.parametrize(("rate", "seconds"), [(10.0, 61), (0.5, 122), (0.0, 61)])
async def test_rate_is_what_was_asked_for_and_none_only_on_loopback(rate, seconds, autojump_clock):
    scrapes, heard = conversation(Address(HOST, 6969), 60)
    socket = FakeSocket(FakeTracker())
    await scrape_over_udp(socket, [scrapes], new_pace(rate))
    assert len(heard) == 60
    assert 0.9 * seconds < trio.current_time() < 1.1 * seconds
    scrapes, heard = conversation(Address("127.0.0.9", 6969), 60)
    begun = trio.current_time()
    await scrape_over_udp(FakeSocket(FakeTracker()), [scrapes], new_pace(0.0))
    assert trio.current_time() - begun < 7  # 61 times 0.1 s


async def test_silent_tracker_gets_two_packets(autojump_clock):
    scrapes, _ = conversation(Address(HOST, 6969), 5)
    socket = FakeSocket(lambda *_: None)
    await scrape_over_udp(socket, [scrapes], new_pace())
    assert scrapes.error.outcome is Outcome.SILENT
    assert [round(time - socket.sent[0][0], 3) for time, _, _ in socket.sent] == [0, 5]
    assert round(trio.current_time() - socket.sent[0][0], 3) == 20


async def test_hosts_that_do_not_answer_stay_within_the_bound_of_the_program(autojump_clock):
    """Many trackers of one host that is none: two packets in ten seconds, whatever named them."""
    talks = [conversation(Address(HOST, port), 1) for port in range(1000, 1010)]
    socket = FakeSocket(lambda *_: None)
    await scrape_over_udp(socket, [scrapes for scrapes, _ in talks], new_pace())
    assert most_in([time for time, _, _ in socket.sent], 10.0) <= 2


@pytest.mark.parametrize(("wrong", "scraped", "sent"), [(1, 3, 6), (2, 0, 4)])
async def test_refused_connection_id_is_renewed_once(wrong, scraped, sent, autojump_clock):
    scrapes, heard = conversation(Address(HOST, 6969), 3)
    socket = FakeSocket(FakeTracker(wrong))
    await scrape_over_udp(socket, [scrapes], new_pace())
    assert (len(heard), len(socket.sent)) == (scraped, sent)
    if not scraped:
        assert (scrapes.error.outcome, scrapes.error.retry_after) == (Outcome.REFUSED, 600)


async def test_forged_and_late_answers_change_nothing(autojump_clock):
    scrapes, heard = conversation(Address(HOST, 6969), 1)
    tracker = FakeTracker()

    def answer(packet, destination, now):
        told = tracker(packet, destination, now)
        # Another transaction, another action, too short: none of them answers what is under way.
        for forged in (told[:4] + b"abcd" + told[8:], b"\0\0\0\1" + told[4:], told[:7], b""):
            assert not scrapes.on_packet(forged, now)
        return told

    await scrape_over_udp(FakeSocket(answer), [scrapes], new_pace())
    assert (len(heard), scrapes.error) == (1, None)
    assert not scrapes.on_packet(bytes(16), 0.0)


@pytest.mark.parametrize("body", [b"\0" * 13, b"\0" * 12 * 71, b"\xff" * 12])
async def test_answers_that_cannot_be_matched_are_malformed(body, autojump_clock):
    scrapes, heard = conversation(Address(HOST, 6969), 1)
    tracker = FakeTracker()

    def answer(packet, destination, now):
        told = tracker(packet, destination, now)
        return told if packet[8:12] == bytes(4) else told[:8] + body

    await scrape_over_udp(FakeSocket(answer), [scrapes], new_pace())
    assert (heard, scrapes.error.outcome) == ([], Outcome.MALFORMED)
