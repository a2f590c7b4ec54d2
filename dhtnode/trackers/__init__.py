"""Trackers as data: their URLs, messages and rules, without I/O (BEP 3, 12, 15, 22, 34, 41, 48)."""

from dhtnode.trackers.batches import ScrapeQueue, says_too_many
from dhtnode.trackers.full_scrape import FullEntry
from dhtnode.trackers.messages import (
    AnnounceAnswer,
    AnnounceRequest,
    Event,
    Outcome,
    ScrapeAnswer,
    SwarmCounts,
    TrackerError,
)
from dhtnode.trackers.tiers import Tiers
from dhtnode.trackers.udp_packets import MAX_SCRAPED, MAX_SCRAPED_IPV6
from dhtnode.trackers.udp_scrapes import UdpScrapes
from dhtnode.trackers.urls import (
    InvalidTrackerUrl,
    SkippedScheme,
    TrackerUrl,
    parse_tracker_url,
    parse_tracker_urls,
)

__all__ = [
    "MAX_SCRAPED",
    "MAX_SCRAPED_IPV6",
    "AnnounceAnswer",
    "AnnounceRequest",
    "Event",
    "FullEntry",
    "InvalidTrackerUrl",
    "Outcome",
    "ScrapeAnswer",
    "ScrapeQueue",
    "SkippedScheme",
    "SwarmCounts",
    "Tiers",
    "TrackerError",
    "TrackerUrl",
    "UdpScrapes",
    "parse_tracker_url",
    "parse_tracker_urls",
    "says_too_many",
]
