"""Fuzz target: what a crawler makes of the answers of strangers, from packets to numbers."""

from collections.abc import Hashable
from math import inf
from random import Random

from dhtnode.addresses import Family, Scope
from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import decode_untrusted
from dhtnode.krpc.compact import CompactContacts, PackedContact
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Response
from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.filter_size import Interval
from dhtnode.swarm.measurement import Measurement, SwarmMeasurement
from dhtnode.swarm.trust_marks import Mark
from tests.fuzz.findings import require
from tests.fuzz.steps import Step, cut
from tests.fuzz.world import family_of, known_address

COMPACT = {family: CompactContacts(family, Scope.PUBLIC) for family in Family}


class ScrapeTarget:
    """Measure a swarm from whatever decodes as a response, one node per step."""

    name = "scrape"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        responses: dict[Family, dict[PackedContact, Response]] = {family: {} for family in Family}
        for step in cut(data):
            family, response = family_of(step.action), _response(step)
            if response is not None:
                endpoint = COMPACT[family].endpoint_of(known_address(family, step.source))
                responses[family][response.node_id, endpoint] = response
        if not any(responses.values()):
            return None
        found = _measure(responses)
        require(
            all(set(each.marks) <= {*Mark} for each in found.observations),
            "marks are those that have a meaning",
        )
        estimate = found.estimate
        most = estimate.peers if estimate.is_at_least else estimate.peers_high
        require(0 <= estimate.peers_low <= estimate.peers <= most, "the headline is inside")
        require(estimate.saturated or not estimate.is_at_least, "a lower bound is marked")
        for low, count, high in (
            (estimate.seeds_low, estimate.seeds, estimate.seeds_high),
            (estimate.leechers_low, estimate.leechers, estimate.leechers_high),
        ):
            end = estimate.peers if high is None else min(high, estimate.peers)
            require(count is None or 0 <= low <= count <= end, "the count of a part is inside")
        intervals = [estimate.by(method) for method in ("union", "pair-ratio", "chao2")]
        for interval in intervals:
            _check(interval)
        kinds = tuple(interval is None for interval in intervals)
        return estimate.method, estimate.saturated, kinds, found.nodes_answered, estimate.peers.bit_length()

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _measure(responses: dict[Family, dict[PackedContact, Response]]) -> SwarmMeasurement:
    """Answer all queries of a measurement with what the nodes say to anything."""
    canaries = CanaryHashes(Random(1))
    measurement = Measurement(
        InfoHash(bytes(20)), canaries, lambda family, packed: COMPACT[family].read(packed)
    )
    for family, nodes in responses.items():
        measurement.add_nodes(family, nodes, follows=False)
    while queries := measurement.take_queries():
        for query in queries:
            node = query.node
            node.address = COMPACT[query.family].address_of(node.endpoint)
            measurement.on_end(query, responses[query.family][node.node_id, node.endpoint], 0.1)
    return measurement.result()


def _check(interval: Interval | None) -> None:
    """Hold an interval to its order, but for one peer: its ends are whole peers, the estimate is not."""
    if interval is not None:
        require(0 <= interval.low <= interval.high < inf, "an interval has two ends in order")
        require(interval.low - 1 <= interval.estimate <= interval.high + 1, "the estimate is inside")


def _response(step: Step) -> Response | None:
    try:
        message = decode_untrusted(step.packet, family_of(step.action))
    except MalformedMessage:
        return None
    return message if isinstance(message, Response) else None
