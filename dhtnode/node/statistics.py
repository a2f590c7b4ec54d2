"""What one socket of a node counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dhtnode.addresses import Address, Family
from dhtnode.ids import NodeId
from dhtnode.routing.bucket import BucketInfo


@dataclass(frozen=True, slots=True)
class SocketStatistics:
    """One socket: its table, what is under way, and everything counted since the start.

    `stall` and `timeout` are the waiting times in force, in seconds.  `counts` has one entry per
    kind of event; what was dropped is named `dropped: ...` or `malformed: ...`, and what the kernel
    refused `socket: ...`.  `dropped_by_kernel` counts datagrams for which its receive buffer was
    full; None where that cannot be known.  `external_address` is where most nodes see us, as far as
    they agree (BEP 42): port 0 stands for a port that differs from one to the other.  `table` has the
    counts of each bucket, in order of their ranges; `round_trips` the median and the 90th percentile
    (`p90`) of recent answers in seconds, if there are any.
    """

    family: Family
    address: Address
    node_id: NodeId
    nodes: int
    good_nodes: int
    buckets: int
    pending: int
    stall: float
    timeout: float
    counts: Mapping[str, int]
    dropped_by_kernel: int | None
    external_address: Address | None = None
    table: tuple[BucketInfo, ...] = ()
    round_trips: Mapping[str, float] = field(default_factory=dict)
