"""Thousands of addresses of loopback that ask a node, are nodes of its table, come and go, and talk rubbish.

One wildcard socket sends for all of them, and IP_PKTINFO tells which one was asked.  All have the same
port.  Three quarters are online; who goes answers nothing, and half of those who come back have another
id.  The node may enter through `bootstrap_nodes`, which never leave.
"""

import socket
import sys
import time
from collections import Counter
from heapq import nsmallest
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self

import trio
from bencode2 import BencodeDecodeError, bdecode, bencode

from benchmarks.soak.mix import ODD, WEIGHTS, Mix, Question, Source, fault_of
from benchmarks.tools.batched_udp import IP_PKTINFO, open_wildcard_socket

BOOTSTRAP_NODES = 3
CLOSEST = 8
TICK = 0.005  # seconds between two looks at what is due
MOST_BEHIND = 0.05  # seconds of the load that are sent at once, at most
PATIENCE = 10.0  # seconds after which an answer does not count any more
MEAN_ONLINE, MEAN_AWAY = 180.0, 60.0  # seconds
CHANGE_EVERY = 1.0  # seconds
MAX_FAULTS = 100  # kinds of them that are kept
RECEIVED_AT_ONCE = 64
_SO_MEMINFO, _DROPS = 55, slice(32, 36)  # see dhtnode.net.udp
_SHARE_ODD = sum(ODD.values()) / (sum(ODD.values()) + sum(WEIGHTS.values()))

ANSWERS = {"right": 85, "none": 6, "error": 3, "garbled": 3, "other id": 1, "twice": 2}
"""How often a source answers a node in which way, out of 100."""


class Asked(NamedTuple):
    """A query in flight."""

    question: Question
    source: Source
    sent_at: float


class Crowd:
    """All sources, with counts of the results of their packets."""

    def __init__(self, count: int, garbage: float, rate: float, random: Random) -> None:
        """Open the socket; `garbage` is the share of rubbish in `rate` packets per second."""
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {}
        self.faults: Counter[str] = Counter()
        self._garbage = garbage
        self._rate = rate
        self._random = random
        self._mix = Mix(random)
        self._sources = [_new_source(number, random) for number in range(count)]
        self._by_packed = {source.packed: source for source in self._sources}
        self._online = list(self._sources)
        self._asked: dict[bytes, Asked] = {}  # the earliest first
        self._first_key = self._next_key = random.randrange(1 << 31)
        self._socket = open_wildcard_socket()
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def bootstrap_nodes(self) -> list[str]:
        """Return addresses to join through, `HOST:PORT`."""
        return [f"{source.host}:{self.port}" for source in self._sources[:BOOTSTRAP_NODES]]

    def report(self) -> dict[str, Any]:
        """Return all that was counted; `dropped_by_kernel` are packets to us for which there was no room."""
        told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _DROPS.stop)
        return {
            "counts": dict(self.counts),
            "faults": dict(self.faults),
            "kinds": {kind: dict(counts) for kind, counts in sorted(self.kinds.items())},
            "dropped_by_kernel": int.from_bytes(told[_DROPS], sys.byteorder),
        }

    async def wait_answered(self) -> None:
        """Wait until no query is under way."""
        while self._asked:  # noqa: ASYNC110  for an end that comes once, no event needs to be kept
            await trio.sleep(TICK)

    async def listen(self) -> None:
        """Answer the queries and take the replies that come, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            for _ in range(RECEIVED_AT_ONCE):
                try:
                    data, control, _, sender = self._socket.recvmsg(4096, 64)
                except BlockingIOError:
                    break
                for _, kind, info in control:
                    source = self._by_packed.get(info[8:12]) if kind == IP_PKTINFO else None
                    if source is not None and sender[0].startswith("127."):
                        self._hear(data, source, sender)

    async def talk_to(self, server: tuple[str, int]) -> None:
        """Send at the rate until cancelled, and let sources come and go meanwhile."""
        began = time.monotonic()
        changed, sent = began, 0
        while True:
            now = time.monotonic()
            # What a pause has left undone is not made up for: that would be a burst.
            began = max(began, now - MOST_BEHIND - sent / self._rate)
            for _ in range(int((now - began) * self._rate) - sent):
                sent += 1
                self._say_something(server, now)
            self.give_up(now)
            if now - changed >= CHANGE_EVERY:
                self._come_and_go(now - changed)
                changed = now
            await trio.sleep(TICK)

    def give_up(self, now: float) -> None:
        """Forget the queries that were not answered in time."""
        while self._asked:
            key, asked = next(iter(self._asked.items()))
            if asked.sent_at > now - PATIENCE:
                return
            del self._asked[key]
            self._count(asked.question, "unanswered")

    def _say_something(self, server: tuple[str, int], now: float) -> None:
        source = self._random.choice(self._online)
        if self._random.random() < self._garbage:
            self.counts["garbage sent"] += 1
            self._send(self._mix.garbage(), source, server)
        elif self._random.random() < _SHARE_ODD:
            self.counts["odd packets sent"] += 1
            self._send(self._mix.odd(), source, server)
        else:
            self._ask(self._mix.question(source), source, server, now)

    def _ask(self, question: Question, source: Source, server: tuple[str, int], now: float) -> None:
        self._next_key += 1
        key = self._next_key.to_bytes(4, "big")
        arguments = question.arguments | {b"id": source.node_id}
        packet = bencode({b"a": arguments, b"q": question.method, b"t": key, b"y": b"q"})
        if self._send(packet, source, server):
            self._asked[key] = Asked(question, source, now)
            self._count(question, "sent")

    def _send(self, data: bytes, source: Source, destination: tuple[str, int]) -> bool:
        leave_from = bytes(4) + source.packed + bytes(4)
        try:
            self._socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, leave_from)], 0, destination)
        except OSError as error:
            self.counts[f"not sent: {error.strerror}"] += 1
            return False
        return True

    def _hear(self, data: bytes, source: Source, sender: tuple[str, int]) -> None:
        try:
            message = bdecode(data)
        except BencodeDecodeError:
            self._fault("what came is no bencode")
            return
        if message.get(b"y") == b"q":
            if source.is_online:
                self.counts["queries heard"] += 1
                self._answer(message, source, sender)
            return
        key = message.get(b"t", b"")
        asked = self._asked.pop(key, None)
        if asked is None or asked.source is not source:
            is_late = len(key) == 4 and self._first_key < int.from_bytes(key, "big") <= self._next_key
            self.counts["late replies" if is_late else "replies to garbage"] += 1
            return
        self._take(asked.question, source, message)

    def _take(self, question: Question, source: Source, message: dict[bytes, Any]) -> None:
        if fault := fault_of(question, message):
            self._fault(fault)
        if message.get(b"y") == b"e":
            self._count(question, f"error {message[b'e'][0]}")
            return
        self._count(question, "answered")
        token = message.get(b"r", {}).get(b"token")
        if token and question.kind == "get_peers":
            source.announcing = question.about, token
        elif token and question.kind == "get":
            source.putting = question.about, token

    def _answer(self, query: dict[bytes, Any], source: Source, asker: tuple[str, int]) -> None:
        (how,) = self._random.choices(list(ANSWERS), list(ANSWERS.values()))
        self.counts[f"answers: {how}"] += 1
        key = query[b"t"]
        if how == "none":
            return
        if how == "error":
            self._send(bencode({b"e": [202, b"no"], b"t": key, b"y": b"e"}), source, asker)
            return
        body = {b"id": self._random.randbytes(20) if how == "other id" else source.node_id}
        target = query[b"a"].get(b"target") or query[b"a"].get(b"info_hash")
        if target:
            body[b"nodes"] = self._closest(target)
        packed_asker = socket.inet_aton(asker[0]) + asker[1].to_bytes(2, "big")
        packet = bencode({b"ip": packed_asker, b"r": body, b"t": key, b"y": b"r"})
        for _ in range(2 if how == "twice" else 1):
            self._send(self._mix.changed(packet) if how == "garbled" else packet, source, asker)

    def _closest(self, target: bytes) -> bytes:
        wanted, port = int.from_bytes(target, "big"), self.port.to_bytes(2, "big")
        closest = nsmallest(CLOSEST, self._sources, key=lambda each: each.number ^ wanted)
        return b"".join(each.node_id + each.packed + port for each in closest)

    def _come_and_go(self, seconds: float) -> None:
        for source in self._sources[BOOTSTRAP_NODES:]:
            mean = MEAN_ONLINE if source.is_online else MEAN_AWAY
            if self._random.random() >= seconds / mean:
                continue
            source.is_online = not source.is_online
            self.counts["came" if source.is_online else "went"] += 1
            if source.is_online and self._random.random() < 0.5:
                source.renew(self._random.randbytes(20))
        self._online = [source for source in self._sources if source.is_online]

    def _count(self, question: Question, what: str) -> None:
        self.kinds.setdefault(question.kind, Counter())[what] += 1

    def _fault(self, text: str) -> None:
        if text in self.faults or len(self.faults) < MAX_FAULTS:
            self.faults[text] += 1


def _new_source(number: int, random: Random) -> Source:
    host = f"127.6.{(number + 1) >> 8}.{(number + 1) & 255}"
    return Source(host, socket.inet_aton(host), random.randbytes(20))
