"""Networks for tests, public so that users of the library can test against them too.

`MemoryNetwork` connects real nodes inside one process without sockets: latency, loss, duplication,
dead hosts and NATs, every decision drawn from one seed.  Time is Trio's clock, so under
`trio.testing.MockClock(autojump_threshold=0)` hours of network life take seconds.  `open_testnet`
runs nodes on loopback sockets in real time.

Nothing here touches the kernel, and the network needs no task: each socket waits for its own datagrams.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from ipaddress import IPv6Address
from random import Random

import trio

from dhtnode.addresses import Address, Family
from dhtnode.api.node import Node
from dhtnode.api.open_node import open_node
from dhtnode.ids import NodeId
from dhtnode.settings import NodeSettings
from dhtnode.testing.memory_socket import Datagram, MemorySocket

PORT = 6881
MAX_HOSTS = 80 << 16  # 11.0.0.1 to 90.255.255.1, all of them public


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Numbers of datagrams by their end.

    `duplicated` counts the extra copies; `cut_off` those from or to a host that was cut, `unreachable`
    those to an address without a socket.  `check` states how the numbers add up.
    """

    sent: int
    duplicated: int
    in_flight: int
    delivered: int
    lost: int
    cut_off: int
    dropped_at_nat: int
    unreachable: int
    queue_full: int

    def check(self) -> None:
        """Raise `AssertionError` unless every datagram and every copy is accounted for."""
        dropped = self.lost + self.cut_off + self.dropped_at_nat + self.unreachable + self.queue_full
        if self.sent + self.duplicated != self.in_flight + self.delivered + dropped:
            raise AssertionError(f"datagrams do not add up: {self}")


class MemoryNetwork:
    """A network that carries datagrams between the sockets of one process.

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

    def socket(self, host: str, port: int = PORT, *, nat: bool = False) -> MemorySocket:
        """Bind a socket, for `dhtnode.open_node(sockets=...)` or to be used by hand.

        Behind a NAT it receives only from addresses that it has sent to in the last two minutes.
        Raises `ValueError` when the address is taken.
        """
        address = Address(host, port)
        if address in self._sockets:
            raise ValueError(f"{address} is taken")
        self._sockets[address] = MemorySocket(self, address, nat=nat)
        return self._sockets[address]

    def remove(self, socket: MemorySocket) -> None:
        """Take a socket off the network; `MemorySocket.close` calls this."""
        self._sockets.pop(socket.address, None)

    def cut(self, host: str) -> None:
        """Cut a host off: what it sends from now on is lost, and what would reach it, too."""
        # Datagrams that are due have come before the cut.
        self._deliver_due()
        self.cut_hosts.add(host)

    def restore(self, host: str) -> None:
        """Connect a host that was cut off; does nothing for others."""
        self._deliver_due()
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
        """Return the numbers of all datagrams so far."""
        self._deliver_due()
        numbers = {field.name: self.counts[field.name] for field in fields(NetworkStatistics)}
        numbers["in_flight"] = sum(socket.in_flight for socket in self._sockets.values())
        return NetworkStatistics(**numbers)

    def totals(self) -> Counter[str]:
        """Return the counters of all nodes that `open_node` made, summed, closed ones included.

        "pending" is the number of queries under way, now or when their node was closed.
        """
        return sum(map(_totals, self._open_nodes), self._closed_totals.copy())

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Send a datagram on its way; `MemorySocket.send_nowait` calls this.  Override it to listen in."""
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
                self.counts["unreachable"] += 1
            else:
                self._sequence += 1
                due = now + self._random.uniform(*self.latency)
                receiver.expect(Datagram(due, self._sequence, source, data))

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _deliver_due(self) -> None:
        # Without a socket there may be no clock either.
        if self._sockets:
            now = trio.current_time()
            for socket in self._sockets.values():
                socket.deliver_due(now)


def _totals(node: Node) -> Counter[str]:
    totals: Counter[str] = Counter()
    for each in node.statistics().sockets:
        totals.update(each.counts)
        totals["pending"] += each.pending
    return totals
