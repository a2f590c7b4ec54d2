"""The datagrams that arrive on one socket.

One loop drains the socket and handles each datagram to its end: admit, decode, decide, reply.  No
task, channel or cancel scope exists per packet.  Answers go to `rpc`, queries of others to
`server.inbound`.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import trio

from dhtnode.addresses import Contact
from dhtnode.bencode import MAX_ITEMS
from dhtnode.krpc.codec import parse_untrusted, read_fields
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Ping
from dhtnode.krpc.methods import Fields
from dhtnode.net.rpc import Rpc
from dhtnode.server.admission import NO_BUDGET, Admission
from dhtnode.server.inbound import Inbound
from dhtnode.server.sources import Source
from dhtnode.settings import NodeSettings

logger = logging.getLogger(__name__)

OnSeen: TypeAlias = Callable[[Contact, float], None]
"""A function called with the sender of a query and the time, after the reply, now and then."""

_ERROR = b"d1:e"[3]  # the first key of an error; that of a response is `ip` or `r`


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
        self._batch = settings.receive_batch
        self._behind_after = settings.behind_after
        self._is_behind = False

    @property
    def counts(self) -> Counter[str]:
        """Return what has been counted on this socket, by name."""
        errors = Counter({f"socket: {name}": count for name, count in self._socket.errors.items()})
        return self._traffic.counts() + self._events + self._inbound.counts() + errors

    async def serve(self) -> None:
        """Receive until cancelled."""
        receive_nowait, handle = self._socket.receive_nowait, self.handle_untrusted
        backlog = 0  # full batches in a row
        while True:
            await self._socket.wait_readable()
            now = trio.current_time()
            for _ in range(self._batch):
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

    def handle_untrusted(self, data: bytes, pair: tuple[str, int], now: float) -> None:
        """Handle one datagram from a host and port to its end; nothing that a remote sends raises."""
        try:
            self._handle(data, self._sources.get(pair), now)
        except Exception:
            # The last barrier: a bug of ours or of a caller costs one packet, not the node.
            self._events["internal errors"] += 1
            logger.exception("failed on a datagram from %s port %s", *pair)

    def _handle(self, data: bytes, source: Source, now: float) -> None:
        traffic, size = self._traffic, len(data)
        traffic.datagrams_received += 1
        traffic.bytes_received += size
        if not source.is_allowed:
            self._events["dropped: source not allowed"] += 1
            return
        if self._reachability.received(now):
            self._rpc.excuse_waiting(now)
        refusal, budget = self._admission.admit(source, size, now, self._is_behind)
        if refusal is not None and not self._rpc.may_answer(data, source):
            self._refuse(refusal, source, now)
            return
        try:
            # Only a node that we queried may send what takes long to read: a reply can list hundreds
            # of peers.
            fields = parse_untrusted(data, MAX_ITEMS) if source.awaited else parse_untrusted(data)
            if fields.get(b"y") != b"q":
                self._rpc.on_answer(read_fields(fields, self._family), source, size, now)
            elif refusal is not None:
                self._events[refusal] += 1
            else:
                self._on_query(fields, source, size, budget, now)
        except MalformedMessage as malformed:
            self._on_malformed(malformed, source, budget, now)

    def _refuse(self, refusal: str, source: Source, now: float) -> None:
        self._events[refusal] += 1
        if refusal is NO_BUDGET and self._admission.wants_proof(source, now):
            # Its answer proves its address: then it is served before those that have not.
            self._rpc.send_query(Ping(), source.address, lambda _result, _now: None)

    def _on_query(self, fields: Fields, source: Source, size: int, budget: int, now: float) -> None:
        if self._read_only:
            self._events["dropped: query while read-only"] += 1
            return
        reply, sender = self._inbound.on_query(fields, source, size, budget, now)
        if reply is not None:
            self._send_reply(reply, source)
        if sender is not None and self._on_seen is not None:
            self._on_seen(Contact(sender, source.address), now)

    def _send_reply(self, reply: bytes, source: Source) -> None:
        if self._rpc.send(reply, source.address):
            if reply[3] == _ERROR:
                self._events["errors sent"] += 1
            else:
                self._traffic.replies_sent += 1

    def _on_malformed(self, malformed: MalformedMessage, source: Source, budget: int, now: float) -> None:
        self._events[f"malformed: {malformed.reason}"] += 1
        if malformed.reply is not None and not self._read_only:
            reply = self._inbound.on_malformed(malformed.reply, source, budget)
            if reply is not None:
                self._send_reply(reply, source)
        elif malformed.failed is not None:
            self._rpc.on_bad_response(malformed.failed, malformed.reason, source, now)
