"""Replies to queries: a pure function of the query, its source, the table and the stores.

`respond` returns a response, an error, or None for no reply; it sends nothing and never fails on
what a remote sent.  Replies keep within a byte budget (BEP 32): values are cut before contacts,
since a lookup lives on contacts.  In a reply with an item, contacts are cut first: the item is worth
more.  An item that does not fit even without contacts is left out, and the reply then is that of a
node which has none, but for the `seq` of a mutable item.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dhtnode.addresses import Address, Family, Scope, pack_host
from dhtnode.ids import InfoHash, NodeId, distance
from dhtnode.items import MutableItem
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.messages import (
    CAS_MISMATCH,
    INVALID_SIGNATURE,
    PROTOCOL_ERROR,
    SEQ_TOO_LOW,
    SERVER_ERROR,
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Put,
    Query,
    Response,
    SampleInfohashes,
)
from dhtnode.routing.table import RoutingTable
from dhtnode.server.item_store import ItemStore, Refusal
from dhtnode.server.peer_store import VALUE_BYTES, PeerStore
from dhtnode.server.tokens import TokenIssuer

_ITEM_ERRORS = {
    Refusal.BAD_SIGNATURE: (INVALID_SIGNATURE, "Invalid signature"),
    Refusal.CAS_MISMATCH: (CAS_MISMATCH, "CAS mismatch, re-read value and try again"),
    Refusal.OLD_SEQ: (SEQ_TOO_LOW, "Sequence number less than current"),
    Refusal.OWNER_IS_FULL: (SERVER_ERROR, "Too many items from your address"),
    Refusal.NETWORK_IS_FULL: (SERVER_ERROR, "Too many items from your network"),
    Refusal.STORE_IS_FULL: (SERVER_ERROR, "Store is full"),
    Refusal.BUSY: (SERVER_ERROR, "Too many items at once, try again"),
    Refusal.BUSY_WITH_OWNER: (SERVER_ERROR, "Too many items at once from your address, try again"),
    Refusal.BUSY_WITH_NETWORK: (SERVER_ERROR, "Too many items at once from your network, try again"),
}


class Responder:
    """The replies of one socket to all kinds of queries."""

    def __init__(
        self,
        table: RoutingTable,
        tables: Mapping[Family, Sequence[RoutingTable]],
        scope: Scope,
        peers: PeerStore,
        tokens: TokenIssuer,
        items: ItemStore,
        *,
        version: bytes | None = None,
    ) -> None:
        """Reply from the table of the socket and the shared stores.

        `tables` are those of all sockets of the node, and may gain some later on: they serve queries
        for contacts of the other family (BEP 32).
        """
        self._table = table
        self._tables = tables
        self._family = table.family
        self._scope = scope
        self._peers = peers
        self._tokens = tokens
        self._items = items
        self._version = version

    def respond(self, query: Query, source: Address, now: float, budget: int) -> Response | Error | None:
        """Return the reply to a query in `budget` bytes, or None for no reply.

        A reply that is longer even without contacts is returned all the same, to be dropped.
        """
        # A packet that carries our own id is ours, sent back by a reflector.
        if query.node_id == self._own_id:
            return None
        match query.method:
            case FindNode() as method:
                return self._find_node(method, query, source, now, budget)
            case GetPeers() as method:
                return self._get_peers(method, query, source, now, budget)
            case AnnouncePeer() as method:
                return self._announce_peer(method, query, source, now)
            case Get() as method:
                return self._get(method, query, source, now, budget)
            case Put() as method:
                return self._put(method, query, source, now)
            case SampleInfohashes() as method:
                return self._sample_infohashes(method, query, source, now, budget)
        return self._response(query, source)

    @property
    def _own_id(self) -> NodeId:
        return self._table.node_id

    def _response(self, query: Query, source: Address) -> Response:
        return Response(query.transaction_id, self._own_id, external_address=source, version=self._version)

    def _error(self, query: Query, source: Address, code: int, text: str) -> Error:
        return Error(query.transaction_id, code, text, source, self._version)

    def _find_node(
        self, method: FindNode, query: Query, source: Address, now: float, budget: int
    ) -> Response:
        nodes, nodes6 = self._contacts(method.target, method.want, now)
        return _fit(self._response(query, source)._replace(nodes=nodes, nodes6=nodes6), budget)

    def _get_peers(
        self, method: GetPeers, query: Query, source: Address, now: float, budget: int
    ) -> Response:
        filters = None
        if method.scrape:
            # Filters of both families mix the two addresses of a peer: who wants them says so.
            families = method.want or {self._family}
            family = next(iter(families)) if len(families) == 1 else None
            filters = self._peers.filters(method.info_hash, family, now)
        # Two node lists and two filters do not fit: then the family of the client wins (B33-7).
        want = frozenset({self._family}) if filters and len(method.want) > 1 else method.want
        nodes, nodes6 = self._contacts(method.info_hash, want, now)
        token = None
        if self._peers.has_capacity(method.info_hash, source.host):
            token = self._tokens.issue(pack_host(source.host), method.info_hash, now)
        response = self._response(query, source)._replace(
            nodes=nodes,
            nodes6=nodes6,
            token=token,
            seeds_filter=filters[0].to_bytes() if filters else None,
            peers_filter=filters[1].to_bytes() if filters else None,
        )
        return self._with_values(_fit(response, budget), method, now, budget)

    def _with_values(self, response: Response, method: GetPeers, now: float, budget: int) -> Response:
        if method.info_hash not in self._peers.swarms:
            return response
        left = budget - size_of(response) - len(b"6:valuesle")
        values = self._peers.sample(
            method.info_hash, self._family, left // VALUE_BYTES[self._family], now, noseed=method.noseed
        )
        return response._replace(values=tuple(values)) if values else response

    def _sample_infohashes(
        self, method: SampleInfohashes, query: Query, source: Address, now: float, budget: int
    ) -> Response:
        nodes, nodes6 = self._contacts(method.target, method.want, now)
        sample = self._peers.sample_info_hashes(now)
        response = self._response(query, source)._replace(
            nodes=nodes,
            nodes6=nodes6,
            samples=b"".join(sample.info_hashes),
            num=sample.num,
            interval=sample.interval,
        )
        return _fit(response, budget)

    def _announce_peer(
        self, method: AnnouncePeer, query: Query, source: Address, now: float
    ) -> Response | Error:
        if not self._tokens.accepts(method.token, pack_host(source.host), method.info_hash, now):
            return self._error(query, source, PROTOCOL_ERROR, "Bad token")
        peer = Address(source.host, source.port if method.implied_port else method.port)
        if not self._scope.allows_peer(peer):
            return self._error(query, source, PROTOCOL_ERROR, "Address not allowed")
        if not self._peers.announce(method.info_hash, peer, now, seed=method.seed):
            return self._error(query, source, SERVER_ERROR, "Store is full")
        return self._response(query, source)

    def _get(self, method: Get, query: Query, source: Address, now: float, budget: int) -> Response:
        token = None
        if self._items.has_capacity(method.target, source.host, now):
            token = self._tokens.issue(pack_host(source.host), InfoHash(method.target), now)
        nodes, nodes6 = self._contacts(method.target, method.want, now)
        response = self._response(query, source)._replace(
            token=token, nodes=nodes and b"", nodes6=nodes6 and b""
        )
        response = self._with_item(response, method, now, budget)
        return _fit(response._replace(nodes=nodes, nodes6=nodes6), budget)

    def _with_item(self, response: Response, method: Get, now: float, budget: int) -> Response:
        """Add the item if we have it, or of a mutable one the `seq` alone (BEP 44).

        That is all when the client has one as new, or when the rest does not fit.
        """
        item = self._items.get(method.target, now)
        if item is None:
            return response
        full = response._replace(value=item.value)
        if isinstance(item, MutableItem):
            response = response._replace(seq=item.seq)
            if method.seq is not None and item.seq <= method.seq:
                return response
            full = full._replace(seq=item.seq, public_key=item.public_key, signature=item.signature)
        return full if size_of(full) <= budget else response

    def _put(self, method: Put, query: Query, source: Address, now: float) -> Response | Error:
        target = InfoHash(method.item.target())
        # The token comes first, because it costs least to check.
        if not self._tokens.accepts(method.token, pack_host(source.host), target, now):
            return self._error(query, source, PROTOCOL_ERROR, "Bad token")
        refusal = self._items.put(method.item, source.host, now, cas=method.cas)
        if refusal is not None:
            return self._error(query, source, *_ITEM_ERRORS[refusal])
        return self._response(query, source)

    def _contacts(
        self, target: bytes, want: frozenset[Family], now: float
    ) -> tuple[bytes | None, bytes | None]:
        """Return the compact contacts to list for each family (B32-9)."""
        families = want or {self._family}
        nodes, nodes6 = (
            self._contacts_of(family, target, now) if family in families else None
            for family in (Family.IPV4, Family.IPV6)
        )
        return nodes, nodes6

    def _contacts_of(self, family: Family, target: bytes, now: float) -> bytes | None:
        """Return the compact contacts of one family, or None when we are not in its network."""
        # Towards its own family each socket is a node of its own (BEP 45).
        if family is self._family:
            return self._table.closest_compact(target, now)
        tables = self._tables.get(family)
        if not tables:
            return None
        # The table whose id is closest to the target knows most about its surroundings.
        return min(tables, key=lambda table: distance(table.node_id, target)).closest_compact(target, now)


def _fit(response: Response, budget: int) -> Response:
    """Leave out as many contacts as it takes, those of IPv6 first because they are longer."""
    excess = size_of(response) - budget
    if excess > 0 and response.nodes6:
        nodes6 = _without(response.nodes6, excess, Family.IPV6)
        excess -= len(response.nodes6) - len(nodes6)
        response = response._replace(nodes6=nodes6)
    if excess > 0 and response.nodes:
        response = response._replace(nodes=_without(response.nodes, excess, Family.IPV4))
    return response


def _without(compact: bytes, excess: int, family: Family) -> bytes:
    """Return compact contacts shorter by `excess` bytes or a little more, or empty."""
    size = family.contact_bytes
    return compact[: max(0, (len(compact) - excess) // size * size)]


def size_of(response: Response) -> int:
    """Return how many bytes a response has on the wire, without writing it."""
    size = len(b"d1:rd2:ide1:t1:y1:re") + _string(response.node_id) + _string(response.transaction_id)
    fields: tuple[Any, ...] = response
    size += sum([key + _string(fields[place]) for key, place in _STRINGS if fields[place] is not None])
    size += sum([key + len(b"i%de" % fields[place]) for key, place in _NUMBERS if fields[place] is not None])
    if response.external_address is not None:
        size += len(b"2:ip") + _string(pack_address(response.external_address))
    if response.value is not None:
        size += len(b"1:v") + len(response.value)
    if response.values is not None:
        size += len(b"6:valuesle") + sum(map(_string, response.values))
    return size


def _string(text: bytes) -> int:
    return len(b"%d:" % len(text)) + len(text)


# The bytes of each key, and the place of its value in a response.
_STRINGS, _NUMBERS = (
    [(len(name) + len(b"n:"), Response._fields.index(field)) for name, field in names.items()]
    for names in (
        {
            "BFpe": "peers_filter",
            "BFsd": "seeds_filter",
            "k": "public_key",
            "nodes": "nodes",
            "nodes6": "nodes6",
            "samples": "samples",
            "sig": "signature",
            "token": "token",
            "v": "version",
        },
        {"interval": "interval", "num": "num", "seq": "seq"},
    )
)
