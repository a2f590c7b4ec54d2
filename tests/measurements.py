"""Measurements of swarms as tests write them: what is not given is NULL, or of no interest."""

from dataclasses import fields
from typing import Any

from dhtnode import InfoHash
from dhtnode.swarm import Observation, SwarmEstimate, SwarmMeasurement

NUMBERS: dict[str, Any] = {field.name: None for field in fields(SwarmEstimate)}
NUMBERS |= {
    "method": "union",
    "saturated": False,
    "nodes_with_filters": 8,
    "distinct_peers": 0,
    "estimates": (),
}


def estimate_of(**numbers: Any) -> SwarmEstimate:
    return SwarmEstimate(**NUMBERS | numbers)


def measurement_of(
    info_hash: InfoHash,
    taken_at: str,
    observations: tuple[Observation, ...] = (),
    *,
    nodes_asked: int = 8,
    nodes_answered: int = 8,
    bytes_sent: int = 0,
    bytes_received: int = 0,
    source: str | None = None,
    name: str | None = None,
    **numbers: Any,
) -> SwarmMeasurement:
    estimate = estimate_of(**numbers)
    counts = (nodes_asked, nodes_answered, bytes_sent, bytes_received)
    return SwarmMeasurement(info_hash, estimate, observations, *counts, taken_at, source, name)
