"""One lookup in several families at once, in which a dead family holds up nobody (BEP 32).

The first walk that ends with answers ends the wait: a family in which nobody has answered by then
has `SILENT_GRACE` more, any other `ANSWERING_GRACE`.  What a walk has found when its time is over
counts like the rest.
"""

from collections.abc import Callable, Sequence
from math import inf

import trio

from dhtnode.krpc.messages import Method
from dhtnode.net.transactions import Answer
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.socket_node import SocketNode

SILENT_GRACE = 2.0  # seconds; the first answer takes a round trip, or some more while datagrams are lost
ANSWERING_GRACE = 15.0  # seconds; a whole walk takes 2 to 5

OnAnswer = Callable[[SocketNode, Answer], None]
"""What is told of every answer that counts, and over which endpoint it came."""


class FamilyLookup:
    """Hold the walk of one endpoint."""

    def __init__(self, endpoint: SocketNode, traversal: LookupDriver) -> None:
        self.endpoint = endpoint
        self.traversal = traversal
        self.scope = trio.CancelScope()

    def closest_answers(self) -> list[Answer]:
        """Return the answers of the closest nodes found, closest first."""
        return self.traversal.closest_answers()


async def lookup_in_all_families(
    endpoints: Sequence[SocketNode], target: bytes, method: Method, on_answer: OnAnswer | None = None
) -> list[FamilyLookup]:
    """Walk towards a target with each endpoint, one per family, and return the walks when they have ended."""
    deadline = _Deadline()

    def begin(endpoint: SocketNode) -> FamilyLookup:
        def take(answer: Answer) -> None:
            deadline.set(walk)
            if on_answer is not None:
                on_answer(endpoint, answer)

        walk = FamilyLookup(endpoint, endpoint.new_traversal(target, method, take))
        return walk

    walks = [begin(endpoint) for endpoint in endpoints]

    async def drive(walk: FamilyLookup) -> None:
        with walk.scope:
            await walk.endpoint.drive(walk.traversal)
        if walk.traversal.answers:
            deadline.begin(walks)

    async with trio.open_nursery() as nursery:
        for walk in walks:
            nursery.start_soon(drive, walk)
    return walks


class _Deadline:
    """Limit the walks that go on after the first one has ended with answers."""

    def __init__(self) -> None:
        self._since = inf

    def begin(self, walks: Sequence[FamilyLookup]) -> None:
        self._since = min(self._since, trio.current_time())
        for walk in walks:
            self.set(walk)

    def set(self, walk: FamilyLookup) -> None:
        walk.scope.deadline = self._since + (ANSWERING_GRACE if walk.traversal.answers else SILENT_GRACE)
