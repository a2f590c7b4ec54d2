"""The candidates of a lookup: each under one address and one id, in the order of distance to the target.

Of several ids returned for one address the closest holds until the node answers.  Its own answer may
then move it away from the target, never towards it.  So a liar cannot hide a node under a false id,
and a node cannot move in front of others by a change of id.  A source is rejected when none of the
contacts that it returned answers.

BEP 42 compliant nodes are preferred only at the end: `reserved` slots of the result are for them, as
long as there are any.  Liars with ids of their choice may be the closest of all, but not the only
ones found.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from enum import Enum
from itertools import islice
from operator import itemgetter

from sortedcontainers import SortedDict

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import is_compliant
from dhtnode.ids import NodeId, as_int

# Beyond this, those not queried are dropped, the farthest first: 16 from each response would add up.
MAX_CANDIDATES = 400
# Failed contacts of one source, with none that answered.
REJECT_AFTER = 4
# Contacts of one network that count in one response: nodes keep one of each in a bucket (BEP 42), and a
# liar could fill the response with ports of a host that is to be sent packets.
MAX_OF_NETWORK = 2


class CandidateState(Enum):
    """The progress of a candidate; a stalled one may be queried again, and its answer still counts."""

    NEW = "new"
    QUERIED = "queried"
    STALLED = "stalled"
    ANSWERED = "answered"
    FAILED = "failed"


class Candidate:
    """One address with its presumed id, and how the contacts that it returned have done."""

    __slots__ = (
        "_checked_id",
        "_compliant",
        "address",
        "attempts",
        "contacts_answered",
        "contacts_failed",
        "host",
        "in_flight",
        "is_bootstrap",
        "network",
        "node_id",
        "sources",
        "state",
    )

    def __init__(self, address: Address, host: str, network: str) -> None:
        self.address = address
        self.host = host
        self.network = network
        self.node_id: NodeId | None = None
        self.state = CandidateState.NEW
        self.attempts = 0
        self.in_flight = 0
        self.is_bootstrap = False
        # None stands for our own table.
        self.sources: set[Candidate | None] = set()
        self.contacts_answered = 0
        self.contacts_failed = 0
        self._checked_id: NodeId | None = None
        self._compliant = False

    @property
    def compliant(self) -> bool:
        """Whether the id goes with the address (BEP 42)."""
        # Computed when first needed, which it is for few candidates only.
        if self.node_id is not None and self._checked_id is not self.node_id:
            self._checked_id, self._compliant = self.node_id, is_compliant(self.node_id, self.address.host)
        return self._compliant

    @property
    def has_open_id(self) -> bool:
        """Whether responses may still change the id: not after a query, nor where it is from our table."""
        return self.state is CandidateState.NEW and None not in self.sources

    @property
    def is_rejected(self) -> bool:
        """Whether several contacts that this node returned have failed, and none has answered."""
        return self.contacts_failed >= REJECT_AFTER and not self.contacts_answered

    @property
    def is_supported(self) -> bool:
        """Whether any source of this node is not rejected."""
        return any(source is None or not source.is_rejected for source in self.sources)

    def credit_sources(self) -> None:
        """Count an answer of this node for its sources."""
        for source in self.sources:
            if source is not None:
                source.contacts_answered += 1

    def count_against_sources(self) -> None:
        """Count a failure of this node, or a wrong id, against its sources."""
        for source in self.sources:
            if source is not None:
                source.contacts_failed += 1


class Candidates:
    """The candidates of one lookup."""

    def __init__(
        self,
        target: bytes,
        own_id: NodeId,
        scope: Scope,
        *,
        width: int,
        reserved: int,
        ours: Container[NodeId] = (),
    ) -> None:
        self._target = as_int(target)
        self._own_id = own_id
        self._ours = ours
        self._scope = scope
        self._width = width
        self._reserved = reserved
        self._known: dict[Address, Candidate] = {}
        self._by_distance: SortedDict[int, Candidate] = SortedDict()

    def __len__(self) -> int:
        """Return how many addresses are known, failed ones and bootstrap nodes included."""
        return len(self._known)

    def get(self, address: Address) -> Candidate | None:
        """Return the candidate at an address, if any."""
        return self._known.get(address)

    def distance(self, contact: Contact) -> int:
        """Return the distance of a contact from the target."""
        return as_int(contact.node_id) ^ self._target

    def add(self, contacts: Iterable[Contact], source: Candidate | None) -> None:
        """Add contacts from our own table, or the closest of those that `source` returned."""
        usable = [contact for contact in contacts if self._is_usable(contact)]
        if source is not None:
            usable = self._closest_of(usable)
        for contact in usable:
            candidate = self._candidate_of(contact)
            if candidate is not None and candidate is not source and source not in candidate.sources:
                candidate.sources.add(source)
                if source is not None and candidate.state is CandidateState.ANSWERED:
                    source.contacts_answered += 1
        self._drop_farthest()

    def add_bootstrap_node(self, address: Address) -> Candidate | None:
        """Add an address whose node id is not known; return None when it is known or out of scope."""
        if address in self._known or not self._scope.allows(address):
            return None
        candidate = self._new(address)
        candidate.is_bootstrap = True
        self._known[address] = candidate
        return candidate

    def accepts_id(self, candidate: Candidate, node_id: NodeId) -> bool:
        """Return whether an answer under this id counts, and count a wrong id against its sources."""
        claimed = candidate.node_id
        if claimed == node_id:
            return True
        candidate.count_against_sources()
        candidate.sources.clear()
        # The address of a bootstrap node was given to us, not returned by a node: its own id counts.
        if claimed is not None and not candidate.is_bootstrap and self._is_closer(node_id, claimed):
            return False
        return self._assign_id(candidate, node_id)

    def fail(self, candidate: Candidate) -> int | None:
        """Mark a candidate as failed, and return its distance if it has an id.

        Its address stays known, so that it is not queried again.
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

    def ranked(self, *taking: CandidateState) -> Iterator[Candidate]:
        """Yield the candidates, closest first, but at the end those beyond the slots that are not reserved.

        A candidate takes a slot when it is in one of the `taking` states.
        """
        if not self._reserved:
            yield from self._by_distance.values()
            return
        unreserved = self._width - self._reserved
        last: list[Candidate] = []
        candidate: Candidate
        for candidate in self._by_distance.values():
            if candidate.compliant:
                yield candidate
            elif unreserved:
                unreserved -= candidate.state in taking
                yield candidate
            else:
                last.append(candidate)
        yield from last

    def has_stalled_within(self, radius: int) -> bool:
        """Return whether a stalled candidate is closer than that; linear in the closer ones."""
        return any(
            self._by_distance[distance].state is CandidateState.STALLED
            for distance in self._by_distance.irange(maximum=radius, inclusive=(True, False))
        )

    def closest(self) -> list[Contact]:
        """Return the closest contacts that answered, closest first, at most `width`.

        Some that are not BEP 42 compliant may give their slots to others that are and are less close.
        """
        answered = (
            Contact(candidate.node_id, candidate.address)
            for candidate in self.ranked(CandidateState.ANSWERED)
            if candidate.state is CandidateState.ANSWERED and candidate.node_id is not None
        )
        return sorted(islice(answered, self._width), key=self.distance)

    def _new(self, address: Address) -> Candidate:
        network = self._scope.network_key(address)
        # Over IPv6 all addresses of a network may be one machine's.
        host = network if address.family is Family.IPV6 else self._scope.host_key(address)
        return Candidate(address, host, network)

    def _closest_of(self, contacts: Iterable[Contact]) -> list[Contact]:
        """Return the closest contacts of a response, few of each network."""
        of_network = Counter[str]()
        closest: list[Contact] = []
        for contact in sorted(contacts, key=self.distance):
            network = self._scope.network_key(contact.address)
            of_network[network] += 1
            if of_network[network] <= MAX_OF_NETWORK:
                closest.append(contact)
                if len(closest) == 2 * self._width:
                    break
        return closest

    def _is_usable(self, contact: Contact) -> bool:
        return not self._is_ours(contact.node_id) and self._scope.allows(contact.address)

    def _is_ours(self, node_id: NodeId) -> bool:
        return node_id == self._own_id or node_id in self._ours

    def _candidate_of(self, contact: Contact) -> Candidate | None:
        """Return the candidate of a contact, a new one if need be.

        None when another candidate has that address or that id.
        """
        # The first contact counts, so that no later response replaces the address of a known id.
        candidate = self._known.get(contact.address)
        if candidate is None:
            if self.distance(contact) in self._by_distance:
                return None
            candidate = self._known[contact.address] = self._new(contact.address)
        if candidate.has_open_id and self._is_closer(contact.node_id, candidate.node_id):
            self._assign_id(candidate, contact.node_id)
        return candidate if candidate.node_id == contact.node_id else None

    def _is_closer(self, node_id: NodeId, other: NodeId | None) -> bool:
        return other is None or as_int(node_id) ^ self._target < as_int(other) ^ self._target

    def _assign_id(self, candidate: Candidate, node_id: NodeId) -> bool:
        """Give a candidate an id, unless the id is our own or another node was queried under it."""
        distance = as_int(node_id) ^ self._target
        other: Candidate | None = self._by_distance.get(distance)
        if self._is_ours(node_id) or (other is not None and other.state is not CandidateState.NEW):
            return False
        if candidate.node_id is not None:
            del self._by_distance[as_int(candidate.node_id) ^ self._target]
            candidate.sources.clear()
        if other is not None:
            other.node_id = None
            if not other.is_bootstrap:
                del self._known[other.address]
        candidate.node_id = node_id
        self._by_distance[distance] = candidate
        return True

    def _drop_farthest(self) -> None:
        excess = len(self._by_distance) - MAX_CANDIDATES
        if excess <= 0:
            return
        unqueried = (
            (distance, candidate)
            for distance, candidate in reversed(self._by_distance.items())
            if candidate.state is CandidateState.NEW and not candidate.is_bootstrap
        )
        for distance, candidate in list(islice(unqueried, excess)):
            del self._by_distance[distance]
            del self._known[candidate.address]
