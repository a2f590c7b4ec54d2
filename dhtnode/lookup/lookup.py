"""One walk towards a target, as data: whom to ask next, what has come back, are we done.

A lookup keeps the candidates it has heard of, sorted by distance to the target, and ends when the
8 closest of them that are not silent have all answered.  It sends nothing and knows no clock:
`traverse` asks `take_next` and `take_question`, and reports what happened.

No single source is trusted.  Of one reply only the closest contacts count, a source whose contacts
stay silent is no longer believed, one network (a /24 or /64) gets one query, and a contact counts as
found only when it has answered itself.

Packets get lost, so silence is believed only after several asks.  Those are for the end: when 8 have
answered, the silent ones that are closer are asked again, `asks` times in all, and a few of the
closest are asked for parts of the neighbourhood (see `parts`), where silent nodes stand in the place
of others.  Whoever names silent contacts cannot make us ask much more: see `MOST_AGAIN`.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Container, Iterable
from operator import attrgetter

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.ids import NodeId
from dhtnode.lookup.candidates import Candidate, Candidates, CandidateState
from dhtnode.lookup.subtrees import SubtreeQuery, Subtrees

MOST_AGAIN = 90  # asks beyond the first, of all silent nodes together: 15 of them, asked 7 times each


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
        asks: int = 1,
        kept: int = 0,
        ours: Container[NodeId] = (),
    ) -> None:
        """Start empty; at least one of `add_contacts` and `add_addresses` must follow.

        Those of the closest that stay silent are asked `asks` times.  `ours` are ids of further
        sockets of this node: like `own_id` they are not asked, nor found.
        """
        self.target = target
        self.queries = 0
        self.answers = 0
        self._width = width
        self._parallelism = parallelism
        self._query_limit = query_limit
        self._asks = asks
        self._again = 0
        self._candidates = Candidates(target, own_id, scope, width=width, kept=kept, ours=ours)
        self._parts = Subtrees(target)
        self._ways_in: deque[Candidate] = deque()
        self._networks: set[str] = set()
        self._failed: list[int] = []
        self._under_way = 0
        self._stalled = 0

    def add_contacts(self, contacts: Iterable[Contact], source: Address | None = None) -> None:
        """Add contacts from our own table, or those that `source` named."""
        self._candidates.add(contacts, None if source is None else self._candidates.get(source))

    def add_addresses(self, addresses: Iterable[Address]) -> None:
        """Add ways in: addresses whose node ids are not known, asked while few nodes have answered.

        They come before contacts once more than `width` of those were asked and nobody has answered.
        """
        for address in addresses:
            candidate = self._candidates.add_way_in(address)
            if candidate is not None:
                self._ways_in.append(candidate)

    def take_next(self) -> Address | None:
        """Return the address to ask now and count it as asked, or None while there is nothing to do."""
        if not self._has_room:
            return None
        if self.answers or self.queries <= self._width:
            candidate = self._next_candidate() or self._next_way_in()
        else:
            candidate = self._next_way_in() or self._next_candidate()
        if candidate is None and self._next_question() is None:
            candidate = self._next_again()
        if candidate is None:
            return None
        self._again += candidate.asks > 0
        candidate.state = CandidateState.ASKED
        candidate.asks += 1
        candidate.under_way += 1
        self._networks.add(candidate.network)
        self.queries += 1
        self._under_way += 1
        return candidate.address

    def take_question(self) -> SubtreeQuery | None:
        """Return what to ask about a part of the neighbourhood and count it as asked, or None.

        To be called when there is nobody to ask next.
        """
        question = self._next_question() if self._has_room else None
        if question is not None:
            self._parts.on_asked(question)
            self.queries += 1
        return question

    def on_response(self, address: Address, node_id: NodeId, contacts: Iterable[Contact]) -> bool:
        """Take in an answer; return False when it counts for nothing, as under an id that came too late."""
        candidate = self._settle(address)
        if candidate is None:
            return False
        if not self._candidates.believes(candidate, node_id):
            self._fail(candidate)
            return False
        candidate.state = CandidateState.ANSWERED
        self.answers += 1
        candidate.praise_sources()
        self.add_contacts(contacts, address)
        return True

    def on_failure(self, address: Address) -> None:
        """Take note that a node will not answer; its place goes to the next in line."""
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.under_way:
            self._blame_once(candidate)
            self._settle(address)
            self._fail(candidate)

    def on_timeout(self, address: Address) -> None:
        """Take note that the oldest query to a node got no answer; it may be asked once more."""
        candidate = self._candidates.get(address)
        if candidate is None or not candidate.under_way:
            return
        self._blame_once(candidate)
        if candidate.under_way > 1:  # the oldest has stalled, or there would be no other
            candidate.under_way -= 1
            self._under_way -= 1
            self._stalled -= 1
            return
        self._settle(address)
        if candidate.node_id is None or candidate.asks >= self._asks:
            self._fail(candidate)
        else:
            candidate.state = CandidateState.STALLED
            self._networks.discard(candidate.network)

    def on_stall(self, address: Address) -> None:
        """Take note that an answer is late: another query may start, the answer is still welcome."""
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.state is CandidateState.ASKED:
            candidate.state = CandidateState.STALLED
            self._stalled += 1

    def on_part(self, question: SubtreeQuery, contacts: Iterable[Contact]) -> None:
        """Take in the answer to a question about a part."""
        self._parts.on_answer(question)
        self.add_contacts(contacts, question.address)

    def on_part_silence(self, question: SubtreeQuery) -> None:
        """Take note that such an answer is late, or will not come."""
        self._parts.on_silence(question)

    @property
    def finished(self) -> bool:
        """Tell whether the closest have all answered, or nobody is left to ask."""
        if self.queries >= self._query_limit and self._under_way == self._parts.under_way == 0:
            return True
        answered = 0
        for candidate in self._candidates.in_running(CandidateState.ANSWERED):
            if candidate.state is CandidateState.ANSWERED:
                answered += 1
                if answered == self._width:
                    return self._parts.under_way == 0 and self._next_question() is None
            elif not self._is_passed_over(candidate):
                return False
        return self._under_way == 0 and self._next_way_in() is None

    def asked_and_lost(self) -> tuple[int, int]:
        """Return how many queries went to nodes known to be there, and how many of them got lost."""
        return self._parts.asked_and_lost()

    def silent_nearby(self) -> int:
        """Return how many nodes were asked in vain that are closer than the last of `closest`."""
        closest = self.closest()
        return self._silent_within(closest) if closest else len(self._failed)

    def nearby(self) -> list[Candidate]:
        """Return the closest contacts as `closest` does, those that failed among them, and those beyond."""
        closest = self.closest()
        found = {contact.address for contact in closest}
        radius = self._candidates.distance(closest[-1]) if closest else -1
        return [
            candidate
            for distance, candidate in self._candidates.by_distance()
            # Others that are closer were passed over, and are not to come back.
            if candidate.address in found
            or distance > radius
            or (candidate.asks and candidate.state is not CandidateState.ANSWERED)
        ]

    def closest(self) -> list[Contact]:
        """Return the closest contacts that answered, closest first, at most `width`.

        Some that do not conform may be left out for others that do and are less close.
        """
        return self._candidates.closest()

    @property
    def _has_room(self) -> bool:
        waiting = self._under_way - self._stalled + self._parts.under_way
        return waiting < self._parallelism and self.queries < self._query_limit

    def _silent_within(self, closest: list[Contact]) -> int:
        radius = self._candidates.distance(closest[-1])
        return bisect_left(self._failed, radius) + self._candidates.stalled_within(radius)

    def _next_candidate(self) -> Candidate | None:
        settled = 0
        for candidate in self._candidates.in_running(CandidateState.ANSWERED, CandidateState.ASKED):
            if candidate.state in (CandidateState.ANSWERED, CandidateState.ASKED):
                settled += 1
                if settled == self._width:
                    return None
            elif candidate.state is CandidateState.NEW and self._is_eligible(candidate):
                return candidate
        return None

    def _next_way_in(self) -> Candidate | None:
        while self._ways_in and self.answers < self._width:
            candidate = self._ways_in[0]
            if candidate.state is CandidateState.NEW:
                return candidate
            self._ways_in.popleft()
        return None

    def _next_again(self) -> Candidate | None:
        """Return the least asked of the silent ones, once 8 have answered or nobody else is left."""
        silent: list[Candidate] = []
        answered = 0
        for candidate in self._candidates.in_running(CandidateState.ANSWERED, CandidateState.ASKED):
            answered += candidate.state is CandidateState.ANSWERED
            if answered == self._width:
                break
            if candidate.state is CandidateState.STALLED and self._may_be_asked_again(candidate):
                silent.append(candidate)
        else:
            if self._under_way > self._stalled:
                return None
        return min(silent, key=attrgetter("asks"), default=None)

    def _next_question(self) -> SubtreeQuery | None:
        """Return what to ask about a part when all that is left of the closest is silent nodes."""
        if self.answers < self._width or self._next_candidate() is not None:
            return None
        closest = self.closest()
        return self._parts.next(closest) if self._silent_within(closest) else None

    def _is_eligible(self, candidate: Candidate) -> bool:
        return candidate.network not in self._networks and candidate.is_vouched_for

    def _may_be_asked_again(self, candidate: Candidate) -> bool:
        return (
            candidate.asks < self._asks
            and self._again < MOST_AGAIN
            and candidate.is_vouched_for
            and (candidate.under_way > 0 or candidate.network not in self._networks)
        )

    def _is_passed_over(self, candidate: Candidate) -> bool:
        """Tell whether the end need not wait for one that is closer and has not answered."""
        if candidate.state is CandidateState.NEW:
            return not self._is_eligible(candidate)
        if candidate.state is not CandidateState.STALLED or self._may_be_asked_again(candidate):
            return False
        return candidate.under_way < candidate.asks  # or the first answer may only be late

    def _settle(self, address: Address) -> Candidate | None:
        """Return the candidate that was asked at an address, no longer counted as under way."""
        candidate = self._candidates.get(address)
        if candidate is None or not candidate.under_way:
            return None
        self._under_way -= candidate.under_way
        self._stalled -= candidate.under_way - (candidate.state is CandidateState.ASKED)
        candidate.under_way = 0
        return candidate

    def _blame_once(self, candidate: Candidate) -> None:
        if candidate.under_way == candidate.asks:  # none has come to an end before
            candidate.blame_sources()

    def _fail(self, candidate: Candidate) -> None:
        """Take a candidate out of the running."""
        self._networks.discard(candidate.network)
        distance = self._candidates.fail(candidate)
        if distance is not None:
            insort(self._failed, distance)
