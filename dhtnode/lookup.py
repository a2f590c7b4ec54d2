"""One walk towards a target, as data: whom to ask next, what has come back, are we done.

A lookup keeps the candidates it has heard of, sorted by distance to the target, and ends when the
8 closest of them that did not fail have all answered.  It sends nothing and knows no clock:
`traverse` asks `take_next` and reports what happened.

No single source is trusted.  Of one reply only the closest contacts count, a source whose contacts
fail is no longer believed, one network (a /24 or /64) gets one query, and a contact counts as found
only when it has answered itself.  Of several ids claimed for one address the closest holds until the
node answers; its own word may then move it away from the target, never towards it.  So neither can
a liar hide a node under a false id, nor a node slip in front of others by a change of id.

Ids that conform to BEP 42 are preferred at the end, and nowhere before: as many places as `kept` are
for them, as long as there are any, and a node that does not conform counts while there are others
left.  Liars with ids of their choice may be the closest of all, but not the only ones found.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from heapq import nsmallest
from itertools import islice

from sortedcontainers import SortedDict

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.ids import NodeId, as_int
from dhtnode.secure_ids import conforms

MAX_CANDIDATES = 400  # unasked ones beyond this are dropped, the farthest first: 16 a reply would add up
DISTRUST_AFTER = 4  # failed contacts of one source, with none that answered


class State(Enum):
    """Tell how far a candidate has come."""

    NEW = "new"
    ASKED = "asked"
    STALLED = "stalled"
    ANSWERED = "answered"
    FAILED = "failed"


class Lookup:
    """Find the nodes closest to a target."""

    def __init__(
        self,
        target: bytes,
        own_id: NodeId,
        scope: Scope,
        *,
        width: int = 8,
        parallelism: int = 5,
        query_limit: int = 200,
        kept: int = 0,
    ) -> None:
        """Start empty; at least one of `add_contacts` and `add_addresses` must follow."""
        self.target = target
        self.queries = 0
        self.answers = 0
        self._target = as_int(target)
        self._own_id = own_id
        self._scope = scope
        self._width = width
        self._parallelism = parallelism
        self._query_limit = query_limit
        self._kept = kept
        self._known: dict[Address, _Candidate] = {}
        self._by_distance: SortedDict[int, _Candidate] = SortedDict()
        self._ways_in: deque[_Candidate] = deque()
        self._networks: set[str] = set()
        self._failed: list[int] = []
        self._under_way = 0
        self._stalled = 0

    def add_contacts(self, contacts: Iterable[Contact], source: Address | None = None) -> None:
        """Add contacts from our own table, or those that `source` named."""
        naming = None if source is None else self._known.get(source)
        usable = [contact for contact in contacts if self._is_usable(contact)]
        if naming is not None:
            usable = nsmallest(2 * self._width, usable, key=self._contact_distance)
        for contact in usable:
            candidate = self._candidate_of(contact)
            if candidate is not None and candidate is not naming:
                candidate.sources.add(naming)
        self._drop_farthest()

    def add_addresses(self, addresses: Iterable[Address]) -> None:
        """Add ways in: addresses whose node ids are not known, asked while few nodes have answered."""
        for address in addresses:
            if self._scope.allows(address) and address not in self._known:
                candidate = _Candidate(address, self._scope.network_key(address))
                candidate.is_way_in = True
                self._known[address] = candidate
                self._ways_in.append(candidate)

    def take_next(self) -> Address | None:
        """Return the address to ask now and count it as asked, or None while there is nothing to do."""
        if self._under_way - self._stalled >= self._parallelism or self.queries >= self._query_limit:
            return None
        candidate = self._next_candidate() or self._next_way_in()
        if candidate is None:
            return None
        candidate.state = State.ASKED
        self._networks.add(candidate.network)
        self.queries += 1
        self._under_way += 1
        return candidate.address

    def on_response(self, address: Address, node_id: NodeId, contacts: Iterable[Contact]) -> bool:
        """Take in an answer; return False when it counts for nothing, as under an id that came too late."""
        candidate = self._settle(address)
        if candidate is None:
            return False
        if not self._is_believed(candidate, node_id):
            self._fail(candidate)
            return False
        candidate.state = State.ANSWERED
        self.answers += 1
        for source in candidate.sources:
            if source is not None:
                source.named_answered += 1
        self.add_contacts(contacts, address)
        return True

    def on_failure(self, address: Address) -> None:
        """Take note that a node will not answer; its place goes to the next in line."""
        candidate = self._settle(address)
        if candidate is not None:
            self._fail(candidate)

    def on_stall(self, address: Address) -> None:
        """Take note that an answer is late: another query may start, the answer is still welcome."""
        candidate = self._known.get(address)
        if candidate is not None and candidate.state is State.ASKED:
            candidate.state = State.STALLED
            self._stalled += 1

    @property
    def finished(self) -> bool:
        """Tell whether the closest have all answered, or nobody is left to ask."""
        if self._under_way == 0 and self.queries >= self._query_limit:
            return True
        answered = 0
        for candidate in self._in_running(State.ANSWERED):
            if candidate.state is State.ANSWERED:
                answered += 1
                if answered == self._width:
                    return True
            elif candidate.state is not State.NEW or self._is_eligible(candidate):
                return False
        return self._under_way == 0 and self._next_way_in() is None

    def silent_nearby(self) -> int:
        """Return how many nodes were asked in vain that are closer than the last of `closest`."""
        closest = self.closest()
        if not closest:
            return len(self._failed)
        radius = self._contact_distance(closest[-1])
        return sum(distance < radius for distance in self._failed)

    def closest(self) -> list[Contact]:
        """Return the closest contacts that answered, closest first, at most `width`.

        Some that do not conform may be left out for others that do and are less close.
        """
        answered = (
            Contact(candidate.node_id, candidate.address)
            for candidate in self._in_running(State.ANSWERED)
            if candidate.state is State.ANSWERED and candidate.node_id is not None
        )
        return sorted(islice(answered, self._width), key=self._contact_distance)

    def _contact_distance(self, contact: Contact) -> int:
        return as_int(contact.node_id) ^ self._target

    def _is_usable(self, contact: Contact) -> bool:
        return contact.node_id != self._own_id and self._scope.allows(contact.address)

    def _candidate_of(self, contact: Contact) -> "_Candidate | None":
        """Return the candidate that a contact names, new if need be.

        None when somebody else already stands for that address or that id: the first word counts,
        so that no later reply can put another address in the place of a known id.
        """
        candidate = self._known.get(contact.address)
        if candidate is None:
            if self._contact_distance(contact) in self._by_distance:
                return None
            candidate = _Candidate(contact.address, self._scope.network_key(contact.address))
            self._known[contact.address] = candidate
        if candidate.is_open_to_claims and self._is_closer(contact.node_id, candidate.node_id):
            self._name(candidate, contact.node_id)
        return candidate if candidate.node_id == contact.node_id else None

    def _is_closer(self, node_id: NodeId, other: NodeId | None) -> bool:
        return other is None or as_int(node_id) ^ self._target < as_int(other) ^ self._target

    def _is_believed(self, candidate: "_Candidate", node_id: NodeId) -> bool:
        """Return whether an answer under this id counts, and note who was wrong about the id."""
        claimed = candidate.node_id
        if claimed == node_id:
            return True
        self._blame_sources(candidate)
        candidate.sources.clear()
        # A way in was given to us, not named by a remote: what it says of itself counts.
        if claimed is not None and not candidate.is_way_in and self._is_closer(node_id, claimed):
            return False
        return self._name(candidate, node_id)

    def _name(self, candidate: "_Candidate", node_id: NodeId) -> bool:
        """File a candidate under an id, unless it is our own or somebody else was asked under it."""
        distance = as_int(node_id) ^ self._target
        other: _Candidate | None = self._by_distance.get(distance)
        if node_id == self._own_id or (other is not None and other.state is not State.NEW):
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

    def _in_running(self, *settled: State) -> "Iterator[_Candidate]":
        """Yield the candidates, closest first, but at the end those whose places are kept for others.

        Who is in one of the `settled` states takes a place.
        """
        if not self._kept:
            yield from self._by_distance.values()
            return
        places = self._width - self._kept
        last: list[_Candidate] = []
        candidate: _Candidate
        for candidate in self._by_distance.values():
            if candidate.conforms:
                yield candidate
            elif places:
                places -= candidate.state in settled
                yield candidate
            else:
                last.append(candidate)
        yield from last

    def _next_candidate(self) -> "_Candidate | None":
        settled = 0
        for candidate in self._in_running(State.ANSWERED, State.ASKED):
            if candidate.state in (State.ANSWERED, State.ASKED):
                settled += 1
                if settled == self._width:
                    return None
            elif candidate.state is State.NEW and self._is_eligible(candidate):
                return candidate
        return None

    def _next_way_in(self) -> "_Candidate | None":
        while self._ways_in and self.answers < self._width:
            candidate = self._ways_in[0]
            if candidate.state is State.NEW:
                return candidate
            self._ways_in.popleft()
        return None

    def _is_eligible(self, candidate: "_Candidate") -> bool:
        if candidate.network in self._networks:
            return False
        return any(source is None or not source.is_distrusted for source in candidate.sources)

    def _settle(self, address: Address) -> "_Candidate | None":
        """Return the candidate that was asked at an address, no longer counted as under way."""
        candidate = self._known.get(address)
        if candidate is None or candidate.state not in (State.ASKED, State.STALLED):
            return None
        self._under_way -= 1
        self._stalled -= candidate.state is State.STALLED
        return candidate

    def _fail(self, candidate: "_Candidate") -> None:
        """Take a candidate out of the running; its address stays known, so it is not asked again."""
        candidate.state = State.FAILED
        self._networks.discard(candidate.network)
        if candidate.node_id is not None:
            distance = as_int(candidate.node_id) ^ self._target
            del self._by_distance[distance]
            self._failed.append(distance)
        self._blame_sources(candidate)

    def _blame_sources(self, candidate: "_Candidate") -> None:
        for source in candidate.sources:
            if source is not None:
                source.named_failed += 1

    def _drop_farthest(self) -> None:
        excess = len(self._by_distance) - MAX_CANDIDATES
        if excess <= 0:
            return
        unasked = (
            (distance, candidate)
            for distance, candidate in reversed(self._by_distance.items())
            if candidate.state is State.NEW and not candidate.is_way_in
        )
        for distance, candidate in list(islice(unasked, excess)):
            del self._by_distance[distance]
            del self._known[candidate.address]


class _Candidate:
    """Hold what is known of one address, and how well the contacts that it named have done."""

    __slots__ = (
        "_conforms",
        "_judged",
        "address",
        "is_way_in",
        "named_answered",
        "named_failed",
        "network",
        "node_id",
        "sources",
        "state",
    )

    def __init__(self, address: Address, network: str) -> None:
        self.address = address
        self.network = network
        self.node_id: NodeId | None = None
        self.state = State.NEW
        self.is_way_in = False
        self.sources: set[_Candidate | None] = set()  # None stands for our own table
        self.named_answered = 0
        self.named_failed = 0
        self._judged: NodeId | None = None
        self._conforms = False

    @property
    def conforms(self) -> bool:
        """Tell whether the id goes with the address (BEP 42); worked out for few candidates only."""
        if self.node_id is not None and self._judged is not self.node_id:
            self._judged, self._conforms = self.node_id, conforms(self.node_id, self.address.host)
        return self._conforms

    @property
    def is_open_to_claims(self) -> bool:
        """Tell whether the id may still be changed by what others say; ours is not doubted unasked."""
        return self.state is State.NEW and None not in self.sources

    @property
    def is_distrusted(self) -> bool:
        return self.named_failed >= DISTRUST_AFTER and not self.named_answered
