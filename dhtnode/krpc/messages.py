"""KRPC messages as values: queries, responses and errors (BEP 5, 32, 33, 42, 43, 44, 51).

A `Query` is an envelope and one of the method dataclasses (`Ping`, `FindNode`, ...).  A response
does not contain the method that it answers, so there is one `Response` with every result that may
occur, each absent as None.  Lists of nodes and peers stay in their compact form until they are read:
most are relayed or counted only.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dhtnode.addresses import Address, Contact, Family
from dhtnode.ids import ID_BYTES, InfoHash, NodeId
from dhtnode.items import Item, Target
from dhtnode.krpc.compact import unpack_address, unpack_contacts

GENERIC_ERROR = 201
SERVER_ERROR = 202
PROTOCOL_ERROR = 203
METHOD_UNKNOWN = 204
VALUE_TOO_BIG = 205
INVALID_SIGNATURE = 206
SALT_TOO_BIG = 207
CAS_MISMATCH = 301
SEQ_TOO_LOW = 302


@dataclass(frozen=True, slots=True)
class Ping:
    """A query whether a node is there (BEP 5)."""


@dataclass(frozen=True, slots=True)
class FindNode:
    """A query for the contacts closest to a target (BEP 5).

    `want` are the families to be listed; empty means that of the transport (BEP 32).
    """

    target: NodeId
    want: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class GetPeers:
    """A query for the peers of a swarm and the contacts closest to it (BEP 5).

    `scrape` requests filters instead of a list, `noseed` peers that are not seeds (BEP 33).
    """

    info_hash: InfoHash
    want: frozenset[Family] = frozenset()
    noseed: bool = False
    scrape: bool = False


@dataclass(frozen=True, slots=True)
class AnnouncePeer:
    """The announcement of a peer of a swarm (BEP 5).

    With `implied_port` the UDP source port counts and `port` is ignored; `seed` is BEP 33.
    """

    info_hash: InfoHash
    port: int
    token: bytes
    implied_port: bool = False
    seed: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """A query for an item and the contacts closest to its target (BEP 44).

    With `seq`, a mutable item is returned only if its own is higher.  `padding` is a number of bytes
    without meaning: a node that limits its replies to a multiple of the query, as ours does, can
    return a large item only for a long query.
    """

    target: Target
    want: frozenset[Family] = frozenset()
    seq: int | None = None
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """A request to store an item (BEP 44).

    With `cas`, a mutable item replaces only the one with that `seq`.
    """

    item: Item
    token: bytes
    cas: int | None = None


@dataclass(frozen=True, slots=True)
class SampleInfohashes:
    """A query for some of the info-hashes of which a node stores peers (BEP 51).

    `target` determines only the contacts in the response.
    """

    target: NodeId
    want: frozenset[Family] = frozenset()


Method: TypeAlias = Ping | FindNode | GetPeers | AnnouncePeer | Get | Put | SampleInfohashes


@dataclass(frozen=True, slots=True)
class Query:
    """A method and its arguments, in the envelope of one query."""

    transaction_id: bytes
    node_id: NodeId
    method: Method
    version: bytes | None = None
    read_only: bool = False


class Response(NamedTuple):
    """The contents of one answer.

    `nodes` and `nodes6` are whole compact contacts, `values` compact peers of 6 or 18 bytes,
    `seeds_filter` and `peers_filter` the two 256-byte filters of BEP 33 (`BFsd`, `BFpe`),
    `external_address` the address at which the responder sees the client (BEP 42).  `value` is the
    bencoded `v` of an item, `public_key`, `signature` and `seq` are those of a mutable one; a `seq`
    without a value is that of an item that is not newer (BEP 44).  `samples` are whole info-hashes
    one after the other, `num` how many the node has, `interval` the seconds until its sample
    changes (BEP 51).
    """

    # Not a dataclass: one is made for each answer.

    transaction_id: bytes
    node_id: NodeId
    nodes: bytes | None = None
    nodes6: bytes | None = None
    values: tuple[bytes, ...] | None = None
    token: bytes | None = None
    seeds_filter: bytes | None = None
    peers_filter: bytes | None = None
    external_address: Address | None = None
    version: bytes | None = None
    value: bytes | None = None
    public_key: bytes | None = None
    signature: bytes | None = None
    seq: int | None = None
    samples: bytes | None = None
    num: int | None = None
    interval: int | None = None

    def contacts(self, family: Family) -> list[Contact]:
        """Return the contacts of one family, in the order in which they came."""
        compact = self.nodes if family is Family.IPV4 else self.nodes6
        return unpack_contacts(compact, family) if compact else []

    @property
    def has_peers(self) -> bool:
        """Whether it tells of peers, be it by names or by filters; it may lack contacts then (BEP 5)."""
        return bool(self.values) or self.peers_filter is not None or self.seeds_filter is not None

    def info_hashes(self) -> list[InfoHash]:
        """Return the info-hashes of a sample, in the order in which they came."""
        samples = self.samples or b""
        return [InfoHash(samples[at : at + ID_BYTES]) for at in range(0, len(samples), ID_BYTES)]

    def peers(self) -> list[Address]:
        """Return the addresses of the peers, in the order in which they came."""
        return [unpack_address(value) for value in self.values or ()]


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to a query that was not served (BEP 5, "Errors")."""

    transaction_id: bytes
    code: int
    text: str
    external_address: Address | None = None
    version: bytes | None = None


Message: TypeAlias = Query | Response | Error
