"""A socket that exists only in memory, and what runs on it."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.errors import QueryError
from dhtnode.ids import as_id
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.messages import Message, Ping, Query, Response
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.receiver import Receiver
from dhtnode.net.rpc import Rpc
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import DatagramSocket
from dhtnode.routing.table import RoutingTable
from dhtnode.server.admission import Admission
from dhtnode.server.inbound import Inbound
from dhtnode.server.sources import Sources
from dhtnode.settings import NodeSettings

US = Address("21.0.0.1", 6881)
ALICE = Contact(as_id(7), Address("21.0.1.1", 6881))
BOB = Contact(as_id(8), Address("21.0.2.1", 6881))
OWN = as_id(1 << 159)


class FakeSocket(DatagramSocket):
    """A socket that keeps what is sent and receives what it is given."""

    def __init__(self, address: Address = US) -> None:
        self.address = address
        self.errors: Counter[str] = Counter()
        self.sent: list[tuple[Message, Address]] = []
        self.sent_bytes: list[bytes] = []
        self.is_full = False
        self._arrived: deque[tuple[bytes, Address]] = deque()
        self._changed = trio.Event()

    def deliver(self, message: Message | bytes, source: Address) -> None:
        self._arrived.append((message if isinstance(message, bytes) else encode(message), source))
        self._changed.set()

    async def wait_readable(self) -> None:
        """Wait for `deliver`."""
        while not self._arrived:
            self._changed = trio.Event()
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def receive_nowait(self) -> tuple[bytes, Address] | None:
        return self._arrived.popleft() if self._arrived else None

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        if self.is_full:
            return False
        self.sent.append((decode_untrusted(data, self.address.family), destination))
        self.sent_bytes.append(data)
        return True

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()

    def dropped_by_kernel(self) -> int | None:
        """Return None: no kernel takes part."""
        return None

    def close(self) -> None:
        """Do nothing: nothing waits."""


def echo(query: Query, source: Address, _now: float, _room: int) -> Response:
    return Response(query.transaction_id, OWN, external_address=source)


@dataclass
class Bench:
    """A running `Rpc` and what surrounds it."""

    rpc: Rpc
    receiver: Receiver
    socket: FakeSocket
    table: RoutingTable

    def __post_init__(self) -> None:
        self.outcomes: list[Answer | QueryError] = []
        self.times: list[float] = []

    def on_done(self, outcome: Answer | QueryError, now: float) -> None:
        self.outcomes.append(outcome)
        self.times.append(now)

    def ask(self, contact: Contact = ALICE, **options: Any) -> bytes:
        pending = self.rpc.send_query(Ping(), contact.address, self.on_done, **options)
        assert pending is not None
        return pending.transaction_id

    def answer(self, transaction_id: bytes, contact: Contact = ALICE) -> None:
        self.socket.deliver(Response(transaction_id, contact.node_id), contact.address)

    def count(self, *names: str) -> list[int]:
        return [self.receiver.counts[name] for name in (*names, "internal errors")]


@asynccontextmanager
async def open_bench(
    respond: Callable[..., Any] = echo,
    *,
    version: bytes | None = None,
    on_moved: Any = None,
    outgoing: OutgoingBound | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Run an `Rpc` and its receiver for the length of the block."""
    socket = FakeSocket()
    table = RoutingTable(OWN, Family.IPV4, Scope.PUBLIC)
    settings = NodeSettings(**options)
    admission = Admission(settings)
    sources = Sources(Scope.PUBLIC, {socket.address}, admission.meters)
    rpc = Rpc(
        socket,
        table,
        sources,
        admission,
        Random(1).randbytes,
        on_moved=on_moved,
        version=version,
        settings=settings,
        outgoing=outgoing,
    )
    receiver = Receiver(rpc, admission, Inbound(Family.IPV4, sources, respond, admission), settings=settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.expire)
        nursery.start_soon(receiver.serve)
        await wait_all_tasks_blocked()
        yield Bench(rpc, receiver, socket, table)
        nursery.cancel_scope.cancel()


def contacts(count: int) -> list[Contact]:
    return [Contact(as_id(100 + number), Address(f"21.2.{number}.1", 6881)) for number in range(count)]
