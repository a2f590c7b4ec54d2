"""A BitTorrent mainline-DHT node on Trio.

The words used throughout: a *node* speaks this protocol over UDP; a *peer* takes part in a swarm
over TCP and is what lookups are for; a *contact* is a node id and an address; an *info-hash* names a
swarm; a *token* proves to a node that we receive at our address; a *query* is one question to one
node, its answer a *response* or an *error*; a *lookup* is the walk of many queries towards an id.

    async with dhtnode.open_node() as node:
        async with node.get_peers(dhtnode.parse_info_hash("magnet:?xt=urn:btih:...")) as peers:
            async for peer in peers:
                print(peer)

A name is imported from its module when it is first asked for: `import dhtnode` alone costs next to
nothing, and whoever reads info-hashes only does not pay for Trio.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dhtnode.addresses import Address, Contact, Family, Scope, parse_address, scope_of
    from dhtnode.bencoding import BencodeError, Value, read_prefix_untrusted
    from dhtnode.blocking import find_peers
    from dhtnode.bloom import ScrapeFilter
    from dhtnode.bulk import FOREIGN_SOURCE, BulkAsker, Question
    from dhtnode.clients import format_version
    from dhtnode.compact import CompactContacts, Endpoint
    from dhtnode.elapsed import ElapsedClock
    from dhtnode.errors import (
        AddressInUse,
        BadResponse,
        CannotListen,
        DhtError,
        InvalidInfoHash,
        InvalidTorrent,
        NotJoined,
        PrivateTorrent,
        QueryError,
        QueryNotSent,
        QueryRefused,
        QueryTimeout,
        StateFileError,
    )
    from dhtnode.estimates import MethodEstimate, SwarmEstimate, estimate_evidence, estimate_swarm
    from dhtnode.evidence import NodeEvidence, ScrapeReply, evidence_of
    from dhtnode.extension import wants_more
    from dhtnode.ids import (
        InfoHash,
        NodeId,
        distance,
        distance_bits,
        flip_last_bit,
        random_id,
        shared_prefix_bits,
    )
    from dhtnode.items import ImmutableItem, Item, MutableItem, Target, mutable_target
    from dhtnode.limits import TokenBucket
    from dhtnode.magnet import MutableLink, parse_info_hash, parse_mutable_link
    from dhtnode.messages import (
        AnnouncePeer,
        FindNode,
        Get,
        GetPeers,
        Method,
        Ping,
        Put,
        Response,
        SampleInfohashes,
    )
    from dhtnode.metainfo import Metainfo, TorrentInfo, parse_info, parse_metainfo
    from dhtnode.node import Node
    from dhtnode.nurseries import open_service_nursery
    from dhtnode.occupancy import Interval
    from dhtnode.opening import open_node
    from dhtnode.results import (
        Announcement,
        EndpointStatistics,
        FoundItem,
        FoundNode,
        InfohashSample,
        NodeStatistics,
        ResolvedTorrent,
        Scrape,
        StoredItem,
    )
    from dhtnode.secure_ids import conforms
    from dhtnode.settings import NodeSettings
    from dhtnode.stream import PeerStream
    from dhtnode.transactions import Answer, Pending
    from dhtnode.trust import MARKS, left_out, marks_of
    from dhtnode.udp import DatagramSocket, open_sockets

__version__ = "0.1.0"

__all__ = [
    "FOREIGN_SOURCE",
    "MARKS",
    "Address",
    "AddressInUse",
    "AnnouncePeer",
    "Announcement",
    "Answer",
    "BadResponse",
    "BencodeError",
    "BulkAsker",
    "CannotListen",
    "CompactContacts",
    "Contact",
    "DatagramSocket",
    "DhtError",
    "ElapsedClock",
    "Endpoint",
    "EndpointStatistics",
    "Family",
    "FindNode",
    "FoundItem",
    "FoundNode",
    "Get",
    "GetPeers",
    "ImmutableItem",
    "InfoHash",
    "InfohashSample",
    "Interval",
    "InvalidInfoHash",
    "InvalidTorrent",
    "Item",
    "Metainfo",
    "Method",
    "MethodEstimate",
    "MutableItem",
    "MutableLink",
    "Node",
    "NodeEvidence",
    "NodeId",
    "NodeSettings",
    "NodeStatistics",
    "NotJoined",
    "PeerStream",
    "Pending",
    "Ping",
    "PrivateTorrent",
    "Put",
    "QueryError",
    "QueryNotSent",
    "QueryRefused",
    "QueryTimeout",
    "Question",
    "ResolvedTorrent",
    "Response",
    "SampleInfohashes",
    "Scope",
    "Scrape",
    "ScrapeFilter",
    "ScrapeReply",
    "StateFileError",
    "StoredItem",
    "SwarmEstimate",
    "Target",
    "TokenBucket",
    "TorrentInfo",
    "Value",
    "__version__",
    "conforms",
    "distance",
    "distance_bits",
    "estimate_evidence",
    "estimate_swarm",
    "evidence_of",
    "find_peers",
    "flip_last_bit",
    "format_version",
    "left_out",
    "marks_of",
    "mutable_target",
    "open_node",
    "open_service_nursery",
    "open_sockets",
    "parse_address",
    "parse_info",
    "parse_info_hash",
    "parse_metainfo",
    "parse_mutable_link",
    "random_id",
    "read_prefix_untrusted",
    "scope_of",
    "shared_prefix_bits",
    "wants_more",
]

_HOMES = {
    "addresses": ("Address", "Contact", "Family", "Scope", "parse_address", "scope_of"),
    "bencoding": ("BencodeError", "Value", "read_prefix_untrusted"),
    "blocking": ("find_peers",),
    "bloom": ("ScrapeFilter",),
    "bulk": ("FOREIGN_SOURCE", "BulkAsker", "Question"),
    "clients": ("format_version",),
    "compact": ("CompactContacts", "Endpoint"),
    "elapsed": ("ElapsedClock",),
    "errors": (
        "AddressInUse",
        "BadResponse",
        "CannotListen",
        "DhtError",
        "InvalidInfoHash",
        "InvalidTorrent",
        "NotJoined",
        "PrivateTorrent",
        "QueryError",
        "QueryNotSent",
        "QueryRefused",
        "QueryTimeout",
        "StateFileError",
    ),
    "estimates": ("MethodEstimate", "SwarmEstimate", "estimate_evidence", "estimate_swarm"),
    "evidence": ("NodeEvidence", "ScrapeReply", "evidence_of"),
    "extension": ("wants_more",),
    "ids": (
        "InfoHash",
        "NodeId",
        "distance",
        "distance_bits",
        "flip_last_bit",
        "random_id",
        "shared_prefix_bits",
    ),
    "items": ("ImmutableItem", "Item", "MutableItem", "Target", "mutable_target"),
    "limits": ("TokenBucket",),
    "magnet": ("MutableLink", "parse_info_hash", "parse_mutable_link"),
    "messages": (
        "AnnouncePeer",
        "FindNode",
        "Get",
        "GetPeers",
        "Method",
        "Ping",
        "Put",
        "Response",
        "SampleInfohashes",
    ),
    "metainfo": ("Metainfo", "TorrentInfo", "parse_info", "parse_metainfo"),
    "node": ("Node",),
    "nurseries": ("open_service_nursery",),
    "occupancy": ("Interval",),
    "opening": ("open_node",),
    "results": (
        "Announcement",
        "EndpointStatistics",
        "FoundItem",
        "FoundNode",
        "InfohashSample",
        "NodeStatistics",
        "ResolvedTorrent",
        "Scrape",
        "StoredItem",
    ),
    "secure_ids": ("conforms",),
    "settings": ("NodeSettings",),
    "stream": ("PeerStream",),
    "transactions": ("Answer", "Pending"),
    "trust": ("MARKS", "left_out", "marks_of"),
    "udp": ("DatagramSocket", "open_sockets"),
}
"""Where each public name lives; tests/test_startup.py holds it to `__all__` and the imports above."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # checkers would take any name for one that exists

    def __getattr__(name: str) -> object:
        """Import a public name from its module, once: from then on it is an ordinary global."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
