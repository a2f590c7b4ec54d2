"""Networks for tests: many nodes in memory and virtual time, or on loopback."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
