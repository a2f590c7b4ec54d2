"""Queries under way, from the moment each is sent to the call back that tells how it ended.

All wait equally long, so that the order of sending is the order of expiry: no other structure
holds deadlines, and a limit that changes with the line holds for what is already under way.
"""

from collections import OrderedDict
from collections.abc import Callable, Container
from itertools import takewhile
from math import inf
from typing import NamedTuple, TypeAlias

from dhtnode.addresses import Address
from dhtnode.errors import QueryError
from dhtnode.krpc.messages import Response
from dhtnode.server.sources import Source

MAX_LOOKS = 4  # packets beyond the limits of their source that may be the answer to one query
_ID_KEY = b"1:t4:"


class Answer(NamedTuple):  # a tuple, because one is made for every answer
    """A node's response, where it came from, and how long it took in seconds."""

    address: Address
    response: Response
    rtt: float
    bytes_sent: int
    bytes_received: int


OnDone: TypeAlias = Callable[[Answer | QueryError, float], None]
"""A function that `send_query` calls, once, with the outcome and the time."""

OnStall: TypeAlias = Callable[[], None]


class Pending:
    """One query under way; a handle for `Rpc.forget`.

    When `is_excused`, its timeout tells nothing about the node queried.
    """

    __slots__ = (
        "is_excused",
        "looks",
        "on_done",
        "on_stall",
        "sent_at",
        "size",
        "source",
        "transaction_id",
    )

    def __init__(
        self,
        transaction_id: bytes,
        source: Source,
        size: int,
        sent_at: float,
        on_done: OnDone,
        on_stall: OnStall | None,
    ) -> None:
        self.transaction_id = transaction_id
        self.source = source  # of the answer
        self.size = size
        self.sent_at = sent_at
        self.on_done = on_done
        self.on_stall = on_stall
        self.looks = 0
        self.is_excused = False

    @property
    def address(self) -> Address:
        """Return the address that was queried."""
        return self.source.address


class TransactionIds:
    """Transaction ids: 4 random bytes without a NUL.

    One implementation reads no other length, one mangles NULs.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """Draw from `random_bytes`, which must be unpredictable in production."""
        self._random_bytes = random_bytes
        self._unused: list[bytes] = []

    def new(self, taken: Container[bytes]) -> bytes:
        """Return an id that is not taken; costs some 0.2 us."""
        while True:
            if not self._unused:
                self._draw()
            transaction_id = self._unused.pop()
            if transaction_id not in taken:
                return transaction_id

    def several(self, count: int, taken: Container[bytes]) -> list[bytes]:
        """Return so many different ids that are not taken."""
        ids: dict[bytes, None] = {}
        while len(ids) < count:
            if not self._unused:
                self._draw()
            some, self._unused = self._unused[: count - len(ids)], self._unused[count - len(ids) :]
            ids.update(dict.fromkeys([each for each in some if each not in taken]))
        return list(ids)

    def _draw(self) -> None:
        while not self._unused:
            drawn = self._random_bytes(4096).replace(b"\0", b"")
            self._unused = [drawn[at : at + 4] for at in range(0, len(drawn) - 3, 4)]


class Transactions:
    """The queries under way on one socket, `pending`; every method has constant cost."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """Draw transaction ids from `random_bytes`, which must be unpredictable in production."""
        self._ids = TransactionIds(random_bytes)
        # Ordered dictionaries, because looking for the first entry of a plain one passes over all
        # those deleted before it.
        self.pending: OrderedDict[bytes, Pending] = OrderedDict()
        self._impatient: OrderedDict[bytes, Pending] = OrderedDict()
        # The query that bears an id, if it is under way; without a call of Python.
        self.get = self.pending.get

    def new_id(self) -> bytes:
        """Return an id that no query under way bears."""
        return self._ids.new(self.pending)

    def add(self, pending: Pending) -> None:
        """Keep a query that has been sent, later than all before it."""
        self.pending[pending.transaction_id] = pending
        if pending.on_stall is not None:
            self._impatient[pending.transaction_id] = pending
        pending.source.awaited += 1

    def may_answer(self, data: bytes, source: Source) -> bool:
        """Return, without reading a packet, whether it bears the id of a query to its source.

        True only a few times per query: a node that we queried knows the id, and could send any number
        of packets with it that are slow to read and no answer.
        """
        at = data.rfind(_ID_KEY) + len(_ID_KEY)
        pending = self.pending.get(data[at : at + 4])
        if pending is None or pending.address != source.address:
            return False
        pending.looks += 1
        return pending.looks <= MAX_LOOKS

    def remove(self, pending: Pending) -> bool:
        """Drop a query because it has ended; return False when it had ended before."""
        transaction_id = pending.transaction_id
        if self.pending.get(transaction_id) is not pending:
            return False
        del self.pending[transaction_id]
        if pending.on_stall is not None:
            self._impatient.pop(transaction_id, None)
        pending.source.awaited -= 1
        return True

    def next_due(self, stall: float, timeout: float) -> float:
        """Return when the first query will have waited too long, one way or the other."""
        due = inf
        for waiting, limit in ((self._impatient, stall), (self.pending, timeout)):
            for pending in waiting.values():
                due = min(due, pending.sent_at + limit)
                break
        return due

    def sent_before(self, limit: float) -> list[Pending]:
        """Return the queries under way that were sent before a time, in their order."""
        return list(takewhile(lambda pending: pending.sent_at < limit, self.pending.values()))

    def excuse_all(self, since: float) -> None:
        """Let all queries under way count as sent no earlier than `since`, and their timeouts for nothing.

        To be called when we could not listen for a while.
        """
        for pending in self.pending.values():
            pending.sent_at = max(pending.sent_at, since)
            pending.is_excused = True

    def take_stalled(self, now: float, stall: float) -> OnStall | None:
        """Return the callback of one query that has been waiting for `stall` seconds, each once."""
        for transaction_id, pending in self._impatient.items():
            if now >= pending.sent_at + stall:
                del self._impatient[transaction_id]
                return pending.on_stall
            break
        return None

    def take_expired(self, now: float, timeout: float) -> Pending | None:
        """Return one query that has been waiting for `timeout` seconds, no longer under way."""
        for pending in self.pending.values():
            if now >= pending.sent_at + timeout:
                self.remove(pending)
                return pending
            break
        return None
