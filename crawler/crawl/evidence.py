"""What the sizes of a census follow from, in rows: written at its end, and read to count all of it again."""

from dataclasses import replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from crawler.core.frontier import Frontier
from crawler.core.sightings import encode_changes, seen_in_visits, sighted
from crawler.crawl.in_degrees import HELD, InDegrees
from crawler.crawl.inventors import DamagedEvidence, SeenVisits, visit_pieces
from crawler.crawl.network_sizes import ControlCounts, Evidence, FamilyTally
from crawler.crawl.tallies import Known, recaptured, tally_of
from crawler.db.records.records import CensusEvidence
from crawler.db.visits import VisitRows
from crawler.zone import Zone
from dhtnode import Family

_NAMINGS = np.dtype([("visit", ">u4"), ("distances", ">u4", (HELD,))])
_ALONE = np.dtype([("visit", ">u4"), ("distance", ">u4")])


def seen_visits(visits: VisitRows, run_id: int, family: Family, frontier: Frontier) -> SeenVisits:
    """Return what the visits of a census have shown, all of which are written; some 3 us for each."""
    seen = SeenVisits(len(frontier.table))
    for contacts, facts in visit_pieces(visits.endpoints(run_id, family), family):
        seen.add(frontier.table.find(frontier.table.keys(contacts)), facts)
    return seen


def evidence_row(family: Family, evidence: Evidence, control: ControlCounts | None = None) -> CensusEvidence:
    """Return what is kept of a census beside its visits."""
    frontier, numbers = evidence.frontier, np.concatenate(evidence.seen.numbers)
    known = sighted(frontier.known(numbers))
    place_of = np.zeros(len(frontier.table), np.int64)
    place_of[numbers] = np.arange(len(numbers))
    namings = np.empty(len(evidence.numbers), _NAMINGS)
    namings["visit"], namings["distances"] = place_of[evidence.numbers], evidence.distances
    alone = np.empty(len(evidence.alone), _ALONE)
    alone["visit"], alone["distance"] = place_of[evidence.alone], evidence.alone_distances
    counts = frontier.statistics()
    return CensusEvidence(
        family,
        counts.sighted,
        counts.held,
        evidence.second_queries,
        evidence.second_answers,
        known.tobytes(),
        namings.tobytes(),
        alone[alone["distance"] > 0].tobytes(),
        str(control.zone) if control else None,
        control.nodes if control else None,
        control.queries if control else None,
    )


def inventing_places(evidence: Evidence) -> list[int]:
    """Return the places of the visits at which nodes answered that hand out nodes which do not exist.

    They are places among all visits of the family that are no verification.
    """
    numbers = np.concatenate(evidence.seen.numbers)
    place_of = np.zeros(len(evidence.frontier.table), np.int64)
    place_of[numbers] = np.arange(len(numbers))
    places: list[int] = place_of[evidence.inventing].tolist()
    return places


def tally_again(
    visits: VisitRows, run_id: int, kept: CensusEvidence, random: Random, *, by_endpoint: bool
) -> FamilyTally:
    """Return the counts of one family of a census from its rows alone; some 5 us for each visit.

    Which nodes answered, at which visit, under which id and from which host is what the visits say.
    Raises `DamagedEvidence`, and `DatabaseError`.
    """
    family = Family(kept.family)
    pieces = list(visit_pieces(visits.endpoints(run_id, family), family))
    contacts = np.concatenate([each for each, _ in pieces])
    namings = _read(kept, len(contacts), kept.namings, _NAMINGS)
    alone = _read(kept, len(contacts), kept.alone, _ALONE)
    frontier = Frontier(family, len(contacts), random, counts_hosts=False)
    _, first, inverse = np.unique(frontier.table.keys(contacts), return_index=True, return_inverse=True)
    order = np.argsort(first)
    numbers = np.argsort(order)[inverse]
    seen = SeenVisits(len(first))
    seen.add(numbers, np.concatenate([each for _, each in pieces]))
    known = np.zeros(len(first), np.uint8)
    known[numbers] = sighted(np.frombuffer(kept.known, np.uint8))
    known = seen_in_visits(known, seen.has_answered, seen.visits)
    changes = encode_changes(np.arange(len(known)), known)
    frontier.restore([(contacts[first[order]].tobytes(), changes)], is_held=kept.held > 0)
    in_degrees = InDegrees()
    for endpoints, distances in (
        (np.repeat(namings["visit"], HELD), namings["distances"].ravel()),
        (alone["visit"], alone["distance"]),
    ):
        is_there = distances > 0
        in_degrees.add(numbers[endpoints[is_there].astype(np.int64)], distances[is_there].astype(np.uint32))
    facts = Known(frontier, in_degrees, kept.second_queries, kept.second_answers, kept.sighted)
    tally = tally_of(facts, family, seen, by_endpoint=by_endpoint)
    return replace(tally, control=_control_again(frontier, family, kept))


def _control_again(frontier: Frontier, family: Family, kept: CensusEvidence) -> ControlCounts | None:
    """Return what the second walk found, and how many of these nodes the visits of the first have."""
    if kept.second_part is None or kept.second_nodes is None or kept.second_walk_queries is None:
        return None
    if len(kept.second_nodes) % family.contact_bytes:
        raise DamagedEvidence("the nodes of its second walk are cut")
    nodes = np.frombuffer(kept.second_nodes, np.uint8).reshape(-1, family.contact_bytes)
    counted = recaptured(frontier, frontier.table.find(frontier.table.keys(nodes)))
    zone = Zone(int(kept.second_part, 2), len(kept.second_part))
    return ControlCounts(zone, kept.second_nodes, len(nodes), counted, kept.second_walk_queries)


def _read(kept: CensusEvidence, visits: int, packed: bytes, form: np.dtype[np.void]) -> NDArray[np.void]:
    if len(kept.known) != visits:
        raise DamagedEvidence(f"it has {visits} visits, and was counted with {len(kept.known)}")
    if len(packed) % form.itemsize:
        raise DamagedEvidence("its namings are cut")
    namings = np.frombuffer(packed, form)
    if len(namings) and int(namings["visit"].max()) >= visits:
        raise DamagedEvidence("its namings are of visits that it does not have")
    if not 0 <= kept.second_answers <= kept.second_queries or visits > kept.sighted * 2:
        raise DamagedEvidence("its counts contradict each other")
    return namings
