"""Very many nodes, one short query each, from a socket of its own: what a crawl is made of.

A node remembers the nodes it talks to, keeps a table and answers; to query a million nodes once or
twice, none of that is needed.  So there is no task and no source record per query here, and no
answer for others either: all queries say that we are read-only (BEP 43).  The caller owns the loop:

    with client.attached(on_end):
        while visits_are_left:
            ...                           # call `send` as often as the pace allows
            await client.wait(until)
            client.receive()              # calls `on_end` once for each query that has ended

An answer counts only if transaction id, source address and source port all match; what matches no
query is dropped before it is parsed.
"""

import logging
import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Generic, TypeAlias, TypeVar

import trio

from dhtnode.addresses import Address, Family, scope_of
from dhtnode.bencode import MAX_ITEMS
from dhtnode.errors import BadResponse, ForeignSource, QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import ID_BYTES, NodeId
from dhtnode.krpc.codec import parse_untrusted, read_fields
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Error, Method, Response
from dhtnode.krpc.query_writer import QueryWriter
from dhtnode.net.round_trips import RoundTripTimes
from dhtnode.net.transactions import TransactionIds
from dhtnode.net.udp import DatagramSocket
from dhtnode.settings import VERSION_TAG

logger = logging.getLogger(__name__)

Tag = TypeVar("Tag")

OnEnd: TypeAlias = Callable[[Tag, Response | QueryError, float, float], None]
"""A function called once per query: with its tag, the outcome, the seconds it took, and the time."""

BATCH = 64  # datagrams handled between two looks at the clock, and between two checkpoints
MAX_UNEXPECTED = 10_000  # sources remembered for datagrams that answer nothing
FIRST_WINDOW, MAX_WINDOW = 64, 10_000  # queries awaited at once, at first and ever; see `free_slots`
CLOGGED_PAUSE = 0.01  # seconds to wait when the kernel's buffer is full
DOWN_PAUSE = 1.0  # seconds to wait when there is no network
TRANSACTION_ID_BYTES = 4
_ID_KEY = b"1:t4:"
_DOWN = ("send ENETUNREACH", "send ENETDOWN")
_STUCK = ("send EAGAIN", "send ENOBUFS", *_DOWN)
_PLACEHOLDER = bytes(range(1, 1 + ID_BYTES))


class QueryTemplate:
    """One kind of query with a target, written but for the target; `size` is that of the whole datagram."""

    __slots__ = ("after", "before", "size")

    def __init__(self, before: bytes, after: bytes, size: int) -> None:
        self.before = before
        self.after = after
        self.size = size


class BulkClient(Generic[Tag]):
    """Queries over one socket; the function attached is called when one has ended."""

    def __init__(
        self,
        socket: DatagramSocket,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        version: bytes | None = VERSION_TAG,
    ) -> None:
        """Take over the socket; `random_bytes` must be unpredictable in production."""
        self.socket = socket
        self.family: Family = socket.address.family
        self.scope = scope_of(socket.address.host)
        self.times = RoundTripTimes()
        self.events: Counter[str] = Counter()
        self.unexpected: Counter[tuple[str, int]] = Counter()  # datagrams that answered nothing, by source
        self.bytes_sent = 0
        self.bytes_received = 0
        self.answer_bytes = 0  # of the answer that `on_end` is called for; 0 when there was none
        self._on_end: OnEnd[Tag] | None = None
        self._on_error: Callable[[Tag], None] | None = None
        self._waiting: trio.CancelScope | None = None
        self._writer = QueryWriter(NodeId(random_bytes(ID_BYTES)), version=version, read_only=True)
        self._ids = TransactionIds(random_bytes)
        # In the order of sending, which is that of expiry: all wait equally long.
        self._in_flight: OrderedDict[bytes, _SentQuery[Tag]] = OrderedDict()
        self._recent: deque[_SentQuery[Tag]] = deque()  # sent within the stall time, answered or not
        self._awaited = 0
        self._window = FIRST_WINDOW
        self.is_stuck = False
        self._tail = self._writer.tail
        self._pause = 0.0
        self._failures: Counter[str] = Counter()  # to send, when last looked at

    @contextmanager
    def attached(self, on_end: OnEnd[Tag], on_error: Callable[[Tag], None] | None = None) -> Iterator[None]:
        """Have `on_end` called for each query that ends within the block; the others are forgotten.

        `on_error` is called with the tag of a query on which `on_end` has raised an exception: that is
        logged, and nothing more comes of the query.
        Raises `RuntimeError` when another function is attached: each query has one owner.
        """
        if self._on_end is not None:
            raise RuntimeError("this client is in use: its queries belong to another crawl")
        self._on_end, self._on_error = on_end, on_error
        try:
            yield
        finally:
            self._on_end = self._on_error = None
            self.forget_all()

    @property
    def in_flight(self) -> int:
        """Return how many queries are under way."""
        return len(self._in_flight)

    @property
    def awaited(self) -> int:
        """Return how many queries are under way and not late yet: what a network has to work on."""
        stalled_at = trio.current_time() - self.times.stall
        while self._recent and self._recent[0].sent_at <= stalled_at:
            query = self._recent.popleft()
            self._awaited -= query.is_awaited
            query.is_awaited = False
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

    def send(self, template: QueryTemplate, target: bytes, address: Address, tag: Tag, now: float) -> bool:
        """Send a query, or return False when it could not leave; costs one system call and some 2 us.

        When the kernel's buffer is full, or there is no network, `is_stuck` is set until `wait` has waited.
        """
        transaction_id = self._ids.new(self._in_flight)
        data = b"%b%b%b%b%b" % (template.before, target, template.after, transaction_id, self._tail)
        if not self.socket.send_nowait(data, address):
            self._note_failure()
            return False
        self.bytes_sent += len(data)
        query = self._in_flight[transaction_id] = _SentQuery(address, now, tag)
        self._recent.append(query)
        self._awaited += 1
        return True

    async def wait(self, until: float) -> None:
        """Wait until a datagram has come, a query is overdue, the time `until`, or a call of `wake`."""
        with trio.move_on_at(min(until, self._next_due())) as self._waiting:
            if self.is_stuck:
                self.is_stuck = False
                await self.socket.wait_writable()
                self._waiting.deadline = min(self._waiting.deadline, trio.current_time() + self._pause)
            await self.socket.wait_readable()
        self._waiting = None

    def wake(self) -> None:
        """End a wait that is under way: there is something new to send."""
        if self._waiting is not None:
            self._waiting.cancel()

    def receive(self) -> None:
        """Handle what has come, a batch at most, and what has waited too long."""
        receive, handle, now = self.socket.receive_nowait, self._handle, trio.current_time()
        for _ in range(BATCH):
            datagram = receive()
            if datagram is None:
                break
            handle(*datagram, now)
        self._end_overdue(now)

    def forget_all(self) -> None:
        """Give up all queries under way; nothing is called for them."""
        self._in_flight.clear()
        self._recent.clear()
        self._awaited = 0

    def _note_failure(self) -> None:
        """Find out why a query could not leave: only for some reasons would it help to wait."""
        failed = {name for name in _STUCK if self.socket.errors[name] > self._failures[name]}
        self._failures = Counter({name: self.socket.errors[name] for name in _STUCK})
        self.is_stuck = bool(failed)
        self._pause = CLOGGED_PAUSE if failed.isdisjoint(_DOWN) else DOWN_PAUSE

    def _handle(self, data: bytes, source: tuple[str, int], now: float) -> None:
        self.bytes_received += len(data)
        at = data.rfind(_ID_KEY) + len(_ID_KEY)
        transaction_id = data[at : at + 4]
        query = self._in_flight.get(transaction_id)
        if query is None:
            self._on_unexpected("dropped: unknown transaction", source)
            return
        if query.address != source:
            query.is_answered_elsewhere = True
            self._on_unexpected("dropped: foreign source", source)
            return
        result = self._read(data, transaction_id, query.address)
        del self._in_flight[transaction_id]
        self._awaited -= query.is_awaited
        query.is_awaited = False
        took = now - query.sent_at
        step = 1 if took <= self.times.stall else -1
        self._window = min(MAX_WINDOW, max(FIRST_WINDOW, self._window + step))
        self.times.add(took)
        self.answer_bytes = len(data)
        self._end(query, result, took, now)
        self.answer_bytes = 0

    def _end(self, query: "_SentQuery[Tag]", result: Response | QueryError, took: float, now: float) -> None:
        if self._on_end is None:
            return
        try:
            self._on_end(query.tag, result, took, now)
        except Exception:
            # The last barrier: a bug in `on_end` costs one answer, not the crawl.
            self.events["internal errors"] += 1
            logger.exception("failed on the answer of %s", query.address)
            if self._on_error is not None:
                self._on_error(query.tag)

    def _read(self, data: bytes, transaction_id: bytes, address: Address) -> Response | QueryError:
        """Return what an answer says; whatever is wrong with it is the end of its query too."""
        try:
            message = read_fields(parse_untrusted(data, MAX_ITEMS), self.family)
        except MalformedMessage as malformed:
            self.events[f"malformed: {malformed.reason}"] += 1
            return BadResponse(address, malformed.reason)
        if isinstance(message, Response) and message.transaction_id == transaction_id:
            return message
        if isinstance(message, Error):
            return QueryRefused(address, message.code, message.text)
        self.events["malformed: not an answer"] += 1
        return BadResponse(address, "not an answer")

    def _on_unexpected(self, reason: str, source: tuple[str, int]) -> None:
        self.events[reason] += 1
        if source in self.unexpected or len(self.unexpected) < MAX_UNEXPECTED:
            self.unexpected[source] += 1

    def _next_due(self) -> float:
        for query in self._in_flight.values():
            return query.sent_at + self.times.timeout
        return inf

    def _end_overdue(self, now: float) -> None:
        while self._in_flight:
            transaction_id, query = next(iter(self._in_flight.items()))
            # As in `_next_due`, so that rounding is the same.
            if now < query.sent_at + self.times.timeout:
                return
            del self._in_flight[transaction_id]
            failure = (
                ForeignSource(query.address) if query.is_answered_elsewhere else QueryTimeout(query.address)
            )
            self._end(query, failure, now - query.sent_at, now)


class _SentQuery(Generic[Tag]):
    """One query under way."""

    __slots__ = ("address", "is_answered_elsewhere", "is_awaited", "sent_at", "tag")

    def __init__(self, address: Address, sent_at: float, tag: Tag) -> None:
        self.address = address
        self.sent_at = sent_at
        self.tag = tag
        self.is_answered_elsewhere = False
        self.is_awaited = True
