"""The queries about swarms that wait to be sent over one socket."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

from crawler.core.pace import Pace
from crawler.core.query_loop import LONGEST_SLEEP, ClientFacts, Crawl
from crawler.db.records.records import utc_text
from dhtnode import InfoHash, NodeId, QueryError
from dhtnode.krpc import CompactContacts, FindNode, GetPeers, PackedEndpoint, Response
from dhtnode.net import Outgoing
from dhtnode.swarm import MeasurementQuery, QueryKind

MAX_RECENT = 100_000  # endpoints that count as queried before: routers forget them in minutes


class QueryOwner(Protocol):
    """What decides on the queries, and handles what becomes of them."""

    def count_sent(self, query: MeasurementQuery, size: int, times: int = 1, /) -> None:
        """Count a query of so many bytes as sent, or with -1 as not sent after all."""

    def on_end(self, query: MeasurementQuery, result: Response | QueryError, took: float, now: float) -> None:
        """Handle the result of a query."""

    def on_not_sent(self, query: MeasurementQuery) -> None:
        """Handle a query that could not leave."""

    def on_error(self, query: MeasurementQuery) -> None:
        """Handle a query on whose result `on_end` has raised an exception."""


class SocketQueue(Crawl[MeasurementQuery]):
    """The queries to be sent over one socket, each when its host may be queried."""

    # A swarm that cannot be measured fails, and others follow.
    needs_network = False

    def __init__(
        self, client: ClientFacts, owner: QueryOwner, pace: Pace, wall_clock: Callable[[], float]
    ) -> None:
        """Start empty; `pace` is shared by all sockets."""
        self._owner = owner
        self._pace = pace
        self._wall_clock = wall_clock
        self._compact = CompactContacts(client.family, client.scope)
        self._queue: deque[MeasurementQuery] = deque()
        self._deferred: list[tuple[float, int, MeasurementQuery]] = []
        self._number = count()  # of what was deferred, so that queries are never compared
        self._recent: dict[PackedEndpoint, None] = {}
        self._written_at, self._written = -inf, ""
        # Some nodes put both families into their filters when none is wanted.
        want = frozenset({client.family})
        scrape = client.template(lambda target: GetPeers(InfoHash(target), want, scrape=True))
        listing = client.template(lambda target: GetPeers(InfoHash(target)))
        self._templates = {
            QueryKind.SCRAPE: scrape,
            QueryKind.CANARY: scrape,
            QueryKind.LISTING: listing,
            QueryKind.CONTACTS: client.template(lambda target: FindNode(NodeId(target))),
        }

    def add(self, query: MeasurementQuery) -> None:
        """Add a query at the end."""
        self._queue.append(query)

    def clear(self) -> None:
        """Give up all queries."""
        self._queue.clear()
        self._deferred.clear()

    def next_query(self, now: float) -> Outgoing[MeasurementQuery] | float:
        """Return the first query whose host was not queried too often."""
        queue, pace = self._queue, self._pace
        while self._deferred and self._deferred[0][0] <= now:
            queue.appendleft(heappop(self._deferred)[2])
        while queue:
            if not pace.is_unlimited:
                wait = pace.wait_time(now)
                if wait > 0:
                    return wait
                if self._defers_first(now):
                    continue
            query = queue.popleft()
            node, template = query.node, self._templates[query.kind]
            if node.asked_at is None:
                node.address = self._compact.address_of(node.endpoint)
                node.asked_at = self._time_text(now)
            self._owner.count_sent(query, template.size)
            return template, query.target, node.address, query
        return max(0.0, self._deferred[0][0] - now) if self._deferred else LONGEST_SLEEP

    def _time_text(self, now: float) -> str:
        # Many queries leave within one turn of the loop, and the text takes longer than the rest of a query.
        if now != self._written_at:
            self._written_at, self._written = now, utc_text(self._wall_clock())
        return self._written

    def _defers_first(self, now: float) -> bool:
        """Defer the first query because its host was queried too often, or have the pace count it."""
        pace, query = self._pace, self._queue[0]
        endpoint = query.node.endpoint
        wait = pace.host_wait_time(endpoint, now)
        if wait > 0:
            heappush(self._deferred, (now + wait, next(self._number), self._queue.popleft()))
            return True
        if endpoint in self._recent:
            pace.count_query(endpoint, now)
            return False
        pace.start_visit(endpoint, now)
        self._recent[endpoint] = None
        if len(self._recent) > MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        return False

    def on_stuck(self, query: MeasurementQuery, _now: float) -> None:
        """Send the query later."""
        self._owner.count_sent(query, self._templates[query.kind].size, -1)
        self._queue.appendleft(query)

    def on_not_sent(self, query: MeasurementQuery, _now: float) -> None:
        """Tell the owner."""
        self._owner.count_sent(query, self._templates[query.kind].size, -1)
        self._owner.on_not_sent(query)

    def on_end(self, query: MeasurementQuery, result: Response | QueryError, took: float, now: float) -> None:
        """Tell the owner."""
        self._owner.on_end(query, result, took, now)

    def on_error(self, query: MeasurementQuery) -> None:
        """Tell the owner."""
        self._owner.on_error(query)
