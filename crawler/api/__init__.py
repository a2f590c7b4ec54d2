"""What programs call: each command of `dhtcrawl` that crawls is one of these functions, plus printing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
