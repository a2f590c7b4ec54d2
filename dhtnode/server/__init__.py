"""What we reply to other nodes: admission, tokens, stores, and the replies themselves. Pure."""

from dhtnode.server.admission import Admission
from dhtnode.server.fast_path import FastPath
from dhtnode.server.inbound import Inbound
from dhtnode.server.item_store import ItemStatistics, ItemStore
from dhtnode.server.peer_store import PeerStore, StoreStatistics
from dhtnode.server.responder import Responder
from dhtnode.server.sources import Sources
from dhtnode.server.tokens import TokenIssuer

__all__ = [
    "Admission",
    "FastPath",
    "Inbound",
    "ItemStatistics",
    "ItemStore",
    "PeerStore",
    "Responder",
    "Sources",
    "StoreStatistics",
    "TokenIssuer",
]
