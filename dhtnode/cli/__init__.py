"""The command `dhtnode`, and what commands of other programs share with it.

Names are imported when they are first asked for: `cli.run` brings Trio, so use it by that name.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
