"""How many peers a swarm has: replies of nodes, their marks, and estimates with intervals. Pure."""

from dhtnode.swarm.estimate import MethodEstimate, estimate_observations
from dhtnode.swarm.replies import Observation, ScrapeReply, observe
from dhtnode.swarm.stopping_rule import more_nodes_wanted
from dhtnode.swarm.trust_marks import MARKS, left_out, marks_of

__all__ = [
    "MARKS",
    "MethodEstimate",
    "Observation",
    "ScrapeReply",
    "estimate_observations",
    "left_out",
    "marks_of",
    "more_nodes_wanted",
    "observe",
]
