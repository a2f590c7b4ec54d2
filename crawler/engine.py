"""One loop that visits every endpoint of the frontier: no task per node.

The loop takes what is due, sends within the pace, and sleeps; everything else happens in the
callbacks of the node.  A visit is two queries: for the node's own id with the last bit flipped,
which shows all its neighbours, and for a random id, which shows how it connects to the rest.
Results go to the writer; when that falls behind, the loop waits.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeAlias

import trio

from crawler.frontier import Frontier, FrontierStatistics
from crawler.politeness import Pace
from crawler.records import Outcome, Visit, utc_text
from crawler.settings import CrawlSettings
from crawler.writer import Writer
from dhtnode import (
    Answer,
    BadResponse,
    Contact,
    FindNode,
    Node,
    NodeId,
    Pending,
    QueryError,
    QueryNotSent,
    QueryRefused,
    flip_last_bit,
    random_id,
    scope_of,
)

LONGEST_SLEEP = 1.0  # seconds between two looks at the frontier when nothing happens

_FAILURES: dict[type[QueryError], Outcome] = {
    QueryRefused: Outcome.ERROR,
    BadResponse: Outcome.MALFORMED,
    QueryNotSent: Outcome.NOT_SENT,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Show how far a crawl has come."""

    frontier: FrontierStatistics
    outcomes: dict[Outcome, int]
    queries: int
    seconds: float


class Engine:
    """Crawl through one node until nothing is left to visit."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        settings: CrawlSettings,
        random: Random,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        now = trio.current_time()
        self._node = node
        self._writer = writer
        self._settings = settings
        self._random = random
        self._wall_clock = wall_clock
        self._frontier = Frontier(settings.max_endpoints)
        self._scopes = {address.family: scope_of(address.host) for address in node.addresses}
        self._paces = {family: Pace(settings, scope, now) for family, scope in self._scopes.items()}
        self._outcomes: Counter[Outcome] = Counter()
        self._queries = 0
        self._started_at = now
        self._something_ended = trio.Event()
        self._under_way: dict[_Visit, Pending] = {}

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        return contact.address.family in self._paces and self._frontier.add(contact)

    def progress(self) -> Progress:
        """Return the counts of the moment."""
        seconds = trio.current_time() - self._started_at
        return Progress(self._frontier.statistics(), dict(self._outcomes), self._queries, seconds)

    async def run(self) -> Progress:
        """Visit everything that is known and becomes known, and return the final counts.

        Leaving it early forgets the queries under way: their visits get no row.
        """
        try:
            while True:
                await self._writer.wait_for_room()
                self._something_ended = trio.Event()
                pause = self._start_visits(trio.current_time())
                if self._frontier.is_exhausted and not self._frontier.start_second_pass():
                    return self.progress()
                with trio.move_on_after(pause):
                    await self._something_ended.wait()
        finally:
            for pending in self._under_way.values():
                self._node.forget(pending)
            self._under_way.clear()

    def _start_visits(self, now: float) -> float:
        """Start what may start now and return the seconds until more may."""
        while self._frontier.in_flight < self._settings.max_in_flight:
            wait = max(pace.wait_time(now) for pace in self._paces.values())
            if wait > 0:
                return wait
            contact = self._frontier.take_next(now)
            if contact is None:
                due = self._frontier.next_due()
                return LONGEST_SLEEP if due is None else max(0.0, due - now)
            pace = self._paces[contact.address.family]
            host_wait = pace.host_wait_time(contact.address, now)
            if host_wait > 0:
                self._frontier.defer(contact.address, now + host_wait)
            else:
                pace.start_visit(contact.address, now)
                visit = _Visit(contact)
                self._ask(visit, flip_last_bit(contact.node_id), self._on_neighbours)
        return LONGEST_SLEEP

    def _ask(self, visit: "_Visit", target: NodeId, on_done: "_OnDone") -> None:
        self._queries += 1
        address = visit.contact.address
        pending = self._node.send_query(FindNode(target), address, partial(on_done, visit))
        if pending is None:
            on_done(visit, QueryNotSent(address, "not sent"), trio.current_time())
        else:
            self._under_way[visit] = pending

    def _on_neighbours(self, visit: "_Visit", result: Answer | QueryError, now: float) -> None:
        """Take the first answer; a node that gave one is asked for the second."""
        if not isinstance(result, Answer):
            self._end(visit, _FAILURES.get(type(result), Outcome.TIMEOUT))
            return
        contact = visit.contact
        visit.rtt_ms = 1000 * result.rtt
        visit.version = result.response.version
        # Under a wrong id, too, contacts are worth following: each is going to be asked itself.
        self._take_contacts(visit, result)
        if result.response.node_id != contact.node_id:
            self._end(visit, Outcome.WRONG_ID)
            return
        self._paces[contact.address.family].count_query(contact.address, now)
        self._ask(visit, random_id(self._random), self._on_others)

    def _on_others(self, visit: "_Visit", result: Answer | QueryError, _now: float) -> None:
        """Take the second answer, or do without it."""
        if isinstance(result, Answer):
            self._take_contacts(visit, result)
        self._end(visit, Outcome.ANSWERED)

    def _take_contacts(self, visit: "_Visit", answer: Answer) -> None:
        contacts = answer.response.contacts(answer.address.family)
        scope = self._scopes[answer.address.family]
        visit.contacts += len(contacts)
        visit.new_contacts += sum(self._frontier.add(each) for each in contacts if scope.allows(each.address))

    def _end(self, visit: "_Visit", outcome: Outcome) -> None:
        """Settle a visit and hand its row to the writer."""
        contact = visit.contact
        self._under_way.pop(visit, None)
        self._outcomes[outcome] += 1
        self._frontier.settle(contact.address, answered=outcome is not Outcome.TIMEOUT)
        self._writer.put_nowait(
            Visit(
                contact.node_id,
                contact.address,
                utc_text(self._wall_clock()),
                outcome,
                visit.rtt_ms,
                visit.version,
                visit.contacts,
                visit.new_contacts,
                self._frontier.referrers(contact.address),
            )
        )
        self._something_ended.set()


class _Visit:
    """Hold what one visit under way has brought so far."""

    __slots__ = ("contact", "contacts", "new_contacts", "rtt_ms", "version")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.rtt_ms: float | None = None
        self.version: bytes | None = None
        self.contacts = 0
        self.new_contacts = 0


_OnDone: TypeAlias = Callable[[_Visit, Answer | QueryError, float], None]
