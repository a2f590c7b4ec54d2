"""The endpoints of a node by family, and which of them is to act.

Nodes should not be asked for one target by several sockets of ours at once (BEP 45), so a lookup has
one endpoint in each family.  They take turns, and those that know enough nodes and get answers come
first: an address whose link is down costs its turn, and no lookup.
"""

from collections import deque
from collections.abc import Iterable
from zlib import crc32

from dhtnode.addresses import Address, Family
from dhtnode.node.socket_node import SocketNode


class SocketNodes:
    """Hold the endpoints of a node."""

    def __init__(self, endpoints: Iterable[SocketNode]) -> None:
        self._members: dict[Family, list[SocketNode]] = {}
        for endpoint in endpoints:
            self._members.setdefault(endpoint.family, []).append(endpoint)
        self._queues = {family: deque(members) for family, members in self._members.items()}

    def next_ones(self) -> list[SocketNode]:
        """Return the endpoint of each family whose turn it is, for one operation."""
        return [_take_turn(queue) for queue in self._queues.values()]

    def rounds(self) -> list[list[SocketNode]]:
        """Return all endpoints, at most one per family in each round, for what every address has to do."""
        longest = max(map(len, self._members.values()), default=0)
        return [
            [members[number] for members in self._members.values() if number < len(members)]
            for number in range(longest)
        ]

    def towards(self, address: Address) -> SocketNode | None:
        """Return the endpoint that asks one address, always the same; None when the family is not in use.

        So a token comes back over the socket that got it (BEP 45), and a host meets one node of ours.
        """
        members = self._members.get(address.family, [])
        if len(members) < 2:
            return members[0] if members else None
        usable = [endpoint for endpoint in members if endpoint.scope.allows(address)] or members
        return usable[crc32(address.host.encode()) % len(usable)]


def _take_turn(queue: deque[SocketNode]) -> SocketNode:
    """Return the first that can be relied on, or else the first; all before it go to the end."""
    for _ in range(len(queue)):
        queue.rotate(-1)
        if len(queue) == 1 or queue[-1].is_reliable:
            break
    return queue[-1]
