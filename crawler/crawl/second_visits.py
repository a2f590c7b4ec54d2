"""Ask those that answered once more, some minutes later: who answers then is no passing guest.

A node behind a NAT can be reached for as long as its router remembers that it has sent something,
and a node that is about to leave answers too.  So counts are of nodes that answered once, and of
nodes that answered twice at least five minutes apart.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from crawler.core.pace import Pace
from crawler.core.visit import OpenVisit, failure_of
from crawler.crawl.crawl import LONGEST_SLEEP
from crawler.db.records.records import Answered, Visit, utc_text
from crawler.db.writer import Writer
from crawler.settings import CrawlSettings
from dhtnode import QueryError
from dhtnode.krpc import CompactContacts, FindNode, Response
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome

PAGE = 5000  # nodes read from the database at once


class SecondVisits:
    """Ask the nodes of one family that a run has found."""

    def __init__(
        self,
        asker: BulkClient[OpenVisit],
        writer: Writer,
        settings: CrawlSettings,
        pace: Pace,
        run_id: int,
        after: float,
        wall_clock: Callable[[], float],
    ) -> None:
        """Take over the asker; a node is asked `after` seconds have passed since it answered."""
        self.answered = 0
        self.silent = 0
        self._asker = asker
        self._writer = writer
        self._settings = settings
        self._pace = pace
        self._run_id = run_id
        self._after = after
        self._wall_clock = wall_clock
        self._compact = CompactContacts(asker.family, asker.scope)
        self._find_node = asker.template(FindNode)
        self._due: deque[Answered] = deque()
        self._last_id = 0
        self._is_all_read = False
        asker.on_end = self._on_end

    async def run(self) -> None:
        """Ask everybody, and return when nobody is left."""
        try:
            while await self._has_due() or self._asker.in_flight:
                await self._writer.wait_for_capacity()
                pause = self._ask_due(trio.current_time())
                await self._asker.wait(trio.current_time() + pause)
                self._asker.receive()
        finally:
            self._asker.forget_all()

    async def _has_due(self) -> bool:
        if not self._due and not self._is_all_read:
            found = await self._writer.call(
                lambda store: store.visits.answered(self._run_id, self._asker.family, self._last_id, PAGE)
            )
            self._due.extend(found)
            self._is_all_read = not found
            if found:
                self._last_id = found[-1].visit_id
        return bool(self._due)

    def _ask_due(self, now: float) -> float:
        """Ask whoever is due, as the pace allows, and return the seconds until more may be asked."""
        while self._due and self._asker.free_slots(self._settings.max_awaited) > 0:
            node = self._due[0]
            wait = node.taken_at + self._after - self._wall_clock()
            if wait > 0:
                return min(wait, LONGEST_SLEEP)
            endpoint = self._compact.endpoint_of(node.address)
            wait = max(self._pace.wait_time(now), self._pace.host_wait_time(endpoint, now))
            if wait > 0:
                return wait
            self._pace.count_query(endpoint, now)
            visit = OpenVisit(node.node_id, endpoint, node.address)
            if not self._asker.send(self._find_node, visit.target, node.address, visit, now):
                if self._asker.is_stuck:
                    return 0.0
                self._end(visit, Outcome.NOT_SENT)
            self._due.popleft()
        return LONGEST_SLEEP

    def _on_end(self, visit: OpenVisit, result: Response | QueryError, took: float, now: float) -> None:
        if isinstance(result, Response):
            visit.rtt_ms, visit.version = round(1000 * took, 3), result.version
            same = result.node_id == visit.node_id
            self._end(visit, Outcome.ANSWERED if same else Outcome.WRONG_ID)
        else:
            outcome, code = failure_of(result)
            if outcome is Outcome.ERROR:
                self._pace.back_off(visit.endpoint, now)
            self._end(visit, outcome, code)

    def _end(self, visit: OpenVisit, outcome: Outcome, code: int | None = None) -> None:
        self.answered += outcome is Outcome.ANSWERED
        self.silent += outcome is Outcome.TIMEOUT
        row = partial(Visit, visit.node_id, visit.address, utc_text(self._wall_clock()), outcome, code)
        self._writer.put_nowait(row(rtt_ms=visit.rtt_ms, version=visit.version, is_verification=True))
