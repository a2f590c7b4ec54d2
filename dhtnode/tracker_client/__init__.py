"""Asking trackers and web seeds: over UDP by sockets of our own, over HTTP by httpx2, names by dnspython."""

from dhtnode.tracker_client.bulk import scrape_over_udp
from dhtnode.tracker_client.client import Trackers, TrackersMissing, open_trackers
from dhtnode.tracker_client.http_scrapes import scrape_all, scrape_batch
from dhtnode.tracker_client.pace import SweepPace
from dhtnode.tracker_client.web_seeds import WebSeedCheck, WebSeeds, open_web_seeds

__all__ = [
    "SweepPace",
    "Trackers",
    "TrackersMissing",
    "WebSeedCheck",
    "WebSeeds",
    "open_trackers",
    "open_web_seeds",
    "scrape_all",
    "scrape_batch",
    "scrape_over_udp",
]
