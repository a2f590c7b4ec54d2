"""A small DHT of real nodes on loopback: for tests of programs that use this library.

All nodes share 127.0.0.1 and differ by port, so that it works where only that address is set up.
Swarms of known size are placed straight into the stores of the nodes closest to their info-hash,
with made-up addresses from 198.18.0.0/15: a swarm of n peers needs n addresses (BEP 33).
"""

import random as random_module
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from dhtnode.addresses import Address
from dhtnode.api.node import Node
from dhtnode.api.open_node import open_node
from dhtnode.ids import InfoHash, distance
from dhtnode.nurseries import open_service_nursery
from dhtnode.settings import NodeSettings

MAX_PEERS = 2**17 - 2  # addresses in 198.18.0.0/15
HOLDERS = 8  # nodes that store a swarm, the closest ones
RENEW_AFTER = 15 * 60.0  # seconds; clients announce about as often

# What is placed must fit, and all of it is from one network.
_SETTINGS = NodeSettings(
    max_peers_per_swarm=MAX_PEERS,
    max_peers=16 * MAX_PEERS,
    max_peers_per_host=MAX_PEERS,
    max_peers_per_network=16 * MAX_PEERS,
)


@dataclass(frozen=True, slots=True)
class PlacedSwarm:
    """The true size of one swarm of a test network."""

    info_hash: InfoHash
    seeds: int
    leechers: int

    @property
    def peers(self) -> int:
        """Return the number of addresses in the swarm."""
        return self.seeds + self.leechers


class Testnet:
    """A running test network; made by `open_testnet`."""

    __test__ = False  # for pytest: the name is no test class

    def __init__(self, nodes: Sequence[Node], random: random_module.Random) -> None:
        self.nodes = tuple(nodes)
        self.swarms: list[PlacedSwarm] = []
        self._random = random
        self._placed: list[tuple[Node, InfoHash, Address, bool]] = []

    @property
    def bootstrap(self) -> list[str]:
        """Return `HOST:PORT` texts to join the network through."""
        return [str(node.addresses[0]) for node in self.nodes[:3]]

    def place_swarm(self, info_hash: InfoHash, seeds: int, leechers: int) -> PlacedSwarm:
        """Put a swarm of known size into the stores of the 8 closest nodes.

        Each node holds its own random share: announces reach the closest node with probability
        0.95, the next with 0.90 and so on, but each reaches one at least.
        """
        swarm = PlacedSwarm(info_hash, seeds, leechers)
        if swarm.peers > MAX_PEERS:
            raise ValueError(f"at most {MAX_PEERS} peers in a swarm, not {swarm.peers}")
        holders = sorted(self.nodes, key=lambda node: distance(node.node_id, info_hash))[:HOLDERS]
        hosts = self._random.sample(range(1, MAX_PEERS + 1), swarm.peers)
        for number, host in enumerate(hosts):
            peer = Address(f"198.{18 + (host >> 16)}.{host >> 8 & 255}.{host & 255}", 6881)
            for node in self._reached(holders):
                self._placed.append((node, info_hash, peer, number < seeds))
        self.swarms.append(swarm)
        self._announce(info_hash)
        return swarm

    async def keep_placed(self) -> None:
        """Renew the placed peers before they expire, as clients do, until cancelled."""
        while True:
            await trio.sleep(RENEW_AFTER)
            self._announce(None)

    def _reached(self, holders: Sequence[Node]) -> list[Node]:
        reached = [node for rank, node in enumerate(holders) if self._random.random() < 0.95 - 0.05 * rank]
        return reached or [holders[0]]

    def _announce(self, only: InfoHash | None) -> None:
        now = trio.current_time()
        for node, info_hash, peer, seed in self._placed:
            if only is None or info_hash == only:
                node.peers.announce(info_hash, peer, now, seed=seed)


@asynccontextmanager
async def open_testnet(
    size: int, *, seed: int | None = None, bootstrap: Sequence[str] = (), host: str = "127.0.0.1"
) -> AsyncIterator[Testnet]:
    """Run `size` nodes on loopback for the length of the block, joined to each other.

        async with open_testnet(20) as testnet:
            async with open_node(bootstrap=testnet.bootstrap) as node: ...

    With a `seed`, ids, swarms and shares are the same each time; ports are not.  `bootstrap` joins
    them to a network that is there already.  Opening 60 nodes takes two seconds.
    """
    random = random_module.Random(seed)
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for _ in range(size):
            node = await stack.enter_async_context(
                open_node(
                    listen=[Address(host, 0)],
                    bootstrap=[*bootstrap, *(str(other.addresses[0]) for other in nodes[:3])],
                    settings=_SETTINGS,
                    random=random_module.Random(random.getrandbits(64)),
                )
            )
            await node.wait_joined()
            nodes.append(node)
        testnet = Testnet(nodes, random)
        # The first nodes met an empty network: now all of them look for neighbours once more.
        for node in nodes:
            await node.join()
        async with open_service_nursery() as nursery:
            nursery.start_soon(testnet.keep_placed, name="renew placed peers")
            yield testnet
