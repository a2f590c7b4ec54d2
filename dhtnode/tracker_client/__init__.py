"""Asking trackers: over UDP by sockets of our own, over HTTP by httpx2, names by dnspython."""

from dhtnode.tracker_client.client import Trackers, open_trackers

__all__ = ["Trackers", "open_trackers"]
