"""Names of torrents and shares of seeds, from the peers themselves (BEP 9 and 10)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
