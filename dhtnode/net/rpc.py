"""Queries and their answers over one socket.

One receive loop drains the socket and handles each datagram to its end: decode, decide, reply.  No
task, channel or cancel scope exists per packet.  One expiry loop serves all deadlines, kept in one
ordered structure.  There are two faces to one mechanism: `send_query` calls a plain function when
the answer, an error or a timeout is there; `query` waits for the same.

An answer counts only if transaction id, source address and source port all match.

A silence counts against a node only if something comes in while it is waited for: when all are silent
at once, it is our own network that is gone.  Nor does it count when we could not listen ourselves,
because the process was stopped or the machine asleep.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import trio

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.bencode import MAX_ITEMS
from dhtnode.errors import BadResponse, QueryError, QueryNotSent, QueryRefused, QueryTimeout
from dhtnode.ids import NodeId
from dhtnode.krpc.codec import encode, parse_untrusted, read_fields
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Error, Get, Message, Method, Ping, Query, Response
from dhtnode.krpc.methods import Fields
from dhtnode.krpc.query_writer import QueryWriter
from dhtnode.net.external_address import ExternalAddress
from dhtnode.net.round_trips import RoundTripTimes
from dhtnode.net.traffic import Traffic
from dhtnode.net.transactions import Answer, OnDone, OnStall, Pending, Transactions
from dhtnode.net.udp import DatagramSocket
from dhtnode.routing.table import RoutingTable
from dhtnode.server.admission import NO_BUDGET, Admission
from dhtnode.server.fast_path import FastPath, asker_of
from dhtnode.server.sources import Source, Sources
from dhtnode.settings import NodeSettings

logger = logging.getLogger(__name__)

OnQuery: TypeAlias = Callable[[Query, Address, float, int], Response | Error | None]
"""What answers a query from a source, at a time, in so many bytes."""

OnAsked: TypeAlias = Callable[[Contact, float], None]
"""What is told, after a reply and now and then, who queries us; not of read-only nodes (BEP 43)."""

OnMoved: TypeAlias = Callable[[str, float], None]
"""What is told on which host others see us, when that is known or has changed (BEP 42)."""

_ERROR = b"d1:e"[3]  # the first key of an error; that of a response is `ip` or `r`
LOOK_AGAIN_AFTER = 10.0  # seconds between two looks at one source as a possible contact
BLAMED_IN_A_ROW = 3  # silences that count against nodes although nothing came in since they were asked
DEAF_AFTER = 2.0  # seconds in which nothing came in; more than any stall
CUT_OFF_AFTER = 8  # silences in a row: as many as a bucket has nodes
SILENT_FOR = 900.0  # seconds in which a node that stays silent again tells us nothing new
HUSH = 10.0  # seconds without an answer after which it does: all asks count, for we may know very few
STOOD_STILL_AFTER = 0.5  # seconds by which a deadline was missed
GRACE = 1.0  # seconds for answers that have come meanwhile, or may still come


def _not_interested(_contact: Contact, _now: float) -> None:
    """Be told who asked, and do nothing."""


def _not_moved(_host: str, _now: float) -> None:
    """Be told where we are, and do nothing."""


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
        on_moved: OnMoved | None = None,
        quick: FastPath | None = None,
        version: bytes | None = None,
        settings: NodeSettings | None = None,
        admission: Admission | None = None,
        own: Container[Address] | None = None,
    ) -> None:
        """Take over the socket; `serve` must run for anything to be received or to time out.

        The table is told of every node that answers and of every one that does not.  `admission`
        may be shared with other sockets; `own` are their addresses, which are neither asked nor heard.
        `heard_at` is when a query of ours was last answered.
        """
        settings = settings or NodeSettings()
        self.socket = socket
        self.scope = scope
        self.times = RoundTripTimes()
        self.traffic = Traffic()
        self.events: Counter[str] = Counter()
        self.external = ExternalAddress(scope)
        self.heard_at = -math.inf
        self._family = socket.address.family
        self._table = table
        self._on_query = on_query
        self._on_asked = on_asked or _not_interested
        self._on_moved = on_moved or _not_moved
        self._quick = quick
        self._admission = admission or Admission(settings)
        self._sources = Sources(scope, {socket.address} if own is None else own, self._admission.meters)
        self._queries = QueryWriter(table.node_id, version=version, read_only=settings.read_only)
        self._transactions = Transactions(random_bytes)
        self._version = version
        self._read_only = settings.read_only
        self._max_pending = settings.max_pending
        self._forget_after = settings.good_for  # as long as an address counts as proven
        self._turned_at = -math.inf
        self._receive_batch = settings.receive_batch
        self._behind_after = settings.behind_after
        self._is_behind = False
        self._received_at = -math.inf
        self._silences = 0
        self._wake_at = math.inf
        self._wakeup = trio.Event()

    @property
    def pending(self) -> int:
        """Return how many queries are under way."""
        return len(self._transactions)

    @property
    def is_cut_off(self) -> bool:
        """Tell whether nobody answers any more: so many queries since the last answer have failed."""
        return self._silences >= CUT_OFF_AFTER

    def may_blame(self, queries: int) -> bool:
        """Tell whether the silence of so many more counts against them even if nobody answers."""
        return self._silences + queries <= BLAMED_IN_A_ROW

    @property
    def counts(self) -> Counter[str]:
        """Return what has been counted, by name."""
        errors = {f"socket: {name}": count for name, count in self.socket.errors.items()}
        return Counter(self.traffic.counts() | self.events | errors)

    def change_limits(self, settings: NodeSettings) -> None:
        """Go by other limits on what strangers may use, from now on; linear in the sources remembered."""
        self._admission.change_limits(settings)
        self._sources.forgive()

    def renew_id(self, node_id: NodeId) -> None:
        """Ask and answer under another id from now on; the table is told by the caller."""
        self._queries.renew_id(node_id)
        if self._quick is not None:
            self._quick.renew_id(node_id)

    def send_query(
        self, method: Method, address: Address, on_done: OnDone, *, on_stall: OnStall | None = None
    ) -> Pending | None:
        """Send a query and return at once; `on_done` is called later, exactly once.

        Returns None, and calls nothing, when the query could not be sent: the address is not one
        that this socket talks to, too many queries are under way, or the kernel refused.
        `on_stall` is called when the answer is late but still welcome.
        """
        source = self._sources.get(address)
        if not source.is_allowed:
            return self._not_sent("address not allowed")
        if len(self._transactions) >= self._max_pending:
            return self._not_sent("too many pending")
        transaction_id = self._transactions.new_id()
        data = self._queries.write(method, transaction_id)
        if not self._send(data, source.address):
            self._silences += 1
            return self._not_sent("send failed")
        now = trio.current_time()
        pending = Pending(transaction_id, source, len(data), now, on_done, on_stall)
        self._transactions.add(pending)
        due = now + (self.times.timeout if on_stall is None else self.times.stall)
        if due < self._wake_at:
            self._wake_at = due
            self._wakeup.set()
        self.traffic.queries_sent += 1
        return pending

    def forget_silent(self, now: float) -> None:
        """Forget the sources not heard of for `good_for` seconds, at the latest for twice as long.

        To be called now and then; without it their number is bounded all the same.
        """
        if now - self._turned_at >= self._forget_after:
            self._turned_at = now
            self._sources.turn()

    def forget(self, pending: Pending) -> None:
        """Give a query up: its `on_done` will not be called, its answer is dropped."""
        self._transactions.remove(pending)

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

    async def query_twice(self, method: Method, address: Address) -> Answer:
        """Ask a node that answered a moment ago: if it is silent now, most likely a datagram was lost.

        Raises as `query`.
        """
        try:
            return await self.query(method, address)
        except QueryTimeout:
            return await self.query(method, address)

    async def serve(self) -> None:
        """Receive and expire until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, name=f"receive on {self.socket.address}")
            nursery.start_soon(self._expire, name=f"deadlines of {self.socket.address}")

    async def _receive(self) -> None:
        receive_nowait, handle = self.socket.receive_nowait, self.handle_datagram_untrusted
        backlog = 0  # full batches in a row
        while True:
            await self.socket.wait_readable()
            now = trio.current_time()
            for _ in range(self._receive_batch):
                datagram = receive_nowait()
                if datagram is None:
                    backlog = 0
                    break
                data, pair = datagram
                handle(data, pair, now)
            else:
                backlog += 1
            self._is_behind = backlog >= self._behind_after
            if backlog:
                await trio.lowlevel.checkpoint()

    def handle_datagram_untrusted(self, data: bytes, pair: tuple[str, int], now: float) -> None:
        """Handle one datagram from a host and port to its end; whatever a remote sends, nothing is raised."""
        try:
            self._handle(data, self._sources.get(pair), now)
        except Exception:
            # The last barrier: a bug of ours or of a caller costs one packet, not the node.
            self.events["internal errors"] += 1
            logger.exception("failed on a datagram from %s port %s", *pair)

    def _handle(self, data: bytes, source: Source, now: float) -> None:
        traffic = self.traffic
        traffic.datagrams_received += 1
        traffic.bytes_received += len(data)
        if not source.is_allowed:
            self.events["dropped: source not allowed"] += 1
            return
        if now - self._received_at > DEAF_AFTER:
            self._hear_again(now)
        self._received_at = now
        refusal = self._admission.refusal(source, now, self._is_behind)
        if refusal is not None and not (source.awaited and self._transactions.may_answer(data, source)):
            self.events[refusal] += 1
            if refusal is NO_BUDGET:
                self._ask_for_proof(source, now)
            return
        try:
            # Only who was asked may take long to say something: a reply can list hundreds of peers.
            fields = parse_untrusted(data, MAX_ITEMS) if source.awaited else parse_untrusted(data)
            if fields.get(b"y") != b"q":
                self._take_answer(read_fields(fields, self._family), source, len(data), now)
            elif refusal is not None:
                self.events[refusal] += 1
            else:
                self._answer(fields, source, len(data), now)
        except MalformedMessage as malformed:
            self._on_malformed(malformed, source, len(data), now)

    def _hear_again(self, now: float) -> None:
        """Excuse those who were asked while nothing came in: nothing of ours may have gone out either.

        Except very few, who may well be dead themselves.
        """
        waiting = self._transactions.sent_before(now - self.times.stall)
        if not self.may_blame(len(waiting)):
            for pending in waiting:
                pending.is_excused = True

    def _answer(self, fields: Fields, source: Source, size: int, now: float) -> None:
        if self._read_only:
            self.events["dropped: query while read-only"] += 1
            return
        room = self._admission.longest_reply(source, size, now)
        reply = None if self._quick is None else self._quick.reply(fields, source, now, room)
        if reply is None:
            self._answer_at_length(read_fields(fields, self._family), source, size, now)
            return
        self.traffic.queries_received += 1
        self._reply(reply, source, room, now)
        if now - source.looked_at >= LOOK_AGAIN_AFTER:
            self._look_at(source, asker_of(fields), now)

    def _answer_at_length(self, query: Message, source: Source, size: int, now: float) -> None:
        assert isinstance(query, Query)  # noqa: S101  for mypy
        room = self._admission.longest_reply(source, size, now, item=isinstance(query.method, Get))
        self.traffic.queries_received += 1
        reply = self._on_query(query, source.address, now, room)
        if reply is not None:
            self._reply(encode(reply), source, room, now)
        if not query.read_only and now - source.looked_at >= LOOK_AGAIN_AFTER:
            self._look_at(source, query.node_id, now)

    def _look_at(self, source: Source, node_id: NodeId, now: float) -> None:
        """Tell who asked; to be done seldom, because it costs more than the answer."""
        source.looked_at = now
        self._on_asked(Contact(node_id, source.address), now)

    def _take_answer(self, message: Message, source: Source, size: int, now: float) -> None:
        match message:
            case Response():
                self._on_response(message, source, size)
            case Error():
                self.events["errors received"] += 1
                refused = QueryRefused(source.address, message.code, message.text)
                if self._end(message.transaction_id, refused, source, now):
                    self._hear_where_we_are(message, source, now)

    def _on_response(self, response: Response, source: Source, size: int) -> None:
        now = trio.current_time()  # not that of the batch, in which the query may have gone out
        pending = self._match(response.transaction_id, source, now)
        if pending is None:
            return
        rtt = now - pending.sent_at
        if not pending.is_excused:
            self.times.add(rtt)
        self.traffic.answers += 1
        try:
            self._table.responded(Contact(response.node_id, source.address), now, rtt=rtt)
        finally:
            pending.on_done(Answer(source.address, response, rtt, pending.size, size), now)
        self._hear_where_we_are(response, source, now)

    def _hear_where_we_are(self, answer: Response | Error, source: Source, now: float) -> None:
        said = answer.external_address
        if (
            said is not None
            and now >= self.external.next_vote
            and self.external.vote(source.address, said, now)
        ):
            self._on_moved(said.host, now)

    def _on_malformed(self, malformed: MalformedMessage, source: Source, size: int, now: float) -> None:
        self.events[f"malformed: {malformed.reason}"] += 1
        if malformed.reply is not None and not self._read_only:
            reply = replace(malformed.reply, external_address=source.address, version=self._version)
            room = self._admission.longest_reply(source, size, now)
            self._reply(encode(reply), source, room, now)
        elif malformed.failed is not None:
            self._end(malformed.failed, BadResponse(source.address, malformed.reason), source, now)

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
        self.heard_at = now
        source.silent_at = -math.inf
        self._silences = 0
        return pending

    def _reply(self, data: bytes, source: Source, room: int, now: float) -> None:
        """Send a reply if it is short enough and there is budget for it."""
        if len(data) > room:
            self.events["dropped: reply too long"] += 1
        elif not self._admission.allows_reply(source, len(data), now):
            self.events[NO_BUDGET] += 1
            self._ask_for_proof(source, now)
        elif self._send(data, source.address):
            if data[3] == _ERROR:
                self.events["errors sent"] += 1
            else:
                self.traffic.replies_sent += 1

    def _ask_for_proof(self, source: Source, now: float) -> None:
        """Ping one who keeps asking when there is not enough for all: who answers is served first."""
        if self._admission.wants_proof(source, now):
            self.send_query(Ping(), source.address, _no_matter)

    def _send(self, data: bytes, destination: Address) -> bool:
        if self.socket.send_nowait(data, destination):
            traffic = self.traffic
            traffic.datagrams_sent += 1
            traffic.bytes_sent += len(data)
            return True
        self.events["dropped: send failed"] += 1
        return False

    def _not_sent(self, reason: str) -> Pending | None:
        self.events[f"not sent: {reason}"] += 1
        return None

    async def _expire(self) -> None:
        while True:
            self._wake_at = self._transactions.next_due(self.times.stall, self.times.timeout)
            self._wakeup = trio.Event()
            with trio.move_on_at(self._wake_at):
                await self._wakeup.wait()
            now = trio.current_time()
            if now - self._wake_at > STOOD_STILL_AFTER:
                self.events["stood still"] += 1
                self._transactions.excuse_all(now - self.times.timeout + GRACE)
            self.end_overdue(now)

    def end_overdue(self, now: float) -> None:
        """Tell whoever waits for an answer that is late, or that will not come any more."""
        while (on_stall := self._transactions.take_stalled(now, self.times.stall)) is not None:
            self.events["stalled"] += 1
            self._call(on_stall)
        while (pending := self._transactions.take_expired(now, self.times.timeout)) is not None:
            self.traffic.timeouts += 1
            self._call(partial(self._on_timeout, pending, now))

    def _on_timeout(self, pending: Pending, now: float) -> None:
        if not pending.is_excused:
            self._count_silence(pending, now)
            if pending.sent_at <= self._received_at or self.may_blame(0):
                self._table.failed(pending.address, now)
        pending.on_done(QueryTimeout(pending.address), now)

    def _count_silence(self, pending: Pending, now: float) -> None:
        """Count a query that stayed without an answer, unless somebody was heard since it was sent.

        Lookups end with asking silent nodes again and again: each of them counts once.
        """
        source, waited = pending.source, pending.sent_at - self.heard_at
        is_known = now - source.silent_at < SILENT_FOR and waited <= HUSH
        source.silent_at = now
        if waited > 0 and not is_known:
            self._silences += 1
        else:
            self.events["timeouts while others answer"] += 1

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            # As for datagrams: a callback that fails must not end the loop that everybody waits on.
            self.events["internal errors"] += 1
            logger.exception("failed on a deadline")


def _no_matter(_result: Answer | QueryError, _now: float) -> None:
    """Be told how a query ended, and do nothing."""
