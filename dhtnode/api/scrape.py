"""One swarm measured over the nodes that a lookup has found (BEP 33)."""

import secrets
from collections.abc import Sequence

import trio

from dhtnode.addresses import Family
from dhtnode.api.dual_stack import FamilyLookup
from dhtnode.errors import QueryError, QueryTimeout
from dhtnode.ids import InfoHash, NodeId, distance
from dhtnode.krpc.compact import CompactContacts, PackedContact, PackedEndpoint
from dhtnode.krpc.messages import FindNode, GetPeers
from dhtnode.net.transactions import Answer
from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.measurement import (
    KEY_BYTES,
    MOST_BYTES,
    Measurement,
    MeasurementQuery,
    SwarmMeasurement,
)
from dhtnode.swarm.queried_nodes import QueryKind


async def measure_swarm(
    lookups: Sequence[FamilyLookup], info_hash: InfoHash, canaries: CanaryHashes
) -> SwarmMeasurement:
    """Measure a swarm from the answers of lookups with `scrape`, one per family, and some queries more."""
    key = secrets.token_bytes(KEY_BYTES)
    sockets = {lookup.socket.family: _FamilyScrape(lookup) for lookup in lookups}
    measurement = Measurement(
        info_hash,
        canaries,
        lambda family, packed: sockets[family].read(packed),
        key=key,
        most_bytes=MOST_BYTES,
    )
    for socket in sockets.values():
        socket.add_nodes(measurement)

    async with trio.open_nursery() as nursery:

        async def query_one(query: MeasurementQuery) -> None:
            await sockets[query.family].query(measurement, query)
            advance()

        def advance() -> None:
            # What the lookup has been told already ends at once, and may call for further queries.
            while queries := measurement.take_queries():
                for query in queries:
                    if not sockets[query.family].is_known(measurement, query):
                        nursery.start_soon(query_one, query)

        advance()
    return measurement.result()


def scrape_of(info_hash: InfoHash, family: Family) -> GetPeers:
    """Return the query for the filters of one family: some nodes put in both when none is wanted."""
    return GetPeers(info_hash, frozenset({family}), scrape=True)


class _FamilyScrape:
    """The queries over the socket of one lookup; what the lookup has been told is not queried again."""

    def __init__(self, lookup: FamilyLookup) -> None:
        closest = lookup.driver.lookup.closest()
        self._target = lookup.driver.lookup.target
        self._radius = distance(closest[-1].node_id, self._target) if closest else 0
        self._compact = CompactContacts(lookup.socket.family, lookup.socket.scope)
        self._lookup = lookup
        self._results: dict[PackedEndpoint, Answer | QueryError] = {}

    def read(self, packed: bytes) -> list[PackedContact]:
        """Return the contacts beyond the closest nodes: among those, the lookup has made its choice."""
        return [
            contact
            for contact in self._compact.read(packed)
            if distance(contact[0], self._target) > self._radius
        ]

    def add_nodes(self, measurement: Measurement) -> None:
        """Start a measurement with the nodes that the lookup has heard of, and with its traffic."""
        driver = self._lookup.driver
        nodes = []
        for candidate in driver.lookup.nearby():
            endpoint = self._compact.endpoint_of(candidate.address)
            if candidate.node_id is not None:
                nodes.append((candidate.node_id, endpoint))
            if candidate.attempts:
                self._results[endpoint] = (
                    driver.answers.get(candidate.address)
                    or driver.failures.get(candidate.address)
                    or QueryTimeout(candidate.address)
                )
        measurement.add_nodes(self._compact.family, nodes, follows=True)
        measurement.bytes_sent += driver.bytes_sent
        measurement.bytes_received += driver.bytes_received

    def is_known(self, measurement: Measurement, query: MeasurementQuery) -> bool:
        """Return whether the query was a part of the lookup; its end is then recorded."""
        node = query.node
        node.address = self._compact.address_of(node.endpoint)
        known = self._results.get(node.endpoint) if query.kind is QueryKind.SCRAPE else None
        if known is None:
            return False
        if isinstance(known, Answer):
            node.bytes_sent += known.bytes_sent
            node.bytes_received += known.bytes_received
        _end(measurement, query, known)
        return True

    async def query(self, measurement: Measurement, query: MeasurementQuery) -> None:
        """Send one query and wait for its end."""
        query.node.address = address = self._compact.address_of(query.node.endpoint)
        info_hash = InfoHash(query.target)
        method: GetPeers | FindNode = scrape_of(info_hash, query.family)
        if query.kind is QueryKind.LISTING:
            method = GetPeers(info_hash)
        elif query.kind is QueryKind.CONTACTS:
            method = FindNode(NodeId(query.target))
        try:
            answer = await self._lookup.socket.rpc.query(method, address)
        except QueryError as error:
            _end(measurement, query, error)
        else:
            measurement.count_bytes(query, answer.bytes_sent, answer.bytes_received)
            _end(measurement, query, answer)


def _end(measurement: Measurement, query: MeasurementQuery, result: Answer | QueryError) -> None:
    if isinstance(result, Answer):
        measurement.on_end(query, result.response, result.rtt)
    else:
        measurement.on_end(query, result, 0.0)
