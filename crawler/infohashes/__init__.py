"""BEP 51: info-hashes sampled from nodes, and an estimate of how many there are."""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
