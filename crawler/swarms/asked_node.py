"""One node that is asked about one swarm, and what it has said so far."""

from enum import Enum

from dhtnode import Address, Contact, NodeId
from dhtnode.krpc import PackedEndpoint, ScrapeFilter
from dhtnode.outcomes import Outcome
from dhtnode.swarm import ScrapeReply

_EMPTY = bytes(256)


class NodeProgress(Enum):
    """Say where one node stands."""

    NEW = 0
    WAITING = 1
    COUNTS = 2
    """It answered, and nothing speaks against it."""

    FAILED = 3
    """It was silent, or is not believed: another one is asked instead."""


class AskedNode:
    """Hold what one node has said about one swarm."""

    __slots__ = (
        *("address", "asked_at", "bytes_received", "bytes_sent", "distance", "endpoint", "marks", "node_id"),
        *("outcome", "peers_filter", "rtt", "seeds_filter", "state", "values", "version"),
    )

    def __init__(self, node_id: bytes, endpoint: PackedEndpoint, distance: int) -> None:
        self.node_id = node_id
        self.endpoint = endpoint
        self.distance = distance
        self.state = NodeProgress.NEW
        self.address: Address | None = None
        self.asked_at = 0.0  # on the wall clock
        self.outcome: Outcome | None = None
        self.rtt: float | None = None
        self.version: bytes | None = None
        self.seeds_filter: bytes | None = None
        self.peers_filter: bytes | None = None
        self.values: tuple[Address, ...] = ()
        self.marks: tuple[str, ...] = ()
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def claims_peers(self) -> bool:
        """Return whether it says that anybody is in the swarm."""
        return bool(self.values) or self.has_filled_filters

    @property
    def has_filled_filters(self) -> bool:
        """Return whether it sent a filter with anybody in it."""
        return self.seeds_filter not in (None, _EMPTY) or self.peers_filter not in (None, _EMPTY)

    def mark(self, word: str) -> None:
        """Note why it is not believed; another node is asked instead."""
        if word not in self.marks:
            self.marks = (*self.marks, word)
        self.state = NodeProgress.FAILED

    def reply(self) -> ScrapeReply:
        """Return what it said as an estimate wants it."""
        assert self.address is not None  # noqa: S101  # for mypy: who answered was asked
        return ScrapeReply(
            Contact(NodeId(self.node_id), self.address),
            self.rtt or 0.0,
            None if self.seeds_filter is None else ScrapeFilter.from_bytes(self.seeds_filter),
            None if self.peers_filter is None else ScrapeFilter.from_bytes(self.peers_filter),
            self.values,
            self.version,
            self.bytes_sent,
            self.bytes_received,
        )

    @property
    def filtered_peers(self) -> int:
        """Return about how many peers its filters stand for."""
        filters = (self.seeds_filter, self.peers_filter)
        return sum(int.from_bytes(packed).bit_count() for packed in filters if packed) // 2
