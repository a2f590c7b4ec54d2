"""A crawl database in the browser: Datasette with our texts, questions and plots, on loopback.

Names are imported when they are first used: `serve` and `open_all` bring Datasette, the rest does without.
"""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
