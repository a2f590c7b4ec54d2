"""Sockets and queries: UDP, our queries, the receive loop, and the client for bulk work."""

from dhtnode.net.bulk import BulkClient, Ended
from dhtnode.net.node_clock import NodeClock
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.outgoing_queries import Outgoing, QueryTemplate
from dhtnode.net.own_hosts import own_hosts
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import DatagramSocket, open_sockets, open_udp_socket

__all__ = [
    "Answer",
    "BulkClient",
    "DatagramSocket",
    "Ended",
    "NodeClock",
    "Outgoing",
    "OutgoingBound",
    "QueryTemplate",
    "open_sockets",
    "open_udp_socket",
    "own_hosts",
]
