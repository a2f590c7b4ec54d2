"""Answer queries: a pure function of the query, its source, the table and the stores.

`respond` returns a response, an error, or None for silence; it sends nothing and never fails on
what a remote sent.  Replies keep within a byte budget (BEP 32): what is cut are values, never the
contacts, since a lookup lives on contacts.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from dhtnode.addresses import Address, Family, Scope, pack_host
from dhtnode.bloom import FILTER_BYTES
from dhtnode.ids import NodeId
from dhtnode.messages import (
    PROTOCOL_ERROR,
    SERVER_ERROR,
    AnnouncePeer,
    Error,
    FindNode,
    GetPeers,
    Query,
    Response,
)
from dhtnode.peers import PeerStore
from dhtnode.routing import RoutingTable
from dhtnode.tokens import TOKEN_BYTES, TokenIssuer

# Bytes of a response with id, `ip` (18), `v` (4), `y`, the keys of token, values and one node list,
# and all their punctuation; `t`, the token, the lists themselves and the filters come on top.
_ENVELOPE_BYTES = 125
_FILTERS_BYTES = 2 * (FILTER_BYTES + len(b"4:BFsd256:"))
_OTHER_LIST_BYTES = len(b"6:nodes6304:")
_VALUE_BYTES = {Family.IPV4: 8, Family.IPV6: 21}


class Responder:
    """Answer the queries that reach one socket."""

    def __init__(
        self,
        tables: Mapping[Family, RoutingTable],
        family: Family,
        scope: Scope,
        peers: PeerStore,
        tokens: TokenIssuer,
        random: Random,
        *,
        max_payload: int = 1024,
        version: bytes | None = None,
    ) -> None:
        """Serve from the shared stores; `tables` may gain another family later on (BEP 32)."""
        self._tables = tables
        self._family = family
        self._scope = scope
        self._peers = peers
        self._tokens = tokens
        self._random = random
        self._max_payload = max_payload
        self._version = version

    def respond(self, query: Query, source: Address, now: float) -> Response | Error | None:
        """Return the answer to a query, or None when the asker deserves silence.

        Silent towards our own id: a packet that carries it is ours, sent back by a reflector.
        """
        if query.node_id == self._own_id:
            return None
        match query.method:
            case FindNode() as method:
                return self._find_node(method, query, source, now)
            case GetPeers() as method:
                return self._get_peers(method, query, source, now)
            case AnnouncePeer() as method:
                return self._announce_peer(method, query, source, now)
        return self._response(query, source)

    @property
    def _own_id(self) -> NodeId:
        return self._tables[self._family].node_id

    def _response(self, query: Query, source: Address) -> Response:
        return Response(query.transaction_id, self._own_id, external_address=source, version=self._version)

    def _error(self, query: Query, source: Address, code: int, text: str) -> Error:
        return Error(query.transaction_id, code, text, source, self._version)

    def _find_node(self, method: FindNode, query: Query, source: Address, now: float) -> Response:
        nodes, nodes6 = self._contacts(method.target, method.want, now)
        return replace(self._response(query, source), nodes=nodes, nodes6=nodes6)

    def _get_peers(self, method: GetPeers, query: Query, source: Address, now: float) -> Response:
        filters = None
        if method.scrape:
            filters = self._peers.filters(method.info_hash, _one_family(method.want), now)
        # Two node lists and two filters do not fit: the asker's family wins (B33-7).
        want = frozenset({self._family}) if filters else method.want
        nodes, nodes6 = self._contacts(method.info_hash, want, now)
        room = self._room_for_values(query, nodes, nodes6, with_filters=filters is not None)
        values = self._peers.sample(
            method.info_hash, self._family, room, self._random, now, noseed=method.noseed
        )
        token = None
        if self._peers.has_room(method.info_hash, source.host):
            token = self._tokens.issue(pack_host(source.host), method.info_hash, now)
        return replace(
            self._response(query, source),
            nodes=nodes,
            nodes6=nodes6,
            values=tuple(values) or None,
            token=token,
            seeds_filter=filters[0].to_bytes() if filters else None,
            peers_filter=filters[1].to_bytes() if filters else None,
        )

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

    def _contacts(
        self, target: bytes, want: frozenset[Family], now: float
    ) -> tuple[bytes | None, bytes | None]:
        """Return the compact contacts to list for each family (B32-9)."""
        families = want or {self._family}
        nodes, nodes6 = (
            self._tables[family].closest_compact(target, now)
            if family in families and family in self._tables
            else None
            for family in (Family.IPV4, Family.IPV6)
        )
        return nodes, nodes6

    def _room_for_values(
        self, query: Query, nodes: bytes | None, nodes6: bytes | None, *, with_filters: bool
    ) -> int:
        used = _ENVELOPE_BYTES + len(query.transaction_id) + TOKEN_BYTES
        used += len(nodes or b"") + len(nodes6 or b"")
        if nodes is not None and nodes6 is not None:
            used += _OTHER_LIST_BYTES
        if with_filters:
            used += _FILTERS_BYTES
        return max(0, self._max_payload - used) // _VALUE_BYTES[self._family]


def _one_family(want: frozenset[Family]) -> Family | None:
    """Return the family a scrape is limited to, if the asker names just one."""
    return next(iter(want)) if len(want) == 1 else None
