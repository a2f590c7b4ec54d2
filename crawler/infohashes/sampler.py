"""Samples of what the nodes of one family store (BEP 51): which node to query, and what it showed.

A turn is taken here, claimed in the database elsewhere (`turns`), and then given back to be used:
a claim is written before its query leaves, so no process queries a node again too early.  Contacts
that nodes return beside their samples are followed as in a census.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TypeAlias

from crawler.core.exclusion import Excludes
from crawler.core.pace import Pace
from crawler.core.query_loop import LONGEST_SLEEP, ClientFacts, Crawl
from crawler.core.returned_contacts import LONGEST_WAIT, ReturnedContacts
from crawler.core.sightings import ANSWERED, FAILED, UNRESPONSIVE
from crawler.core.visit import FLOOD_DATAGRAMS, OpenVisit, VisitMark
from crawler.db.records.infohash_samples import (
    LEASE_LIFETIME,
    NodeSample,
    NodeToSample,
    SampleBatch,
    pause_after,
)
from crawler.db.records.records import Journal, utc_text
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Address, QueryError, QueryRefused, Scope
from dhtnode.ids import ID_BYTES
from dhtnode.krpc import CompactContacts, FindNode, PackedEndpoint, Response, SampleInfohashes, unpack_address
from dhtnode.net import Outgoing
from dhtnode.outcomes import Outcome, outcome_of

Turn: TypeAlias = tuple[NodeToSample, PackedEndpoint, int]
"""A turn to be claimed, its endpoint, and its number in the frontier, or `AGAIN` if the node is not of it."""

AGAIN = -1  # the number of a node that was queried before

MOST_CLAIMED = 500  # turns in one claim
CLAIM_PERIOD = 0.1  # seconds for which a claim lasts when the pace is what holds us up
BATCH = 500  # samples that are put together
MAX_BATCH_AGE = 1.0  # seconds after which they are in any case
UNSUPPORTED_CODES = frozenset({203, 204})  # libtorrent before BEP 51 says 203


class OpenSampling(OpenVisit):
    """What one node has returned so far; `outcome` is that of the query for a sample, once it has ended."""

    __slots__ = ("code", "interval", "known_interval", "num", "outcome", "samples")

    def __init__(self, turn: NodeToSample, contact: bytes, number: int) -> None:
        super().__init__(contact, turn.address, number)
        self.known_interval = turn.interval
        self.outcome: Outcome | None = None
        self.code: int | None = None
        self.samples = b""
        self.num: int | None = None
        self.interval: int | None = None

    @property
    def is_first_query(self) -> bool:
        """Return whether the query to be sent is the first to this node."""
        return self.rtt is None and self.outcome in (None, Outcome.NOT_DUE)

    @property
    def is_again(self) -> bool:
        """Return whether the node was queried before."""
        return self.number == AGAIN


class Sampler(Crawl[OpenSampling]):
    """The samples of one family, until no node is left whose turn may come."""

    def __init__(
        self,
        client: ClientFacts,
        put: Callable[[SampleBatch], None],
        settings: CrawlSettings,
        pace: Pace,
        zone: Zone,
        random: Random,
        wall_clock: Callable[[], float],
        *,
        excludes: Excludes | None = None,
    ) -> None:
        """Start empty; `put` takes the rows, and `pace` may be shared with other crawls.

        With `follows_contacts`, nodes are queried for contacts too, those as well that give no sample.
        Once `is_complete`, no more turns are going to be claimed.  `on_all_sent` is called when all
        turns that were claimed are used.
        """
        self.family = client.family
        self._returned = ReturnedContacts(client, settings.max_endpoints, zone, excludes, random)
        self.frontier = self._returned.frontier
        self.outcomes: Counter[Outcome] = Counter()
        self.queries = self.not_due = self.shown = 0
        self.follows_contacts = self.is_complete = False
        self.on_all_sent: Callable[[], None] = lambda: None
        self._compact = CompactContacts(client.family, client.scope)
        self._unexpected = client.unexpected
        self._put = put
        self._settings = settings
        self._pace, self._zone = pace, zone
        self._random = random
        self._wall_clock = wall_clock
        self._excludes = excludes
        self._host_bits = 0 if client.scope is Scope.LOOPBACK else 16
        self._sample, self._find_node = client.template(SampleInfohashes), client.template(FindNode)
        self._again = deque[NodeToSample]()
        self._claimed, self._claimed_at = deque[OpenSampling](), 0.0
        self._counted = deque[OpenSampling]()  # queries that the pace has counted already
        self._ended: list[tuple[OpenSampling, Outcome, float]] = []
        self._rows, self._rows_since = list[NodeSample](), 0.0

    def add(self, nodes: Iterable[tuple[bytes, Address]]) -> int:
        """Add nodes to start from; return how many are new."""
        return self._returned.add(nodes)

    def add_again(self, turns: Iterable[NodeToSample]) -> None:
        """Add turns of nodes that were queried before."""
        self._again.extend(turns)

    @property
    def has_claimed(self) -> bool:
        """Return whether turns that were claimed wait to be used."""
        return bool(self._claimed or self._counted)

    @property
    def has_turns(self) -> bool:
        """Return whether nodes wait for their turn to be claimed, or more of them may in a moment."""
        return bool(self._again or self._ended) or self.frontier.has_waiting or self._returned.has_noted

    def take_turns(self, now: float, slots: int) -> tuple[list[Turn], float]:
        """Return turns to be claimed, as many as the pace allows soon, and how long to wait if none.

        Of one host there is no more than one at a time: a turn that is claimed has to be used.
        """
        wait = self._pace.wait_time(now)
        if wait > 0:
            return [], wait
        settings, turns, hosts = self._settings, [], set[int]()
        if settings.rate > 0:
            slots = min(slots, 1 + int(CLAIM_PERIOD * min(settings.rate, settings.new_endpoints_rate)))
        for _ in range(min(slots, MOST_CLAIMED)):
            taken = self._take(now)
            if taken is None:
                break
            turn, endpoint, number = taken
            host = endpoint >> self._host_bits
            wait = CLAIM_PERIOD if host in hosts else self._pace.host_wait_time(endpoint, now)
            if settings.rate <= 0 or wait <= 0:
                hosts.add(host)
                turns.append(taken)
            elif number == AGAIN:
                self._again.append(turn)
            else:
                self.frontier.defer(number, now + wait)
        due = self.frontier.next_due()
        return turns, LONGEST_SLEEP if due is None else max(due - now, 0.001)

    def _take(self, now: float) -> Turn | None:
        for number, contact in self.frontier.take(now, 1):
            address = unpack_address(contact[ID_BYTES:])
            return NodeToSample(contact[:ID_BYTES], address), self._compact.endpoint_of(address), number
        if self._again:
            turn = self._again.popleft()
            return turn, self._compact.endpoint_of(turn.address), AGAIN
        return None

    def use_turns(self, turns: Sequence[Turn], granted: Sequence[bool], claimed_at: float) -> None:
        """Query nodes whose turns were granted for a sample; the others for contacts only, if at all.

        `claimed_at` is a time on the wall clock.
        """
        self._claimed_at = claimed_at
        for (turn, endpoint, number), is_due in zip(turns, granted, strict=True):
            visit = OpenSampling(turn, self._compact.write(turn.node_id, endpoint), number)
            is_useless = not is_due and (visit.is_again or not self.follows_contacts)
            if is_useless or (visit.is_again and self._is_excluded(turn.node_id, endpoint)):
                self.not_due += 1
                if not visit.is_again:
                    self.frontier.finish([number], [FAILED])
                continue
            if not is_due:
                visit.outcome = Outcome.NOT_DUE
            self._claimed.append(visit)

    def next_query(self, now: float) -> Outgoing[OpenSampling] | float | None:
        """Return the query of a turn that was claimed, or the one that follows it."""
        if self._counted:
            return self._query(self._counted.popleft())
        while self._claimed:
            wait = self._pace.wait_time(now)
            if wait > 0:
                return wait
            visit = self._claimed.popleft()
            self._pace.start_visit(visit.endpoint, now)
            # The claim has run out if the machine slept.
            if visit.outcome is None and self._wall_clock() - self._claimed_at > LEASE_LIFETIME:
                self._end(visit, Outcome.NOT_SENT)
            else:
                return self._query(visit)
        if not self.is_complete:
            self.on_all_sent()
        if self._ended or self._returned.has_noted:
            return LONGEST_WAIT
        return None if self.is_complete else LONGEST_SLEEP

    def _query(self, visit: OpenSampling) -> Outgoing[OpenSampling]:
        self.queries += 1
        template = self._sample if visit.outcome is None else self._find_node
        return template, visit.target, visit.address, visit

    def on_stuck(self, visit: OpenSampling, _now: float) -> None:
        """Query the node later."""
        self.queries -= 1
        self._counted.appendleft(visit)

    def on_not_sent(self, visit: OpenSampling, _now: float) -> None:
        """End the visit; what the node has returned so far is kept."""
        self.queries -= 1
        self._end(visit, Outcome.NOT_SENT if visit.is_first_query else visit.outcome or Outcome.NOT_SENT)

    def on_end(self, visit: OpenSampling, result: Response | QueryError, took: float, now: float) -> None:
        """Record what a node has returned; end its visit, or have it queried for contacts."""
        if isinstance(result, Response):
            self._returned.note(visit, result)
        if visit.outcome is not None:
            self._on_contacts(visit, visit.outcome, result, took, now)
        elif isinstance(result, Response):
            self._on_sample(visit, result, took, now)
        else:
            self._on_failure(visit, result, now)

    def _on_sample(self, visit: OpenSampling, response: Response, took: float, now: float) -> None:
        visit.rtt, visit.version = took, response.version
        if response.node_id != visit.node_id:
            self._end(visit, Outcome.WRONG_ID)
        elif response.samples is None:
            self._follow(visit, Outcome.UNSUPPORTED, now)
        else:
            visit.samples = response.samples
            visit.num, visit.interval = response.num, response.interval
            self.shown += len(response.samples) // 20
            self._follow(visit, Outcome.ANSWERED, now)

    def _follow(self, visit: OpenSampling, outcome: Outcome, now: float) -> None:
        """Have a node queried for contacts too, if these are followed."""
        if not self.follows_contacts or visit.is_again:
            self._end(visit, outcome)
            return
        visit.outcome = outcome
        # Its neighbours alone would not lead out of a corner of the id space.
        if visit.contacts or self._random.random() < 0.5:
            visit.target = self._zone.random_id(self._random)
        self._pace.count_query(visit.endpoint, now)
        self._counted.append(visit)

    def _on_contacts(
        self, visit: OpenSampling, outcome: Outcome, result: Response | QueryError, took: float, now: float
    ) -> None:
        """Handle the result of find_node, which changes nothing about what is known of samples."""
        if isinstance(result, Response):
            if visit.rtt is None:
                visit.rtt, visit.version = took, result.version
                if outcome is Outcome.NOT_DUE:
                    self._follow(visit, outcome, now)
                    return
        elif outcome is Outcome.NOT_DUE and visit.rtt is None:
            outcome = Outcome.TIMEOUT
        self._end(visit, outcome)

    def _on_failure(self, visit: OpenSampling, failure: QueryError, now: float) -> None:
        if not isinstance(failure, QueryRefused):
            self._end(visit, outcome_of(failure))
            return
        visit.code = failure.code
        if failure.code in UNSUPPORTED_CODES:
            self._follow(visit, Outcome.UNSUPPORTED, now)
        else:
            self._pace.back_off(visit.endpoint, now)
            self._end(visit, Outcome.ERROR)

    def _is_excluded(self, node_id: bytes, endpoint: PackedEndpoint) -> bool:
        return self._excludes is not None and self._excludes(node_id, endpoint, self.family)

    def _end(self, visit: OpenSampling, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self._ended.append((visit, outcome, self._wall_clock()))

    def _record(self, now: float) -> None:
        """Record the contacts that nodes have returned, and the visits that have ended."""
        self._returned.record(now)
        ended, self._ended = self._ended, []
        new = [
            (visit.number, self._state(visit, outcome)) for visit, outcome, _ in ended if not visit.is_again
        ]
        self.frontier.finish([number for number, _ in new], [state for _, state in new])
        self._rows += [self._row(*each) for each in ended]
        self.on_all_sent()

    def _state(self, visit: OpenSampling, outcome: Outcome) -> int:
        # Only where contacts are followed has a second visit a use: a sample has to wait for its turn.
        if outcome in (Outcome.TIMEOUT, Outcome.NOT_SENT) and self.follows_contacts:
            return UNRESPONSIVE
        return ANSWERED if visit.rtt is not None else FAILED

    def _row(self, visit: OpenSampling, outcome: Outcome, wall: float) -> NodeSample:
        if self._unexpected.pop(visit.address, 0) >= FLOOD_DATAGRAMS:
            visit.mark(VisitMark.FLOOD)
        keeps_turn = visit.outcome is Outcome.NOT_DUE
        interval = visit.interval if outcome is Outcome.ANSWERED else visit.known_interval
        return NodeSample(
            node_id=visit.node_id,
            address=visit.address,
            taken_at=utc_text(wall),
            outcome=outcome,
            error_code=visit.code,
            rtt_ms=None if visit.rtt is None else round(1000 * visit.rtt, 3),
            version=visit.version,
            num=visit.num,
            interval=visit.interval,
            samples=visit.samples,
            next_at=None if keeps_turn else utc_text(wall + pause_after(outcome, interval)),
            contacts=visit.contacts,
            new_contacts=visit.new_contacts,
            marks=visit.sorted_marks,
        )

    def flush(self, now: float) -> None:
        """Put the samples taken, once they are many or old, with the journal of the frontier."""
        if self._returned.is_due(now, len(self._ended)):
            self._record(now)
        if not self._rows:
            self._rows_since = now
        elif len(self._rows) >= BATCH or now - self._rows_since >= MAX_BATCH_AGE:
            self._put(SampleBatch(self._rows, Journal(self.family, *self.frontier.take_journal())))
            self._rows = []
            self._rows_since = now
