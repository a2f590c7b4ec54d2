"""Whom a lookup has heard of: each under one address and one id, in the order of distance to the target.

Nobody's word is taken for more than it is worth.  Of several ids claimed for one address the closest
holds until the node answers; its own word may then move it away from the target, never towards it.
So neither can a liar hide a node under a false id, nor a node slip in front of others by a change of
id.  A source that names silent contacts only is no longer believed.

Ids that conform to BEP 42 are preferred at the end, and nowhere before: as many places as `kept` are
for them, as long as there are any, and a node that does not conform counts while there are others
left.  Liars with ids of their choice may be the closest of all, but not the only ones found.
"""

from collections.abc import Container, Iterable, Iterator
from enum import Enum
from heapq import nsmallest
from itertools import islice
from operator import itemgetter

from sortedcontainers import SortedDict

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.bep42 import is_compliant
from dhtnode.ids import NodeId, as_int

MAX_CANDIDATES = 400  # unasked ones beyond this are dropped, the farthest first: 16 a reply would add up
DISTRUST_AFTER = 4  # silent contacts of one source, with none that answered


class CandidateState(Enum):
    """Tell how far a candidate has come; a stalled one may be asked again, and its answer is welcome."""

    NEW = "new"
    ASKED = "asked"
    STALLED = "stalled"
    ANSWERED = "answered"
    FAILED = "failed"


class Candidate:
    """Hold what is known of one address, and how well the contacts that it named have done."""

    __slots__ = (
        "_conforms",
        "_judged",
        "address",
        "asks",
        "is_way_in",
        "named_answered",
        "named_silent",
        "network",
        "node_id",
        "sources",
        "state",
        "under_way",
    )

    def __init__(self, address: Address, network: str) -> None:
        self.address = address
        self.network = network
        self.node_id: NodeId | None = None
        self.state = CandidateState.NEW
        self.asks = 0
        self.under_way = 0  # asks that have not timed out
        self.is_way_in = False
        self.sources: set[Candidate | None] = set()  # None stands for our own table
        self.named_answered = 0
        self.named_silent = 0
        self._judged: NodeId | None = None
        self._conforms = False

    @property
    def conforms(self) -> bool:
        """Tell whether the id goes with the address (BEP 42); worked out for few candidates only."""
        if self.node_id is not None and self._judged is not self.node_id:
            self._judged, self._conforms = self.node_id, is_compliant(self.node_id, self.address.host)
        return self._conforms

    @property
    def is_open_to_claims(self) -> bool:
        """Tell whether the id may still be changed by what others say; ours is not doubted unasked."""
        return self.state is CandidateState.NEW and None not in self.sources

    @property
    def is_distrusted(self) -> bool:
        """Tell whether this node has named several contacts that stay silent, and none that answered."""
        return self.named_silent >= DISTRUST_AFTER and not self.named_answered

    @property
    def is_vouched_for(self) -> bool:
        """Tell whether anybody who named this node is still believed."""
        return any(source is None or not source.is_distrusted for source in self.sources)

    def praise_sources(self) -> None:
        """Note for all who named this node that it has answered."""
        for source in self.sources:
            if source is not None:
                source.named_answered += 1

    def blame_sources(self) -> None:
        """Note for all who named this node that it is silent, or somebody else."""
        for source in self.sources:
            if source is not None:
                source.named_silent += 1


class Candidates:
    """Keep the candidates of one lookup."""

    def __init__(
        self,
        target: bytes,
        own_id: NodeId,
        scope: Scope,
        *,
        width: int,
        kept: int,
        ours: Container[NodeId] = (),
    ) -> None:
        self._target = as_int(target)
        self._own_id = own_id
        self._ours = ours
        self._scope = scope
        self._width = width
        self._kept = kept
        self._known: dict[Address, Candidate] = {}
        self._by_distance: SortedDict[int, Candidate] = SortedDict()

    def __len__(self) -> int:
        """Return how many addresses are known, failed ones and ways in included."""
        return len(self._known)

    def get(self, address: Address) -> Candidate | None:
        """Return who is known at an address."""
        return self._known.get(address)

    def distance(self, contact: Contact) -> int:
        """Return how far a contact is from the target."""
        return as_int(contact.node_id) ^ self._target

    def add(self, contacts: Iterable[Contact], source: Candidate | None) -> None:
        """Add contacts from our own table, or the closest of those that `source` named."""
        usable = [contact for contact in contacts if self._is_usable(contact)]
        if source is not None:
            usable = nsmallest(2 * self._width, usable, key=self.distance)
        for contact in usable:
            candidate = self._candidate_of(contact)
            if candidate is not None and candidate is not source and source not in candidate.sources:
                candidate.sources.add(source)
                if source is not None and candidate.state is CandidateState.ANSWERED:
                    source.named_answered += 1
        self._drop_farthest()

    def add_way_in(self, address: Address) -> Candidate | None:
        """Add an address whose node id is not known; None when it is known or not to be asked."""
        if address in self._known or not self._scope.allows(address):
            return None
        candidate = Candidate(address, self._scope.network_key(address))
        candidate.is_way_in = True
        self._known[address] = candidate
        return candidate

    def believes(self, candidate: Candidate, node_id: NodeId) -> bool:
        """Return whether an answer under this id counts, and note who was wrong about the id."""
        claimed = candidate.node_id
        if claimed == node_id:
            return True
        candidate.blame_sources()
        candidate.sources.clear()
        # A way in was given to us, not named by a remote: what it says of itself counts.
        if claimed is not None and not candidate.is_way_in and self._is_closer(node_id, claimed):
            return False
        return self._name(candidate, node_id)

    def fail(self, candidate: Candidate) -> int | None:
        """Take a candidate out of the running, and return its distance if it has an id.

        Its address stays known, so that it is not asked again.
        """
        candidate.state = CandidateState.FAILED
        if candidate.node_id is None:
            return None
        distance = as_int(candidate.node_id) ^ self._target
        del self._by_distance[distance]
        return distance

    def by_distance(self) -> list[tuple[int, Candidate]]:
        """Return distance and candidate of all whose id is known, failed ones included, closest first."""
        found = [
            (as_int(candidate.node_id) ^ self._target, candidate)
            for candidate in self._known.values()
            if candidate.node_id is not None
        ]
        return sorted(found, key=itemgetter(0))

    def in_running(self, *settled: CandidateState) -> Iterator[Candidate]:
        """Yield the candidates, closest first, but at the end those whose places are kept for others.

        Who is in one of the `settled` states takes a place.
        """
        if not self._kept:
            yield from self._by_distance.values()
            return
        places = self._width - self._kept
        last: list[Candidate] = []
        candidate: Candidate
        for candidate in self._by_distance.values():
            if candidate.conforms:
                yield candidate
            elif places:
                places -= candidate.state in settled
                yield candidate
            else:
                last.append(candidate)
        yield from last

    def stalled_within(self, radius: int) -> int:
        """Return how many stalled ones are closer than that; cost: linear in those that are."""
        return sum(
            self._by_distance[distance].state is CandidateState.STALLED
            for distance in self._by_distance.irange(maximum=radius, inclusive=(True, False))
        )

    def closest(self) -> list[Contact]:
        """Return the closest contacts that answered, closest first, at most `width`.

        Some that do not conform may be left out for others that do and are less close.
        """
        answered = (
            Contact(candidate.node_id, candidate.address)
            for candidate in self.in_running(CandidateState.ANSWERED)
            if candidate.state is CandidateState.ANSWERED and candidate.node_id is not None
        )
        return sorted(islice(answered, self._width), key=self.distance)

    def _is_usable(self, contact: Contact) -> bool:
        return not self._is_ours(contact.node_id) and self._scope.allows(contact.address)

    def _is_ours(self, node_id: NodeId) -> bool:
        return node_id == self._own_id or node_id in self._ours

    def _candidate_of(self, contact: Contact) -> Candidate | None:
        """Return the candidate that a contact names, new if need be.

        None when somebody else already stands for that address or that id: the first word counts,
        so that no later reply can put another address in the place of a known id.
        """
        candidate = self._known.get(contact.address)
        if candidate is None:
            if self.distance(contact) in self._by_distance:
                return None
            candidate = Candidate(contact.address, self._scope.network_key(contact.address))
            self._known[contact.address] = candidate
        if candidate.is_open_to_claims and self._is_closer(contact.node_id, candidate.node_id):
            self._name(candidate, contact.node_id)
        return candidate if candidate.node_id == contact.node_id else None

    def _is_closer(self, node_id: NodeId, other: NodeId | None) -> bool:
        return other is None or as_int(node_id) ^ self._target < as_int(other) ^ self._target

    def _name(self, candidate: Candidate, node_id: NodeId) -> bool:
        """File a candidate under an id, unless it is our own or somebody else was asked under it."""
        distance = as_int(node_id) ^ self._target
        other: Candidate | None = self._by_distance.get(distance)
        if self._is_ours(node_id) or (other is not None and other.state is not CandidateState.NEW):
            return False
        if candidate.node_id is not None:
            del self._by_distance[as_int(candidate.node_id) ^ self._target]
            candidate.sources.clear()
        if other is not None:
            other.node_id = None
            if not other.is_way_in:
                del self._known[other.address]
        candidate.node_id = node_id
        self._by_distance[distance] = candidate
        return True

    def _drop_farthest(self) -> None:
        excess = len(self._by_distance) - MAX_CANDIDATES
        if excess <= 0:
            return
        unasked = (
            (distance, candidate)
            for distance, candidate in reversed(self._by_distance.items())
            if candidate.state is CandidateState.NEW and not candidate.is_way_in
        )
        for distance, candidate in list(islice(unasked, excess)):
            del self._by_distance[distance]
            del self._known[candidate.address]
