from .memory_network import MemoryNetwork as MemoryNetwork
from .memory_network import NetworkStatistics as NetworkStatistics
from .memory_socket import QUEUE_LIMIT as QUEUE_LIMIT
from .memory_socket import MemorySocket as MemorySocket
from .testnet import PlacedSwarm as PlacedSwarm
from .testnet import Testnet as Testnet
from .testnet import open_testnet as open_testnet
