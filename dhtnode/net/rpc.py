"""Our queries and their answers over one socket.

No task, channel or cancel scope exists per query.  One expiry loop serves all deadlines, kept in one
ordered structure.  There are two faces to one mechanism: `send_query` calls a plain function when
the answer, an error or a timeout is there; `query` waits for the same.

Answers come from `receiver`, which drains the socket.  An answer counts only if transaction id,
source address and source port all match.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import trio

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.errors import BadResponse, QueryError, QueryNotSent, QueryRefused, QueryTimeout
from dhtnode.ids import NodeId
from dhtnode.krpc.common_answers import common_reader
from dhtnode.krpc.messages import Error, Message, Method, Response
from dhtnode.krpc.query_writer import QueryWriter
from dhtnode.net.external_address import ExternalAddress
from dhtnode.net.held import HeldQueries
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.reachability import Reachability
from dhtnode.net.round_trips import RoundTripTimes
from dhtnode.net.sender import Sender, Traffic
from dhtnode.net.transactions import Answer, OnDone, OnStall, Pending, Transactions
from dhtnode.net.udp import DatagramSocket
from dhtnode.net.unsent import not_sent
from dhtnode.routing.table import RoutingTable
from dhtnode.server.admission import Admission
from dhtnode.server.inbound import Reply
from dhtnode.server.sources import Source, Sources
from dhtnode.settings import NodeSettings

logger = logging.getLogger(__name__)

OnMoved: TypeAlias = Callable[[str, float], None]
"""A function called with the host on which others see us, when that is known or changes (BEP 42)."""

SUSPENDED_AFTER = 0.5  # seconds by which a deadline was missed
GRACE = 1.0  # seconds for answers that have come meanwhile, or may still come


class Rpc:
    """Our queries over one socket."""

    def __init__(
        self,
        socket: DatagramSocket,
        table: RoutingTable,
        sources: Sources,
        admission: Admission,
        random_bytes: Callable[[int], bytes],
        *,
        on_moved: OnMoved | None = None,
        version: bytes | None = None,
        settings: NodeSettings | None = None,
        outgoing: OutgoingBound | None = None,
    ) -> None:
        """Begin without a query; `expire` must run for anything to time out.

        `table` is updated with every answer and timeout.  `on_moved` is called when the host at which
        others see us becomes known or changes (BEP 42).  `outgoing` bounds what each host is sent.
        """
        settings = settings or NodeSettings()
        self.socket = socket
        self.family = socket.address.family
        self.sources = sources
        self.times = RoundTripTimes()
        self.traffic = Traffic()
        self.events: Counter[str] = Counter()
        self.external = ExternalAddress(socket.scope)
        self.reachability = Reachability()
        self.sender = Sender(socket, self.traffic, self.events)
        self._table = table
        self._admission = admission
        self._on_moved = on_moved
        self._queries = QueryWriter(table.node_id, version=version, read_only=settings.read_only)
        self._transactions = Transactions(random_bytes)
        self._read_common = common_reader(self.family)
        self._max_pending = settings.max_pending
        self._expiring = trio.CancelScope()
        self._now: float | None = None  # of the batch that is being handled
        is_bound = socket.scope is not Scope.LOOPBACK and outgoing is not None
        self.held = HeldQueries(outgoing, serves=not settings.read_only) if is_bound and outgoing else None

    @property
    def pending(self) -> int:
        """Return how many queries are under way, those that are held back included."""
        return len(self._transactions.pending) + len(self.held or ())

    def renew_id(self, node_id: NodeId) -> None:
        """Query under another id from now on; the caller renews that of the table."""
        self._queries.renew_id(node_id)

    def send_query(
        self, method: Method, address: Address, on_done: OnDone, *, on_stall: OnStall | None = None
    ) -> Pending | None:
        """Send a query and return at once; `on_done` is called later, exactly once.

        Returns None, and calls nothing, when the query could not be sent: the address is not one that this
        socket talks to, too many queries are under way, or the kernel refused.  One that is sent within a
        callback, or to a host that has been sent enough, leaves later; if it cannot then, it ends with
        `QueryNotSent`.  `on_stall` is called when the answer is late but still welcome.
        """
        source = self.sources.find(address) or self.sources.get(address)
        if not source.is_allowed:
            return self._not_sent("address not allowed")
        transactions = self._transactions
        if self.pending >= self._max_pending:
            return self._not_sent("too many pending")
        transaction_id = transactions.new_id()
        data = self._queries.write(method, transaction_id)
        now = trio.current_time() if self._now is None else self._now
        pending = Pending(transaction_id, source, len(data), now, on_done, on_stall)
        if self.held is not None and not self.held.admits(pending):
            return self._hold(self.held, pending, data)
        if not self.sender.send_query(data, source.address):
            self.reachability.not_sent()
            return self._not_sent("send failed")
        self._start(pending)
        return pending

    def _start(self, pending: Pending) -> None:
        """Wait for the answer to a query that has been sent."""
        self._transactions.add(pending)
        due = pending.sent_at + (self.times.timeout if pending.on_stall is None else self.times.stall)
        # Moving the deadline wakes no task; an event would.
        if due < self._expiring.deadline:
            self._expiring.deadline = self._next_due()

    def _hold(self, held: HeldQueries, pending: Pending, data: bytes) -> Pending | None:
        self.events["held back"] += 1
        is_kept = held.keep(pending, data)
        self._expiring.deadline = self._next_due()
        return pending if is_kept else self._not_sent("enough sent to its host")

    def begin_batch(self, now: float) -> list[Reply]:
        """Let what is sent leave at the end of the batch, and return the list of it for more to be added."""
        self._now = now
        batch = self.sender.batch = list[Reply]()
        return batch

    def end_batch(self, now: float) -> None:
        """Send what the batch brought about."""
        self._now = None
        for data in self.sender.flush():
            pending = self._transactions.get(self._queries.transaction_id_of(data))
            if pending is not None and self._transactions.remove(pending):
                self._fail_to_send(pending, now)

    def _fail_to_send(self, pending: Pending, now: float) -> None:
        self.reachability.not_sent()
        self._not_sent("send failed")
        self._call(partial(pending.on_done, not_sent(pending.address), now))

    def forget(self, pending: Pending) -> None:
        """Give a query up: its `on_done` will not be called, its answer is dropped."""
        self._transactions.remove(pending)
        if self.held is not None:
            self.held.forget(pending)

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
            raise QueryNotSent(address, self.socket.scope.refusal(address) or "cannot be asked from here")

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.forget(pending)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if isinstance(outcome[0], QueryError):
            raise outcome[0]
        return outcome[0]

    async def query_twice(self, method: Method, address: Address) -> Answer:
        """Query a node that answered a moment ago: a timeout most likely means that a datagram was lost.

        Raises as `query`.
        """
        try:
            return await self.query(method, address)
        except QueryTimeout:
            return await self.query(method, address)

    def may_answer(self, data: bytes, source: Source) -> bool:
        """Return, without reading a packet, whether it may be the answer to a query of ours."""
        return source.awaited > 0 and self._transactions.may_answer(data, source)

    def on_answer(self, message: Message, source: Source, size: int, now: float) -> None:
        """Handle a response or an error of `size` bytes; those that answer no query are dropped."""
        if isinstance(message, Error):
            self.events["errors received"] += 1
            refused = QueryRefused(source.address, message.code, message.text)
            if self._end(message.transaction_id, refused, source, now):
                self._vote(message, source, now)
        elif isinstance(message, Response):
            pending = self._match(message.transaction_id, source, now)
            if pending is not None:
                self._on_response(message, pending, source, size, now)

    def take_common(self, data: bytes, source: Source, now: float) -> bool:
        """Handle a datagram that is a common answer to a query under way; return False for all else.

        Then nothing has changed.  What is taken is charged to no limit, so that it need not be given back.
        """
        response = self._read_common(data)
        if response is None:
            return False
        pending = self._transactions.get(response.transaction_id)
        if pending is None or pending.source is not source:
            return False
        self._transactions.remove(pending)
        self._admission.proved(source, now)
        self._hear(source, now)
        self._on_response(response, pending, source, len(data), now)
        return True

    def on_bad_response(self, transaction_id: bytes, reason: str, source: Source, now: float) -> None:
        """Handle a response so broken that the query it belongs to has failed."""
        self._end(transaction_id, BadResponse(source.address, reason), source, now)

    def excuse_waiting(self, now: float) -> None:
        """Let late answers count for nothing: after a time when nothing came in, for whatever reason."""
        waiting = self._transactions.sent_before(now - self.times.stall)
        # Perhaps nothing of ours went out either.  But very few nodes may well be gone themselves.
        if not self.reachability.would_count(len(waiting)):
            for pending in waiting:
                pending.is_excused = True

    def _on_response(
        self, response: Response, pending: Pending, source: Source, size: int, now: float
    ) -> None:
        rtt = now - pending.sent_at
        if not pending.is_excused:
            self.times.add(rtt)
        self.traffic.answers += 1
        try:
            self._table.responded(Contact(response.node_id, source.address), now, rtt=rtt)
        finally:
            pending.on_done(Answer(source.address, response, rtt, pending.size, size), now)
        if now >= self.external.next_vote:
            self._vote(response, source, now)

    def _vote(self, answer: Response | Error, source: Source, now: float) -> None:
        """Count where an answer says that we are."""
        said = answer.external_address
        if said is None or now < self.external.next_vote:
            return
        if self.external.vote(source.address, said, now) and self._on_moved is not None:
            self._on_moved(said.host, now)

    def _end(self, transaction_id: bytes, failure: QueryError, source: Source, now: float) -> bool:
        """End the query that a remote's error or broken response belongs to; False when there is none."""
        pending = self._match(transaction_id, source, now)
        if pending is None:
            return False
        if isinstance(failure, BadResponse):
            self._table.failed(source.address, now)
        pending.on_done(failure, now)
        return True

    def _match(self, transaction_id: bytes, source: Source, now: float) -> Pending | None:
        """Return the query that an answer belongs to, no longer pending, or None."""
        pending = self._transactions.get(transaction_id)
        if pending is None:
            self.events["dropped: unknown transaction"] += 1
            return None
        if pending.source is not source and pending.address != source.address:
            self.events["dropped: foreign source"] += 1
            return None
        self._transactions.remove(pending)
        self._admission.expected(source, now)
        self._hear(source, now)
        return pending

    def _hear(self, source: Source, now: float) -> None:
        self.reachability.answered(source, now)
        if self.held is not None:
            self.held.hear(source.address.host)

    def _not_sent(self, reason: str) -> Pending | None:
        self.events[f"not sent: {reason}"] += 1
        return None

    def _next_due(self) -> float:
        due = self._transactions.next_due(self.times.stall, self.times.timeout)
        return due if self.held is None else min(due, self.held.release_at)

    async def expire(self) -> None:
        """End the queries whose answers are late, or will not come any more, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next_due()) as self._expiring:
                await trio.sleep_forever()
            now = trio.current_time()
            if now - self._expiring.deadline > SUSPENDED_AFTER:
                self.events["stood still"] += 1
                self._transactions.excuse_all(now - self.times.timeout + GRACE)
            self.end_overdue(now)

    def end_overdue(self, now: float) -> None:
        """Call back for the queries whose answers are late, or will not come; send what was held back."""
        if self.held is not None and now >= self.held.release_at:
            for each, data in self.held.take(now):
                if data is not None and self.sender.send_query(data, each.address):
                    self._start(each)
                else:
                    self._fail_to_send(each, now)
        while (on_stall := self._transactions.take_stalled(now, self.times.stall)) is not None:
            self.events["stalled"] += 1
            self._call(on_stall)
        while (pending := self._transactions.take_expired(now, self.times.timeout)) is not None:
            self.traffic.timeouts += 1
            self._call(partial(self._on_timeout, pending, now))

    def _on_timeout(self, pending: Pending, now: float) -> None:
        if not pending.is_excused:
            if not self.reachability.timed_out(pending.source, pending.sent_at, now):
                self.events["timeouts while others answer"] += 1
            if self.reachability.counts_against(pending.sent_at):
                self._table.failed(pending.address, now)
        pending.on_done(QueryTimeout(pending.address), now)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            # As for datagrams: a callback that fails must not end the loop that serves all queries.
            self.events["internal errors"] += 1
            logger.exception("failed on a deadline")
