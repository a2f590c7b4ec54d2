"""The census: a visit to every node, then network sizes and Sybil alarms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
