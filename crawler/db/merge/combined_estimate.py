"""One estimate from what several vantages were told about a swarm at about the same time.

Filters of the same node are ORed before anything is estimated: a node asked twice is one store, and as
two with the same peers it would make the swarm look small.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeAlias

from dhtnode import Address
from dhtnode.krpc import union_of_packed
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, SwarmEstimate, SwarmMeasurement, estimate_swarm

SEEN = ("union", "distinct")
"""Methods that count peers which some node stores."""

_Node: TypeAlias = tuple[bytes, Address]


def combine(measurements: Sequence[SwarmMeasurement]) -> SwarmMeasurement:
    """Return what measurements of one swarm and window come to together; the order does not matter.

    The estimate is that of `estimate_swarm` over the filters of all nodes, without those that were
    suspect to any vantage.  Where fewer nodes have filters than in one of the measurements, because they
    were deleted or never sent, the one with the most stands for all.  Some 1 ms for 24 replies.
    """
    answers = [
        [each for each in measurement.observations if each.outcome is Outcome.ANSWERED]
        for measurement in measurements
    ]
    suspects = {_node_of(each) for some in answers for each in some if each.marks}
    believed = [[each for each in some if _node_of(each) not in suspects] for some in answers]
    stores = _stores(believed)
    best = max(measurements, key=_worth)
    named = max(each.estimate.distinct_peers for each in measurements)
    if not stores or len(stores) < best.estimate.nodes_with_filters - len(suspects):
        estimate = best.estimate
    else:
        silent = (each.estimate.silent_share for each in measurements)
        estimate = estimate_swarm(
            stores, silent_share=max((each for each in silent if each is not None), default=None)
        )
        if not suspects:
            estimate = _raised(estimate, named, measurements)
    return SwarmMeasurement(
        best.info_hash,
        replace(estimate, distinct_peers=named),
        nodes_answered=max(len({_node_of(each) for some in answers for each in some}), best.nodes_answered),
    )


def _node_of(observation: Observation) -> _Node:
    return observation.node_id, observation.address


def _raised(found: SwarmEstimate, named: int, measurements: Sequence[SwarmMeasurement]) -> SwarmEstimate:
    """Raise an estimate to what was counted: all together have seen no less than each of them."""
    seen = [each.estimate.peers_low or 0 for each in measurements if each.estimate.method in SEEN]
    low = max([found.peers_low, named, *seen])
    high = None if found.peers_high is None else max(found.peers_high, low)
    return replace(found, peers=max(found.peers, low), peers_low=low, peers_high=high)


def _worth(measurement: SwarmMeasurement) -> tuple[object, ...]:
    """Return what a measurement is judged by when one is to stand for all: equal ones are equal in all."""
    estimate = measurement.estimate
    counts = (estimate.nodes_with_filters, measurement.nodes_answered, estimate.distinct_peers)
    sizes = (estimate.peers, estimate.peers_low, estimate.peers_high)
    rest = (getattr(estimate, field.name) for field in fields(estimate) if field.name != "estimates")
    return (*counts, *((size is not None, size) for size in (*sizes, *rest)))


def _stores(believed: Sequence[Sequence[Observation]]) -> list[Observation]:
    """Return one observation of each node that said something, in the order of their keys.

    `believed` holds those of each measurement.  Peers are counted one by one in the measurement that has
    the most of them; those that others named are bits of filters.
    """
    named = [frozenset[bytes]().union(*(each.host_hashes for each in some)) for some in believed]

    # Of those with equally many, one is taken by what is in it: the order depends on the database.
    def worth(place: int) -> tuple[int, bytes]:
        filters = (each.named_filter for each in believed[place])
        return len(named[place]), max((each for each in filters if each), default=b"")

    counted = max(range(len(named)), key=worth, default=0)
    nodes: dict[_Node, Observation] = {}
    for place, some in enumerate(believed):
        for each in some:
            if not (each.has_filters or each.unplaced_filter is not None or each.host_hashes):
                continue
            if place != counted:
                each = replace(each, host_hashes=frozenset(), named_filter=None)
            before = nodes.get(_node_of(each))
            nodes[_node_of(each)] = each if before is None else _merged(before, each)
    return [observation for _, observation in sorted(nodes.items(), key=lambda item: item[0])]


def _merged(one: Observation, other: Observation) -> Observation:
    """Return what one node said twice."""
    return replace(
        one,
        seeds_filter=_or(one.seeds_filter, other.seeds_filter),
        peers_filter=_or(one.peers_filter, other.peers_filter),
        host_hashes=one.host_hashes | other.host_hashes,
        named_filter=_or(one.named_filter, other.named_filter),
        unplaced_filter=_or(one.unplaced_filter, other.unplaced_filter),
        is_full=one.is_full or other.is_full,
    )


def _or(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return one or other
    return union_of_packed((one, other)).to_bytes()
