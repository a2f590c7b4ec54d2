"""Networks for tests: many nodes in memory and virtual time, or on loopback."""

from dhtnode.testing.memory_network import QUEUE_LIMIT, MemoryNetwork, MemorySocket, NetworkStatistics
from dhtnode.testing.testnet import Testnet, open_testnet

__all__ = ["QUEUE_LIMIT", "MemoryNetwork", "MemorySocket", "NetworkStatistics", "Testnet", "open_testnet"]
