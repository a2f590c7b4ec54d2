"""Measure many swarms: no task per swarm, and none per node.

One query loop for each family sends what waits in its `SocketQueue`; what comes back goes to the
measurement that the query belongs to, which says what to query next.  One that has ended becomes a row for
the writer.  What one swarm's lookup has learnt of nodes, the next one starts with.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from crawler.analysis.sessions import wilson
from crawler.core.exclusion import Excludes
from crawler.core.pace import Pace
from crawler.core.query_loop import drive
from crawler.db.records.records import utc_text
from crawler.db.writer import Writer
from crawler.settings import FRESH, CrawlSettings
from crawler.swarms.node_source import FEW, NodeSource
from crawler.swarms.socket_queue import SocketQueue
from dhtnode import Address, DhtError, InfoHash, Node, NotJoined, QueryError, QueryRefused, Scope
from dhtnode.client_names import SILENT_SEEDS
from dhtnode.krpc import Response
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

STARTED_AT_ONCE = 16  # swarms, before others get their turn
AT_ONCE_DIRECT = 200  # swarms under way when their nodes are known: 12 queries for each wait together


@dataclass(slots=True)
class MeasurementCounts:
    """The numbers of measurements that have ended."""

    measured: int = 0
    failed: int = 0


@dataclass(slots=True)
class SurveyCounts:
    """The numbers of queries, of their results, and of swarms by how nodes were found."""

    direct: int = 0
    by_lookup: int = 0
    queries: Counter[QueryKind] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)


@dataclass(slots=True)
class _Job:
    """The swarms of one call, and what to do with them."""

    tally: MeasurementCounts
    on_sample: Callable[[SwarmMeasurement], None] | None
    on_failure: Callable[[InfoHash, DhtError], None] | None
    on_peers: Callable[[SwarmMeasurement, list[tuple[Address, ...]]], None] | None
    source: str | None
    places: trio.Semaphore | None = None
    under_way: set[Measurement] = field(default_factory=set)
    all_ended: trio.Event = field(default_factory=trio.Event)
    # Swarms of which none of the nodes that we knew answers; None when others were looked for.
    unanswered: list[InfoHash] | None = field(default_factory=list)


class SwarmSurvey:
    """Measurements of swarms over the clients of a session, one call of `measure` after the other."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        clients: Sequence[BulkClient[Any]],
        settings: CrawlSettings,
        random: Random,
        *,
        excludes: Excludes | None = None,
        fresh: float = FRESH,
        wall_clock: Callable[[], float] = time.time,
        key: bytes | None = None,
    ) -> None:
        """Prepare a survey; it uses the clients while `measure` runs.

        A census counts as fresh for `fresh` seconds, 0 means that nodes are always looked up.  `key`
        makes the host hashes; by default it is random, and forgotten with this object.
        """
        by_endpoint = any(client.scope is Scope.LOOPBACK for client in clients)
        self._pace = Pace(settings, trio.current_time(), by_endpoint=by_endpoint)
        self._settings = settings
        self._writer = writer
        self._wall_clock = wall_clock
        self._clients = {client.family: client for client in clients}
        self._queues = {
            client.family: SocketQueue(client, self, self._pace, wall_clock) for client in clients
        }
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key
        self.nodes = NodeSource(node, writer, clients, wall_clock, excludes=excludes, fresh=fresh)
        self.canaries = CanaryHashes(random)
        self.counts = SurveyCounts()
        self._jobs: dict[Measurement, _Job] = {}
        # The most of the peers whose client never says that it seeds; None without handshakes.
        self._silent_share: float | None = None
        self._moved: dict[Measurement, None] = {}  # to be looked at once all that has come is taken in

    async def measure(
        self,
        info_hashes: Iterable[InfoHash],
        *,
        tally: MeasurementCounts,
        at_once: int | None = None,
        source: str | None = "given",
        on_sample: Callable[[SwarmMeasurement], None] | None = None,
        on_failure: Callable[[InfoHash, DhtError], None] | None = None,
        on_peers: Callable[[SwarmMeasurement, list[tuple[Address, ...]]], None] | None = None,
    ) -> None:
        """Measure each info-hash once, `at_once` together; the functions are told the outcomes.

        By default that is 200 where nodes are known, and few where lookups are needed.  A swarm for
        which no node answers is a failure and leaves no row.  One call at a time; leaving it early
        leaves no row of the swarms under way.  `on_peers` gets a measurement with the peers that each node
        listed, if its reply is believed; addresses of peers are kept nowhere.
        """
        wanted = list(info_hashes)
        job = _Job(tally, on_sample, on_failure, on_peers, source)
        self._silent_share = silent_share(await self._writer.call(lambda store: store.metadata.clients()))
        try:
            async with trio.open_nursery() as nursery:
                for family, client in self._clients.items():
                    queue = self._queues[family]
                    nursery.start_soon(drive, client, queue, self._settings, self._advance_all)
                await self._feed(job, wanted, at_once)
                if job.unanswered:
                    # Nodes of a database may all have gone: there are bootstrap nodes.
                    wanted, job.unanswered = job.unanswered, None
                    await self.nodes.forget()
                    await self._feed(job, wanted, at_once)
                nursery.cancel_scope.cancel()
        finally:
            for queue in self._queues.values():
                queue.clear()
            self._moved.clear()
            for measurement in job.under_way:
                self._jobs.pop(measurement, None)

    async def _feed(self, job: _Job, wanted: Sequence[InfoHash], at_once: int | None) -> None:
        """Make one measurement after the other, as many at a time as may be, and wait for their end."""
        for at in range(0, len(wanted), FEW):
            some = wanted[at : at + FEW]
            try:
                await self.nodes.prepare(some if at else wanted)
            except NotJoined as error:
                for info_hash in some:
                    self._fail(job, info_hash, error)
                continue
            if job.places is None:
                job.places = trio.Semaphore(at_once or self._default_at_once())
            for number, info_hash in enumerate(some):
                # A turn of Trio for each would cost as much as the start.
                if not number % STARTED_AT_ONCE:
                    await self._writer.wait_for_capacity()
                try:
                    job.places.acquire_nowait()
                except trio.WouldBlock:
                    await job.places.acquire()
                self._start(job, info_hash)
        while job.under_way:
            job.all_ended = trio.Event()
            await job.all_ended.wait()

    def _default_at_once(self) -> int:
        return AT_ONCE_DIRECT if self.nodes.is_direct else self._settings.scrapes_at_once

    def _start(self, job: _Job, info_hash: InfoHash) -> None:
        measurement = Measurement(info_hash, self.canaries, self.nodes.read, key=self._key)
        if self.nodes.begin(measurement):
            self.counts.direct += 1
        else:
            self.counts.by_lookup += 1
            measurement.most_bytes = MOST_BYTES
        self._jobs[measurement] = job
        job.under_way.add(measurement)
        self._go_on(measurement)

    async def _advance_all(self) -> None:
        """Let the measurements go on of which queries have ended."""
        await trio.lowlevel.checkpoint()
        # Not in `on_end`: an exception from a caller's function has to come out.
        moved, self._moved = self._moved, {}
        for measurement in moved:
            if measurement in self._jobs:
                self._go_on(measurement)

    def count_sent(self, query: MeasurementQuery, size: int, times: int = 1) -> None:
        """Count a query of so many bytes as sent, or with -1 as not sent after all."""
        query.measurement.count_bytes(query, sent=times * size)
        self.counts.queries[query.kind] += times

    def on_not_sent(self, query: MeasurementQuery) -> None:
        """Let the measurement do without a query."""
        query.measurement.on_not_sent(query)
        self._moved[query.measurement] = None

    def on_error(self, query: MeasurementQuery) -> None:
        """Give up a measurement that has failed on a result."""
        job = self._jobs.pop(query.measurement, None)
        if job is not None:
            self._fail(job, query.measurement.info_hash, DhtError("an internal error, see the log"))
            self._finish(job, query.measurement)

    def on_end(self, query: MeasurementQuery, result: Response | QueryError, took: float, now: float) -> None:
        """Give a result to its measurement."""
        measurement, node = query.measurement, query.node
        if measurement not in self._jobs:
            return
        self._moved[measurement] = None
        measurement.count_bytes(query, received=self._clients[query.family].answer_bytes)
        measurement.on_end(query, result, took)
        if isinstance(result, QueryRefused):
            self._pace.back_off(node.endpoint, now)
        if query.kind is QueryKind.SCRAPE:
            self.counts.outcomes[node.outcome or Outcome.TIMEOUT] += 1
            # The nodes of a census are all known, and where the next lookup may start is not asked of them.
            if measurement.families[query.family].follows:
                self.nodes.note(query.family, node)

    def _go_on(self, measurement: Measurement) -> None:
        """Queue what a measurement queries next, or end it."""
        queries = measurement.take_queries()
        for query in queries:
            self._queues[query.family].add(query)
        for family in {query.family for query in queries}:
            self._clients[family].wake()
        if not measurement.pending:
            self._end(measurement)

    def _end(self, measurement: Measurement) -> None:
        """Hand over what a measurement has come to."""
        job = self._jobs.pop(measurement)
        if measurement.has_answers:
            result = measurement.result(
                taken_at=utc_text(self._wall_clock()), source=job.source, silent_share=self._silent_share
            )
            self._writer.put_nowait(result)
            job.tally.measured += 1
            if job.on_sample is not None:
                job.on_sample(result)
            if job.on_peers is not None:
                job.on_peers(result, measurement.named_peers())
        elif job.unanswered is not None:
            job.unanswered.append(measurement.info_hash)
        else:
            self._fail(job, measurement.info_hash, NotJoined("no node answered"))
        self._finish(job, measurement)

    def _finish(self, job: _Job, measurement: Measurement) -> None:
        job.under_way.discard(measurement)
        assert job.places is not None  # noqa: S101  # for mypy: the measurement has taken one
        job.places.release()
        if not job.under_way:
            job.all_ended.set()

    def _fail(self, job: _Job, info_hash: InfoHash, error: DhtError) -> None:
        job.tally.failed += 1
        if job.on_failure is not None:
            job.on_failure(info_hash, error)


def silent_share(clients: Counter[str]) -> float | None:
    """Return the most of all peers, with 97.5 % confidence, whose client never says that it seeds."""
    known = clients.total() - clients["unknown"]
    silent = sum(clients[name] for name in SILENT_SEEDS)
    return wilson(silent, known)[1] if known else None


def describe(counts: SurveyCounts, tally: MeasurementCounts, wanted: int) -> str:
    """Return the counts in a line for people."""
    asked = counts.queries.total()
    return (
        f"scrape: {tally.measured} measured, {tally.failed} failed, of {wanted};"
        f" {counts.direct} asked directly, {counts.by_lookup} looked up, {asked} queries"
    )
