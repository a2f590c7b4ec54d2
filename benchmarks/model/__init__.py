"""A DHT of thousands of nodes that are rows in a table, not programs: who is there, what each says.

`population` knows who is online and who is closest; `answers` writes what a model node says; both are
pure.  `network` puts them beside real nodes on a `MemoryNetwork`; `load` lets them ask our node.
"""
