"""What the node's operations return: frozen values, nothing that changes or does I/O."""

from dataclasses import dataclass

from dhtnode.addresses import Address, Contact
from dhtnode.ids import InfoHash, NodeId
from dhtnode.items import Item, MutableItem, Target
from dhtnode.node.statistics import SocketStatistics
from dhtnode.server.item_store import ItemStatistics
from dhtnode.server.peer_store import StoreStatistics


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node that answered us: id, address, client version and round-trip time in seconds.

    `external_address` is the source of our packets as the node sees it (BEP 42), if it tells.
    """

    node_id: NodeId
    address: Address
    rtt: float
    version: bytes | None
    external_address: Address | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """The nodes to which a peer was announced, and the number of close nodes that did not take it.

    Announced from several addresses, a node counts once for each.
    """

    info_hash: InfoHash
    port: int
    announced_to: tuple[Contact, ...]
    not_taken: int


@dataclass(frozen=True, slots=True)
class FoundItem:
    """What nodes keep under one target (BEP 44).

    `item` is the newest whose hash and signature are right, or None; `copies` counts the nodes that
    keep it, `nodes_answered` all that answered.  `forged` counts those that sent something else
    instead, `other_salt` those whose signed item has another target with the salt that we know: it was
    put with another one, which no node returns, or it is forged too.
    """

    target: Target
    item: Item | None
    copies: int
    forged: int
    other_salt: int
    nodes_answered: int


@dataclass(frozen=True, slots=True)
class InfohashSample:
    """What one node shows of its info-hashes (BEP 51).

    `num` is how many it claims to have, `interval` the seconds after which it will show others, and
    before which it is not to be queried again; each None if it does not say.  `contacts` are those it
    knows near the target.
    """

    node: FoundNode
    info_hashes: tuple[InfoHash, ...]
    num: int | None
    interval: int | None
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """The nodes that keep an item after it was put, and the number of close nodes that do not.

    `conflicts` counts nodes that keep another one: newer, with the same `seq`, or with a `seq` that
    is not the `cas` given; `not_taken` those that gave no token, refused for other reasons or did
    not answer.  `current` is the newest item that was there before.
    """

    target: Target
    item: Item
    stored_at: tuple[Contact, ...]
    conflicts: int
    not_taken: int
    current: Item | None


@dataclass(frozen=True, slots=True)
class ResolvedTorrent:
    """The info-hash that a mutable torrent points to now, and the item that says so (BEP 46)."""

    info_hash: InfoHash
    item: MutableItem


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """A whole node at one moment."""

    sockets: tuple[SocketStatistics, ...]
    peers: StoreStatistics
    items: ItemStatistics
