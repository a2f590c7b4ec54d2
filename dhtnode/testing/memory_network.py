"""Networks for tests, public so that users of the library can test against them too.

`MemoryNetwork` connects real nodes inside one process without sockets: latency, loss, duplication,
dead hosts and NATs, every decision drawn from one seed.  Time is Trio's clock, so under
`trio.testing.MockClock(autojump_threshold=0)` hours of network life take seconds.  `open_testnet`
runs nodes on loopback sockets in real time.

Nothing here touches the kernel, and the network needs no task: each socket waits for its own mail.
"""

import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import IPv6Address
from random import Random

import trio

from dhtnode.addresses import Address, Family
from dhtnode.api.node import Node
from dhtnode.api.open_node import open_node
from dhtnode.ids import NodeId
from dhtnode.settings import NodeSettings

PORT = 6881
NAT_LIFETIME = 120.0  # seconds a NAT keeps a hole open; RFC 4787 asks for at least that much
QUEUE_LIMIT = 1000  # datagrams not yet read; about what a kernel buffer of 200 KiB holds
MAX_HOSTS = 80 << 16  # 11.0.0.1 to 90.255.255.1, all of them public


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Count datagrams by what became of them.

    `duplicated` counts the extra copies; `cut_off` those from or to a host that was cut, `to_nobody`
    those to an address without a socket.  `check` states how the numbers belong together.
    """

    sent: int
    duplicated: int
    in_flight: int
    delivered: int
    lost: int
    cut_off: int
    dropped_at_nat: int
    to_nobody: int
    queue_full: int

    def check(self) -> None:
        """Raise `AssertionError` unless every datagram and every copy is accounted for."""
        dropped = self.lost + self.cut_off + self.dropped_at_nat + self.to_nobody + self.queue_full
        if self.sent + self.duplicated != self.in_flight + self.delivered + dropped:
            raise AssertionError(f"datagrams do not add up: {self}")


class MemoryNetwork:
    """Carry datagrams between the sockets of one process.

        network = MemoryNetwork(seed=1, loss=0.2)
        async with network.open_nodes(20) as nodes:
            await nodes[3].announce(info_hash, 6881)
            async with nodes[7].get_peers(info_hash) as peers:
                assert await anext(peers) == (network.host(3), 6881)

    There is nothing to start or to close.  With one seed, ids, delays and losses are the same each
    time, as far as Trio, which shuffles tasks that are ready at the same moment, runs them alike.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: tuple[float, float] = (0.02, 0.2),
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        """Make a network where each datagram takes a time from `latency`, in seconds one way.

        `loss` and `duplication` are probabilities; a duplicate travels, and may be lost, on its own.
        """
        self.latency = latency
        self.loss = loss
        self.duplication = duplication
        self.cut_hosts: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._seed = seed
        self._random = Random(seed)
        self._sequence = 0
        self._sockets: dict[Address, MemorySocket] = {}
        self._open_nodes: list[Node] = []
        self._closed_totals: Counter[str] = Counter()

    def host(self, number: int, family: Family = Family.IPV4) -> str:
        """Return the public address of host 0, 1, 2, ...: each alone in its /24 or /64."""
        if not 0 <= number < MAX_HOSTS:
            raise ValueError(f"host {number} is not in 0..{MAX_HOSTS - 1}")
        if family is Family.IPV6:
            return str(IPv6Address(0x2A00 << 112 | number << 64 | 1))
        return f"{11 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1"

    def socket(self, host: str, port: int = PORT, *, nat: bool = False) -> "MemorySocket":
        """Bind a socket, for `dhtnode.open_node(sockets=...)` or to be used by hand.

        Behind a NAT it receives only from addresses that it has sent to in the last two minutes.
        Raises `ValueError` when the address is taken.
        """
        address = Address(host, port)
        if address in self._sockets:
            raise ValueError(f"{address} is taken")
        self._sockets[address] = MemorySocket(self, address, nat=nat)
        return self._sockets[address]

    def remove(self, socket: "MemorySocket") -> None:
        """Take a socket off the network; `MemorySocket.close` calls this."""
        self._sockets.pop(socket.address, None)

    def cut(self, host: str) -> None:
        """Cut a host off: what it sends from now on is lost, and what would reach it, too."""
        self._settle()  # what is due has come before the cut
        self.cut_hosts.add(host)

    def restore(self, host: str) -> None:
        """Connect a host that was cut off; does nothing for others."""
        self._settle()
        self.cut_hosts.discard(host)

    @asynccontextmanager
    async def open_node(
        self,
        number: int,
        *,
        families: Iterable[Family] = (Family.IPV4,),
        also: Iterable[int] = (),
        nat: bool = False,
        through: Iterable[Address] = (),
        settings: NodeSettings | None = None,
        node_id: NodeId | None = None,
    ) -> AsyncIterator[Node]:
        """Open a node on the host of that number, to join `through` others: `through=first.addresses`.

        The node has the addresses of the hosts `also`, too.  Without a `node_id`, its ids follow from
        seed and number.
        """
        families = tuple(families)
        hosts = [self.host(each, family) for each in (number, *also) for family in families]
        sockets = [self.socket(host, nat=nat) for host in hosts]
        async with open_node(
            sockets=sockets,
            bootstrap=[str(address) for address in through],
            well_known=False,
            settings=settings,
            node_id=node_id,
            random=Random(f"node {number} of network {self._seed}"),
        ) as node:
            self._open_nodes.append(node)
            try:
                yield node
            finally:
                self._open_nodes.remove(node)
                self._closed_totals += _totals(node)

    @asynccontextmanager
    async def open_nodes(
        self,
        count: int,
        *,
        first: int = 0,
        families: Iterable[Family] = (Family.IPV4,),
        through: Iterable[Address] = (),
    ) -> AsyncIterator[list[Node]]:
        """Open nodes on hosts `first`, `first + 1`, ..., one by one, each joined before the next comes.

        They join `through` the addresses given, or else through the first of them.
        """
        families, through = tuple(families), tuple(through)
        async with AsyncExitStack() as stack:
            nodes: list[Node] = []
            for number in range(first, first + count):
                node = await stack.enter_async_context(
                    self.open_node(number, families=families, through=through)
                )
                await node.wait_joined()
                nodes.append(node)
                through = through or node.addresses
            yield nodes

    def statistics(self) -> NetworkStatistics:
        """Return what became of all datagrams so far."""
        self._settle()
        in_flight = sum(socket.in_flight for socket in self._sockets.values())
        return NetworkStatistics(in_flight=in_flight, **{name: self.counts[name] for name in _COUNTED})

    def totals(self) -> Counter[str]:
        """Return the counters of all nodes that `open_node` made, summed, closed ones included.

        "pending" is the number of queries under way, now or when their node was closed.
        """
        return sum(map(_totals, self._open_nodes), self._closed_totals.copy())

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Take a datagram on its way; `MemorySocket.send_nowait` calls this.  Override it to listen in."""
        copies = 1
        self.counts["sent"] += 1
        if self._happens(self.duplication):
            copies = 2
            self.counts["duplicated"] += 1
        for _ in range(copies):
            receiver = self._sockets.get(destination)
            if source.host in self.cut_hosts:
                self.counts["cut_off"] += 1
            elif self._happens(self.loss):
                self.counts["lost"] += 1
            elif receiver is None:
                self.counts["to_nobody"] += 1
            else:
                self._sequence += 1
                due = now + self._random.uniform(*self.latency)
                receiver.expect(_Datagram(due, self._sequence, source, data))

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _settle(self) -> None:
        if self._sockets:  # without one there may be no clock either
            now = trio.current_time()
            for socket in self._sockets.values():
                socket.settle(now)


class MemorySocket:
    """Be a `DatagramSocket` of a `MemoryNetwork`; one task at a time may wait for it."""

    def __init__(self, network: MemoryNetwork, address: Address, *, nat: bool) -> None:
        self.address = address
        self.errors: Counter[str] = Counter()  # stays empty: there is no kernel that could refuse
        self._network = network
        self._family = address.family
        self._is_closed = False
        self._is_nated = nat
        self._sent_to: dict[Address, float] = {}
        self._expected: list[_Datagram] = []  # a heap
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._wait = trio.CancelScope()
        self._dropped = 0

    @property
    def in_flight(self) -> int:
        """Return how many datagrams are on their way to this socket."""
        return len(self._expected)

    async def wait_readable(self) -> None:
        """Wait until a datagram is there; raises `trio.ClosedResourceError` when closed meanwhile."""
        if self._is_closed or self._has_mail():
            await trio.lowlevel.checkpoint()
        while not self._is_closed and not self._has_mail():
            # The wait ends at the deadline of its scope, and `expect` moves that deadline: so a
            # datagram costs one wake-up, where a task that delivers would make it two.
            deadline = self._expected[0].due if self._expected else math.inf
            with trio.CancelScope(deadline=deadline) as self._wait:
                await trio.sleep_forever()
        if self._is_closed:
            raise trio.ClosedResourceError

    def receive_nowait(self) -> tuple[bytes, Address] | None:
        """Return one datagram and its source, or None when none is there."""
        return self._queue.popleft() if self._has_mail() else None

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Hand one datagram to the network; False when closed or when the families differ."""
        if self._is_closed or destination.family is not self._family:
            return False
        now = trio.current_time()
        if self._is_nated:
            self.settle(now)  # or this would open the NAT for what has come before
            self._sent_to[destination] = now
        self._network.carry(data, self.address, destination, now)
        return True

    async def wait_writable(self) -> None:
        """Return at once: the network takes everything."""
        await trio.lowlevel.checkpoint()

    def dropped_by_kernel(self) -> int:
        """Return how many datagrams found the queue full: those that a kernel would drop."""
        if self._expected:
            self.settle(trio.current_time())
        return self._dropped

    def close(self) -> None:
        """Leave the network and wake whoever waits; what is under way reaches nobody."""
        if self._is_closed:
            return
        self.settle(trio.current_time())
        self._network.counts["to_nobody"] += len(self._expected)
        self._expected.clear()
        self._is_closed = True
        self._network.remove(self)
        self._wait.cancel()

    def expect(self, datagram: "_Datagram") -> None:
        """Take note of a datagram that is on its way."""
        heappush(self._expected, datagram)
        if datagram.due < self._wait.deadline:
            self._wait.deadline = datagram.due

    def settle(self, now: float) -> None:
        """Decide what becomes of the datagrams that have come.

        Waiting with it until somebody looks changes nothing: only a reader makes room in the queue,
        and whatever else bears on the decision (`cut`, a NAT, `close`) settles first.
        """
        while self._expected and self._expected[0].due <= now:
            datagram = heappop(self._expected)
            fate = self._fate(datagram)
            self._network.counts[fate] += 1
            if fate == "delivered":
                self._queue.append((datagram.data, datagram.source))

    def _fate(self, datagram: "_Datagram") -> str:
        if self.address.host in self._network.cut_hosts:
            return "cut_off"
        if self._is_nated and datagram.due - self._sent_to.get(datagram.source, -math.inf) > NAT_LIFETIME:
            return "dropped_at_nat"
        if len(self._queue) < QUEUE_LIMIT:
            return "delivered"
        self._dropped += 1
        return "queue_full"

    def _has_mail(self) -> bool:
        if self._expected:
            self.settle(trio.current_time())
        return bool(self._queue)


@dataclass(frozen=True, slots=True, order=True)
class _Datagram:
    """Be on the way to a socket; the earliest first, and the one sent first of several."""

    due: float
    sequence: int
    source: Address
    data: bytes


_COUNTED = ("sent", "duplicated", "delivered", "lost", "cut_off", "dropped_at_nat", "to_nobody", "queue_full")


def _totals(node: Node) -> Counter[str]:
    totals: Counter[str] = Counter()
    for endpoint in node.statistics().sockets:
        totals.update(endpoint.counts)
        totals["pending"] += endpoint.pending
    return totals
