"""The routing table: buckets of contacts around our own id."""

from dhtnode.routing.bucket import BucketInfo
from dhtnode.routing.entry import NodeInfo
from dhtnode.routing.table import InsertOutcome, RoutingTable

__all__ = ["BucketInfo", "InsertOutcome", "NodeInfo", "RoutingTable"]
