"""The counts of a crawl from what its frontier knows, and which of that is kept to count again later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crawler.core.contact_table import Numbers
from crawler.core.frontier import Frontier
from crawler.crawl.answered_nodes import AnsweredNodes, one_of_each_host
from crawler.crawl.in_degrees import InDegrees
from crawler.crawl.inventors import SeenVisits
from crawler.crawl.network_sizes import Evidence, FamilyTally, Tally
from dhtnode import Family


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the endpoints of one family, by their numbers, and the queries that show the loss."""

    frontier: Frontier
    in_degrees: InDegrees
    second_queries: int
    second_answers: int
    sighted: int | None = None
    """Endpoints returned by others, where the frontier has fewer."""


def tally_of(
    known: Known, family: Family, seen: SeenVisits | None = None, *, by_endpoint: bool
) -> FamilyTally:
    """Return the counts of a crawl; linear in the endpoints.

    Without what its visits have shown, nodes that hand out nodes which do not exist are not told apart.
    """
    frontier = known.frontier
    answered = frontier.answered
    believed = frontier.believed(answered)
    endpoints = _tally(known, family, believed)
    hosts = None if by_endpoint else _of_hosts(known, family, endpoints)
    is_all = len(believed) == len(answered)
    nodes = endpoints.nodes if is_all else AnsweredNodes(frontier.table, answered, family)
    unconfirmed, most = len(answered) - len(believed), frontier.unconfirmed[1]
    tally = FamilyTally(hosts, endpoints, nodes, unconfirmed, most, frontier.statistics().held)
    if seen is None:
        return tally
    are_inventing = seen.inventing(frontier, known.in_degrees, believed)
    rest = tally.headline
    if are_inventing.any():
        rest = _tally(known, family, believed[~are_inventing])
        rest = rest if by_endpoint else _of_hosts(known, family, rest)
    evidence = _evidence_of(known, seen, (endpoints, tally.headline, rest), believed[are_inventing])
    return replace(tally, evidence=evidence, rest=rest)


def _of_hosts(known: Known, family: Family, endpoints: Tally) -> Tally:
    nodes = endpoints.nodes
    places = one_of_each_host(nodes.hosts(), known.frontier.referrers(nodes.numbers), nodes.words())
    return _tally(known, family, nodes.numbers[places]) if len(places) < len(nodes.numbers) else endpoints


def _sighted(known: Known) -> int:
    return len(known.frontier.table) if known.sighted is None else known.sighted


def _tally(known: Known, family: Family, answered: Numbers) -> Tally:
    table = known.frontier.table
    return Tally(
        AnsweredNodes(table, answered, family),
        known.frontier.sightings(answered),
        known.second_queries,
        known.second_answers,
        known.in_degrees.outside(answered, table.id_prefixes(answered), _sighted(known)),
    )


def _evidence_of(known: Known, seen: SeenVisits, tallies: Sequence[Tally], inventing: Numbers) -> Evidence:
    """Return what the tallies follow from: a part that one of them needs is needed whole by the others."""
    table, wanted, before = known.frontier.table, np.zeros(len(known.frontier.table), np.bool_), -1
    distinct = {id(each): each for each in tallies}.values()
    while before < (before := int(np.count_nonzero(wanted))):
        for tally in distinct:
            numbers = tally.nodes.numbers
            known.in_degrees.mark_few(numbers, table.id_prefixes(numbers), _sighted(known), wanted)
        if len(distinct) == 1:
            break
    numbers, alone = np.flatnonzero(wanted), seen.alone_and_silent(known.frontier)
    return Evidence(
        known.frontier,
        known.second_queries,
        known.second_answers,
        numbers,
        known.in_degrees.farthest(numbers),
        seen,
        alone,
        known.in_degrees.farthest(alone).max(axis=1, initial=0),
        inventing,
    )


def recaptured(frontier: Frontier, numbers: Numbers) -> int:
    """Return how many of some endpoints, -1 for unknown ones, the first walk counts."""
    known = numbers[numbers >= 0]
    counted = frontier.believed(frontier.answered)
    return int(np.isin(known, counted).sum())
