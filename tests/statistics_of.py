"""Made-up statistics of nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dhtnode.addresses import Address, Family
from dhtnode.api.results import NodeStatistics
from dhtnode.ids import NodeId
from dhtnode.node.statistics import SocketStatistics
from dhtnode.routing.bucket import BucketInfo
from dhtnode.server.item_store import ItemStatistics
from dhtnode.server.peer_store import StoreStatistics
from dhtnode.server.shares import RefusedNetwork

NO_COUNTS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class WholeStatistics(SocketStatistics):
    """Statistics with all that `dhtnode status` can show."""

    table: tuple[BucketInfo, ...] = ()
    round_trips: Mapping[str, float] = None  # type: ignore[assignment]
    external_address: Address | None = None


def endpoint(counts: Mapping[str, int] = NO_COUNTS, **changes: Any) -> WholeStatistics:
    values: dict[str, Any] = {
        "family": Family.IPV4,
        "address": Address("192.0.2.1", 6881),
        "node_id": NodeId(b"n" * 20),
        "nodes": 12,
        "good_nodes": 10,
        "buckets": 2,
        "pending": 3,
        "stall": 0.25,
        "timeout": 1.5,
        "counts": counts,
        "dropped_by_kernel": 4,
        "table": (
            BucketInfo(0, 1 << 159, 1, nodes=8, good=6, bad=1, replacements=2),
            BucketInfo(1 << 159, 1 << 160, 1, nodes=4, good=4, bad=0, replacements=0),
        ),
        "round_trips": {"median": 0.05, "p90": 0.2},
        "external_address": Address("203.0.113.9", 6881),
    }
    return WholeStatistics(**values | changes)


def node(*endpoints: SocketStatistics) -> NodeStatistics:
    return NodeStatistics(
        endpoints,
        peers=StoreStatistics(
            swarms=1,
            peers=2,
            refused=3,
            expired=4,
            withheld=5,
            displaced=6,
            reasons={"too many swarms": 1, "too many from one address": 7},
            refused_most=(RefusedNetwork("192.0.2.0/24", "too many from one address", 7),),
        ),
        items=ItemStatistics(
            items=1, owners=1, bytes=100, refused=0, expired=0, displaced=0, signatures_checked=7
        ),
    )
