"""The wire: messages of BEP 5 and its extensions as dataclasses, and their bytes."""

from dhtnode.krpc.compact import CompactContacts, PackedEndpoint
from dhtnode.krpc.messages import (
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
from dhtnode.krpc.scrape_filter import ScrapeFilter

__all__ = [
    "AnnouncePeer",
    "CompactContacts",
    "FindNode",
    "Get",
    "GetPeers",
    "Method",
    "PackedEndpoint",
    "Ping",
    "Put",
    "Response",
    "SampleInfohashes",
    "ScrapeFilter",
]
