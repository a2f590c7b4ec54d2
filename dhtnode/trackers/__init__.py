"""Trackers as data: their URLs, messages and rules, without I/O (BEP 3, 12, 15, 22, 34, 41, 48)."""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
