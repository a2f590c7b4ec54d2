"""How many peers a swarm has: observations of nodes, their marks, and estimates with intervals. Pure."""

from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.capture_recapture import chao1
from dhtnode.swarm.estimate import (
    ESTIMATORS,
    METHODS,
    MethodEstimate,
    SwarmEstimate,
    capture_histories,
    more_nodes_wanted,
)
from dhtnode.swarm.filter_size import NORMAL_95
from dhtnode.swarm.joint_estimate import estimate_swarm
from dhtnode.swarm.measurement import (
    KEY_BYTES,
    MOST_BYTES,
    Measurement,
    MeasurementQuery,
    QueryKind,
    SwarmMeasurement,
)
from dhtnode.swarm.queried_nodes import CLOSEST, QueriedNode
from dhtnode.swarm.replies import HOST_HASH_BYTES, Observation, Reply
from dhtnode.swarm.trust_marks import Mark, classify, meaning_of

__all__ = [
    "CLOSEST",
    "ESTIMATORS",
    "HOST_HASH_BYTES",
    "KEY_BYTES",
    "METHODS",
    "MOST_BYTES",
    "NORMAL_95",
    "CanaryHashes",
    "Mark",
    "Measurement",
    "MeasurementQuery",
    "MethodEstimate",
    "Observation",
    "QueriedNode",
    "QueryKind",
    "Reply",
    "SwarmEstimate",
    "SwarmMeasurement",
    "capture_histories",
    "chao1",
    "classify",
    "estimate_swarm",
    "meaning_of",
    "more_nodes_wanted",
]
