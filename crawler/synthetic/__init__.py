"""A whole DHT in one process, with the truth about it: for those who develop a crawler.

`Network` is the model: it takes a datagram and returns what comes back.  Below it, `population` has the
nodes, `tables` their contacts, `swarms` what they store, `sampling` what they show of it, `replies` and
`hostile` what they write.  Above it, `open_server` puts a network on loopback, and
`SyntheticMemoryNetwork` puts one into a test in virtual time; `truth` writes the truth into files.
"""

from dhtnode.lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
