"""The command `dhtnode`, and what commands of other programs share with it.

A name is imported when it is first used.  `cli.run` brings Trio: write it so, and do not import `run`.
"""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
