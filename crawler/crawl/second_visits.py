"""A second visit, some minutes later, to the nodes that answered.

A node behind a NAT can be reached for as long as its router remembers that it has sent something,
and a node that is about to leave answers too.  So counts are of nodes that answered once, and of
nodes that answered twice at least five minutes apart.
"""

from collections import deque
from collections.abc import Callable, Sequence

from crawler.core.pace import Pace
from crawler.core.query_loop import ClientFacts, Crawl
from crawler.core.visit import OpenVisit, failure_of
from crawler.db.records.records import Answered, Visit, epoch_ms
from dhtnode import QueryError
from dhtnode.ids import flip_last_bit
from dhtnode.krpc import CompactContacts, FindNode, Response
from dhtnode.net import Outgoing
from dhtnode.outcomes import Outcome


class SecondVisits(Crawl[Answered]):
    """The second visits to the nodes of one family that a run has found."""

    def __init__(
        self,
        client: ClientFacts,
        put: Callable[[Visit], None],
        pace: Pace,
        after: float,
        wall_clock: Callable[[], float],
    ) -> None:
        """Start empty; a node is visited `after` seconds have passed since it answered."""
        self.family = client.family
        self.answered = 0
        self.unresponsive = 0
        self.last_id = 0  # of the visits added so far
        self._put = put
        self._pace = pace
        self._after = after
        self._wall_clock = wall_clock
        self._compact = CompactContacts(client.family, client.scope)
        self._find_node = client.template(FindNode)
        self._due: deque[Answered] = deque()
        self._is_complete = False

    @property
    def wants_more(self) -> bool:
        """Return whether all nodes added so far were visited, and there may be more."""
        return not (self._due or self._is_complete)

    def add(self, answered: Sequence[Answered]) -> None:
        """Add the nodes that follow those added so far, by the number of their visit; none at the end."""
        self._due.extend(answered)
        self._is_complete = not answered
        if answered:
            self.last_id = answered[-1].visit_id

    def next_query(self, now: float) -> Outgoing[Answered] | float | None:
        """Return a query to the node that answered first, once it is time."""
        if not self._due:
            return None if self._is_complete else 0.0
        node = self._due[0]
        endpoint = self._compact.endpoint_of(node.address)
        wait = max(
            node.taken_at + self._after - self._wall_clock(),
            self._pace.wait_time(now),
            self._pace.host_wait_time(endpoint, now),
        )
        if wait > 0:
            return wait
        self._due.popleft()
        self._pace.count_query(endpoint, now)
        return self._find_node, flip_last_bit(node.node_id), node.address, node

    def on_stuck(self, node: Answered, _now: float) -> None:
        """Visit the node later."""
        self._due.appendleft(node)

    def on_not_sent(self, node: Answered, _now: float) -> None:
        """End the visit."""
        self._end(self._visit(node), Outcome.NOT_SENT)

    def on_end(self, node: Answered, result: Response | QueryError, took: float, now: float) -> None:
        """End a visit."""
        visit = self._visit(node)
        if isinstance(result, Response):
            visit.rtt, visit.version = took, result.version
            is_same = result.node_id == node.node_id
            self._end(visit, Outcome.ANSWERED if is_same else Outcome.WRONG_ID)
        else:
            outcome, code = failure_of(result)
            if outcome is Outcome.ERROR:
                self._pace.back_off(visit.endpoint, now)
            self._end(visit, outcome, code)

    def _visit(self, node: Answered) -> OpenVisit:
        contact = self._compact.write(node.node_id, self._compact.endpoint_of(node.address))
        return OpenVisit(contact, node.address)

    def _end(self, visit: OpenVisit, outcome: Outcome, code: int | None = None) -> None:
        self.answered += outcome is Outcome.ANSWERED
        self.unresponsive += outcome is Outcome.TIMEOUT
        self._put(visit.row(epoch_ms(self._wall_clock()), outcome, code, is_verification=True))
