"""Whether enough nodes were asked about a swarm, or more should be."""

from collections.abc import Sequence

from dhtnode.addresses import Family
from dhtnode.swarm.capture_history import capture_history
from dhtnode.swarm.replies import Observation

EXTENDED_TO = 16
"""Nodes asked of one family when part of the swarm is not seen: as far as announces reach, in practice."""

UNSEEN_SHARE = 0.01
"""Share of a swarm that may stay unseen: less than the noise of one filter."""

UNSEEN_PEERS = 2.0
"""Peers that may stay unseen in any case, so that a peer more or less costs no 8 queries."""


def more_nodes_wanted(evidence: Sequence[Observation]) -> int:
    """Return how many further nodes should be asked for a good estimate: 0 when it is enough.

    Pass what all nodes of one family said that were asked so far; the next nodes are the next
    closest.  More are wanted where the overlap of what they said tells that they did not say all,
    or where there is no overlap to tell.  Costs a tenth of an estimate.
    """
    return max(
        (_wanted([node for node in evidence if node.family is family]) for family in Family), default=0
    )


def _wanted(evidence: Sequence[Observation]) -> int:
    missing = EXTENDED_TO - len(evidence)
    if missing <= 0:
        return 0
    captures = capture_history(evidence)
    seen, whole = captures.seen.estimate, captures.whole()
    unseen = seen if whole is None else whole.estimate - seen
    return missing if unseen > max(UNSEEN_PEERS, UNSEEN_SHARE * (seen + unseen)) else 0
