"""Trackers as data: their URLs, messages and rules, without I/O (BEP 3, 12, 15, 22, 34, 41, 48)."""

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
from dhtnode.trackers.urls import (
    InvalidTrackerUrl,
    SkippedScheme,
    TrackerUrl,
    parse_tracker_url,
    parse_tracker_urls,
)

__all__ = [
    "AnnounceAnswer",
    "AnnounceRequest",
    "Event",
    "InvalidTrackerUrl",
    "Outcome",
    "ScrapeAnswer",
    "SkippedScheme",
    "SwarmCounts",
    "Tiers",
    "TrackerError",
    "TrackerUrl",
    "parse_tracker_url",
    "parse_tracker_urls",
]
