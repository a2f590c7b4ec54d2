"""Queries and their answers over one socket.

One receive loop drains the socket and handles each datagram to its end: decode, decide, reply.  No
task, channel or cancel scope exists per packet.  One expiry loop serves all deadlines, kept in one
ordered structure.  There are two faces to one mechanism: `send_query` calls a plain function when
the answer, an error or a timeout is there; `query` waits for the same.

An answer counts only if transaction id, source address and source port all match.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from typing import TypeAlias

import trio

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.errors import BadResponse, QueryError, QueryNotSent, QueryRefused, QueryTimeout
from dhtnode.ids import NodeId
from dhtnode.krpc import encode, parse_untrusted, read_fields
from dhtnode.malformed import MalformedMessage
from dhtnode.messages import Error, Message, Method, Query, Response
from dhtnode.quick import QuickResponder, asker_of
from dhtnode.routing import RoutingTable
from dhtnode.sources import Source, Sources
from dhtnode.timing import RoundTripTimes
from dhtnode.transactions import Answer, OnDone, Pending
from dhtnode.udp import DatagramSocket

logger = logging.getLogger(__name__)

OnQuery: TypeAlias = Callable[[Query, Address, float], Response | Error | None]
"""What answers a query from a source at a time."""

OnAsked: TypeAlias = Callable[[Contact, float], None]
"""What is told, after a reply and now and then, who queries us; not of read-only nodes (BEP 43)."""

LOOK_AGAIN_AFTER = 10.0  # seconds between two looks at one source as a possible contact


def _not_interested(_contact: Contact, _now: float) -> None:
    """Be told who asked, and do nothing."""


class Rpc:
    """Ask and answer over one socket."""

    def __init__(
        self,
        socket: DatagramSocket,
        scope: Scope,
        table: RoutingTable,
        on_query: OnQuery,
        random_bytes: Callable[[int], bytes],
        *,
        on_asked: OnAsked | None = None,
        quick: QuickResponder | None = None,
        version: bytes | None = None,
        read_only: bool = False,
        max_pending: int = 20_000,
        receive_batch: int = 256,
    ) -> None:
        """Take over the socket; `serve` must run for anything to be received or to time out.

        The table is told of every node that answers and of every one that does not.
        """
        self.socket = socket
        self.scope = scope
        self.times = RoundTripTimes()
        self.counts: Counter[str] = Counter()
        self._family = socket.address.family
        self._table = table
        self._on_query = on_query
        self._on_asked = on_asked or _not_interested
        self._quick = None if read_only else quick
        self._sources = Sources(scope)
        self._random_bytes = random_bytes
        self._transaction_ids = b""
        self._version = version
        self._read_only = read_only
        self._max_pending = max_pending
        self._receive_batch = receive_batch
        self._pending: dict[bytes, Pending] = {}
        self._deadlines: list[tuple[float, int, Pending]] = []
        self._sequence = 0
        self._wake_at = math.inf
        self._wakeup = trio.Event()

    @property
    def pending(self) -> int:
        """Return how many queries are under way."""
        return len(self._pending)

    def send_query(
        self, method: Method, address: Address, on_done: OnDone, *, on_stall: Callable[[], None] | None = None
    ) -> Pending | None:
        """Send a query and return at once; `on_done` is called later, exactly once.

        Returns None, and calls nothing, when the query could not be sent: the address is not one
        that this socket talks to, too many queries are under way, or the kernel refused.
        `on_stall` is called when the answer is late but still welcome.
        """
        if address == self.socket.address or not self.scope.allows(address):
            return self._not_sent("address not allowed")
        if len(self._pending) >= self._max_pending:
            return self._not_sent("too many pending")
        transaction_id = self._new_transaction_id()
        data = encode(Query(transaction_id, self._table.node_id, method, self._version, self._read_only))
        if not self._send(data, address):
            return self._not_sent("send failed")
        now = trio.current_time()
        pending = Pending(transaction_id, address, len(data), now, on_done, on_stall)
        self._pending[transaction_id] = pending
        self._add_deadline(now + (self.times.timeout if on_stall is None else self.times.stall), pending)
        self.counts["queries sent"] += 1
        return pending

    def forget(self, pending: Pending) -> None:
        """Give a query up: its `on_done` will not be called, its answer is dropped."""
        pending.end()
        self._pending.pop(pending.transaction_id, None)

    async def query(self, method: Method, address: Address) -> Answer:
        """Send a query and wait for its answer.

        Raises `QueryTimeout`, `QueryRefused`, `BadResponse` or `QueryNotSent`, all `QueryError`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        outcome: list[Answer | QueryError] = []

        def on_done(result: Answer | QueryError, _now: float) -> None:
            outcome.append(result)
            trio.lowlevel.reschedule(task)

        pending = self.send_query(method, address, on_done)
        if pending is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise QueryNotSent(address, "cannot be asked from here")

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.forget(pending)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if isinstance(outcome[0], QueryError):
            raise outcome[0]
        return outcome[0]

    async def serve(self) -> None:
        """Receive and expire until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, name=f"receive on {self.socket.address}")
            nursery.start_soon(self._expire, name=f"deadlines of {self.socket.address}")

    async def _receive(self) -> None:
        receive_nowait = self.socket.receive_nowait
        while True:
            await self.socket.wait_readable()
            now = trio.current_time()
            for _ in range(self._receive_batch):
                datagram = receive_nowait()
                if datagram is None:
                    break
                self.handle_datagram_untrusted(*datagram, now)
            else:
                await trio.lowlevel.checkpoint()

    def handle_datagram_untrusted(self, data: bytes, pair: tuple[str, int], now: float) -> None:
        """Handle one datagram from a host and port to its end; whatever a remote sends, nothing is raised."""
        try:
            self._handle(data, self._sources.get(pair), now)
        except Exception:
            # The last barrier: a bug of ours or of a caller costs one packet, not the node.
            self.counts["internal errors"] += 1
            logger.exception("failed on a datagram from %s port %s", *pair)

    def _handle(self, data: bytes, source: Source, now: float) -> None:
        counts = self.counts
        counts["datagrams received"] += 1
        counts["bytes received"] += len(data)
        if not source.is_allowed:
            counts["dropped: source not allowed"] += 1
            return
        try:
            fields = parse_untrusted(data)
            reply = None
            if self._quick is not None and fields.get(b"y") == b"q":
                reply = self._quick.reply(fields, source, now)
            if reply is None:
                self._dispatch(read_fields(fields, self._family), source, len(data), now)
                return
        except MalformedMessage as malformed:
            self._on_malformed(malformed, source.address, now)
            return
        counts["queries received"] += 1
        if self._send(reply, source.address):
            counts["replies sent"] += 1
        if now - source.looked_at >= LOOK_AGAIN_AFTER:
            self._look_at(source, asker_of(fields), now)

    def _dispatch(self, message: Message, source: Source, size: int, now: float) -> None:
        match message:
            case Query():
                self._answer(message, source, now)
            case Response():
                self._on_response(message, source.address, size, now)
            case Error():
                self.counts["errors received"] += 1
                refused = QueryRefused(source.address, message.code, message.text)
                self._end(message.transaction_id, refused, now)

    def _look_at(self, source: Source, node_id: NodeId, now: float) -> None:
        """Tell who asked; to be done seldom, because it costs more than the answer."""
        source.looked_at = now
        self._on_asked(Contact(node_id, source.address), now)

    def _on_response(self, response: Response, source: Address, size: int, now: float) -> None:
        pending = self._match(response.transaction_id, source)
        if pending is None:
            return
        # Not the time of the batch: within one, a query can go out and its answer come in.
        now = trio.current_time()
        rtt = now - pending.sent_at
        self.times.add(rtt)
        self.counts["answers"] += 1
        self._table.responded(Contact(response.node_id, source), now, rtt=rtt)
        pending.end()(Answer(source, response, rtt, pending.size, size), now)

    def _answer(self, query: Query, source: Source, now: float) -> None:
        self.counts["queries received"] += 1
        if self._read_only:
            self.counts["dropped: query while read-only"] += 1
            return
        reply = self._on_query(query, source.address, now)
        if reply is not None and self._send(encode(reply), source.address):
            self.counts["errors sent" if isinstance(reply, Error) else "replies sent"] += 1
        if not query.read_only and now - source.looked_at >= LOOK_AGAIN_AFTER:
            self._look_at(source, query.node_id, now)

    def _on_malformed(self, malformed: MalformedMessage, source: Address, now: float) -> None:
        self.counts[f"malformed: {malformed.reason}"] += 1
        if malformed.reply is not None and not self._read_only:
            reply = replace(malformed.reply, external_address=source, version=self._version)
            if self._send(encode(reply), source):
                self.counts["errors sent"] += 1
        elif malformed.failed is not None:
            self._end(malformed.failed, BadResponse(source, malformed.reason), now)

    def _end(self, transaction_id: bytes, failure: QueryError, now: float) -> None:
        """End the query that a remote's error or broken response belongs to, if there is one."""
        pending = self._match(transaction_id, failure.address)
        if pending is not None:
            if isinstance(failure, BadResponse):
                self._table.failed(pending.address, now)
            pending.end()(failure, now)

    def _match(self, transaction_id: bytes, source: Address) -> Pending | None:
        """Return the query that an answer belongs to, no longer pending, or None."""
        pending = self._pending.get(transaction_id)
        if pending is None:
            self.counts["dropped: unknown transaction"] += 1
            return None
        if pending.address != source:
            self.counts["dropped: foreign source"] += 1
            return None
        del self._pending[transaction_id]
        return pending

    def _send(self, data: bytes, destination: Address) -> bool:
        if self.socket.send_nowait(data, destination):
            self.counts["datagrams sent"] += 1
            self.counts["bytes sent"] += len(data)
            return True
        self.counts["dropped: send failed"] += 1
        return False

    def _not_sent(self, reason: str) -> Pending | None:
        self.counts[f"not sent: {reason}"] += 1
        return None

    def _new_transaction_id(self) -> bytes:
        """Return 4 random bytes without a NUL: one implementation reads no other length, one mangles NULs."""
        while True:
            if len(self._transaction_ids) < 4:
                self._transaction_ids = self._random_bytes(4096).replace(b"\0", b"")
            transaction_id, self._transaction_ids = self._transaction_ids[:4], self._transaction_ids[4:]
            if len(transaction_id) == 4 and transaction_id not in self._pending:
                return transaction_id

    def _add_deadline(self, at: float, pending: Pending) -> None:
        self._sequence += 1
        heappush(self._deadlines, (at, self._sequence, pending))
        if at < self._wake_at:
            self._wakeup.set()

    async def _expire(self) -> None:
        while True:
            while self._deadlines and self._deadlines[0][2].is_done:
                heappop(self._deadlines)  # most are by then: no need to wake up for them
            self._wake_at = self._deadlines[0][0] if self._deadlines else math.inf
            self._wakeup = trio.Event()
            with trio.move_on_at(self._wake_at):
                await self._wakeup.wait()
            now = trio.current_time()
            while self._deadlines and self._deadlines[0][0] <= now:
                _, _, pending = heappop(self._deadlines)
                if not pending.is_done:
                    self._handle_deadline(pending, now)

    def _handle_deadline(self, pending: Pending, now: float) -> None:
        try:
            self._on_deadline(pending, now)
        except Exception:
            # As for datagrams: a callback that fails must not end the loop that everybody waits on.
            self.counts["internal errors"] += 1
            logger.exception("failed on a deadline of %s", pending.address)

    def _on_deadline(self, pending: Pending, now: float) -> None:
        if pending.on_stall is not None:
            on_stall, pending.on_stall = pending.on_stall, None
            self.counts["stalled"] += 1
            self._add_deadline(max(now, pending.sent_at + self.times.timeout), pending)
            on_stall()
            return
        del self._pending[pending.transaction_id]
        self.counts["timeouts"] += 1
        self._table.failed(pending.address, now)
        pending.end()(QueryTimeout(pending.address), now)
