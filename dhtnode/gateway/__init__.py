"""What the gateway to the DHT decides, without I/O: swarms of its clients, answers, lookups, UDP packets."""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
