"""Torrents as data: all that a torrent file or an info dictionary says, its files and its oddities. Pure."""

from dhtnode.torrents.details import (
    TorrentDetails,
    TorrentMark,
    TorrentVersion,
    parse_details,
    read_details,
)
from dhtnode.torrents.info import TorrentFile, TorrentInfo, parse_info
from dhtnode.torrents.web_seeds import (
    NoRequest,
    WebSeedKind,
    WebSeedOutcome,
    WebSeedRequest,
    http_seed_request,
    judge,
    magnet_seed_request,
    pause_asked,
    piece_request,
    web_seed_request,
)

__all__ = [
    "NoRequest",
    "TorrentDetails",
    "TorrentFile",
    "TorrentInfo",
    "TorrentMark",
    "TorrentVersion",
    "WebSeedKind",
    "WebSeedOutcome",
    "WebSeedRequest",
    "http_seed_request",
    "judge",
    "magnet_seed_request",
    "parse_details",
    "parse_info",
    "pause_asked",
    "piece_request",
    "read_details",
    "web_seed_request",
]
