"""One node on one socket: joining, refreshing, its id, and its state file."""

import lazy_loader

# A name is imported when it is used: some callers need the statistics only.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
