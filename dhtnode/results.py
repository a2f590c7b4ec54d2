"""What the node's operations return: frozen values, nothing that changes or does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from dhtnode.addresses import Address, Contact, Family
from dhtnode.estimates import ScrapeReply, SwarmEstimate
from dhtnode.ids import InfoHash, NodeId
from dhtnode.peers import StoreStatistics


@dataclass(frozen=True, slots=True)
class FoundNode:
    """Be a node that answered us: id, address, client version and round-trip time in seconds.

    `external_address` is where it says our packets come from (BEP 42), if it says so.
    """

    node_id: NodeId
    address: Address
    rtt: float
    version: bytes | None
    external_address: Address | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """Tell to whom a peer was announced, and how many of the closest nodes did not take it."""

    info_hash: InfoHash
    port: int
    announced_to: tuple[Contact, ...]
    not_taken: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """Hold the measured size of one swarm and what each node contributed (BEP 33).

    `nodes_asked` counts the nodes near the info-hash that were asked, `nodes_answered` those of
    them whose replies are in `replies`, closest first within each family.  Bytes are payload, of
    the whole lookup.
    """

    info_hash: InfoHash
    estimate: SwarmEstimate
    replies: tuple[ScrapeReply, ...]
    nodes_asked: int
    nodes_answered: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """Show one socket: its table, what is under way, and everything counted since the start.

    `stall` and `timeout` are the waiting times in force, in seconds.  `counts` has one entry per
    kind of event; what was dropped is named `dropped: ...` or `malformed: ...`, and what the kernel
    refused `socket: ...`.  `dropped_by_kernel` counts datagrams for which its receive buffer had no
    room; None where that cannot be known.
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


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """Show a whole node at one moment."""

    endpoints: tuple[EndpointStatistics, ...]
    peers: StoreStatistics
