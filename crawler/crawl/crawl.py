"""The visits to all nodes of one family: which to query next, and what each visit comes to.

A visit is two queries: for the node's own id with the last bit flipped, which shows all its
neighbours, and for a random id of the zone, which shows how it connects to the rest.  Rows of
visits are put in batches.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from random import Random

import numpy as np

from crawler.analysis.species_richness import NetworkSize
from crawler.core.exclusion import Area
from crawler.core.pace import Pace
from crawler.core.query_loop import BatchCrawl, ClientFacts
from crawler.core.returned_contacts import LONGEST_WAIT, ReturnedContacts
from crawler.core.sightings import ANSWERED, FAILED, MOST_REFERRERS, UNRESPONSIVE
from crawler.core.visit import FLOOD_DATAGRAMS, OpenVisit, VisitMark, failure_of
from crawler.crawl.cut_size import size_of_cut_crawl
from crawler.crawl.evidence import seen_visits
from crawler.crawl.in_degrees import InDegrees
from crawler.crawl.network_sizes import FamilyTally
from crawler.crawl.tallies import Known, tally_of
from crawler.db.records.records import CrawlBatch, EndedVisits, Journal, Visit, epoch_ms
from crawler.db.visits import VisitRows
from crawler.settings import CrawlSettings
from dhtnode import Contact, QueryError, Scope
from dhtnode.bep42 import is_compliant_at
from dhtnode.ids import ID_BYTES
from dhtnode.krpc import FindNode, Response, unpack_address
from dhtnode.net import Outgoing
from dhtnode.outcomes import Outcome

BATCH = 500  # visits that are put together
MAX_BATCH_AGE = 1.0  # seconds after which they are in any case
MOST_DEFERRED = 1000  # contacts put off in one call, because their hosts were queried too often


class FamilyCrawl(BatchCrawl[OpenVisit]):
    """A crawl of one family, until nothing is left to visit."""

    patience = 0.01

    def __init__(
        self,
        client: ClientFacts,
        put: Callable[[CrawlBatch], None],
        settings: CrawlSettings,
        pace: Pace,
        area: Area,
        random: Random,
        wall_clock: Callable[[], float],
        began_at: float = 0.0,
    ) -> None:
        """Start empty; `put` takes the rows, and `pace` may be shared with other crawls."""
        self._family = client.family
        self._unexpected = client.unexpected
        self._put = put
        self._pace = pace
        self._zone = area.zone
        self._random = random
        self._wall_clock = wall_clock
        self._is_loopback = client.scope is Scope.LOOPBACK
        excludes = area.exclusion.excludes if area.exclusion else None
        self._returned = ReturnedContacts(client, settings.max_endpoints, area.zone, excludes, random)
        self.frontier = self._returned.frontier
        self._in_degrees = InDegrees()
        self.outcomes: Counter[Outcome] = Counter()
        self.queries = 0
        self.second_queries = 0
        self.second_answers = 0
        self._ended_by = np.zeros((MOST_REFERRERS + 1, 2), np.int64)
        self._second_ended = 0
        # Second queries that have ended, their answers, queries, dropped contacts: those in the journal.
        self._journaled = 0, 0, 0, 0
        self._journaled_at = self._latest = began_at
        self.seconds_before = 0.0  # that the crawl went on before it was interrupted
        self.new_share = self._returned.share
        self._find_node = client.template(FindNode)
        self._second_due: deque[OpenVisit] = deque()
        self._ended: list[tuple[OpenVisit, Outcome, int, int | None]] = []
        self._visits: list[Visit] = []
        self._batch_since = 0.0

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        return self._returned.add([contact]) > 0

    def restore(self, journals: Sequence[Journal], ended: Iterable[EndedVisits] = ()) -> None:
        """Continue, before anything else, where another crawl was when it wrote the last of these.

        `ended` are the visits that it made.
        """
        dropped = sum(each.dropped for each in journals)
        self.frontier.restore(((each.contacts, each.changes) for each in journals), dropped=dropped)
        for each in ended:
            if not each.is_verification:
                self.outcomes[each.outcome] += each.visits
                has_answered = int(each.outcome is Outcome.ANSWERED)
                self._ended_by[min(each.referrers, MOST_REFERRERS), has_answered] += each.visits
        self.queries = sum(each.queries for each in journals)
        self.seconds_before = sum(each.seconds for each in journals)
        self._in_degrees.restore(each.namings for each in journals)
        self.second_queries = sum(each.second_queries for each in journals)
        self.second_answers = sum(each.second_answers for each in journals)
        self._second_ended = self.second_queries
        self._journaled = self._totals()

    def _totals(self) -> tuple[int, int, int, int]:
        dropped = self.frontier.statistics().dropped
        return self._second_ended, self.second_answers, self.queries, dropped

    def _take_journal(self) -> Journal:
        totals, before = self._totals(), self._journaled
        self._journaled = totals
        seconds, self._journaled_at = self._latest - self._journaled_at, self._latest
        second_queries, second_answers, queries, dropped = (
            total - each for total, each in zip(totals, before, strict=True)
        )
        contacts, changes = self.frontier.take_journal()
        return Journal(
            self._family,
            contacts,
            changes,
            self._in_degrees.take_journal(),
            second_queries=second_queries,
            second_answers=second_answers,
            queries=queries,
            dropped=dropped,
            seconds=seconds,
        )

    def tally(self, visits: VisitRows | None = None, run_id: int = 0) -> FamilyTally:
        """Return the counts of the crawl, once: which node returned which is forgotten.

        Linear in the endpoints.  `visits` are those of this run, all of which are written; without them
        nodes that hand out nodes which do not exist are not told apart.
        """
        seen = None if visits is None else seen_visits(visits, run_id, self._family, self.frontier)
        # A third of the memory of a crawl, while the rest is computed.
        in_degrees, self._in_degrees = self._in_degrees, InDegrees()
        known = Known(self.frontier, in_degrees, self.second_queries, self.second_answers)
        return tally_of(known, self._family, seen, by_endpoint=self._is_loopback)

    def size_so_far(self) -> NetworkSize | None:
        """Return the size of the network from what is known before the end; see `size_of_cut_crawl`."""
        loss = 1 - (self.second_answers + 1) / (self._second_ended + 1)
        return size_of_cut_crawl(
            self.frontier, self._family, self._ended_by, max(0.0, loss), self._zone, self._random
        )

    def next_queries(self, now: float, most: int) -> tuple[list[Outgoing[OpenVisit]], float | None]:
        """Return the second queries of visits that are due, and then first ones, as the pace allows."""
        visits = [self._second_due.popleft() for _ in range(min(most, len(self._second_due)))]
        self.second_queries += len(visits)
        pause: float | None = 0.0
        if len(visits) < most:
            begun, pause = self._begin(now, most - len(visits))
            visits += begun
            if pause is None and (self._ended or self._returned.has_noted):
                pause = LONGEST_WAIT
        self.queries += len(visits)
        return [(self._find_node, visit.target, visit.address, visit) for visit in visits], pause

    def _begin(self, now: float, most: int) -> tuple[list[OpenVisit], float | None]:
        """Return up to `most` new visits, and if there are fewer, how long to wait for more."""
        if self._pace.is_unlimited:
            return self._new_visits(now, most), self._next_due(now)
        visits: list[OpenVisit] = []
        for _ in range(MOST_DEFERRED):
            wait = self._pace.wait_time(now)
            if wait > 0:
                return visits, wait
            taken = self._new_visits(now, 1)
            if not taken:
                return visits, self._next_due(now)
            (visit,) = taken
            host_wait = self._pace.host_wait_time(visit.endpoint, now)
            if host_wait > 0:
                self.frontier.defer(visit.number, now + host_wait)
                continue
            self._pace.start_visit(visit.endpoint, now)
            visits.append(visit)
            if len(visits) == most:
                break
        return visits, 0.0

    def _next_due(self, now: float) -> float | None:
        due = self.frontier.next_due()
        return None if due is None else max(0.0, due - now)

    def _new_visits(self, now: float, most: int) -> list[OpenVisit]:
        visits = [
            OpenVisit(contact, unpack_address(contact[ID_BYTES:]), number)
            for number, contact in self.frontier.take(now, most)
        ]
        for visit in visits if self._unexpected else ():
            # A late answer to the visit before, perhaps.
            self._unexpected.pop(visit.address, None)
        return visits

    def on_stuck(self, visit: OpenVisit, now: float) -> None:
        """Visit the node later; a second query is done without."""
        if visit.rtt is None:
            self.frontier.defer(visit.number, now)
        else:
            self.on_not_sent(visit, now)

    def on_not_sent(self, visit: OpenVisit, _now: float) -> None:
        """End the visit."""
        if visit.rtt is None:
            self._ended.append((visit, Outcome.NOT_SENT, FAILED, None))
        else:
            self.second_queries -= 1
            self._ended.append((visit, Outcome.ANSWERED, ANSWERED, None))

    def has_more(self) -> bool:
        """Return whether nodes wait that were not queried."""
        return self.frontier.has_waiting

    def on_idle(self) -> bool:
        """Queue unresponsive nodes for their second visit, once all others were visited."""
        return self.frontier.requeue_unresponsive() > 0

    def on_end(self, visit: OpenVisit, result: Response | QueryError, took: float, now: float) -> None:
        """End a visit, or have the node queried once more."""
        if isinstance(result, Response):
            # Under a wrong id, too, contacts are worth following: each is going to be queried itself.
            self._returned.note(visit, result)
        if visit.rtt is not None:
            self._second_ended += 1
            self.second_answers += isinstance(result, Response)
            self._ended.append((visit, Outcome.ANSWERED, ANSWERED, None))
        elif isinstance(result, Response):
            visit.rtt, visit.version = took, result.version
            if result.node_id != visit.node_id:
                self._ended.append((visit, Outcome.WRONG_ID, FAILED, None))
                return
            self._pace.count_second(now)
            visit.target = self._zone.random_id(self._random)
            self._second_due.append(visit)
        else:
            self._on_failure(visit, result, now)

    def _on_failure(self, visit: OpenVisit, failure: QueryError, now: float) -> None:
        outcome, code = failure_of(failure)
        if outcome is Outcome.TIMEOUT and self._unexpected.pop(visit.address, 0):
            outcome = Outcome.MALFORMED  # it said something, but no answer
        elif outcome is Outcome.ERROR:
            self._pace.back_off(visit.endpoint, now)
        # Where hosts may be sent no more for now, there may be a second visit too.
        may_be_there = outcome in (Outcome.TIMEOUT, Outcome.NOT_SENT)
        self._ended.append((visit, outcome, UNRESPONSIVE if may_be_there else FAILED, code))

    def _record(self, now: float) -> None:
        """Record the contacts that nodes have returned, and the visits that have ended."""
        referrals = self._returned.record(now)
        prefixes = self.frontier.table.id_prefixes(referrals.contacts)
        self._in_degrees.add(referrals.contacts, prefixes ^ referrals.referrers)
        ended, self._ended = self._ended, []
        numbers, states = [visit.number for visit, *_ in ended], [state for *_, state, _ in ended]
        all_referrers = self.frontier.finish(numbers, states)
        np.add.at(self._ended_by, (all_referrers, [int(state == ANSWERED) for state in states]), 1)
        taken_at = epoch_ms(self._wall_clock())
        self.outcomes.update([outcome for _, outcome, *_ in ended])
        for (visit, outcome, _, code), referrers in zip(ended, all_referrers, strict=True):
            if self._unexpected and self._unexpected.pop(visit.address, 0) >= FLOOD_DATAGRAMS:
                visit.mark(VisitMark.FLOOD)
            is_unproven = self._is_loopback or visit.rtt is None
            conforms = None if is_unproven else is_compliant_at(visit.node_id, visit.contact[ID_BYTES:-2])
            self._visits.append(visit.row(taken_at, outcome, code, conforms=conforms, referrers=referrers))

    def flush(self, now: float) -> None:
        """Put the visits made, once they are many or old, with the journal of the frontier."""
        # At the end, all is to be written, and the time is infinite.
        self._latest = now if isfinite(now) else self._latest
        if self._returned.is_due(now, len(self._ended)):
            self._record(now)
        if not self._visits:
            self._batch_since = now
        elif len(self._visits) >= BATCH or now - self._batch_since >= MAX_BATCH_AGE:
            self._put(CrawlBatch(self._visits, self._take_journal()))
            self._visits = []
            self._batch_since = now
            self.new_share.fade()
