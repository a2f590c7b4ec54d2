"""Enumerate the nodes that can be reached, starting from a few lookups, and record each visit."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, replace
from functools import partial
from math import inf
from random import Random
from typing import Any

import trio

from crawler.analysis.species_richness import NetworkSize
from crawler.core.exclusion import Area
from crawler.core.frontier import FrontierStatistics
from crawler.core.pace import Pace
from crawler.core.progress import shown_progress, timed
from crawler.core.query_loop import drive
from crawler.core.session import Session
from crawler.crawl.census_progress import Progress, describe
from crawler.crawl.crawl import FamilyCrawl
from crawler.crawl.findings import Findings, compute_findings, findings_so_far
from crawler.crawl.network_sizes import FamilyTally
from crawler.crawl.second_visits import SecondVisits
from crawler.crawl.second_walk import SecondWalk
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import CrawlBatch, EndedVisits, Journal
from crawler.db.writer import Writer
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Contact, Family, Scope
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome

PAGE = 5000  # nodes read from the database at once


class Census:
    """A crawl of all families in use, with one pace and one writer for all."""

    def __init__(
        self,
        clients: Sequence[BulkClient[Any]],
        writer: Writer,
        settings: CrawlSettings,
        random: Random,
        *,
        area: Area | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a crawl over the clients, one per family; they are used while `run` and `verify` run."""
        now = trio.current_time()
        by_endpoint = any(client.scope is Scope.LOOPBACK for client in clients)
        self._pace = Pace(settings, now, by_endpoint=by_endpoint)
        self._clients = clients
        self._writer = writer
        self._settings = settings
        self._wall_clock = wall_clock
        self._crawls = {
            client.family: self._crawl_of(client, random, writer.put_nowait, area or Area())
            for client in clients
        }
        self._second_visits: list[SecondVisits] = []
        self._started_at = now
        self._verified_before = 0
        self._second_walks: dict[Family, SecondWalk] = {}

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        crawl = self._crawls.get(contact.address.family)
        return crawl is not None and crawl.add(contact)

    def restore(self, journals: Iterable[Journal], ended: Sequence[EndedVisits] = ()) -> None:
        """Continue, before anything else, where another census was when it wrote the last of these.

        `ended` are the visits that it made.
        """
        by_family: dict[Family, list[Journal]] = {}
        for journal in journals:
            by_family.setdefault(journal.family, []).append(journal)
        for family, entries in by_family.items():
            if family in self._crawls:
                self._crawls[family].restore(entries, [each for each in ended if each.family is family])
        self._verified_before = sum(
            each.visits for each in ended if each.is_verification and each.outcome is Outcome.ANSWERED
        )

    async def run(self) -> Progress:
        """Visit everything that is known and becomes known, and return the final counts.

        Leaving it early forgets the queries under way: their visits get no row, and are due again.
        """
        ready = self._writer.wait_for_capacity
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                crawl = self._crawls[client.family]
                nursery.start_soon(drive, client, crawl, self._settings, ready, self._clients)
        return self.progress()

    async def walk_again(self, area: Area, most: int, random: Random) -> None:
        """Walk through a part of the network with about so many nodes from other ways in; after `run`."""
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                walk = SecondWalk(
                    self._crawls[client.family], area, most, random, partial(self._crawl_of, client, random)
                )
                if walk.is_worth_it:
                    self._second_walks[client.family] = walk
                    nursery.start_soon(
                        partial(drive, client, walk.crawl, self._settings, others=self._clients)
                    )

    def _crawl_of(
        self, client: BulkClient[Any], random: Random, put: Callable[[CrawlBatch], None], area: Area
    ) -> FamilyCrawl:
        now = trio.current_time()
        return FamilyCrawl(client, put, self._settings, self._pace, area, random, self._wall_clock, now)

    async def verify(self, run_id: int, after: float) -> None:
        """Visit the nodes that have answered in a run once more, `after` seconds later; after `run`."""
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                visits = SecondVisits(client, self._writer.put_nowait, self._pace, after, self._wall_clock)
                self._second_visits.append(visits)
                add_more = partial(self._add_answered, visits, run_id)
                nursery.start_soon(drive, client, visits, self._settings, add_more, self._clients)

    async def _add_answered(self, visits: SecondVisits, run_id: int) -> None:
        await self._writer.wait_for_capacity()
        if visits.wants_more:
            visits.add(
                await self._writer.call(
                    lambda database: database.visits.answered(run_id, visits.family, visits.last_id, PAGE)
                )
            )

    def progress(self) -> Progress:
        """Return the counts of the moment."""
        crawls = self._crawls.values()
        parts = [crawl.frontier.statistics() for crawl in crawls]
        return Progress(
            FrontierStatistics(*map(sum, zip(*map(astuple, parts), strict=True))),
            dict(sum((crawl.outcomes for crawl in crawls), Counter[Outcome]())),
            sum(crawl.queries for crawl in crawls),
            sum(crawl.second_queries for crawl in crawls),
            sum(crawl.second_answers for crawl in crawls),
            trio.current_time() - self._started_at + max(crawl.seconds_before for crawl in crawls),
            self._verified_before + sum(each.answered for each in self._second_visits),
            1
            - sum(crawl.new_share.new for crawl in crawls)
            / (sum(crawl.new_share.all for crawl in crawls) or 1),
            sum(walk.crawl.queries for walk in self._second_walks.values()),
        )

    def sizes_so_far(self) -> dict[Family, tuple[int, NetworkSize | None]]:
        """Return of each family how many answered, and its size from what is known before the end."""
        return {
            family: (crawl.frontier.statistics().answered, crawl.size_so_far())
            for family, crawl in self._crawls.items()
        }

    def tallies(self, store: CrawlDatabase, run_id: int) -> dict[Family, FamilyTally]:
        """Return the counts of each family, once all visits are written; linear in the endpoints."""
        visits = None if store.visits.is_anonymized else store.visits
        walks = {family: walk.counts() for family, walk in self._second_walks.items()}
        return {
            family: replace(crawl.tally(visits, run_id), control=walks.get(family))
            for family, crawl in self._crawls.items()
        }


async def take_census(
    session: Session,
    settings: CrawlSettings,
    random: Random,
    area: Area | None = None,
    *,
    watched: Sequence[bytes] = (),
    verify_after: float | None = None,
    second_walk: int = 0,
    when_cut: Callable[[Progress], None] = lambda _: None,
    wall_clock: Callable[[], float] = time.time,
) -> Progress:
    """Visit every node of an area that can be found, and return the counts with the findings.

    `watched` are ids whose surroundings are to be tested for Sybils, beside random ones.  With
    `verify_after`, all that answered are queried again so many seconds later.  A `second_walk` from other
    ways in is through so many nodes, or half where there are fewer.  `when_cut` is called, and what is known
    by then recorded, when the visits are cancelled.
    Raises `NotJoined` when no node answers at the start.
    """
    area = area or Area()
    census = Census(session.clients, session.writer, settings, random, area=area, wall_clock=wall_clock)
    census.restore(await session.read_journals(), await session.read_ended())
    progress = None
    try:
        for contact in await session.starting_contacts(area.zone, random):
            census.add(contact)
        async with shown_progress(lambda: describe(census.progress()), shows=session.shows_progress):
            await census.run()
            if second_walk:
                await _walk_again(session, census, area, second_walk, random)
            if verify_after is not None:
                await census.verify(session.run_id, verify_after)
            progress = census.progress()
    finally:
        if progress is None and trio.current_effective_deadline() == -inf:
            when_cut(await _cut(session, census, area.zone))
    findings = await _findings(session, census, area.zone, random, watched)
    return replace(progress, findings=findings, is_complete=True)


async def _walk_again(session: Session, census: Census, area: Area, most: int, random: Random) -> None:
    # Hosts that were silent may be sent more then; on loopback there is no such bound.
    if all(client.scope is not Scope.LOOPBACK for client in session.clients):
        await trio.sleep(session.node.outgoing.seconds_to_forget())
    await census.walk_again(area, most, random)


async def _findings(
    session: Session, census: Census, zone: Zone, random: Random, watched: Sequence[bytes]
) -> Findings:
    def compute(database: CrawlDatabase) -> Findings:
        tallies = census.tallies(database, session.run_id)
        return compute_findings(database, session.run_id, tallies, zone, random, watched)

    async with shown_progress(timed("census: computing sizes and alarms"), shows=session.shows_progress):
        # In the worker thread as a whole: it takes seconds for a million nodes.
        return await session.writer.call(compute)


async def _cut(session: Session, census: Census, zone: Zone) -> Progress:
    """Record what a census that is cut knows, and return it."""
    progress = census.progress()
    with trio.CancelScope(shield=True):
        await session.writer.write_rest()
        findings = await session.writer.call_at_once(
            lambda database: findings_so_far(database, session.run_id, census.sizes_so_far(), zone)
        )
    return replace(progress, findings=findings)
