"""BEP 51: info-hashes sampled from nodes, and an estimate of how many there are."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
