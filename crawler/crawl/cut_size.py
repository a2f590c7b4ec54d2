"""The size of a network from a crawl that was cut: how densely nodes lie around those that answered.

A node that answered has returned the contacts closest to it, so around it the crawl knows nearly all that
there are, however little it has seen elsewhere.  Those not visited yet count by the share of visited ones
like them that answered.
"""

from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crawler.analysis.species_richness import NetworkSize, gamma_95
from crawler.core.frontier import Frontier
from crawler.core.sightings import ANSWERED, KINDS, MOST_REFERRERS, WAITING, referrers_of, states_of
from crawler.crawl.answered_nodes import AnsweredNodes
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.ids import ID_BITS

K = 8
MOST_CENTRES = 1024
MODEL_ERROR = 0.12  # of what is not visited: those taken first answer more often

Ended: TypeAlias = NDArray[np.int64]
"""How many visits ended without an answer and with one, by the referrers that the node had then."""


def size_of_cut_crawl(
    frontier: Frontier, family: Family, ended: Ended, loss: float, zone: Zone, random: Random
) -> NetworkSize | None:
    """Estimate how many endpoints of the whole network would answer, from distances around some that did.

    `(LK - 1) / sum(d_K)` endpoints are known in the unit of the id space, for L centres and the distance
    `d_K` from each to the K-th closest known; of these the share that answers counts.  For those not visited
    yet it is that of the visits that have `ended`, of nodes with as many referrers; a share `loss` of their
    answers got lost.  The interval has the errors of both, and `MODEL_ERROR`.  None before K nodes with as
    many others around them have answered.  Costs some 50 us for each of up to 1024 centres, and 0.3 us for
    each endpoint.
    """
    sighted = AnsweredNodes(frontier.table, np.arange(len(frontier.table)), family)
    answered = frontier.answered.tolist()
    # What is under way waits, nearly all of it, for what will not answer.
    shares = _answering_shares(ended, frontier.statistics().in_flight, loss)
    total, live, centres = 0.0, 0.0, 0
    for number in random.sample(answered, min(len(answered), MOST_CENTRES)):
        centre = sighted.id_of(number)
        near = sighted.closest_numbers(centre, K)
        if len(near) == K:
            total += (sighted.id_of(near[-1]) ^ centre) / 2**ID_BITS
            live += float(shares[frontier.known(near)].sum())
            centres += 1
    if centres < K or not total:
        return None
    known, share = (centres * K - 1) / total, live / (centres * K)
    # Centres near each other see the same endpoints.
    apart = K * min(float(centres), max(1.0, len(frontier.table) / K))
    estimate = known * share
    unvisited = 1 - frontier.statistics().finished / len(frontier.table)
    relative = (1 + (1 - share) / max(share, 1 / apart)) / apart + (MODEL_ERROR * unvisited) ** 2
    variance = estimate**2 * relative
    low, high = gamma_95(estimate, variance)
    counted = 0 if zone.bits else len(answered)
    return NetworkSize(max(estimate, counted), max(low, counted), max(high, counted), variance, counted)


def _answering_shares(ended: Ended, waiting: int, loss: float) -> NDArray[np.float64]:
    """Return the chance that an endpoint would answer, by the byte that says what is known of it."""
    visited = ended.sum(axis=1)
    overall = ended[:, 1].sum() / max(visited.sum(), 1)
    in_time = visited.sum() / max(visited.sum() + waiting, 1) / (1 - min(loss, 0.5))
    by_referrers = (ended[:, 1] + overall) / (visited + 1) * in_time
    referrers, states = np.minimum(referrers_of(KINDS), MOST_REFERRERS), states_of(KINDS)
    shares: NDArray[np.float64] = np.minimum(by_referrers[referrers], 1.0)
    shares[states != WAITING] = 0.0
    shares[states == ANSWERED] = 1.0
    return shares
