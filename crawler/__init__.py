"""Measure the mainline DHT: sizes of swarms and a census of nodes, recorded in SQLite.

The words, each used for one thing only: a *run* is one invocation of the crawler; a *visit* is all
that one run queried of one node, with the outcome; a *measurement* is that of one swarm; a *sample*
is what one node shows of its info-hashes (BEP 51); a *reply* is what one node returned towards a
measurement; an *observation* is any of these, a row that is written once and never changed.  *Node*,
*peer*, *contact*, *info-hash* and *lookup* mean what they mean in `dhtnode`.

    answer = crawler.report("clients", db="crawl.db")
    print(answer.title, answer.records())

A name is imported from its module when it is first used: `import crawler` alone costs next to nothing.
"""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
