"""The counts of a crawl from what its frontier knows, and which of that is kept to count again later."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from crawler.core.contact_table import Numbers
from crawler.core.frontier import Frontier
from crawler.crawl.answered_nodes import AnsweredNodes, one_of_each_host
from crawler.crawl.in_degrees import InDegrees
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


def tally_of(known: Known, family: Family, *, by_endpoint: bool) -> FamilyTally:
    """Return the counts of a crawl; linear in the endpoints."""
    frontier = known.frontier
    answered = frontier.answered
    believed = frontier.believed(answered)
    endpoints, hosts = _tally(known, family, believed), None
    if not by_endpoint:
        nodes = endpoints.nodes
        places = one_of_each_host(nodes.hosts(), frontier.referrers(believed), nodes.words())
        hosts = _tally(known, family, believed[places]) if len(places) < len(believed) else endpoints
    is_all = len(believed) == len(answered)
    nodes = endpoints.nodes if is_all else AnsweredNodes(frontier.table, answered, family)
    unconfirmed, most = len(answered) - len(believed), frontier.unconfirmed[1]
    evidence = _evidence_of(known, {id(each): each for each in (endpoints, hosts or endpoints)}.values())
    return FamilyTally(hosts, endpoints, nodes, unconfirmed, most, frontier.statistics().held, evidence)


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


def _evidence_of(known: Known, tallies: Collection[Tally]) -> Evidence:
    """Return what the tallies follow from: a part that one of them needs is needed whole by the others."""
    table, wanted, before = known.frontier.table, np.zeros(len(known.frontier.table), np.bool_), -1
    while before < (before := int(np.count_nonzero(wanted))):
        for tally in tallies:
            numbers = tally.nodes.numbers
            known.in_degrees.mark_few(numbers, table.id_prefixes(numbers), _sighted(known), wanted)
        if len(tallies) == 1:
            break
    numbers = np.flatnonzero(wanted)
    distances = known.in_degrees.farthest(numbers)
    return Evidence(known.frontier, known.second_queries, known.second_answers, numbers, distances)
