"""A BitTorrent mainline-DHT node on Trio.

The terms: a *node* speaks this protocol over UDP; a *peer* takes part in a swarm over TCP; a *contact*
is a node id and an address; an *info-hash* identifies a swarm; a *token* proves to a node that we
receive at our address; a *query* to a node is answered with a *response* or an *error*; a *lookup* is
a series of queries to nodes ever closer to an id.

    async with dhtnode.open_node() as node:
        async with node.get_peers(dhtnode.parse_info_hash("magnet:?xt=urn:btih:...")) as peers:
            async for peer in peers:
                print(peer)

A name is imported from its module when it is first used: `import dhtnode` alone costs next to nothing,
and a program that only reads info-hashes does not import Trio.
"""

from dhtnode.lazy_names import names_of_stub

__version__ = "0.1.0"

__getattr__, __dir__, _names = names_of_stub(__name__, __file__)
__all__ = [*_names, "__version__"]
