"""Asking trackers and web seeds: over UDP by sockets of our own, over HTTP by httpx2, names by dnspython."""

from dhtnode.tracker_client.client import Trackers, open_trackers
from dhtnode.tracker_client.web_seeds import WebSeedCheck, WebSeeds, open_web_seeds

__all__ = ["Trackers", "WebSeedCheck", "WebSeeds", "open_trackers", "open_web_seeds"]
