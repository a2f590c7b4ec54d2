"""The visits to all nodes of one family: which to query next, and what each visit comes to.

A visit is two queries: for the node's own id with the last bit flipped, which shows all its
neighbours, and for a random id of the zone, which shows how it connects to the rest.  Rows of
visits are put in batches.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from math import inf
from random import Random

from crawler.core.exclusion import Area
from crawler.core.frontier import ANSWERED, FAILED, NO_HALF, UNRESPONSIVE, Frontier
from crawler.core.pace import Pace
from crawler.core.query_loop import ClientFacts, Crawl, Outgoing
from crawler.core.visit import FLOOD_DATAGRAMS, OpenVisit, VisitMark, failure_of
from crawler.crawl.in_degrees import InDegrees
from crawler.crawl.network_sizes import Tally
from crawler.db.records.records import CrawlBatch, Journal, Visit, utc_text
from crawler.settings import CrawlSettings
from dhtnode import Contact, Family, QueryError, Scope
from dhtnode.bep42 import is_compliant
from dhtnode.krpc import OVERSIZED, CompactContacts, FindNode, Response
from dhtnode.outcomes import Outcome

BATCH = 500  # visits that are put together
MAX_BATCH_AGE = 1.0  # seconds after which they are in any case
FADING = 0.8  # of what was counted, at every batch
MOST_DEFERRED = 1000  # contacts put off in one call, because their hosts were queried too often


class NewShare:
    """The share of new contacts among those returned of late: old counts fade."""

    __slots__ = ("all", "new")

    def __init__(self) -> None:
        self.all = self.new = 0.0

    def fade(self) -> None:
        """Let what was counted so far weigh less."""
        self.all *= FADING
        self.new *= FADING


class FamilyCrawl(Crawl[OpenVisit]):
    """A crawl of one family, until nothing is left to visit."""

    def __init__(
        self,
        client: ClientFacts,
        put: Callable[[CrawlBatch], None],
        settings: CrawlSettings,
        pace: Pace,
        area: Area,
        random: Random,
        wall_clock: Callable[[], float],
    ) -> None:
        """Start empty; `put` takes the rows, and `pace` may be shared with other crawls."""
        self._family = client.family
        self._scope = client.scope
        self._unexpected = client.unexpected
        self._put = put
        self._pace = pace
        self._zone = area.zone
        self._is_outside = area.outside(client.family)
        self._random = random
        self._wall_clock = wall_clock
        self._compact = CompactContacts(client.family, client.scope)
        self._is_exempt = client.scope is Scope.LOOPBACK  # from BEP 42
        self.frontier = Frontier(self._compact, settings.max_endpoints, counts_hosts=not self._is_exempt)
        self._in_degrees = InDegrees()
        self.outcomes: Counter[Outcome] = Counter()
        self.queries = 0
        self.second_queries = 0
        self.second_answers = 0
        self.new_share = NewShare()
        self._half_key = random.getrandbits(64) | 1
        self._find_node = client.template(FindNode)
        self._second_due: deque[OpenVisit] = deque()
        self._visits: list[Visit] = []
        self._batch_since = 0.0
        self._taken_at, self._taken_at_now = "", -inf

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        if not self._scope.allows(contact.address):
            return False
        endpoint = self._compact.endpoint_of(contact.address)
        if self._is_outside is not None and self._is_outside(contact.node_id, endpoint):
            return False
        return self.frontier.add(contact.node_id, endpoint)

    def restore(self, journals: Iterable[tuple[bytes, bytes]]) -> None:
        """Continue, before anything else is called, where another crawl was when it wrote the last of these.

        Which node returned which is not in them.
        """
        self._in_degrees.give_up()
        self.frontier.restore(journals)

    def tally(self) -> Tally:
        """Return the counts of the crawl; linear in the endpoints."""
        return Tally(
            self.frontier.sightings(),
            self.second_queries,
            self.second_answers,
            self.outcomes[Outcome.ANSWERED],
            self._in_degrees.outside(self.frontier.has_answered, self.frontier.statistics().sighted),
        )

    def next_query(self, now: float) -> Outgoing[OpenVisit] | float | None:
        """Return the second query of a visit, or the first one of the next, as the pace allows."""
        if self._second_due:
            visit = self._second_due.popleft()
            self.second_queries += 1
            return self._query(visit)
        frontier, pace = self.frontier, self._pace
        for _ in range(MOST_DEFERRED):
            wait = 0.0 if pace.is_unlimited else pace.wait_time(now)
            if wait > 0:
                return wait
            contact = frontier.take_next(now)
            if contact is None:
                due = frontier.next_due()
                return None if due is None else max(0.0, due - now)
            node_id, endpoint = contact
            if not pace.is_unlimited:
                host_wait = pace.host_wait_time(endpoint, now)
                if host_wait > 0:
                    frontier.defer(node_id, endpoint, now + host_wait)
                    continue
                pace.start_visit(endpoint, now)
            visit = OpenVisit(node_id, endpoint, self._compact.address_of(endpoint))
            # A late answer to the visit before, perhaps.
            self._unexpected.pop(visit.address, None)
            return self._query(visit)
        return 0.0

    def _query(self, visit: OpenVisit) -> Outgoing[OpenVisit]:
        self.queries += 1
        return self._find_node, visit.target, visit.address, visit

    def on_stuck(self, visit: OpenVisit, now: float) -> None:
        """Visit the node later; a second query is done without."""
        if visit.rtt_ms is None:
            self.frontier.defer(visit.node_id, visit.endpoint, now)
        else:
            self.on_not_sent(visit, now)

    def on_not_sent(self, visit: OpenVisit, now: float) -> None:
        """End the visit."""
        if visit.rtt_ms is None:
            self._end(visit, Outcome.NOT_SENT, FAILED, now)
        else:
            self.second_queries -= 1
            self._end(visit, Outcome.ANSWERED, ANSWERED, now)

    def on_idle(self) -> bool:
        """Queue unresponsive nodes for their second visit, once all others were visited."""
        return self.frontier.requeue_unresponsive() > 0

    def on_end(self, visit: OpenVisit, result: Response | QueryError, took: float, now: float) -> None:
        """Record what a node has returned; end its visit, or have it queried once more."""
        if visit.rtt_ms is not None:
            if isinstance(result, Response):
                self.second_answers += 1
                self._add_contacts(visit, result)
            self._end(visit, Outcome.ANSWERED, ANSWERED, now)
        elif isinstance(result, Response):
            self._on_neighbours(visit, result, took, now)
        else:
            self._on_failure(visit, result, now)

    def _on_neighbours(self, visit: OpenVisit, response: Response, took: float, now: float) -> None:
        visit.rtt_ms = round(1000 * took, 3)
        visit.version = response.version
        # Under a wrong id, too, contacts are worth following: each is going to be queried itself.
        self._add_contacts(visit, response)
        if response.node_id != visit.node_id:
            self._end(visit, Outcome.WRONG_ID, FAILED, now)
            return
        self._pace.count_second(now)
        visit.target = self._zone.random_id(self._random)
        self._second_due.append(visit)

    def _on_failure(self, visit: OpenVisit, failure: QueryError, now: float) -> None:
        outcome, code = failure_of(failure)
        if outcome is Outcome.TIMEOUT and self._unexpected.pop(visit.address, 0):
            outcome = Outcome.MALFORMED  # it said something, but no answer
        elif outcome is Outcome.ERROR:
            self._pace.back_off(visit.endpoint, now)
        self._end(visit, outcome, UNRESPONSIVE if outcome is Outcome.TIMEOUT else FAILED, now, code)

    def _add_contacts(self, visit: OpenVisit, response: Response) -> None:
        compact = response.nodes if self._family is Family.IPV4 else response.nodes6
        if not compact:
            return
        contacts = self._compact.read(compact)
        total = len(compact) // self._compact.bytes_each
        visit.contacts += total
        visit.unusable += total - len(contacts)
        visit.check_contacts(compact, contacts, total)
        # Under a wrong id its word is not counted: it would belong to another half.
        half = visit.endpoint * self._half_key >> 40 & 1 if response.node_id == visit.node_id else NO_HALF
        if self._is_outside is not None:
            contacts = [contact for contact in contacts if not self._is_outside(*contact)]
        contacts = contacts[:OVERSIZED]
        if half != NO_HALF and not self._in_degrees.is_given_up:
            fresh = [contact for contact in contacts if contact[1] not in visit.returned]
            self._in_degrees.add(fresh, visit.node_id)
        new = self.frontier.add_returned(contacts, half, visit.returned)
        visit.new_contacts += new
        self.new_share.new += new
        self.new_share.all += len(contacts)

    def _end(
        self, visit: OpenVisit, outcome: Outcome, state: int, now: float, code: int | None = None
    ) -> None:
        self.outcomes[outcome] += 1
        self.frontier.finish(visit.node_id, visit.endpoint, state)
        if self._unexpected.pop(visit.address, 0) >= FLOOD_DATAGRAMS:
            visit.mark(VisitMark.FLOOD)
        # One text for all visits that end at the same moment: it takes as long to write as a row.
        if now != self._taken_at_now:
            self._taken_at, self._taken_at_now = utc_text(self._wall_clock()), now
        is_unproven = self._is_exempt or visit.rtt_ms is None
        self._visits.append(
            visit.row(
                self._taken_at,
                outcome,
                code,
                conforms=None if is_unproven else is_compliant(visit.node_id, visit.address.host),
                referrers=self.frontier.referrers(visit.endpoint),
            )
        )

    def flush(self, now: float) -> None:
        """Put the visits made, once they are many or old, with the journal of the frontier."""
        if not self._visits:
            self._batch_since = now
        elif len(self._visits) >= BATCH or now - self._batch_since >= MAX_BATCH_AGE:
            journal = Journal(self._family, *self.frontier.take_journal())
            self._put(CrawlBatch(self._visits, journal))
            self._visits = []
            self._batch_since = now
            self.new_share.fade()
