"""The wire: messages of BEP 5 and its extensions as dataclasses, and their bytes."""

from dhtnode.krpc.codec import parse_untrusted
from dhtnode.krpc.compact import OVERSIZED, CompactContacts, PackedContact, PackedEndpoint, unpack_address
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
from dhtnode.krpc.scrape_filter import (
    FILTER_BITS,
    ScrapeFilter,
    host_mask,
    hosts_between,
    union_of,
    union_of_packed,
)

__all__ = [
    "FILTER_BITS",
    "OVERSIZED",
    "AnnouncePeer",
    "CompactContacts",
    "FindNode",
    "Get",
    "GetPeers",
    "Method",
    "PackedContact",
    "PackedEndpoint",
    "Ping",
    "Put",
    "Response",
    "SampleInfohashes",
    "ScrapeFilter",
    "host_mask",
    "hosts_between",
    "parse_untrusted",
    "union_of",
    "union_of_packed",
    "unpack_address",
]
