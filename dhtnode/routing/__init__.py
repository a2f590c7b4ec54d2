"""The routing table: buckets of contacts around our own id."""

from dhtnode.routing.bucket import BucketInfo
from dhtnode.routing.entry import InsertOutcome, NodeInfo
from dhtnode.routing.table import RoutingTable

__all__ = ["BucketInfo", "InsertOutcome", "NodeInfo", "RoutingTable"]
