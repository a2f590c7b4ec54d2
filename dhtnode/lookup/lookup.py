"""One lookup as data: which node to query next, what the answers bring, and when to end.

A lookup has candidates, sorted by distance to the target.  It ends when the 8 closest that are not
unresponsive have all answered.  It sends nothing and reads no clock: `node.lookup_driver` takes its
queries (`take_next`, `take_subtree_query`) and reports their outcomes.

No single source is trusted.  Of one response only the closest contacts count, and few of one network; a
source whose contacts do not answer is rejected; one network (a /24 or /64) is queried once at a time, and
one host twice at most while none of its ports answers; and a contact counts as found only when it has
answered itself.

Packets get lost, so a node counts as unresponsive only after several queries.  The retries come at
the end: when 8 nodes have answered, the unresponsive ones that are closer are queried again, up to
`attempts` times in all.  And a few of the closest are queried about subtrees around the target (see
`subtrees`), where unresponsive nodes take the places of others.
"""

from collections import Counter, deque
from collections.abc import Container, Iterable
from math import inf
from operator import attrgetter

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.ids import NodeId
from dhtnode.lookup.candidates import Candidate, Candidates, CandidateState
from dhtnode.lookup.subtrees import SubtreeQuery, Subtrees

# Of all unresponsive nodes together: enough for 15 of them, queried 7 times each.  So sources of
# unresponsive contacts cannot make us send much more.
MAX_RETRIES = 90
# Of a bootstrap node, while no node at all has answered: it may be the only way in, and packets get lost.
BOOTSTRAP_ATTEMPTS = 7
# To one host that has not answered, be it at one port or several: a node that has moved to another port is
# named under both.  Where packets get lost, there are as many as for one node.
MAX_SILENT_QUERIES = 2


class Lookup:
    """The state of one search for the nodes closest to a target."""

    def __init__(
        self,
        target: bytes,
        own_id: NodeId,
        scope: Scope,
        *,
        width: int = 8,
        parallelism: int = 5,
        query_limit: int = 200,
        attempts: int = 1,
        reserved: int = 0,
        ours: Container[NodeId] = (),
    ) -> None:
        """Start empty; at least one of `add_contacts` and `add_bootstrap_nodes` must follow.

        Unresponsive nodes of the closest are queried `attempts` times.  `reserved` of the `width` slots
        are for BEP 42 compliant nodes.  `own_id` and `ours`, the ids of all sockets of this node, are
        neither queried nor found.
        """
        self.target = target
        self.queries = 0
        self.answers = 0
        self._scope = scope
        self._width = width
        self._parallelism = parallelism
        self._query_limit = query_limit
        self._attempts = attempts
        self._retries = 0
        self._candidates = Candidates(target, own_id, scope, width=width, reserved=reserved, ours=ours)
        self._subtrees = Subtrees(target)
        self._bootstrap: deque[Candidate] = deque()
        # Those that are not to be queried elsewhere now, with the node that was queried last.
        self._networks: dict[str, Candidate] = {}
        self._silent_queries: Counter[str] = Counter()  # by host
        self._most_silent = max(MAX_SILENT_QUERIES, attempts)
        self._closest_failure: float = inf
        self._in_flight = 0
        self._stalled = 0

    def add_contacts(self, contacts: Iterable[Contact], source: Address | None = None) -> None:
        """Add contacts from our own table, or those that `source` returned."""
        if source is None:
            self._candidates.add(contacts, None)
            return
        scope = self._scope.told_by(source)
        if scope is not self._scope:
            contacts = [contact for contact in contacts if scope.allows(contact.address)]
        self._candidates.add(contacts, self._candidates.get(source))

    def add_bootstrap_nodes(self, addresses: Iterable[Address]) -> None:
        """Add addresses whose node ids are not known, to be queried while few nodes have answered.

        They come before contacts once more than `width` of those were queried and none has answered; until
        any node has, they are queried up to `BOOTSTRAP_ATTEMPTS` times each.
        """
        for address in addresses:
            candidate = self._candidates.add_bootstrap_node(address)
            if candidate is not None:
                self._bootstrap.append(candidate)

    def take_next(self) -> Address | None:
        """Return the address to query now and count the query, or None while there is none."""
        if not self._has_capacity:
            return None
        if self.answers or self.queries <= self._width:
            candidate = self._next_candidate() or self._next_bootstrap()
        else:
            candidate = self._next_bootstrap() or self._next_candidate()
        if candidate is None and self._next_subtree_query() is None:
            candidate = self._next_retry()
        if candidate is None:
            return None
        self._retries += candidate.attempts > 0
        self._silent_queries[candidate.host] += 1
        candidate.state = CandidateState.QUERIED
        candidate.attempts += 1
        candidate.in_flight += 1
        self._networks[candidate.network] = candidate
        self.queries += 1
        self._in_flight += 1
        return candidate.address

    def take_subtree_query(self) -> SubtreeQuery | None:
        """Return the next query about a subtree and count it, or None; call when `take_next` has none."""
        query = self._next_subtree_query() if self._has_capacity else None
        if query is not None:
            self._subtrees.on_sent(query)
            self.queries += 1
        return query

    def on_response(self, address: Address, node_id: NodeId, contacts: Iterable[Contact]) -> bool:
        """Record an answer; return False when it does not count, as when it is late or under another id."""
        candidate = self._end_queries(address)
        if candidate is None:
            return False
        if not self._candidates.accepts_id(candidate, node_id):
            self._fail(candidate)
            return False
        candidate.state = CandidateState.ANSWERED
        self._networks[candidate.network] = candidate
        self.answers += 1
        candidate.credit_sources()
        self.add_contacts(contacts, address)
        return True

    def take_contacts_query(self) -> bool:
        """Count a query for the contacts of a node that returned none; return False beyond the limit.

        Some clients leave them out when they have peers, as BEP 5 allows.
        """
        if self.queries >= self._query_limit:
            return False
        self.queries += 1
        self._in_flight += 1
        return True

    @property
    def is_short(self) -> bool:
        """Whether fewer nodes have answered than are looked for."""
        return self.answers < self._width

    def on_contacts(self, address: Address, contacts: Iterable[Contact]) -> None:
        """Record the end of such a query, with what it brought."""
        self._in_flight -= 1
        self.add_contacts(contacts, address)

    def on_failure(self, address: Address) -> None:
        """Record that a node will not answer; the next one is queried in its place."""
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.in_flight:
            self._count_first_failure(candidate)
            self._end_queries(address)
            self._fail(candidate)

    def on_timeout(self, address: Address) -> None:
        """Record that the oldest query to a node timed out; it may be queried again."""
        candidate = self._candidates.get(address)
        if candidate is None or not candidate.in_flight:
            return
        self._count_first_failure(candidate)
        # The oldest query has stalled, or there would be no other.
        if candidate.in_flight > 1:
            candidate.in_flight -= 1
            self._in_flight -= 1
            self._stalled -= 1
            return
        self._end_queries(address)
        most = self._attempts if candidate.node_id else 1 if self.answers else BOOTSTRAP_ATTEMPTS
        if candidate.attempts >= most:
            self._fail(candidate)
        else:
            self._stall(candidate)

    def on_stall(self, address: Address) -> None:
        """Record that an answer is late: another query may start, but the answer still counts."""
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.state is CandidateState.QUERIED:
            self._stalled += 1
            self._stall(candidate)

    def on_subtree_response(self, query: SubtreeQuery, contacts: Iterable[Contact]) -> None:
        """Record the answer to a query about a subtree."""
        self._subtrees.on_answer(query)
        self.add_contacts(contacts, query.address)

    def on_subtree_timeout(self, query: SubtreeQuery) -> None:
        """Record that an answer about a subtree is late, or will not come."""
        self._subtrees.on_timeout(query)

    @property
    def is_finished(self) -> bool:
        """Whether the closest have all answered, or no node is left to query."""
        if self.queries >= self._query_limit and self._in_flight == self._subtrees.in_flight == 0:
            return True
        answered = 0
        for candidate in self._candidates.ranked(CandidateState.ANSWERED):
            if candidate.state is CandidateState.ANSWERED:
                answered += 1
                if answered == self._width:
                    return self._subtrees.in_flight == 0 and self._next_subtree_query() is None
            elif not self._is_passed_over(candidate):
                return False
        return self._in_flight == 0 and self._next_bootstrap() is None

    def sent_and_lost(self) -> tuple[int, int]:
        """Return the number of queries to nodes that answered before, and how many of them got lost."""
        return self._subtrees.sent_and_lost()

    def nearby(self) -> list[Candidate]:
        """Return the contacts of `closest`, those between that did not answer, and those beyond."""
        closest = self.closest()
        found = {contact.address for contact in closest}
        radius = self._candidates.distance(closest[-1]) if closest else -1
        return [
            candidate
            for distance, candidate in self._candidates.by_distance()
            # Others that are closer were passed over, and are not to come back.
            if candidate.address in found
            or distance > radius
            or (candidate.attempts and candidate.state is not CandidateState.ANSWERED)
        ]

    def closest(self) -> list[Contact]:
        """Return the contacts that answered, at most `width`, closest first; see `Candidates.closest`."""
        return self._candidates.closest()

    @property
    def _has_capacity(self) -> bool:
        waiting = self._in_flight - self._stalled + self._subtrees.in_flight
        return waiting < self._parallelism and self.queries < self._query_limit

    def _next_candidate(self) -> Candidate | None:
        taken = 0
        for candidate in self._candidates.ranked(CandidateState.ANSWERED, CandidateState.QUERIED):
            if candidate.state in (CandidateState.ANSWERED, CandidateState.QUERIED):
                taken += 1
                if taken == self._width:
                    return None
            elif candidate.state is CandidateState.NEW and self._is_eligible(candidate):
                return candidate
        return None

    def _next_bootstrap(self) -> Candidate | None:
        while self._bootstrap and self.answers < self._width:
            candidate = self._bootstrap[0]
            is_silent = candidate.state is CandidateState.STALLED and candidate.attempts < BOOTSTRAP_ATTEMPTS
            if candidate.state is CandidateState.NEW or (is_silent and not self.answers):
                return candidate
            self._bootstrap.popleft()
        return None

    def _next_retry(self) -> Candidate | None:
        """Return the stalled node with the fewest queries, once 8 have answered or no other is left."""
        stalled: list[Candidate] = []
        answered = 0
        for candidate in self._candidates.ranked(CandidateState.ANSWERED, CandidateState.QUERIED):
            answered += candidate.state is CandidateState.ANSWERED
            if answered == self._width:
                break
            if candidate.state is CandidateState.STALLED and self._may_be_retried(candidate):
                stalled.append(candidate)
        else:
            if self._in_flight > self._stalled:
                return None
        return min(stalled, key=attrgetter("attempts"), default=None)

    def _next_subtree_query(self) -> SubtreeQuery | None:
        # Only when all of the closest that have not answered are unresponsive.
        if self.answers < self._width or self._next_candidate() is not None:
            return None
        closest = self.closest()
        radius = self._candidates.distance(closest[-1])
        if self._closest_failure < radius or self._candidates.has_stalled_within(radius):
            return self._subtrees.next(closest)
        return None

    def _is_eligible(self, candidate: Candidate) -> bool:
        return (
            candidate.network not in self._networks
            and not self._is_silent(candidate.host)
            and candidate.is_supported
        )

    def _stall(self, candidate: Candidate) -> None:
        """Let a node that does not answer be queried again, and others meanwhile."""
        candidate.state = CandidateState.STALLED
        # Else silent ones would be waited for one after the other.
        self._free_network_of(candidate)
        if candidate.node_id is None and candidate not in self._bootstrap:
            self._bootstrap.append(candidate)

    def _is_silent(self, host: str) -> bool:
        """Return whether a host has been sent enough; one that answers is not queried elsewhere."""
        return self._silent_queries[host] >= self._most_silent

    def _free_network_of(self, candidate: Candidate) -> None:
        if self._networks.get(candidate.network) is candidate:
            del self._networks[candidate.network]

    def _may_be_retried(self, candidate: Candidate) -> bool:
        return (
            candidate.attempts < self._attempts
            and self._retries < MAX_RETRIES
            and not self._is_silent(candidate.host)
            and candidate.is_supported
            and (candidate.in_flight > 0 or candidate.network not in self._networks)
        )

    def _is_passed_over(self, candidate: Candidate) -> bool:
        """Return whether the end need not wait for a closer node that has not answered."""
        if candidate.state is CandidateState.NEW:
            return not self._is_eligible(candidate)
        if candidate.state is not CandidateState.STALLED or self._may_be_retried(candidate):
            return False
        # Until the first query has timed out, its answer may only be late.
        return candidate.in_flight < candidate.attempts

    def _end_queries(self, address: Address) -> Candidate | None:
        """Return the candidate that was queried at an address, with none of its queries in flight."""
        candidate = self._candidates.get(address)
        if candidate is None or not candidate.in_flight:
            return None
        self._in_flight -= candidate.in_flight
        self._stalled -= candidate.in_flight - (candidate.state is CandidateState.QUERIED)
        candidate.in_flight = 0
        return candidate

    def _count_first_failure(self, candidate: Candidate) -> None:
        # One failure a node, however often it is queried.
        if candidate.in_flight == candidate.attempts:
            candidate.count_against_sources()

    def _fail(self, candidate: Candidate) -> None:
        self._free_network_of(candidate)
        distance = self._candidates.fail(candidate)
        if distance is not None:
            self._closest_failure = min(self._closest_failure, distance)
