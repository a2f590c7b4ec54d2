"""Questions to a crawl database: reports, exports, and how the number of one measurement came about.

    frame = pandas.DataFrame(crawler.report("clients", db="crawl.db").records())

A report is a `Report` in a module of `questions`; it needs to be named nowhere else.
"""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
