"""The socket nodes of a node by family, and lookups with one of each (BEP 32, BEP 45).

Nodes should not get queries for one target from several sockets of ours at once (BEP 45), so a
lookup has one socket in each family.  A dead family holds nothing up: the first lookup that ends
with answers ends the wait.  A family without an answer by then has `SILENT_GRACE` more, any other
`ANSWERING_GRACE`, and what it has found until then counts like the rest.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from zlib import crc32

import trio

from dhtnode.addresses import Address, Family
from dhtnode.errors import NotJoined, QueryError
from dhtnode.krpc.messages import Method
from dhtnode.net.transactions import Answer
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.socket_node import NO_ADDRESS, SocketNode

SILENT_GRACE = 2.0  # seconds; the first answer takes a round trip, or some more while datagrams are lost
ANSWERING_GRACE = 15.0  # seconds; a whole lookup takes 2 to 5

OnAnswer = Callable[[SocketNode, Answer], None]
"""A callback for every answer that counts, with the socket that received it."""


class SocketNodes:
    """The socket nodes of a node, and whose turn it is in each family."""

    def __init__(self, sockets: Iterable[SocketNode]) -> None:
        self._sockets = {each.socket.address: each for each in sockets}
        self._families: dict[Family, list[SocketNode]] = {}
        for socket in self._sockets.values():
            self._families.setdefault(socket.family, []).append(socket)
        self._queues = {family: deque(members) for family, members in self._families.items()}
        self._first_attempts: dict[Address, trio.Event] = {}

    @property
    def by_address(self) -> dict[Address, SocketNode]:
        """Return the socket nodes by local address, in the order in which they were given."""
        return self._sockets

    def next_in_turn(self) -> list[SocketNode]:
        """Return the socket of each family whose turn it is, for one operation.

        Sockets that know enough nodes and get answers come first: an address whose link is down costs
        its turn, and no lookup.
        """
        return [_take_turn(queue) for queue in self._queues.values()]

    def rounds(self) -> list[list[SocketNode]]:
        """Return all sockets, at most one per family in each round, for what every address has to do."""
        longest = max(map(len, self._families.values()), default=0)
        return [
            [members[number] for members in self._families.values() if number < len(members)]
            for number in range(longest)
        ]

    def towards(self, address: Address) -> SocketNode | None:
        """Return the socket that queries one address, always the same; None without that family.

        So a token comes back over the socket that got it (BEP 45), and a host meets one node of ours.
        """
        members = self._families.get(address.family, [])
        if len(members) < 2:
            return members[0] if members else None
        usable = [socket for socket in members if socket.scope.allows(address)] or members
        return usable[crc32(address.host.encode()) % len(usable)]

    def first_attempt(self, address: Address) -> trio.Event:
        """Return the event to be set when the first attempt to join from a local address has ended."""
        return self._first_attempts.setdefault(address, trio.Event())

    async def wait_joined(self) -> None:
        """Wait for all first attempts, but not for long when one of them has succeeded."""
        succeeded = trio.Event()
        async with trio.open_nursery() as nursery:
            for address, attempt in self._first_attempts.items():
                nursery.start_soon(self._wait_joined, self._sockets[address], attempt, succeeded)

    async def _wait_joined(self, socket: SocketNode, attempt: trio.Event, succeeded: trio.Event) -> None:
        async def limit() -> None:
            await succeeded.wait()
            await trio.sleep(SILENT_GRACE)
            if socket.table.contacts():
                await trio.sleep(ANSWERING_GRACE - SILENT_GRACE)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(limit)
            await attempt.wait()
            if socket.table.contacts():
                succeeded.set()
            nursery.cancel_scope.cancel()


def _take_turn(queue: deque[SocketNode]) -> SocketNode:
    """Return the first that is reliable, or else the first; all before it go to the end."""
    for _ in range(len(queue)):
        queue.rotate(-1)
        if len(queue) == 1 or queue[-1].is_reliable:
            break
    return queue[-1]


class FamilyLookup:
    """The lookup of one socket node."""

    def __init__(self, socket: SocketNode, driver: LookupDriver) -> None:
        self.socket = socket
        self.driver = driver
        self.scope = trio.CancelScope()

    def closest_answers(self) -> list[Answer]:
        """Return the answers of the closest nodes found, closest first."""
        return self.driver.closest_answers()

    def end_after(self, since: float) -> None:
        """Limit the time of this lookup, when another one has ended at `since` with answers."""
        self.scope.deadline = since + (ANSWERING_GRACE if self.driver.answers else SILENT_GRACE)


async def lookup_in_all_families(
    sockets: Sequence[SocketNode],
    target: bytes,
    method: Method | Callable[[SocketNode], Method],
    on_answer: OnAnswer | None = None,
) -> list[FamilyLookup]:
    """Look a target up with each socket, one per family, and return the lookups when they have ended.

    `method` may be a function of the socket.
    """
    ended_at = inf

    def begin(socket: SocketNode) -> FamilyLookup:
        def count(answer: Answer) -> None:
            lookup.end_after(ended_at)
            if on_answer is not None:
                on_answer(socket, answer)

        asked = method(socket) if callable(method) else method
        lookup = FamilyLookup(socket, socket.new_lookup(target, asked, count))
        return lookup

    lookups = [begin(socket) for socket in sockets]

    async def run(lookup: FamilyLookup) -> None:
        nonlocal ended_at
        with lookup.scope:
            await lookup.socket.run(lookup.driver)
        if lookup.driver.answers:
            ended_at = min(ended_at, trio.current_time())
            for each in lookups:
                each.end_after(ended_at)

    async with trio.open_nursery() as nursery:
        for lookup in lookups:
            nursery.start_soon(run, lookup)
    return lookups


async def lookup_closest(
    sockets: Sequence[SocketNode],
    target: bytes,
    method: Method,
    on_answer: OnAnswer | None = None,
    failure: str = "no node answered",
) -> list[tuple[SocketNode, Answer]]:
    """Look a target up, and return what the closest nodes of each family answered, closest first.

    Raises `NotJoined`, with the text `failure`, when no node answered in any family.
    """
    lookups = await lookup_in_all_families(sockets, target, method, on_answer)
    closest = [(lookup.socket, answer) for lookup in lookups for answer in lookup.closest_answers()]
    if not closest:
        raise not_joined(sockets, failure)
    return closest


def not_joined(sockets: Sequence[SocketNode], failure: str = "no node answered") -> NotJoined:
    """Return the error for a lookup that no node answered; it names bootstrap nodes that cannot be asked."""
    return NotJoined("; ".join([failure, *bootstrap_trouble(sockets)]))


def bootstrap_trouble(sockets: Sequence[SocketNode]) -> list[str]:
    """Return a line about each bootstrap node given that none of these sockets can query."""
    troubles = []
    for host in dict.fromkeys(host for socket in sockets for host in socket.given_hosts):
        reasons = [socket.trouble_with(host) for socket in sockets]
        if None not in reasons:
            known = [reason for reason in reasons if reason and reason != NO_ADDRESS]
            troubles.append(f"{host}: {known[0] if known else NO_ADDRESS}")
    return troubles


async def query_closest(
    closest: Sequence[tuple[SocketNode, Answer]], method_of: Callable[[Address, bytes], Method]
) -> list[Answer | QueryError | None]:
    """Query the nodes that `lookup_closest` found all at once, each a second time after a timeout.

    `method_of` makes the query from the address of a node and the token that it gave.  Returns how each
    ended, in the order of the nodes; None without a token, without which nothing is sent.
    """
    ends: list[Answer | QueryError | None] = [None] * len(closest)

    async def query(at: int, socket: SocketNode, address: Address, token: bytes) -> None:
        try:
            ends[at] = await socket.rpc.query_twice(method_of(address, token), address)
        except QueryError as error:
            ends[at] = error

    async with trio.open_nursery() as nursery:
        for at, (socket, answer) in enumerate(closest):
            if answer.response.token is not None:
                nursery.start_soon(query, at, socket, answer.address, answer.response.token)
    return ends
