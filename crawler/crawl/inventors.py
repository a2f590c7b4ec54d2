"""Which nodes that answered hand out nodes that do not exist, by what a census has seen of them.

Evidence is of two kinds.  A node may be marked: its contacts lie where none can be, or closer to a random
target than any node is.  Or half of the usable contacts it returned, and three at least, were returned by it
alone and never answered.  Honest nodes know dead ones too, but others know these as well.
A node counts as the only referrer by the first 32 bits of its id, and for no more than were new with it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes, Numbers
from crawler.core.frontier import Frontier
from crawler.core.visit import VisitMark
from crawler.crawl.in_degrees import InDegrees
from crawler.db.records.records import ANSWERED, OUTCOME_CODES, HostValue, VisitFacts
from dhtnode import Family
from dhtnode.addresses import pack_host
from dhtnode.ids import ID_BYTES
from dhtnode.outcomes import Outcome

LEAST_ALONE = 3
SHARE_ALONE = 0.5  # of the usable contacts that a node returned
INVENTING = (VisitMark.IMPOSSIBLY_CLOSE, VisitMark.UNUSABLE_CONTACTS)

_AT_ONCE = 1 << 14  # visits
_TIMEOUT = OUTCOME_CODES[Outcome.TIMEOUT]
_MOST = 0xFFFF

_Piece: TypeAlias = tuple[Bytes, "NDArray[np.int64]"]
_COLUMNS = ("outcome", "usable", "new", "marked")


class DamagedEvidence(ValueError):
    """The reason why rows do not give the counts of a census."""


def visit_pieces(rows: Iterable[VisitFacts], family: Family) -> Iterator[_Piece]:
    """Yield the contacts of visits as rows of bytes, and what else is known of them; at least one piece."""
    remaining, size = iter(rows), family.contact_bytes
    while True:
        some = list(islice(remaining, _AT_ONCE))
        packed = b"".join([_packed(each.node_id, each.host, each.port, size) for each in some])
        facts = [
            (each.outcome, each.contacts - each.unusable, each.new_contacts, _is_marked(each.marks))
            for each in some
        ]
        yield np.frombuffer(packed, np.uint8).reshape(len(some), size), _as_rows(facts)
        if len(some) < _AT_ONCE:
            return


def _as_rows(facts: list[tuple[int, int, int, bool]]) -> NDArray[np.int64]:
    return np.array(facts, np.int64).reshape(len(facts), len(_COLUMNS))


def _is_marked(marks: str | None) -> bool:
    return marks is not None and not set(INVENTING).isdisjoint(marks.split())


def _packed(node_id: bytes, host: HostValue, port: int, size: int) -> bytes:
    packed = host.to_bytes(4, "big") if isinstance(host, int) else pack_host(host)
    contact = node_id + packed + port.to_bytes(2, "big")
    if len(node_id) != ID_BYTES or len(contact) != size:
        raise DamagedEvidence(f"a visit is to {host!r}, which is no host of this family")
    return contact


class SeenVisits:
    """What the visits of one family have shown, by the number of the endpoint; some 10 bytes for each."""

    def __init__(self, endpoints: int) -> None:
        """Start without a visit."""
        self.numbers: list[Numbers] = []
        self.visits = np.zeros(endpoints, np.uint8)
        self.has_answered = np.zeros(endpoints, np.bool_)
        self._is_silent = np.zeros(endpoints, np.bool_)
        self._is_marked = np.zeros(endpoints, np.bool_)
        self._usable = np.zeros(endpoints, np.uint16)
        self._new = np.zeros(endpoints, np.uint16)

    def add(self, numbers: Numbers, facts: NDArray[np.int64]) -> None:
        """Add some visits, in order; the last of an endpoint says how it ended."""
        outcomes, usable, new, marked = facts.T
        self.numbers.append(numbers.astype(np.int32))
        np.add.at(self.visits, numbers, 1)
        self._is_silent[numbers] = outcomes == _TIMEOUT
        self.has_answered[numbers] |= outcomes == ANSWERED
        self._is_marked[numbers] |= marked > 0
        self._usable[numbers] = np.clip(usable, 0, _MOST)
        self._new[numbers] = np.clip(new, 0, _MOST)

    def alone_and_silent(self, frontier: Frontier) -> Numbers:
        """Return the endpoints that one node alone has returned, and that never answered."""
        silent = np.flatnonzero(self._is_silent)
        alone: Numbers = silent[frontier.referrers(silent) == 1]
        return alone

    def inventing(self, frontier: Frontier, in_degrees: InDegrees, answered: Numbers) -> NDArray[np.bool_]:
        """Return which of the nodes that answered hand out nodes that do not exist; 0.2 us for each."""
        alone = self.alone_and_silent(frontier)
        farthest = in_degrees.farthest(alone).max(axis=1, initial=0)
        referrers, counts = np.unique(frontier.table.id_prefixes(alone) ^ farthest, return_counts=True)
        ids = frontier.table.id_prefixes(answered)
        places = np.searchsorted(referrers, ids)
        is_referrer = np.append(referrers, 0)[places] == ids
        is_referrer &= places < len(referrers)
        of_each = np.where(is_referrer, np.append(counts, 0)[places], 0)
        invented = np.minimum(of_each, self._new[answered])
        are_inventing: NDArray[np.bool_] = self._is_marked[answered] | (
            (invented >= LEAST_ALONE) & (invented >= SHARE_ALONE * self._usable[answered])
        )
        return are_inventing
