"""Real nodes in the midst of a model: a `MemoryNetwork` on which most addresses are rows of a table.

A datagram to a member of the population is answered while it is being sent: no task, no socket, no
wake-up.  The reply travels like any other, so latency, loss and `cut` hold for both ways.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.model.answers import Answers, read
from benchmarks.model.population import Habits, Member, Population
from dhtnode import Address
from dhtnode.testing import MemoryNetwork

OnReply = Callable[[Member, dict[bytes, Any], Address, float], None]


class ModelNetwork(MemoryNetwork):
    """Carry datagrams between real nodes and a population.

        network = ModelNetwork(1000, seed=1, loss=0.05, habits=Habits())
        async with network.open_node(0, through=network.bootstrap_nodes()) as node:
            found = await node.find_node(target)
            true = network.population.closest(target)

    Real nodes are on hosts 0 to 999.
    """

    def __init__(
        self,
        nodes: int,
        *,
        seed: int = 0,
        latency: tuple[float, float] = (0.02, 0.2),
        loss: float = 0.0,
        habits: Habits | None = None,
        dead: float = 0.0,
        liars: float = 0.0,
    ) -> None:
        """Make a network with so many model nodes; see `Population` for what the options mean."""
        super().__init__(seed=seed, latency=latency, loss=loss)
        self.population = Population(nodes, self.host, seed=seed, habits=habits, dead=dead, liars=liars)
        self.answers = Answers(self.population, seed=seed)
        self.on_reply: OnReply | None = None  # is told what real nodes answer to members
        self._delay = Random(f"delays {seed}")

    def bootstrap_nodes(self, count: int = 3) -> list[Address]:
        """Return addresses of members that are online now, to join through."""
        choose = Random(0)
        found = [self.population.choose_online(choose) for _ in range(count)]
        return [member.address for member in found if member is not None]

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Answer at once what goes to a member; all else is carried as ever."""
        member = self.population.at(destination.host)
        if member is None:
            super().carry(data, source, destination, now)
            return
        self.counts["sent"] += 1
        fate = self._fate_of(member, source, now)
        self.counts[fate] += 1
        if fate == "delivered":
            self._deliver(data, source, member, now + self._delay.uniform(*self.latency))

    def _fate_of(self, member: Member, source: Address, now: float) -> str:
        if source.host in self.cut_hosts:
            return "cut_off"
        if self._happens(self.loss):
            return "lost"
        self.population.advance(now)
        return "unreachable" if member.online_since is None else "delivered"

    def _deliver(self, data: bytes, source: Address, member: Member, now: float) -> None:
        fields = read(data)
        if fields.get(b"y") == b"q":
            reply = self.answers.answer(member, fields, source, now)
            if reply is not None:
                super().carry(reply, member.address, source, now)
        elif self.on_reply is not None:
            self.on_reply(member, fields, source, now)
