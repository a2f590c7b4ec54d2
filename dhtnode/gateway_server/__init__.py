"""The gateway to the DHT as it runs: its tasks, its sockets, and the lookups of its node."""

from dhtnode.lazy_names import names_of_stub

# A name is imported when it is used: HTTP is an extra.
__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
