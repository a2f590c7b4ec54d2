"""Names of torrents and shares of seeds, from the peers themselves (BEP 9 and 10)."""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
