"""What the sizes of a census follow from, in rows: written at its end, and read to count all of it again."""

from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes
from crawler.core.frontier import SIGHTED, Frontier, change_bytes, seen_in_visits
from crawler.crawl.in_degrees import HELD, InDegrees
from crawler.crawl.network_sizes import Evidence, FamilyTally
from crawler.crawl.tallies import Known, tally_of
from crawler.db.records.records import ANSWERED, CensusEvidence, HostValue
from crawler.db.visits import VisitRows
from dhtnode import Family
from dhtnode.addresses import pack_host
from dhtnode.ids import ID_BYTES

_Row: TypeAlias = tuple[bytes, HostValue, int, int]

_AT_ONCE = 1 << 14  # visits
_NAMINGS = np.dtype([("visit", ">u4"), ("distances", ">u4", (HELD,))])


class DamagedEvidence(ValueError):
    """The reason why rows do not give the counts of a census."""


def evidence_row(visits: VisitRows, run_id: int, family: Family, evidence: Evidence) -> CensusEvidence:
    """Return what is kept of a census, all visits of which are written; some 2 us for each."""
    frontier = evidence.frontier
    numbers = np.concatenate(
        [
            frontier.table.find(frontier.table.keys(contacts))
            for contacts, _ in _pieces(visits.endpoints(run_id, family), family)
        ]
    )
    known = frontier.known(numbers) & np.uint8(SIGHTED)
    place_of = np.zeros(len(frontier.table), np.int64)
    place_of[numbers] = np.arange(len(numbers))
    namings = np.empty(len(evidence.numbers), _NAMINGS)
    namings["visit"], namings["distances"] = place_of[evidence.numbers], evidence.distances
    counts = frontier.statistics()
    seconds = evidence.second_queries, evidence.second_answers
    return CensusEvidence(family, counts.sighted, counts.held, *seconds, known.tobytes(), namings.tobytes())


def tally_again(
    visits: VisitRows, run_id: int, kept: CensusEvidence, random: Random, *, by_endpoint: bool
) -> FamilyTally:
    """Return the counts of one family of a census from its rows alone; some 5 us for each visit.

    Which nodes answered, at which visit, under which id and from which host is what the visits say.
    Raises `DamagedEvidence`, and `DatabaseError`.
    """
    family = Family(kept.family)
    pieces = list(_pieces(visits.endpoints(run_id, family), family))
    contacts = np.concatenate([each for each, _ in pieces])
    has_answered = np.concatenate([each for _, each in pieces])
    namings = _read_namings(kept, len(contacts))
    frontier = Frontier(family, len(contacts), random, counts_hosts=False)
    _, first, inverse = np.unique(frontier.table.keys(contacts), return_index=True, return_inverse=True)
    order = np.argsort(first)
    numbers = np.argsort(order)[inverse]
    known, answered = np.zeros(len(first), np.uint8), np.zeros(len(first), np.bool_)
    known[numbers] = np.frombuffer(kept.known, np.uint8) & np.uint8(SIGHTED)
    answered[numbers[has_answered]] = True
    changes = change_bytes(seen_in_visits(known, answered, np.bincount(numbers)))
    frontier.restore([(contacts[first[order]].tobytes(), changes)], is_held=kept.held > 0)
    in_degrees = InDegrees()
    endpoints = np.repeat(numbers[namings["visit"].astype(np.int64)], HELD)
    distances = namings["distances"].astype(np.uint32).ravel()
    in_degrees.add(endpoints[distances > 0], distances[distances > 0])
    facts = Known(frontier, in_degrees, kept.second_queries, kept.second_answers, kept.sighted)
    return tally_of(facts, family, by_endpoint=by_endpoint)


def _read_namings(kept: CensusEvidence, visits: int) -> NDArray[np.void]:
    if len(kept.known) != visits:
        raise DamagedEvidence(f"it has {visits} visits, and was counted with {len(kept.known)}")
    if len(kept.namings) % _NAMINGS.itemsize:
        raise DamagedEvidence("its namings are cut")
    namings = np.frombuffer(kept.namings, _NAMINGS)
    if len(namings) and int(namings["visit"].max()) >= visits:
        raise DamagedEvidence("its namings are of visits that it does not have")
    if not 0 <= kept.second_answers <= kept.second_queries or visits > kept.sighted * 2:
        raise DamagedEvidence("its counts contradict each other")
    return namings


def _pieces(rows: Iterable[_Row], family: Family) -> Iterator[tuple[Bytes, NDArray[np.bool_]]]:
    """Yield the contacts of visits as rows of bytes, and which of them answered; at least one piece."""
    remaining, size = iter(rows), family.contact_bytes
    while True:
        some = list(islice(remaining, _AT_ONCE))
        packed = b"".join([_packed(*each[:3], size) for each in some])
        contacts = np.frombuffer(packed, np.uint8).reshape(len(some), size)
        yield contacts, np.array([outcome == ANSWERED for *_, outcome in some], np.bool_)
        if len(some) < _AT_ONCE:
            return


def _packed(node_id: bytes, host: HostValue, port: int, size: int) -> bytes:
    packed = host.to_bytes(4, "big") if isinstance(host, int) else pack_host(host)
    contact = node_id + packed + port.to_bytes(2, "big")
    if len(node_id) != ID_BYTES or len(contact) != size:
        raise DamagedEvidence(f"a visit is to {host!r}, which is no host of this family")
    return contact
