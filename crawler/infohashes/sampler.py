"""Ask nodes of one family which info-hashes they store (BEP 51), each when its time has come.

Two loops and no task per node: one takes what may be asked, claims it in the database and sends; the
other receives.  A claim is written before its query leaves, so no node is asked again too early by
whoever goes on after us, or beside us.  What nodes name beside their samples is followed as in a census.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from random import Random
from typing import TypeAlias

import trio

from crawler.core.frontier import ANSWERED, FAILED, NOBODY, SILENT, Frontier
from crawler.core.pace import Pace
from crawler.core.visit import OpenVisit
from crawler.db.records.infohash_samples import (
    LEASE_LIFETIME,
    NodeSample,
    NodeToSample,
    SampleBatch,
    pause_after,
)
from crawler.db.records.records import Journal, utc_text
from crawler.db.writer import Writer
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Address, Family, QueryError, QueryRefused, QueryTimeout, Scope
from dhtnode.krpc import OVERSIZED, CompactContacts, FindNode, PackedEndpoint, Response, SampleInfohashes
from dhtnode.net import BulkClient
from dhtnode.nurseries import open_service_nursery
from dhtnode.outcomes import Outcome, outcome_of

MOST_CLAIMED = 500  # turns in one claim
CLAIM_PERIOD = 0.1  # seconds for which a claim lasts when the pace is what holds us up
LONGEST_SLEEP = 1.0  # seconds between two looks at what is to do when nothing happens
LONGEST_WAIT = 60.0  # the same while all nodes have time
BATCH = 500  # samples that are handed to the writer together
MAX_BATCH_AGE = 1.0  # seconds after which they are in any case
FLOOD = 3  # datagrams of one source that answer nothing: a network may repeat one
UNSUPPORTED_CODES = frozenset({203, 204})  # libtorrent before BEP 51 says 203
_MOST_DUE = 1000  # nodes of a further round that wait in memory

OnRound: TypeAlias = Callable[[Family, int, float], Awaitable[None]]
"""Is told that a round begins: its number, and when by the wall clock."""

Excludes: TypeAlias = Callable[[bytes, PackedEndpoint, Family], bool]
"""Tells whether a node is to be left alone: it is neither asked nor written down."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how often nodes are asked: in so many rounds, or for so many seconds whenever they are due."""

    rounds: int = 1
    seconds: float | None = None

    @property
    def asks_again(self) -> bool:
        """Return whether a node may be asked more than once."""
        return self.rounds > 1 or self.seconds is not None


class OpenSampling(OpenVisit):
    """Hold what one node has said so far; `outcome` is that of the question for a sample."""

    __slots__ = ("code", "interval", "is_again", "known_interval", "num", "outcome", "samples")

    def __init__(self, turn: NodeToSample, endpoint: PackedEndpoint, *, is_again: bool) -> None:
        super().__init__(turn.node_id, endpoint, turn.address)
        self.known_interval = turn.interval
        self.is_again = is_again
        self.outcome: Outcome | None = None
        self.code: int | None = None
        self.samples = b""
        self.num: int | None = None
        self.interval: int | None = None


class Sampler:
    """Sample one family until nobody is left whose time may come."""

    def __init__(
        self,
        asker: BulkClient[OpenSampling],
        writer: Writer,
        settings: CrawlSettings,
        pace: Pace,
        zone: Zone,
        random: Random,
        wall_clock: Callable[[], float],
        *,
        plan: Plan,
        excludes: Excludes | None = None,
        on_round: OnRound | None = None,
    ) -> None:
        """Take over the asker; `pace` may be shared."""
        self._on_round = on_round
        self._asker = asker
        self._writer = writer
        self._settings = settings
        self._pace = pace
        self._zone = zone
        self._random = random
        self._wall_clock = wall_clock
        self._plan = plan
        self._leads = False
        self._excludes = excludes
        self._compact = CompactContacts(asker.family, asker.scope)
        by_endpoint = asker.scope is Scope.LOOPBACK
        self._host_bits = 0 if by_endpoint else 16
        self.frontier = Frontier(self._compact, settings.max_endpoints, counts_hosts=not by_endpoint)
        self.outcomes: Counter[Outcome] = Counter()
        self.queries = 0
        self.not_due = 0
        self.shown = 0
        self.round = 1
        self._halves = random.getrandbits(64) | 1
        self._sample = asker.template(SampleInfohashes)
        self._find_node = asker.template(FindNode)
        self._again: deque[NodeToSample] = deque()
        self._in_flight = 0
        self._asked_before = -inf  # a node last asked before this wall-clock time belongs to the round
        self._stops_at = inf
        self._rows: list[NodeSample] = []
        self._rows_since = 0.0
        self._news = trio.Event()
        asker.on_end = self._on_end

    @property
    def family(self) -> Family:
        """Return the family that is sampled."""
        return self._asker.family

    def add(self, node_id: bytes, address: Address) -> bool:
        """Add a node to start from; return whether it was new."""
        if not self._asker.scope.allows(address):
            return False
        endpoint = self._compact.endpoint_of(address)
        return self._may_go_to(node_id, endpoint) and self.frontier.add(node_id, endpoint)

    def restore(
        self, journals: Iterable[tuple[bytes, bytes]], begun: tuple[int, float] | None = None
    ) -> None:
        """Go on where another run was when it wrote the last of these; to be called first.

        `begun` is the last round that it began, and when, if that was not the first.
        """
        self.frontier.restore(journals)
        if begun is not None:
            self.round, self._asked_before = begun

    async def run(self, *, leads: bool) -> None:
        """Ask everybody who is known or becomes known, in all rounds of the plan.

        With `leads`, nodes are asked for contacts too, those as well that give no sample: a walk.
        Leaving it early forgets the queries under way: their nodes get no row and keep their claims.
        """
        self._leads = leads
        if self._plan.seconds is not None:
            self._stops_at = trio.current_time() + self._plan.seconds
        try:
            async with open_service_nursery() as nursery:
                nursery.start_soon(self._receive)
                await self._send()
        finally:
            self._asker.forget_all()
            self._hand_over_all()

    async def _receive(self) -> None:
        """Take in answers, and what has waited too long, until cancelled."""
        while True:
            now = trio.current_time()
            self._hand_over(now)
            await self._asker.wait(now + LONGEST_SLEEP)
            self._asker.receive()
            self._news.set()

    async def _send(self) -> None:
        """Ask whoever may be asked; return when all rounds are over."""
        while True:
            await self._writer.wait_for_capacity()
            now = trio.current_time()
            turns, pause = self._take_turns(now)
            if turns:
                await self._claim_and_ask(turns)
            elif now >= self._stops_at and not self._in_flight:
                return
            elif self._in_flight or self._again or not self.frontier.is_exhausted:
                await self._wait_for_news(min(pause, LONGEST_SLEEP))
            elif not (self.frontier.requeue_silent() or await self._next_round()):
                return

    async def _wait_for_news(self, seconds: float) -> None:
        self._news = trio.Event()
        with trio.move_on_after(seconds):
            await self._news.wait()

    async def _next_round(self) -> bool:
        """Fill up with nodes whose time has come, or wait for one; return False when nobody is left."""
        if not self._plan.asks_again:
            return False
        if self._plan.seconds is not None:
            self._asked_before = inf
        elif self.round == 1:
            await self._begin_round()
        self._hand_over_all()  # what the last answers said is to count
        wall, before = self._wall_clock(), min(self._asked_before, self._wall_clock())
        family, zone = self.family, self._zone
        due = await self._writer.call(lambda store: store.samples.due(family, zone, wall, before, _MOST_DUE))
        self._again.extend(due)
        if due:
            return True
        next_at = await self._writer.call(lambda store: store.samples.next_due(family, zone, before))
        if next_at is None:
            if self.round < self._plan.rounds:
                await self._begin_round()
                return True
            return False
        await self._sleep_until(next_at)
        return True

    async def _begin_round(self) -> None:
        self.round += 1
        self._asked_before = self._wall_clock()
        if self._on_round is not None:
            await self._on_round(self.family, self.round, self._asked_before)

    async def _sleep_until(self, wall_text: str) -> None:
        """Sleep until a time on the wall clock or the end, with a look at the clock every minute."""
        left = datetime.fromisoformat(wall_text).timestamp() - self._wall_clock()
        left = min(left, self._stops_at - trio.current_time(), LONGEST_WAIT)
        await trio.sleep(max(left, 0.001))

    def _take_turns(self, now: float) -> tuple[list[tuple[NodeToSample, PackedEndpoint, bool]], float]:
        """Return whom to ask next, as many as the pace will let through soon, and how long to wait if none.

        Of one host there is no more than one at a time: what is claimed must be sent.
        """
        wait = self._pace.wait_time(now)
        if now >= self._stops_at:
            return [], LONGEST_SLEEP
        if wait > 0:
            return [], wait
        settings, turns, hosts = self._settings, [], set[int]()
        room = min(settings.max_in_flight - self._in_flight, self._asker.free_slots(settings.max_awaited))
        if settings.rate > 0:
            room = min(room, 1 + int(CLAIM_PERIOD * min(settings.rate, settings.new_endpoints_rate)))
        for _ in range(min(room, MOST_CLAIMED)):
            taken = self._take(now)
            if taken is None:
                break
            turn, endpoint, is_again = taken
            host = endpoint >> self._host_bits
            wait = CLAIM_PERIOD if host in hosts else self._pace.host_wait_time(endpoint, now)
            if settings.rate > 0 and wait > 0:
                self._put_back(turn, endpoint, is_again, now + wait)
            else:
                hosts.add(host)
                turns.append(taken)
        due = self.frontier.next_due()
        return turns, LONGEST_SLEEP if due is None else max(due - now, 0.001)

    def _take(self, now: float) -> tuple[NodeToSample, PackedEndpoint, bool] | None:
        contact = self.frontier.take_next(now)
        if contact is not None:
            node_id, endpoint = contact
            return NodeToSample(node_id, self._compact.address_of(endpoint)), endpoint, False
        if self._again:
            turn = self._again.popleft()
            return turn, self._compact.endpoint_of(turn.address), True
        return None

    def _put_back(self, turn: NodeToSample, endpoint: PackedEndpoint, is_again: bool, until: float) -> None:
        if is_again:
            self._again.append(turn)
        else:
            self.frontier.defer(turn.node_id, endpoint, until)

    async def _claim_and_ask(self, turns: list[tuple[NodeToSample, PackedEndpoint, bool]]) -> None:
        """Claim turns and ask the nodes whose time it is; the others only for contacts, if at all."""
        wall = self._wall_clock()
        claims = [turn for turn, _, _ in turns]
        granted = await self._writer.call_at_once(lambda store: store.samples.lease(claims, wall))
        for (turn, endpoint, is_again), is_due in zip(turns, granted, strict=True):
            visit = OpenSampling(turn, endpoint, is_again=is_again)
            self._in_flight += 1
            if (not is_due and (is_again or not self._leads)) or (
                is_again and self._is_excluded(turn.node_id, endpoint)
            ):
                self._skip(visit)
                continue
            await self._wait_for_pace()
            self._pace.start_visit(endpoint, trio.current_time())
            if not is_due:
                visit.outcome = Outcome.NOT_DUE
            elif self._wall_clock() - wall > LEASE_LIFETIME:  # the machine slept
                self._end(visit, Outcome.NOT_SENT)
                continue
            if not await self._ask(visit):
                self._end(visit, Outcome.NOT_SENT)

    async def _wait_for_pace(self) -> None:
        while True:
            wait = self._pace.wait_time(trio.current_time())
            if wait <= 0:
                return
            await trio.sleep(wait)

    async def _ask(self, visit: OpenSampling) -> bool:
        """Send the first query of a visit; wait when the kernel has no room."""
        while not self._send_query(visit.outcome is None, visit):
            if not self._asker.is_stuck:
                return False
            await trio.sleep(0.01)
        return True

    def _send_query(self, asks_sample: bool, visit: OpenSampling) -> bool:
        question = self._sample if asks_sample else self._find_node
        is_sent = self._asker.send(question, visit.target, visit.address, visit, trio.current_time())
        self.queries += is_sent
        return is_sent

    def _on_end(self, visit: OpenSampling, result: Response | QueryError, took: float, _now: float) -> None:
        if visit.outcome is not None:
            self._on_contacts(visit, visit.outcome, result, took)
        elif isinstance(result, Response):
            self._on_sample(visit, result, took)
        elif isinstance(result, QueryTimeout):
            self._end(visit, Outcome.TIMEOUT)
        else:
            self._on_failure(visit, result)

    def _on_sample(self, visit: OpenSampling, response: Response, took: float) -> None:
        visit.rtt_ms = round(1000 * took, 3)
        visit.version = response.version
        self._take_contacts(visit, response)
        if response.node_id != visit.node_id:
            self._end(visit, Outcome.WRONG_ID)
        elif response.samples is None:
            self._follow(visit, Outcome.UNSUPPORTED)
        else:
            visit.samples = response.samples
            visit.num, visit.interval = response.num, response.interval
            self.shown += len(response.samples) // 20
            self._follow(visit, Outcome.ANSWERED)

    def _follow(self, visit: OpenSampling, outcome: Outcome) -> None:
        """Ask for contacts too, in a walk; its neighbours alone would not lead out of a corner.

        Who has named none is asked for neighbours or for others, by chance.
        """
        if self._leads and not visit.is_again:
            visit.outcome = outcome
            if visit.contacts or self._random.random() < 0.5:
                visit.target = self._zone.random_id(self._random)
            self._pace.count_query(visit.endpoint, trio.current_time())
            if self._send_query(False, visit):
                return
        self._end(visit, outcome)

    def _on_contacts(
        self, visit: OpenSampling, outcome: Outcome, result: Response | QueryError, took: float
    ) -> None:
        """Take the answer to find_node, which changes nothing about what is known of samples."""
        if isinstance(result, Response):
            self._take_contacts(visit, result)
            is_first = visit.rtt_ms is None
            if is_first:
                visit.rtt_ms, visit.version = round(1000 * took, 3), result.version
            if is_first and outcome is Outcome.NOT_DUE:
                self._follow(visit, outcome)
                return
        elif outcome is Outcome.NOT_DUE and visit.rtt_ms is None:
            outcome = Outcome.TIMEOUT
        self._end(visit, outcome)

    def _on_failure(self, visit: OpenSampling, failure: QueryError) -> None:
        if isinstance(failure, QueryRefused):
            visit.code = failure.code
            if failure.code in UNSUPPORTED_CODES:
                self._follow(visit, Outcome.UNSUPPORTED)
                return
            self._pace.back_off(visit.endpoint, trio.current_time())
            self._end(visit, Outcome.ERROR)
        else:
            self._end(visit, outcome_of(failure))

    def _take_contacts(self, visit: OpenSampling, response: Response) -> None:
        """Take what a node names into the frontier; it counts once for each contact it names."""
        compact = response.nodes if self.family is Family.IPV4 else response.nodes6
        if not compact:
            return
        contacts = self._compact.read(compact)
        total = len(compact) // self._compact.bytes_each
        visit.contacts += total
        visit.look_over(compact, contacts, total)
        half = visit.endpoint * self._halves >> 40 & 1 if response.node_id == visit.node_id else NOBODY
        wanted = [each for each in contacts[:OVERSIZED] if self._may_go_to(*each)]
        visit.new_contacts += self.frontier.add_named(wanted, half, visit.named)

    def _may_go_to(self, node_id: bytes, endpoint: PackedEndpoint) -> bool:
        return self._zone.covers(node_id) and not self._is_excluded(node_id, endpoint)

    def _is_excluded(self, node_id: bytes, endpoint: PackedEndpoint) -> bool:
        return self._excludes is not None and self._excludes(node_id, endpoint, self.family)

    def _skip(self, visit: OpenSampling) -> None:
        """Settle a node that is not due, and of which nothing else is needed."""
        self._in_flight -= 1
        self.not_due += 1
        if not visit.is_again:
            self.frontier.settle(visit.node_id, visit.endpoint, FAILED)

    def _end(self, visit: OpenSampling, outcome: Outcome) -> None:
        """Settle a visit, and keep its row for the next batch."""
        self.outcomes[outcome] += 1
        self._in_flight -= 1
        if not visit.is_again:
            state = ANSWERED if visit.rtt_ms is not None else FAILED
            # Only a walk has a use for a second visit: a sample is not asked for twice.
            is_silent = outcome is Outcome.TIMEOUT and self._leads
            self.frontier.settle(visit.node_id, visit.endpoint, SILENT if is_silent else state)
        if self._asker.unexpected.pop(visit.address, 0) >= FLOOD:
            visit.mark("flood")
        wall = self._wall_clock()
        keeps_turn = visit.outcome is Outcome.NOT_DUE
        interval = visit.interval if outcome is Outcome.ANSWERED else visit.known_interval
        pause = pause_after(outcome, interval)
        self._rows.append(
            NodeSample(
                visit.node_id,
                visit.address,
                utc_text(wall),
                outcome,
                visit.code,
                visit.rtt_ms,
                visit.version,
                visit.num,
                visit.interval,
                visit.samples,
                None if keeps_turn else utc_text(wall + pause),
                visit.contacts,
                visit.new_contacts,
                () if visit.marks is None else tuple(sorted(visit.marks)),
            )
        )

    def _hand_over(self, now: float) -> None:
        """Give the writer the samples taken, once they are many or old."""
        if not self._rows:
            self._rows_since = now
        elif len(self._rows) >= BATCH or now - self._rows_since >= MAX_BATCH_AGE:
            self._rows_since = now
            self._hand_over_all()

    def _hand_over_all(self) -> None:
        """Give the writer all samples taken, together with what the frontier has become by them."""
        if self._rows:
            journal = Journal(self.family, *self.frontier.take_journal())
            self._writer.put_nowait(SampleBatch(self._rows, journal))
            self._rows = []
