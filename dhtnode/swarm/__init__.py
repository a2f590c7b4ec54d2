"""How many peers a swarm has: observations of nodes, their marks, and estimates with intervals. Pure."""

from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.capture_history import more_nodes_wanted
from dhtnode.swarm.capture_recapture import chao1, chao2_interval
from dhtnode.swarm.estimate import (
    MethodEstimate,
    SwarmEstimate,
    capture_histories,
)
from dhtnode.swarm.filter_size import NORMAL_95, relative_error
from dhtnode.swarm.full_stores import FEWEST_ZERO_BITS, is_near_cap
from dhtnode.swarm.joint_estimate import estimate_swarm
from dhtnode.swarm.measurement import (
    KEY_BYTES,
    MOST_BYTES,
    Measurement,
    MeasurementQuery,
    SwarmMeasurement,
)
from dhtnode.swarm.methods import ESTIMATORS, METHODS, between, count_text
from dhtnode.swarm.queried_nodes import CLOSEST, QueriedNode, QueryKind
from dhtnode.swarm.replies import HOST_HASH_BYTES, Observation, Reply
from dhtnode.swarm.trust_marks import Mark, classify, meaning_of

__all__ = [
    "CLOSEST",
    "ESTIMATORS",
    "FEWEST_ZERO_BITS",
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
    "between",
    "capture_histories",
    "chao1",
    "chao2_interval",
    "classify",
    "count_text",
    "estimate_swarm",
    "is_near_cap",
    "meaning_of",
    "more_nodes_wanted",
    "relative_error",
]
