"""Measure the mainline DHT: sizes of swarms and a census of nodes, kept in SQLite.

The words, each used for one thing only: a *run* is one invocation of the crawler; a *visit* is all
that one run asked one node and what came of it; a *sample* is one measurement of one swarm; a
*reply* is what one node said towards a sample; an *observation* is any of the last three, a row
that is written once and never changed.  *Node*, *peer*, *contact*, *info-hash* and *lookup* mean
what they mean in `dhtnode`.
"""
