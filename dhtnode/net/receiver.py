"""The datagrams that arrive on one socket.

A turn of the loop receives many datagrams, handles them in one plain function, and sends the replies:
a processor that alternates between these for each datagram takes twice the time.  No task, channel or
cancel scope exists per packet.  Common queries are answered within `server.inbound`, answers go to
`rpc`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil, inf
from operator import length_hint
from typing import TypeAlias

import trio

from dhtnode.addresses import Contact
from dhtnode.bencode import Value, encode
from dhtnode.krpc.codec import parse_tolerantly_untrusted, read_fields
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Ping
from dhtnode.krpc.methods import Fields
from dhtnode.net.reachability import DEAF_AFTER
from dhtnode.net.rpc import Rpc
from dhtnode.net.udp import Received
from dhtnode.server.admission import TOO_BUSY, Admission
from dhtnode.server.inbound import Inbound, Reply
from dhtnode.server.sources import Source
from dhtnode.settings import NodeSettings

logger = logging.getLogger(__name__)

OnSeen: TypeAlias = Callable[[Contact, float], None]
"""A function called with the sender of a query and the time, now and then."""

BATCH = 64  # datagrams received, handled and answered at once
MAX_TURN = 0.005  # seconds after which other tasks have their turn, however many datagrams are left


class Receiver:
    """The receiving side of one socket."""

    def __init__(
        self,
        rpc: Rpc,
        admission: Admission,
        inbound: Inbound,
        on_seen: OnSeen | None = None,
        settings: NodeSettings | None = None,
    ) -> None:
        """Receive for `rpc`; queries of others go to `inbound` unless the node is read-only (BEP 43).

        `admission` may be shared with other sockets.
        """
        settings = settings or NodeSettings()
        self._rpc = rpc
        self._socket = rpc.socket
        self._family = rpc.family
        self._sources = rpc.sources
        self._traffic = rpc.traffic
        self._events = rpc.events
        self._reachability = rpc.reachability
        self._admission = admission
        self._inbound = inbound
        self._on_seen = on_seen
        self._read_only = settings.read_only
        self._batch = min(BATCH, settings.receive_batch)
        self._batches = ceil(settings.receive_batch / self._batch)
        self._behind_after = settings.behind_after * settings.receive_batch
        self._backlog = 0  # datagrams handled since the socket was empty
        self._left: list[Received] = []  # by the last turn
        self._waiting = trio.CancelScope()

    @property
    def counts(self) -> Counter[str]:
        """Return what has been counted on this socket, by name."""
        errors = Counter({f"socket: {name}": count for name, count in self._socket.errors.items()})
        return self._traffic.counts + self._events + self._inbound.counts + errors

    async def serve(self) -> None:
        """Receive until cancelled."""
        with self._socket.calling(self.receive):
            while True:
                with self._waiting:
                    await self._socket.wait_readable()
                self._waiting = trio.CancelScope()
                while not self._take_turn():
                    await trio.lowlevel.checkpoint()

    def receive(self, now: float, most: int) -> int:
        """Handle up to `most` datagrams in place of the task, and return how many there were."""
        if most == 1:
            datagram = self._socket.receive_nowait()
            if datagram is None:
                return 0
            if self._answer_alone(*datagram, now):
                return 1
            datagrams = [datagram]
        else:
            datagrams = self._socket.receive_batch(most)
        if datagrams:
            self._left = self.handle_untrusted(datagrams, now, now + MAX_TURN)
            if self._left:
                # They were slow: other tasks have their turn, and then ours handles what is left.
                self._waiting.cancel()
        return len(datagrams)

    def _answer_alone(self, data: bytes, pair: tuple[str, int], now: float) -> bool:
        """Answer a common query, without what is done once for each batch; False for all else.

        Then nothing has changed.
        """
        source = self._sources.find(pair)
        is_behind = self._backlog >= self._behind_after
        if source is None or is_behind or now - self._reachability.received_at > DEAF_AFTER:
            return False
        try:
            reply = self._inbound.answer_common(data, source, now)
        except Exception:  # noqa: BLE001
            # It is raised again where it is logged.
            return False
        if reply is None:
            return False
        self._reachability.received_at = now
        self._traffic.datagrams_received += 1
        self._traffic.bytes_received += len(data)
        self._rpc.sender.send_reply(reply, source.address)
        return True

    def _take_turn(self) -> bool:
        """Handle what has come, but not for long; return whether that was all."""
        now = trio.current_time()
        until = now + MAX_TURN
        for _ in range(self._batches):
            left = self._left
            datagrams = left or self._socket.receive_batch(self._batch)
            self._left = self.handle_untrusted(datagrams, now, until)
            self._backlog += len(datagrams) - len(self._left)
            if len(datagrams) < self._batch and not left and not self._left:
                self._backlog = 0
                return True
            now = trio.current_time()
            if now >= until:
                break
        return False

    def handle_untrusted(self, datagrams: list[Received], now: float, until: float = inf) -> list[Received]:
        """Handle datagrams in their order, then send the replies; nothing that a remote sends raises.

        Those that slow ones leave no time for, `until` a moment, are returned.
        """
        self._hear(datagrams, now)
        arrived, outgoing = iter(datagrams), self._rpc.begin_batch(now)
        while True:
            try:
                self._handle_all(arrived, outgoing, now, until)
                break
            except Exception:
                # The last barrier: a bug of ours or of a caller costs one packet, not the node.
                self._events["internal errors"] += 1
                _, pair = datagrams[-1 - length_hint(arrived)]
                logger.exception("failed on a datagram from %s port %s", *pair)
        done = len(datagrams) - length_hint(arrived)
        self._traffic.datagrams_received += done
        self._traffic.bytes_received += sum([len(data) for data, _ in datagrams[:done]])
        self._rpc.end_batch(now)
        return datagrams[done:]

    def _hear(self, datagrams: list[Received], now: float) -> None:
        """Record that something came in, unless it is all from addresses that we do not talk to."""
        for _, pair in datagrams:
            if self._sources.get(pair).is_allowed:
                if self._reachability.received(now):
                    self._rpc.excuse_waiting(now)
                return

    def _handle_all(
        self, arrived: Iterator[Received], outgoing: list[Reply], now: float, until: float
    ) -> None:
        is_behind = self._backlog >= self._behind_after
        take_common = self._rpc.take_common
        for uncommon in self._inbound.answer(arrived, now, outgoing, take_common, is_behind=is_behind):
            reply = self._handle(*uncommon, now)
            if reply is not None:
                outgoing.append((reply, uncommon[2].address))
            # What is not canonical takes long to decode.
            if uncommon[1] is None and trio.current_time() >= until:
                break
        while self._inbound.seen:
            contact = self._inbound.seen.pop(0)
            if self._on_seen is not None:
                self._on_seen(contact, now)

    def _handle(
        self, data: bytes, value: Value | None, source: Source, refusal: str | None, budget: int, now: float
    ) -> bytes | None:
        """Handle what the fast path has left, and return the reply if there is one."""
        if refusal is not None and not self._rpc.may_answer(data, source):
            self._refuse(refusal, source, now)
            return None
        try:
            fields = value if isinstance(value, dict) else _read_tolerantly(data, source)
            if fields.get(b"y") != b"q":
                self._rpc.on_answer(read_fields(fields, self._family), source, len(data), now)
            elif refusal is not None:
                self._events[refusal] += 1
            elif self._read_only:
                self._events["dropped: query while read-only"] += 1
            else:
                return self._inbound.on_query(fields, source, len(data), budget, now)
        except MalformedMessage as malformed:
            return self._on_malformed(malformed, source, budget, now)
        return None

    def _refuse(self, refusal: str, source: Source, now: float) -> None:
        self._events[refusal] += 1
        if refusal is not TOO_BUSY and self._admission.wants_proof(source, now):
            # Its answer proves its address: then it is served before those that have not.
            self._rpc.send_query(Ping(), source.address, lambda _result, _now: None)

    def _on_malformed(
        self, malformed: MalformedMessage, source: Source, budget: int, now: float
    ) -> bytes | None:
        self._events[f"malformed: {malformed.reason}"] += 1
        if malformed.reply is not None and not self._read_only:
            return self._inbound.on_malformed(malformed.reply, source, budget, now)
        if malformed.failed is not None:
            self._rpc.on_bad_response(malformed.failed, malformed.reason, source, now)
        return None


def _read_tolerantly(data: bytes, source: Source) -> Fields:
    """Return the dictionary of a datagram that is not canonical, as far as one looked."""
    source.is_tolerated = True
    # Only a node that we queried may send what takes long to read: a reply can list hundreds of peers.
    fields = parse_tolerantly_untrusted(data, is_answer=source.awaited > 0)
    source.is_tolerated = encode(fields) != data
    return fields
