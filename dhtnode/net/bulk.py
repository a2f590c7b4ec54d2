"""Very many nodes, one short query each, from a socket of its own: what a crawl is made of.

A node remembers the nodes it talks to, keeps a table and answers; to query a million nodes once or
twice, none of that is needed.  So there is no task and no source record per query here, and no
answer for others either: all queries say that we are read-only (BEP 43).  The caller owns the loop:

    with client.attached(on_results):
        while visits_are_left:
            client.send_batch(queries, now)  # as many as the pace allows
            await client.wait(until)
            client.receive()                 # calls `on_results` with the queries that have ended

An answer counts only if transaction id, source address and source port all match; what matches no
query is dropped before it is parsed.
"""

import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Generic, TypeAlias

import trio

from dhtnode.addresses import Address, Family, Scope
from dhtnode.errors import BadResponse, ForeignSource, QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import ID_BYTES, NodeId
from dhtnode.krpc.codec import parse_untrusted, read_fields
from dhtnode.krpc.common_answers import common_reader
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Error, Method, Response
from dhtnode.krpc.query_writer import QueryWriter
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.outgoing_queries import HeldOutgoing, Outgoing, QueryTemplate, Tag
from dhtnode.net.round_trips import RoundTripTimes
from dhtnode.net.transactions import TransactionIds
from dhtnode.net.udp import DatagramSocket, Received
from dhtnode.net.unsent import SendFailures, Unsent, not_sent
from dhtnode.settings import VERSION_TAG

logger = logging.getLogger(__name__)

# A plain tuple, because one is made for each query.
Ended: TypeAlias = tuple[Tag, Response | QueryError, float, int]
"""The end of one query: its tag, the outcome, the seconds it took, and the bytes of the answer."""

OnResults: TypeAlias = Callable[[Sequence[Ended[Tag]], float], None]
"""A function called with queries that have ended, each once, and with the time."""

BATCH = 256  # datagrams handled at once, and between two checkpoints
MAX_TURN = 0.01  # seconds after which other tasks have their turn: a batch that takes long to read is split
MAX_UNEXPECTED = 10_000  # sources remembered of datagrams that answer nothing
FIRST_WINDOW, MAX_WINDOW = 64, 10_000  # queries awaited at once, at first and ever; see `free_slots`
TRANSACTION_ID_BYTES = 4
_ID_KEY = b"1:t4:"
_PLACEHOLDER = bytes(range(1, 1 + ID_BYTES))


class BulkClient(Generic[Tag]):
    """Queries over one socket; the function attached is called with those that have ended."""

    def __init__(
        self,
        socket: DatagramSocket,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        version: bytes | None = VERSION_TAG,
        outgoing: OutgoingBound | None = None,
    ) -> None:
        """Take over the socket; `random_bytes` must be unpredictable in production.

        `outgoing` bounds what each host is sent by the whole program; by default it is of this client.
        """
        self.socket = socket
        self.family: Family = socket.address.family
        self.scope = socket.scope
        self.times = RoundTripTimes()
        self.events: Counter[str] = Counter()
        self.unexpected: Counter[tuple[str, int]] = Counter()  # datagrams that answered nothing, by source
        self.bytes_sent = 0
        self.bytes_received = 0
        self.answer_bytes = 0  # of the answer that is being handled; 0 when there was none
        self._on_results: OnResults[Tag] | None = None
        self._waiting: trio.CancelScope | None = None
        self._writer = QueryWriter(NodeId(random_bytes(ID_BYTES)), version=version, read_only=True)
        self._ids = TransactionIds(random_bytes)
        self._read_common = common_reader(self.family)
        self._in_flight: dict[bytes, tuple[Address, Tag, _SentBatch]] = {}
        # Ids of queries under way that an answer came to from another address.
        self._answered_elsewhere: set[bytes] = set()
        # In the order of sending, which is that of expiry: all wait equally long.
        self._sent: deque[_SentBatch] = deque()
        self._recent: deque[_SentBatch] = deque()  # sent within the stall time
        self._awaited = 0
        self._window = FIRST_WINDOW
        self.is_stuck = False
        self._tail = self._writer.tail
        self._failures = SendFailures(self.family, socket.has_route, logger.warning)
        self._outgoing = outgoing or OutgoingBound(trio.current_time)
        self._held = HeldOutgoing[Tag](self._outgoing)
        self._left: list[Received] = []  # by the last turn

    @contextmanager
    def attached(self, on_results: OnResults[Tag]) -> Iterator[None]:
        """Have `on_results` called for all queries that end within the block; the others are forgotten.

        Raises `RuntimeError` when another function is attached: each query has one owner.
        """
        if self._on_results is not None:
            raise RuntimeError("this client is in use: its queries belong to another crawl")
        self._on_results = on_results
        try:
            yield
        finally:
            self._on_results = None
            self.forget_all()

    @property
    def in_flight(self) -> int:
        """Return how many queries are under way, those that are held back included."""
        return len(self._in_flight) + len(self._held)

    def take_held(self) -> list[Outgoing[Tag]]:
        """Give up what is held back, and return it."""
        held = self._held.take_all()
        self.events["not sent: enough sent to its host"] += len(held)
        return held

    @property
    def is_cut_off(self) -> bool:
        """Return whether there was a network, and has been none for long (`unsent.OUTAGE`)."""
        return self._failures.is_out

    @property
    def awaited(self) -> int:
        """Return how many queries are under way and not late yet: what a network has to work on."""
        stalled_at = trio.current_time() - self.times.stall
        while self._recent and self._recent[0].sent_at <= stalled_at:
            batch = self._recent.popleft()
            self._awaited -= batch.open
            batch.is_late = True
        return self._awaited

    def free_slots(self, most: int) -> int:
        """Return how many queries may leave now, so that no more than `most` are awaited; may be negative.

        The window begins with `FIRST_WINDOW`, one more for each answer in time, one less for each late
        one: late answers leave `awaited` as dead nodes do, and an overrun network answers late, not never.
        """
        return min(most, self._window) - self.awaited

    def template(self, method: Callable[[NodeId], Method]) -> QueryTemplate:
        """Prepare a kind of query: `method` makes one from its target, which says nothing else."""
        before, _, after = self._writer.head(method(NodeId(_PLACEHOLDER))).partition(_PLACEHOLDER)
        size = len(before) + ID_BYTES + len(after) + TRANSACTION_ID_BYTES + len(self._tail)
        return QueryTemplate(before, after, size)

    def send_batch(self, queries: Sequence[Outgoing[Tag]], now: float) -> Unsent:
        """Send queries, some 4 us each and the kernel; return which could not leave.

        Those to hosts that have been sent enough leave later.  When the kernel's buffer is full, or there is
        no network, `is_stuck` is set until `wait` has waited.
        """
        positions: Sequence[int] = range(len(queries))
        if self.scope is not Scope.LOOPBACK and (held := self._held.choose(queries, now)):
            self.events["held back"] += len(held)
            positions = sorted(set(positions).difference(held))
            queries = [queries[at] for at in positions]
        unsent = self._send(queries, now) if queries else Unsent()
        return Unsent([positions[at] for at in unsent.later], [positions[at] for at in unsent.never])

    def _send(self, queries: Sequence[Outgoing[Tag]], now: float) -> Unsent:
        in_flight, tail = self._in_flight, self._tail
        batch = _SentBatch(now, self._ids.several(len(queries), in_flight))
        datagrams = []
        for transaction_id, (template, target, address, tag) in zip(batch.ids, queries, strict=True):
            in_flight[transaction_id] = address, tag, batch
            self.bytes_sent += template.size
            datagrams.append(
                (b"".join((template.before, target, template.after, transaction_id, tail)), address)
            )
        failed = self.socket.send_batch(datagrams)
        for position in failed:
            del in_flight[batch.ids[position]]
            self.bytes_sent -= queries[position][0].size
        batch.open = len(queries) - len(failed)
        self._awaited += batch.open
        self._sent.append(batch)
        self._recent.append(batch)
        if not failed:
            self._failures.on_left(datagrams[-1][1], now)
            return Unsent()
        self._outgoing.take_back(datagrams[at][1].host for at in failed)
        unsent = self._failures.judge(failed, [address for _, address in datagrams], now)
        self.is_stuck = bool(unsent.later)
        return unsent

    def _release(self, now: float, results: list[Ended[Tag]]) -> None:
        """Send what was held back, as far as it may leave now."""
        due, given_up = self._held.take(now, self.times.timeout)
        later, never = self._send(due, now) if due else Unsent()
        self._held.keep([due[at] for at in later], now, self._failures.pause)
        self.events["not sent: enough sent to its host"] += len(given_up)
        given_up += [due[at] for at in never]
        results += [(tag, not_sent(address), 0.0, 0) for _, _, address, tag in given_up]

    async def wait(self, until: float) -> None:
        """Wait until a datagram has come, a query is overdue, the time `until`, or a call of `wake`."""
        if self._left:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_at(min(until, self._next_due(), self._held.release_at)) as self._waiting:
            if self.is_stuck:
                self.is_stuck = False
                await self.socket.wait_writable()
                until = trio.current_time() + self._failures.pause
                self._waiting.deadline = min(self._waiting.deadline, until)
            await self.socket.wait_readable()
        self._waiting = None

    def wake(self) -> None:
        """End a wait that is under way: there is something new to send."""
        if self._waiting is not None:
            self._waiting.cancel()

    def receive(self) -> int:
        """Handle what has come, a batch at most, and what has waited too long; return how many datagrams."""
        now = trio.current_time()
        datagrams = self._left or self.socket.receive_batch(BATCH)
        results: list[Ended[Tag]] = []
        handled = self._handle(datagrams, now, results)
        # What takes long to read is no flood: each such datagram has ended a query.
        self._left = datagrams[handled:]
        self.bytes_received += sum([len(data) for data, _ in datagrams[:handled]])
        if results:
            self._note_times([took for _, _, took, _ in results])
        if not self._left:
            self._end_overdue(now, results)
        if now >= self._held.release_at:
            self._release(now, results)
        if results and self._on_results is not None:
            self._on_results(results, now)
        return handled

    def _handle(self, datagrams: Sequence[Received], now: float, results: list[Ended[Tag]]) -> int:
        """Append the queries that datagrams have ended; return how many datagrams there was time for."""
        in_flight, read_common, heard = self._in_flight, self._read_common, []
        handled = 0
        for data, source in datagrams:
            handled += 1
            at = data.rfind(_ID_KEY) + len(_ID_KEY)
            transaction_id = data[at : at + TRANSACTION_ID_BYTES]
            query = in_flight.get(transaction_id)
            if query is None or query[0] != source:
                self._on_unexpected(transaction_id, source, is_foreign=query is not None)
                continue
            address, tag, batch = query
            common = read_common(data)
            is_common = common is not None and common.transaction_id == transaction_id
            result = common if common and is_common else self._read(data, transaction_id, address)
            del in_flight[transaction_id]
            batch.open -= 1
            if not batch.is_late:
                self._awaited -= 1
            heard.append(source[0])
            results.append((tag, result, now - batch.sent_at, len(data)))
            if not is_common and trio.current_time() >= now + MAX_TURN:
                break
        self._outgoing.hear(heard)
        return handled

    def _note_times(self, times: Sequence[float]) -> None:
        """Learn from answers how long to wait, and how many queries may be awaited."""
        late = sum([took > self.times.stall for took in times])
        self._window = min(MAX_WINDOW, max(FIRST_WINDOW, self._window + len(times) - 2 * late))
        self.times.add_all(times)

    def forget_all(self) -> None:
        """Give up all queries under way; nothing is called for them."""
        self._in_flight.clear()
        self._held.clear()
        self._left = []
        self._answered_elsewhere.clear()
        self._sent.clear()
        self._recent.clear()
        self._awaited = 0

    def _read(self, data: bytes, transaction_id: bytes, address: Address) -> Response | QueryError:
        """Return what an answer says; whatever is wrong with it is the end of its query too."""
        try:
            message = read_fields(parse_untrusted(data, is_answer=True), self.family)
        except MalformedMessage as malformed:
            self.events[f"malformed: {malformed.reason}"] += 1
            return BadResponse(address, malformed.reason)
        if isinstance(message, Response) and message.transaction_id == transaction_id:
            return message
        if isinstance(message, Error):
            return QueryRefused(address, message.code, message.text)
        self.events["malformed: not an answer"] += 1
        return BadResponse(address, "not an answer")

    def _on_unexpected(self, transaction_id: bytes, source: tuple[str, int], *, is_foreign: bool) -> None:
        if is_foreign:
            self._answered_elsewhere.add(transaction_id)
        self.events["dropped: foreign source" if is_foreign else "dropped: unknown transaction"] += 1
        if source in self.unexpected or len(self.unexpected) < MAX_UNEXPECTED:
            self.unexpected[source] += 1

    def _next_due(self) -> float:
        while self._sent and not self._sent[0].open:
            self._sent.popleft()
        return self._sent[0].sent_at + self.times.timeout if self._sent else inf

    def _end_overdue(self, now: float, results: list[Ended[Tag]]) -> None:
        # As in `_next_due`, so that rounding is the same.
        while self._sent and now >= self._sent[0].sent_at + self.times.timeout:
            batch = self._sent.popleft()
            if not batch.is_late:
                batch.is_late = True
                self._awaited -= batch.open
            for transaction_id in batch.ids if batch.open else ():
                query = self._in_flight.get(transaction_id)
                if query is None or query[2] is not batch:
                    continue
                del self._in_flight[transaction_id]
                address, tag, _ = query
                is_foreign = transaction_id in self._answered_elsewhere
                failure = ForeignSource(address) if is_foreign else QueryTimeout(address)
                results.append((tag, failure, now - batch.sent_at, 0))
            # What is left of an id was for a query that has ended: they are drawn at random.
            self._answered_elsewhere.difference_update(batch.ids)
            batch.open = 0


class _SentBatch:
    """Queries that were sent at once; `open` are those under way."""

    __slots__ = ("ids", "is_late", "open", "sent_at")

    def __init__(self, sent_at: float, ids: list[bytes]) -> None:
        self.sent_at = sent_at
        self.ids = ids
        self.open = 0
        self.is_late = False
