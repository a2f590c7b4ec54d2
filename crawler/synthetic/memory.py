"""A synthetic network inside a `MemoryNetwork`: for tests in virtual time.

A datagram to one of its nodes is answered while it is being sent: no task, no socket, no wake-up.
The reply travels like any other, so latency and loss of the memory network hold for both ways.
"""

from dataclasses import replace
from random import Random

from crawler.synthetic.network import Network
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import Address
from dhtnode.testing import MemoryNetwork

FIRST_OCTET = 95  # public addresses that a memory network gives to no node


class SyntheticMemoryNetwork(MemoryNetwork):
    """A memory network that carries datagrams between real nodes and a synthetic network.

        network = SyntheticMemoryNetwork(SyntheticSettings(nodes=1000), seed=1, loss=0.02)
        async with network.open_node(0, through=network.synthetic.bootstrap_nodes()) as node: ...

    The settings' first octet is replaced by `FIRST_OCTET`.
    """

    def __init__(
        self,
        synthetic: SyntheticSettings,
        *,
        seed: int = 0,
        latency: tuple[float, float] = (0.02, 0.2),
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        """Make both networks; see `MemoryNetwork` for the options."""
        super().__init__(seed=seed, latency=latency, loss=loss, duplication=duplication)
        self.synthetic = Network(replace(synthetic, first_octet=FIRST_OCTET))
        self._fate = Random(f"synthetic {seed}")

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Answer at once what goes to a node of the synthetic network; carry all else as ever."""
        if not self._has(destination):
            super().carry(data, source, destination, now)
            return
        self.counts["sent"] += 1
        if source.host in self.cut_hosts:
            self.counts["cut_off"] += 1
        elif self.loss and self._fate.random() < self.loss:
            self.counts["lost"] += 1
        else:
            self.counts["delivered"] += 1
            due = now + self._fate.uniform(*self.latency)
            for reply, sender in self._answer(destination, data, source, due):
                super().carry(reply, sender, source, due)

    def _has(self, address: Address) -> bool:
        return address.host.startswith(f"{FIRST_OCTET}.")

    def _answer(
        self, address: Address, data: bytes, source: Address, now: float
    ) -> list[tuple[bytes, Address]]:
        return self.synthetic.answer(address, data, source, now)
