"""One loop that visits every endpoint of one family: no task per node.

The loop takes what is due, sends within the pace, and waits; what comes back is handled in callbacks
of the asker.  A visit is two queries: for the node's own id with the last bit flipped, which shows all
its neighbours, and for a random id of the zone, which shows how it connects to the rest.  Results go
to the writer in batches; when that falls behind, the loop waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import trio

from crawler.core.area import Area
from crawler.core.frontier import ANSWERED, FAILED, NOBODY, SILENT, Frontier
from crawler.core.pace import Pace
from crawler.core.visit import OpenVisit, failure_of
from crawler.crawl.in_degrees import InDegrees
from crawler.crawl.tally import Tally
from crawler.db.records.records import CrawlBatch, Journal, Visit, utc_text
from crawler.db.writer import Writer
from crawler.settings import CrawlSettings
from dhtnode import Contact, Family, QueryError, Scope
from dhtnode.bep42 import is_compliant
from dhtnode.krpc import OVERSIZED, CompactContacts, FindNode, PackedEndpoint, Response
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome

LONGEST_SLEEP = 1.0  # seconds between two looks at the frontier when nothing happens
BATCH = 500  # visits that are handed to the writer together
FLOOD = 3  # datagrams of one source that answer nothing: a network may repeat one
FADING = 0.8  # of what was counted, at every batch
MAX_BATCH_AGE = 1.0  # seconds after which they are in any case


class RecentAnswers:
    """Count the contacts named of late, and how many of them were new: old counts fade."""

    __slots__ = ("all", "new")

    def __init__(self) -> None:
        self.all = self.new = 0.0

    def fade(self) -> None:
        """Let what was counted so far weigh less."""
        self.all *= FADING
        self.new *= FADING


class FamilyCrawl:
    """Crawl one family until nothing is left to visit."""

    def __init__(
        self,
        asker: BulkClient[OpenVisit],
        writer: Writer,
        settings: CrawlSettings,
        pace: Pace,
        area: Area,
        random: Random,
        wall_clock: Callable[[], float],
    ) -> None:
        """Take over the asker; `pace` may be shared with other walks."""
        self._asker = asker
        self._writer = writer
        self._settings = settings
        self._pace = pace
        self._zone = area.zone
        self._is_barred = area.bars(asker.family)
        self._random = random
        self._wall_clock = wall_clock
        self._compact = CompactContacts(asker.family, asker.scope)
        self.frontier = Frontier(
            self._compact, settings.max_endpoints, counts_hosts=asker.scope is not Scope.LOOPBACK
        )
        self._namings = InDegrees()
        self.outcomes: Counter[Outcome] = Counter()
        self.queries = 0
        self.second_queries = 0
        self.second_answers = 0
        self.named = RecentAnswers()
        self._halves = random.getrandbits(64) | 1
        self._find_node = asker.template(FindNode)
        self._is_exempt = asker.scope is Scope.LOOPBACK  # from BEP 42
        self._visits: list[Visit] = []
        self._batch_since = 0.0
        self._taken_at = utc_text(wall_clock())
        asker.on_end = self._on_end

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        if not self._asker.scope.allows(contact.address):
            return False
        endpoint = self._compact.endpoint_of(contact.address)
        if self._is_barred is not None and self._is_barred(contact.node_id, endpoint):
            return False
        return self.frontier.add(contact.node_id, endpoint)

    def restore(self, journals: Iterable[tuple[bytes, bytes]]) -> None:
        """Go on where another walk was when it wrote the last of these; to be called first.

        Who named whom is not in them.
        """
        self._namings.give_up()
        self.frontier.restore(journals)

    def tally(self) -> Tally:
        """Return what the crawl has come to; linear in the endpoints."""
        return Tally(
            self.frontier.sightings(),
            self.second_queries,
            self.second_answers,
            self.outcomes[Outcome.ANSWERED],
            self._namings.outside(self.frontier.has_answered, self.frontier.statistics().sighted),
        )

    async def run(self) -> None:
        """Visit everything that is known and becomes known.

        Leaving it early forgets the queries under way: their visits get no row, and are due again.
        """
        try:
            while True:
                await self._writer.wait_for_capacity()
                now = trio.current_time()
                pause = self._start_visits(now)
                self._hand_over(now)
                if self.frontier.is_exhausted and not self.frontier.requeue_silent():
                    return
                await self._asker.wait(now + pause)
                self._taken_at = utc_text(self._wall_clock())
                self._asker.receive()
        finally:
            self._asker.forget_all()
            self._hand_over(float("inf"))

    def _start_visits(self, now: float) -> float:
        """Start what may start now and return the seconds until more may."""
        frontier, pace, asker, settings = self.frontier, self._pace, self._asker, self._settings
        room = min(settings.max_in_flight - frontier.in_flight, asker.free_slots(settings.max_awaited))
        for _ in range(room):
            wait = 0.0 if pace.is_unlimited else pace.wait_time(now)
            if wait > 0:
                return wait
            contact = frontier.take_next(now)
            if contact is None:
                due = frontier.next_due()
                return LONGEST_SLEEP if due is None else max(0.0, due - now)
            if not pace.is_unlimited:
                host_wait = pace.host_wait_time(contact[1], now)
                if host_wait > 0:
                    frontier.defer(*contact, now + host_wait)
                    continue
                pace.start_visit(contact[1], now)
            if not self._start_visit(*contact, now):
                return 0.0
        return LONGEST_SLEEP

    def _start_visit(self, node_id: bytes, endpoint: PackedEndpoint, now: float) -> bool:
        """Ask a node for the first time; return False when that has to wait."""
        visit = OpenVisit(node_id, endpoint, self._compact.address_of(endpoint))
        self._asker.unexpected.pop(visit.address, None)  # a late answer to a visit before, perhaps
        if self._ask(visit, now):
            return True
        if self._asker.is_stuck:
            self.frontier.defer(node_id, endpoint, now)
            return False
        self._end(visit, Outcome.NOT_SENT, FAILED)
        return True

    def _ask(self, visit: OpenVisit, now: float) -> bool:
        self.queries += 1
        return self._asker.send(self._find_node, visit.target, visit.address, visit, now)

    def _on_end(self, visit: OpenVisit, result: Response | QueryError, took: float, now: float) -> None:
        if visit.rtt_ms is not None:
            if isinstance(result, Response):
                self.second_answers += 1
                self._take_contacts(visit, result)
            self._end(visit, Outcome.ANSWERED, ANSWERED)
        elif isinstance(result, Response):
            self._on_neighbours(visit, result, took, now)
        else:
            self._on_failure(visit, result, now)

    def _on_neighbours(self, visit: OpenVisit, response: Response, took: float, now: float) -> None:
        """Take the first answer; a node that gave one is asked for the second."""
        visit.rtt_ms = round(1000 * took, 3)
        visit.version = response.version
        # Under a wrong id, too, contacts are worth following: each is going to be asked itself.
        self._take_contacts(visit, response)
        if response.node_id != visit.node_id:
            self._end(visit, Outcome.WRONG_ID, FAILED)
            return
        self._pace.go_on(now)
        visit.target = self._zone.random_id(self._random)
        if self._ask(visit, now):
            self.second_queries += 1
        else:
            self._end(visit, Outcome.ANSWERED, ANSWERED)

    def _on_failure(self, visit: OpenVisit, failure: QueryError, now: float) -> None:
        outcome, code = failure_of(failure)
        if outcome is Outcome.TIMEOUT and self._asker.unexpected.pop(visit.address, 0):
            outcome = Outcome.MALFORMED  # it said something, but no answer
        elif outcome is Outcome.ERROR:
            self._pace.back_off(visit.endpoint, now)
        self._end(visit, outcome, SILENT if outcome is Outcome.TIMEOUT else FAILED, code)

    def _take_contacts(self, visit: OpenVisit, response: Response) -> None:
        """Take what a node names into the frontier; it counts once for each contact it names."""
        compact = response.nodes if self._asker.family is Family.IPV4 else response.nodes6
        if not compact:
            return
        contacts = self._compact.read(compact)
        total = len(compact) // self._compact.bytes_each
        visit.contacts += total
        visit.unusable += total - len(contacts)
        visit.look_over(compact, contacts, total)
        half = visit.endpoint * self._halves >> 40 & 1 if response.node_id == visit.node_id else NOBODY
        if self._is_barred is not None:
            contacts = [contact for contact in contacts if not self._is_barred(*contact)]
        contacts = contacts[:OVERSIZED]
        if half != NOBODY and not self._namings.is_given_up:
            fresh = [contact for contact in contacts if contact[1] not in visit.named]
            self._namings.add(fresh, visit.node_id)
        new = self.frontier.add_named(contacts, half, visit.named)
        visit.new_contacts += new
        self.named.new += new
        self.named.all += len(contacts)

    def _end(self, visit: OpenVisit, outcome: Outcome, state: int, code: int | None = None) -> None:
        """Settle a visit, and keep its row for the next batch."""
        address = visit.address
        self.outcomes[outcome] += 1
        self.frontier.settle(visit.node_id, visit.endpoint, state)
        if self._asker.unexpected.pop(address, 0) >= FLOOD:
            visit.mark("flood")
        self._visits.append(
            Visit(
                visit.node_id,
                address,
                self._taken_at,
                outcome,
                code,
                visit.rtt_ms,
                visit.version,
                None
                if self._is_exempt or visit.rtt_ms is None
                else is_compliant(visit.node_id, address.host),
                visit.contacts,
                visit.unusable,
                visit.new_contacts,
                self.frontier.referrers(visit.endpoint),
                () if visit.marks is None else tuple(sorted(visit.marks)),
            )
        )

    def _hand_over(self, now: float) -> None:
        """Give the writer the visits made, together with what the frontier has become by them."""
        if not self._visits:
            self._batch_since = now
        elif len(self._visits) >= BATCH or now - self._batch_since >= MAX_BATCH_AGE:
            journal = Journal(self._asker.family, *self.frontier.take_journal())
            self._writer.put_nowait(CrawlBatch(self._visits, journal))
            self._visits = []
            self._batch_since = now
            self.named.fade()
