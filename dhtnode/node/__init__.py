"""One node on one socket: joining, refreshing, its id, and its state file."""

from dhtnode.lazy_names import names_of_stub

# A name is imported when it is used: some callers need the statistics only.
__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
