"""Sockets and queries: UDP, transactions, and the client for bulk work."""

from dhtnode.net.bulk import BulkClient
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import open_sockets

__all__ = ["Answer", "BulkClient", "open_sockets"]
