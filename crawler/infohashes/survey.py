"""Sample the info-hashes of a network (BEP 51), and say how many there are and how many were found."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random
from typing import Any

import trio

from crawler.analysis.infohash_population import (
    Coverage,
    NearStore,
    least_population,
    population,
    sample_coverage,
    shown_infohashes,
)
from crawler.analysis.species_richness import NetworkSize
from crawler.core.pace import Pace
from crawler.core.progress import show_progress, shown_progress
from crawler.core.query_loop import drive
from crawler.core.session import Session
from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import Appearances
from crawler.infohashes.replication import ReplicationSearch, Target, choose_targets
from crawler.infohashes.sampler import Sampler
from crawler.infohashes.turns import Plan, Turns
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Family, Scope
from dhtnode.net import BulkClient
from dhtnode.nurseries import open_service_nursery
from dhtnode.outcomes import Outcome

AGGREGATE_PERIOD = 60.0  # seconds until what was shown is in `swarms`


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is known of the info-hashes of one family.

    `population` is None when no info-hash could be looked up; `least` is the lower bound of Chao1.
    """

    family: Family
    nodes: int
    showings: Appearances
    coverage: Coverage
    least: float
    population: NetworkSize | None
    looked_up: int


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """How far a run has come."""

    sighted: int
    waiting: int
    outcomes: dict[Outcome, int]
    not_due: int
    shown: int
    queries: int
    seconds: float


class InfohashSurvey:
    """The samples of all families in use, with one pace for all."""

    def __init__(
        self,
        session: Session,
        settings: CrawlSettings,
        random: Random,
        *,
        zone: Zone | None = None,
        plan: Plan | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a survey; it uses the clients of the session while `run` and `discover` run."""
        self._session = session
        self._settings = settings
        self._random = random
        self._zone = zone or Zone()
        self._started_at = trio.current_time()
        by_endpoint = any(client.scope is Scope.LOOPBACK for client in session.clients)
        pace = Pace(settings, self._started_at, by_endpoint=by_endpoint)
        self._plan = plan or Plan()
        self._wall_clock = wall_clock
        self.turns = tuple(self._turns_of(client, pace) for client in session.clients)
        self._lookup_queries = 0
        self._found: dict[Family, Discovery] = {}

    def _turns_of(self, client: BulkClient[Any], pace: Pace) -> Turns:
        put, writer = self._session.writer.put_nowait, self._session.writer
        settings, zone, clock = self._settings, self._zone, self._wall_clock
        sampler = Sampler(
            client, put, settings, pace, zone, self._random, clock, excludes=self._session.excludes
        )
        return Turns(
            client, sampler, writer, settings, zone, clock, plan=self._plan, on_round=self._note_round
        )

    async def run(self, *, joins: bool) -> None:
        """Sample the nodes known to the database, and with `joins`, or if there are none, find others too.

        Raises `NotJoined` when no node answers a lookup.
        """
        is_resumed = await self._restore()
        known = await self._add_known()
        follows_contacts = joins or is_resumed or not known
        if follows_contacts:
            await self._add_found()
        async with open_service_nursery() as services:
            services.start_soon(self._aggregate_regularly)
            if self._session.shows_progress:
                services.start_soon(show_progress, lambda: describe(self.counts()))
            async with trio.open_nursery() as nursery:
                for turns in self.turns:
                    nursery.start_soon(partial(turns.run, follows_contacts=follows_contacts))
        await self._session.writer.call(lambda store: store.samples.aggregate())

    async def _restore(self) -> bool:
        journals = await self._session.read_journals()
        if not journals:
            return False
        for turns in self.turns:
            turns.sampler.frontier.restore(
                (each.contacts, each.changes) for each in journals if each.family is turns.family
            )
            # As `_note_round` wrote it.
            match self._session.settings.get(_round_name(turns.family)):
                case [int(number), int() | float() as since]:
                    turns.resume_round(number, float(since))
        return True

    async def _note_round(self, family: Family, number: int, since: float) -> None:
        """Record which round has begun: a run that continues this one does not begin with the first."""
        name, run_id = _round_name(family), self._session.run_id
        await self._session.writer.call(lambda store: store.runs.note(run_id, name, [number, since]))

    async def _add_known(self) -> int:
        """Add the nodes of the database, in its thread: a million of them are held once only so."""

        def add_all(store: CrawlDatabase) -> int:
            store.samples.forget_future(self._wall_clock())
            return sum(
                turns.sampler.add(
                    (node_id, address)
                    for node_id, address, _ in store.samples.known_nodes(turns.family, self._zone)
                )
                for turns in self.turns
            )

        return await self._session.writer.call(add_all)

    async def _add_found(self) -> None:
        found = await self._session.starting_contacts(self._zone, self._random)
        for turns in self.turns:
            turns.sampler.add(each for each in found if each.address.family is turns.family)

    async def _aggregate_regularly(self) -> None:
        while True:
            await trio.sleep(AGGREGATE_PERIOD)
            await self._session.writer.call(lambda store: store.samples.aggregate())

    def counts(self) -> SampleCounts:
        """Return the counts of the moment."""
        samplers = [each.sampler for each in self.turns]
        statistics = [sampler.frontier.statistics() for sampler in samplers]
        return SampleCounts(
            sum(each.sighted for each in statistics),
            sum(each.queued for each in statistics),
            dict(sum((each.outcomes for each in samplers), Counter[Outcome]())),
            sum(each.not_due for each in samplers),
            sum(each.shown for each in samplers),
            sum(each.queries for each in samplers) + self._lookup_queries,
            trio.current_time() - self._started_at,
        )

    async def discover(self, *, looks_up: bool = True) -> list[Discovery]:
        """Estimate coverage and population of each family, and store both.

        With `looks_up`, some info-hashes are looked up for the population: at most 6400 queries twice, and
        one more to each node that names peers.  When that is cut short, what has been looked up by then
        makes the estimate.
        """
        return [await self._discover(turns.family, looks_up) for turns in self.turns]

    async def discover_so_far(self) -> list[Discovery]:
        """Return what is known of each family, and store it, once this is cut.

        Rows that cannot be written soon are not counted: a full disk is not waited for.
        """
        await self._session.writer.write_rest()
        for family in (turns.family for turns in self.turns):
            if family not in self._found:
                await self._estimate(family, None, 0, (), self._session.writer.call_at_once)
        return list(self._found.values())

    async def _discover(self, family: Family, looks_up: bool) -> Discovery:
        writer, run_id, zone = self._session.writer, self._session.run_id, self._zone
        stores = await writer.call(lambda store: store.samples.stores(run_id, family, zone))
        shown, targets = 0, list[Target]()
        near: list[list[NearStore]] = []
        try:
            if looks_up and stores:
                shown, targets = await writer.call(
                    lambda store: choose_targets(stores, zone, self._random, store.metadata.is_private)
                )
                await self._look_up(family, targets, near)
        finally:
            with trio.CancelScope(shield=True):
                found = await self._estimate(family, len(stores), shown, near, writer.call)
        return found

    async def _estimate(
        self,
        family: Family,
        nodes: int | None,
        shown: int,
        near: Sequence[Sequence[NearStore]],
        call: Callable[[Callable[[CrawlDatabase], Any]], Awaitable[Any]],
    ) -> Discovery:
        """Estimate from the info-hashes that have been looked up to the end, and store what comes out."""
        run_id, zone = self._session.run_id, self._zone
        if nodes is None:
            nodes = len(await call(lambda store: store.samples.stores(run_id, family, zone)))
        showings = await call(lambda store: store.samples.appearances(run_id, family))
        # Samples of other runs that are still valid count too.
        counts = (shown, 0, 0) if zone.bits else (max(shown, showings.distinct), *showings[1:3])
        found = self._found[family] = Discovery(
            family,
            nodes,
            showings,
            sample_coverage(showings.once, showings.twice, showings.shown),
            least_population(showings.distinct, showings.once, showings.twice),
            population(counts, shown_infohashes(near), zone_bits=zone.bits),
            len(near),
        )
        await call(lambda store: _store(store, run_id, found, zone))
        return found

    async def _look_up(self, family: Family, targets: Sequence[Target], near: list[list[NearStore]]) -> None:
        for client in self._session.clients:
            if client.family is family:
                await self._look_up_by(client, targets, near)

    async def _look_up_by(
        self, client: BulkClient[Any], targets: Sequence[Target], near: list[list[NearStore]]
    ) -> None:
        now = trio.current_time()
        search = ReplicationSearch(client, self._settings, self._random, now, self._session.excludes)
        search.add(targets)

        def describe_search() -> str:
            done = sum(not target.waiting for target in targets)
            of = f"{done} of {len(targets)} info-hashes"
            return f"sample: looking up which nodes store them, {of}, {search.queries} queries"

        try:
            async with shown_progress(describe_search, shows=self._session.shows_progress):
                await drive(client, search, self._settings)
        finally:
            near += [search.stores_near(target) for target in targets if not target.waiting]
            self._lookup_queries += search.queries


def _round_name(family: Family) -> str:
    return f"round_ipv{int(family)}"


def _store(store: CrawlDatabase, run_id: int, found: Discovery, zone: Zone) -> None:
    add, coverage, size = store.samples.add_estimate, found.coverage, found.population
    shown: dict[str, object] = found.showings._asdict()
    add(run_id, found.family, "coverage", (coverage.share, coverage.low, coverage.high), zone, shown)
    add(run_id, found.family, "chao1", (found.least, found.showings.distinct, inf), zone, shown)
    if size is not None:
        details: dict[str, object] = {"nodes": found.nodes, "looked_up": found.looked_up}
        sizes = size.estimate, size.low, size.high
        add(run_id, found.family, "horvitz-thompson", sizes, zone, details)


def describe(counts: SampleCounts) -> str:
    """Return the counts in a line for people."""
    outcomes = counts.outcomes
    return (
        f"sample: {counts.sighted} endpoints sighted, {outcomes.get(Outcome.ANSWERED, 0)} gave samples,"
        f" {outcomes.get(Outcome.UNSUPPORTED, 0)} know none,"
        f" {outcomes.get(Outcome.TIMEOUT, 0)} visits without answer,"
        f" {counts.not_due + outcomes.get(Outcome.NOT_DUE, 0)} not due, {counts.waiting} waiting,"
        f" {counts.shown} info-hashes shown, {counts.queries} queries in {counts.seconds:.1f} s"
    )


def describe_discovery(found: Discovery) -> str:
    """Return what is known of the info-hashes of one family in a line for people."""
    coverage, size = found.coverage, found.population
    text = (
        f"IPv{int(found.family)}: {found.showings.distinct} info-hashes from {found.nodes} nodes; of what"
        f" nodes show, {100 * coverage.share:.1f} % is known"
        f" ({100 * coverage.low:.1f} to {100 * coverage.high:.1f})"
    )
    if size is None:
        return text
    return f"{text}; about {size.estimate:.0f} exist ({size.low:.0f} to {size.high:.0f})"


def record(
    counts: SampleCounts, discoveries: Sequence[Discovery], *, is_complete: bool = True
) -> dict[str, object]:
    """Return counts and estimates with the keys that `dhtcrawl sample --json` prints."""
    return {
        "complete": is_complete,
        "waiting": counts.waiting,
        "sighted": counts.sighted,
        "sampled": counts.outcomes.get(Outcome.ANSWERED, 0),
        "outcomes": {outcome.value: count for outcome, count in sorted(counts.outcomes.items())},
        "not_due": counts.not_due,
        "shown": counts.shown,
        "queries": counts.queries,
        "seconds": round(counts.seconds, 3),
        "families": [_record(found) for found in discoveries],
    }


def _record(found: Discovery) -> dict[str, object]:
    coverage, size = found.coverage, found.population
    return {
        "family": int(found.family),
        "nodes": found.nodes,
        "info_hashes": found.showings.distinct,
        "coverage": coverage.share,
        "coverage_low": coverage.low,
        "coverage_high": coverage.high,
        "at_least": found.least,
        "population": None if size is None else size.estimate,
        "population_low": None if size is None else size.low,
        "population_high": None if size is None else size.high,
        "looked_up": found.looked_up,
    }
