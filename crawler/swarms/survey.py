"""Measure many swarms: no task per swarm, and none per node.

One loop for each family takes what is to be asked, sends within the pace, and waits; what comes back
goes to the inquiry that asked, which says what to ask next.  An inquiry that has ended becomes a row
for the writer.  What one swarm's lookup has learnt of nodes, the next one starts with.
"""

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import trio

from crawler.core.pace import Pace
from crawler.db.records.records import utc_text
from crawler.db.writer import Writer
from crawler.settings import FRESH, CrawlSettings
from crawler.swarms.node_source import FEW, Excludes, NodeSource
from dhtnode import Address, DhtError, InfoHash, Node, NotJoined, QueryError, QueryRefused, Scope
from dhtnode.krpc import CompactContacts, GetPeers, PackedEndpoint, Response
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from dhtnode.swarm import (
    KEY_BYTES,
    MOST_BYTES,
    CanaryHashes,
    Measurement,
    MeasurementQuery,
    QueryKind,
    SwarmMeasurement,
)

AT_ONCE_DIRECT = 200  # swarms under way when their nodes are known: 12 queries for each wait together
LONGEST_SLEEP = 1.0  # seconds between two looks at what is to do when nothing happens
CLOGGED_PAUSE = 0.05  # seconds until fewer queries may be awaited, because some are late by then
MAX_RECENT = 100_000  # endpoints that count as asked before: routers forget them in minutes


@dataclass(slots=True)
class MeasurementCounts:
    """Count measurements as they end."""

    measured: int = 0
    failed: int = 0


@dataclass(slots=True)
class SurveyCounts:
    """Count what was sent, and how swarms were measured."""

    direct: int = 0
    by_lookup: int = 0
    queries: Counter[QueryKind] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)


@dataclass(slots=True)
class _Job:
    """Hold what is to happen with the swarms of one call."""

    tally: MeasurementCounts
    on_sample: Callable[[SwarmMeasurement], None] | None
    on_failure: Callable[[InfoHash, DhtError], None] | None
    on_peers: Callable[[InfoHash, list[tuple[Address, ...]]], None] | None
    source: str | None
    places: trio.Semaphore | None = None
    under_way: set[Measurement] = field(default_factory=set)
    nobody_left: trio.Event = field(default_factory=trio.Event)
    is_fed: bool = False


class SocketQueue:
    """Hold what is to be asked over one socket."""

    def __init__(self, asker: BulkClient[MeasurementQuery]) -> None:
        self.asker = asker
        self.compact = CompactContacts(asker.family, asker.scope)
        self.queue: deque[MeasurementQuery] = deque()
        self.deferred: list[tuple[float, int, MeasurementQuery]] = []
        self.recent: dict[PackedEndpoint, None] = {}
        scrape = asker.template(lambda target: GetPeers(InfoHash(target), scrape=True))
        listing = asker.template(lambda target: GetPeers(InfoHash(target)))
        self.questions = {QueryKind.SCRAPE: scrape, QueryKind.CANARY: scrape, QueryKind.LISTING: listing}
        self.pause = trio.CancelScope()

    async def wait(self, until: float) -> None:
        """Wait until something has come or there is something new to ask."""
        with trio.CancelScope() as self.pause:
            await self.asker.wait(until)

    def clear(self) -> None:
        """Give up all that was asked or to be asked."""
        self.asker.forget_all()
        self.queue.clear()
        self.deferred.clear()


class SwarmSurvey:
    """Measure swarms over the askers of a session, in one call of `measure` after the other."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        askers: Sequence[BulkClient[Any]],
        settings: CrawlSettings,
        random: Random,
        *,
        excludes: Excludes | None = None,
        fresh: float = FRESH,
        wall_clock: Callable[[], float] = time.time,
        key: bytes | None = None,
    ) -> None:
        """Take over the askers.

        A census counts as fresh for `fresh` seconds, 0 means that nodes are always looked up.  `key`
        makes the host hashes; by default it is random, and forgotten with this object.
        """
        by_endpoint = any(asker.scope is Scope.LOOPBACK for asker in askers)
        self._pace = Pace(settings, trio.current_time(), by_endpoint=by_endpoint)
        self._settings = settings
        self._writer = writer
        self._wall_clock = wall_clock
        self._lanes = {asker.family: SocketQueue(asker) for asker in askers}
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key
        self.whereabouts = NodeSource(node, writer, askers, wall_clock, excludes=excludes, fresh=fresh)
        self.canaries = CanaryHashes(random)
        self.counts = SurveyCounts()
        self._number = count()
        self._jobs: dict[Measurement, _Job] = {}
        self._moved: list[Measurement] = []  # to be looked at once all that has come is taken in
        for asker in askers:
            asker.on_end = self._on_end

    async def measure(
        self,
        info_hashes: Iterable[InfoHash],
        *,
        tally: MeasurementCounts,
        at_once: int | None = None,
        source: str | None = "given",
        on_sample: Callable[[SwarmMeasurement], None] | None = None,
        on_failure: Callable[[InfoHash, DhtError], None] | None = None,
        on_peers: Callable[[InfoHash, list[tuple[Address, ...]]], None] | None = None,
    ) -> None:
        """Measure each info-hash once, `at_once` together; the functions are told the outcomes.

        By default that is 200 where nodes are known, and few where lookups are needed.  A swarm for
        which no node answers is a failure and leaves no row.  One call at a time; leaving it early
        leaves no row of the swarms under way.  `on_peers` is told whom each node named, if its reply is
        believed; addresses of peers are kept nowhere.
        """
        wanted = list(info_hashes)
        job = _Job(tally, on_sample, on_failure, on_peers, source)
        try:
            async with trio.open_nursery() as nursery:
                for lane in self._lanes.values():
                    nursery.start_soon(self._drive, lane, name="survey")
                await self._feed(job, wanted, at_once)
                await job.nobody_left.wait()
                nursery.cancel_scope.cancel()
        finally:
            for lane in self._lanes.values():
                lane.clear()
            self._moved.clear()
            for inquiry in job.under_way:
                del self._jobs[inquiry]

    async def _feed(self, job: _Job, wanted: Sequence[InfoHash], at_once: int | None) -> None:
        """Start one inquiry after the other, as many at a time as may be."""
        for at in range(0, len(wanted), FEW):
            some = wanted[at : at + FEW]
            try:
                await self.whereabouts.prepare(some if at else wanted)
            except NotJoined as error:
                for info_hash in some:
                    self._fail(job, info_hash, error)
                continue
            if job.places is None:
                job.places = trio.Semaphore(at_once or self._default_at_once())
            for info_hash in some:
                await job.places.acquire()
                await self._writer.wait_for_capacity()
                self._start(job, info_hash)
        job.is_fed = True
        self._note_end(job)

    def _default_at_once(self) -> int:
        return AT_ONCE_DIRECT if self.whereabouts.is_direct else self._settings.scrapes_at_once

    def _start(self, job: _Job, info_hash: InfoHash) -> None:
        inquiry = Measurement(info_hash, self.canaries, self.whereabouts.read, key=self._key)
        if self.whereabouts.begin(inquiry):
            self.counts.direct += 1
        else:
            self.counts.by_lookup += 1
            inquiry.most_bytes = MOST_BYTES
        self._jobs[inquiry] = job
        job.under_way.add(inquiry)
        self._go_on(inquiry)
        for lane in self._lanes.values():
            lane.pause.cancel()

    async def _drive(self, lane: SocketQueue) -> None:
        """Send and receive over one socket until cancelled."""
        while True:
            now = trio.current_time()
            pause = self._send_some(lane, now)
            await lane.wait(now if self._moved else now + pause)
            lane.asker.receive()
            # Not where outcomes are told: what goes wrong here must come out.
            moved, self._moved = self._moved, []
            for inquiry in moved:
                if inquiry in self._jobs:
                    self._go_on(inquiry)

    def _send_some(self, lane: SocketQueue, now: float) -> float:
        """Ask what may be asked now, and return the seconds until more may."""
        while lane.deferred and lane.deferred[0][0] <= now:
            lane.queue.appendleft(heappop(lane.deferred)[2])
        asker, pace = lane.asker, self._pace
        while lane.queue and asker.awaited < self._settings.max_awaited:
            if not pace.is_unlimited:
                wait = pace.wait_time(now)
                if wait > 0:
                    return wait
                if self._puts_off(lane, now):
                    continue
            query = lane.queue.popleft()
            if not self._ask(lane, query, now):
                return 0.0
        if lane.queue:
            return CLOGGED_PAUSE
        return max(0.0, lane.deferred[0][0] - now) if lane.deferred else LONGEST_SLEEP

    def _puts_off(self, lane: SocketQueue, now: float) -> bool:
        """Put the next query off because its host was asked too often, or count it as sent."""
        pace, query = self._pace, lane.queue[0]
        endpoint = query.node.endpoint
        wait = pace.host_wait_time(endpoint, now)
        if wait > 0:
            heappush(lane.deferred, (now + wait, next(self._number), lane.queue.popleft()))
            return True
        if endpoint in lane.recent:
            pace.count_query(endpoint, now)
            return False
        pace.start_visit(endpoint, now)
        lane.recent[endpoint] = None
        if len(lane.recent) > MAX_RECENT:
            del lane.recent[next(iter(lane.recent))]
        return False

    def _ask(self, lane: SocketQueue, query: MeasurementQuery, now: float) -> bool:
        """Send a query; return False when that has to wait."""
        asker, node = lane.asker, query.node
        if node.address is None:
            node.address = lane.compact.address_of(node.endpoint)
            node.asked_at = utc_text(self._wall_clock())
        before = asker.bytes_sent
        if not asker.send(lane.questions[query.kind], query.target, node.address, query, now):
            if asker.is_stuck:
                lane.queue.appendleft(query)
                return False
            query.measurement.on_not_sent(query)
            self._moved.append(query.measurement)
            return True
        query.measurement.count_bytes(query, sent=asker.bytes_sent - before)
        self.counts.queries[query.kind] += 1
        return True

    def _on_end(
        self, query: MeasurementQuery, result: Response | QueryError, took: float, now: float
    ) -> None:
        """Give an outcome to its inquiry."""
        inquiry, node = query.measurement, query.node
        if inquiry not in self._jobs:
            return
        self._moved.append(inquiry)
        inquiry.count_bytes(query, received=self._lanes[query.family].asker.answer_bytes)
        inquiry.on_end(query, result, took)
        if isinstance(result, QueryRefused):
            self._pace.back_off(node.endpoint, now)
        if query.kind is QueryKind.SCRAPE:
            self.counts.outcomes[node.outcome or Outcome.TIMEOUT] += 1
            self.whereabouts.note(query.family, node)

    def _go_on(self, inquiry: Measurement) -> None:
        """Queue what an inquiry asks next, or end it."""
        for query in inquiry.take_queries():
            self._lanes[query.family].queue.append(query)
        if not inquiry.pending:
            self._end(inquiry)

    def _end(self, inquiry: Measurement) -> None:
        """Make rows of what an inquiry has come to."""
        job = self._jobs.pop(inquiry)
        job.under_way.discard(inquiry)
        if inquiry.has_answers:
            measurement = inquiry.result(taken_at=utc_text(self._wall_clock()), source=job.source)
            self._writer.put_nowait(measurement)
            job.tally.measured += 1
            if job.on_sample is not None:
                job.on_sample(measurement)
            if job.on_peers is not None:
                job.on_peers(inquiry.info_hash, inquiry.named_peers())
        else:
            self._fail(job, inquiry.info_hash, NotJoined("no node answered"))
        assert job.places is not None  # noqa: S101  # for mypy: the inquiry has taken one
        job.places.release()
        self._note_end(job)

    def _fail(self, job: _Job, info_hash: InfoHash, error: DhtError) -> None:
        job.tally.failed += 1
        if job.on_failure is not None:
            job.on_failure(info_hash, error)

    def _note_end(self, job: _Job) -> None:
        if job.is_fed and not job.under_way:
            job.nobody_left.set()


def describe(counts: SurveyCounts, tally: MeasurementCounts, wanted: int) -> str:
    """Return the counts in a line for people."""
    asked = counts.queries.total()
    return (
        f"scrape: {tally.measured} measured, {tally.failed} failed, of {wanted};"
        f" {counts.direct} asked directly, {counts.by_lookup} looked up, {asked} queries"
    )
