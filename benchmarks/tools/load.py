"""What loads a server: packets that lie ready, many under way at once, and a count of the answers.

The generator must be cheaper than what it loads: sending a packet costs no Python, receiving one half
a microsecond of it.  Which queries are sent is in `columns`, how their cost is measured in `gauge`.
"""

import math
import random
import time
from collections.abc import Sequence
from typing import Any

from bencode2 import BencodeDecodeError, bdecode, bencode

from benchmarks.tools.batched_udp import BATCH, BatchSocket, BenchmarkFailed, PacketRing
from benchmarks.tools.processes import Child

SOURCES = tuple(f"127.2.0.{number}" for number in range(1, 65))
RING = 16 * BATCH  # packets of a load; each is sent again once all others have been

MAX_RATE = 1_000_000  # packets per second, as a bound on every loop
SILENT_AFTER = 1.0  # seconds without any answer
SETTLE = 0.1  # seconds without any answer at the end of a turn
MAX_SETTLE = 2.0  # seconds that the last answers of a turn may take in all
SHORTEST_PAUSE, LONGEST_PAUSE = 20e-6, 2e-3  # seconds between two looks at the socket
TRIES = 5  # for each query of the preparations

_TRANSACTION_KEY = b"1:t4:"
_RESPONSE_END, _ERROR_END = b"1:y1:re", b"1:y1:ee"
_RESPONSE = b"r"  # the last byte but one of every response


class Load:
    """Keep a number of queries under way at one server, and count what comes back."""

    def __init__(
        self, socket: BatchSocket, ring: PacketRing, transaction_ids: Sequence[bytes], target_at: int | None
    ) -> None:
        """Take packets with these transaction ids; at `target_at` each gets 20 new random bytes per send."""
        self.answered = self.errors = self.lost = self.sent = self.reply_bytes = 0
        self._socket = socket
        self._ring = ring
        self._ids = transaction_ids
        self._target_at = target_at
        self._pending: set[bytes] = set()
        self._next = 0
        self._tail = 4  # from the transaction id to the end of a reply; the same for all replies of a server

    def run(self, seconds: float, outstanding: int, rate: float = math.inf) -> None:
        """Load the server for a time; raise `BenchmarkFailed` when it falls silent.

        With a rate, queries leave one by one at equal distances, that many in a second.
        """
        now = last_answer = next_at = time.monotonic()
        until, most = now + seconds, self.sent + seconds * MAX_RATE + outstanding
        pause = SHORTEST_PAUSE
        while now < until and self.sent < most:
            if math.isinf(rate):
                self._send(outstanding - len(self._pending))
            elif now >= next_at:
                self._send(1)
                # A query that is late because this process was is not made up for: two at once are cheaper.
                next_at = max(next_at, now - 0.5 / rate) + 1 / rate
            # Asleep until about half the answers are there.  Waiting for the first one would be dear
            # for both sides: the server would spend CPU time on waking this process up.
            time.sleep(pause if math.isinf(rate) else max(SHORTEST_PAUSE, next_at - time.monotonic()))
            replies = self._socket.receive()
            self._take(replies)
            busier = len(replies) * 2 > outstanding
            pause = max(SHORTEST_PAUSE, pause * 0.8) if busier else min(LONGEST_PAUSE, pause * 1.1)
            now = time.monotonic()
            if replies:
                last_answer = now
            elif now - last_answer > SILENT_AFTER:
                raise BenchmarkFailed(f"stopped answering after {self.answered} queries")
        self._finish()

    def _finish(self) -> None:
        """Take the last answers, and give up those that do not come."""
        now = last_answer = time.monotonic()
        until = now + MAX_SETTLE
        while self._pending and now < min(until, last_answer + SETTLE):
            time.sleep(SHORTEST_PAUSE)
            replies = self._socket.receive()
            self._take(replies)
            now = time.monotonic()
            if replies:
                last_answer = now
        self.lost += len(self._pending)
        self._pending.clear()

    def _take(self, replies: Sequence[bytes]) -> None:
        tail = self._tail
        done = {reply[-tail : 4 - tail] for reply in replies if reply[-2:-1] == _RESPONSE} & self._pending
        if len(done) < len(replies):
            done = self._take_odd(replies)
        self._pending -= done
        self.answered += len(done)
        self.reply_bytes += sum(map(len, replies))

    def _take_odd(self, replies: Sequence[bytes]) -> set[bytes]:
        """Return the ids answered by packets of any length and kind; not every packet is an answer."""
        done = set()
        for reply in replies:
            if reply.endswith((_RESPONSE_END, _ERROR_END)):
                at = reply.rfind(_TRANSACTION_KEY) + len(_TRANSACTION_KEY)
                done.add(reply[at : at + 4])
                self._tail = len(reply) - at
                self.errors += reply.endswith(_ERROR_END)
        return done & self._pending

    def _send(self, count: int) -> None:
        """Send the next packets of the ring; one whose last query is still unanswered counts as lost."""
        while count > 0:
            block = self._next % BATCH
            if not block and self._target_at is not None:
                self._renew_targets(self._next, self._target_at)
            sent = self._socket.send(self._ring, self._next, min(count, BATCH - block))
            before = len(self._pending)
            self._pending.update(self._ids[self._next : self._next + sent])
            self.lost += before + sent - len(self._pending)
            self.sent += sent
            count -= sent or count
            self._next = (self._next + sent) % RING

    def _renew_targets(self, first: int, target_at: int) -> None:
        # One strided copy for each of the 20 bytes is a third of one copy for each of the 64 targets.
        fresh = random.randbytes(20 * BATCH)
        stride, buffer = self._ring.stride, self._ring.buffer
        start, stop = first * stride + target_at, (first + BATCH) * stride
        for byte in range(20):
            buffer[start + byte : stop : stride] = fresh[byte * BATCH : (byte + 1) * BATCH]


class Target:
    """A server under load, seen from the generator."""

    def __init__(self, name: str, child: Child, socket: BatchSocket) -> None:
        self.name = name
        self.nodes: int = child.ready["nodes"]
        self._pid = child.pid
        self._address: tuple[str, int] = (child.ready["host"], child.ready["port"])
        self._socket = socket

    def cpu_time(self) -> float:
        """Return the CPU time of the process in seconds, all threads, user and system.

        This is the kernel's clock of that process (CPUCLOCK_SCHED): it counts nanoseconds, as
        /proc/PID/schedstat does, but up to now instead of up to the last tick, and ended threads too.
        """
        try:
            return time.clock_gettime(~self._pid << 3 | 2)
        except OSError:
            raise BenchmarkFailed("ended by itself") from None

    def load(self, queries: Sequence[dict[bytes, Any]], target: bytes | None) -> Load:
        """Return a load of these queries; where `target` stands in them, random bytes will."""
        ids = _transaction_ids(len(queries))
        packets = [bencode(query | {b"t": key}) for query, key in zip(queries, ids, strict=True)]
        target_at = None if target is None else packets[0].index(target)
        return Load(self._socket, PacketRing(packets, SOURCES, self._address), ids, target_at)

    def exchange(self, queries: Sequence[dict[bytes, Any]], sources: Sequence[str]) -> list[dict[bytes, Any]]:
        """Send each query until it is answered, and return the bodies of the answers in their order.

        Raise `BenchmarkFailed` as soon as some are not answered at the last try, or with an error.
        """
        ids = _transaction_ids(len(queries))
        answers: dict[bytes, dict[bytes, Any]] = {}
        packets = [bencode(query | {b"t": key}) for query, key in zip(queries, ids, strict=True)]
        ring = PacketRing(packets, sources, self._address)
        for first in range(0, len(ring), BATCH):
            wanted = set(ids[first : first + BATCH])
            for _ in range(TRIES):
                if wanted:
                    self._socket.send(ring, first, min(BATCH, len(ring) - first))
                    self._collect(wanted, answers)
            if wanted:
                raise BenchmarkFailed(f"answered {len(answers)} of {len(ids)} preparing queries")
        return [answers[key] for key in ids]

    def _collect(self, wanted: set[bytes], answers: dict[bytes, dict[bytes, Any]]) -> None:
        """Take answers until none is wanted any more, or none has come for a while."""
        last_answer = time.monotonic()
        while wanted and time.monotonic() < last_answer + SILENT_AFTER:
            for data in self._socket.receive():
                message = _decoded(data)
                key = message.get(b"t")
                if key not in wanted:
                    continue  # a query, or a late answer, perhaps of another server
                if message.get(b"y") == b"e":
                    raise BenchmarkFailed(f"answered with an error: {message.get(b'e')!r}")
                if isinstance(message.get(b"r"), dict):
                    wanted.discard(key)
                    last_answer = time.monotonic()
                    answers[key] = message[b"r"]
            time.sleep(SHORTEST_PAUSE)


def _decoded(data: bytes) -> dict[bytes, Any]:
    try:
        message = bdecode(data)
    except BencodeDecodeError:
        return {}
    return message if isinstance(message, dict) else {}


def _transaction_ids(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in random.sample(range(1 << 32), count)]
