"""Sockets and queries: UDP, transactions, and the client for bulk work."""

from dhtnode.net.bulk import FOREIGN_SOURCE, BulkClient
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import open_sockets

__all__ = ["FOREIGN_SOURCE", "Answer", "BulkClient", "open_sockets"]
