"""A crawl over all families in use: one walk for each, one pace and one writer for all."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import trio

from crawler.core.area import Area
from crawler.core.frontier import FrontierStatistics, Sighting
from crawler.core.pace import Pace
from crawler.core.visit import OpenVisit
from crawler.crawl.crawl import FamilyCrawl
from crawler.crawl.findings import Findings
from crawler.crawl.second_visits import SecondVisits
from crawler.crawl.tally import Tally
from crawler.db.records.records import Journal
from crawler.db.writer import Writer
from crawler.settings import CrawlSettings
from dhtnode import Contact, Family, Scope
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Progress:
    """Show how far a crawl has come.

    `second_queries` went to nodes that had answered a moment ago: of these, whatever share of
    `second_answers` is missing was lost on the way.  `findings` are there once a census has ended.
    """

    frontier: FrontierStatistics
    outcomes: dict[Outcome, int]
    queries: int
    second_queries: int
    second_answers: int
    seconds: float
    verified: int = 0
    known_share: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Return how long the crawl will take at this pace, with what it is going to find; None at first."""
        if not self.frontier.settled or not self.known_share:
            return None
        waiting = self.frontier.queued + self.frontier.in_flight
        return waiting / self.known_share * self.seconds / self.frontier.settled

    findings: Findings | None = None


class Census:
    """Crawl until nothing is left to visit."""

    def __init__(
        self,
        askers: Sequence[BulkClient[OpenVisit]],
        writer: Writer,
        settings: CrawlSettings,
        random: Random,
        *,
        area: Area | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Take over the askers, one per family."""
        now = trio.current_time()
        by_endpoint = any(asker.scope is Scope.LOOPBACK for asker in askers)
        self._pace = Pace(settings, now, by_endpoint=by_endpoint)
        self._askers = askers
        self._writer = writer
        self._settings = settings
        self._wall_clock = wall_clock
        self._walks = {
            asker.family: FamilyCrawl(asker, writer, settings, self._pace, area or Area(), random, wall_clock)
            for asker in askers
        }
        self._verifications: list[SecondVisits] = []
        self._started_at = now

    def add(self, contact: Contact) -> bool:
        """Add a contact to start from; return whether it was new."""
        walk = self._walks.get(contact.address.family)
        return walk is not None and walk.add(contact)

    def restore(self, journals: Iterable[Journal]) -> None:
        """Go on where another crawl was when it wrote the last of these; to be called first."""
        by_family: dict[Family, list[tuple[bytes, bytes]]] = {}
        for family, contacts, changes in journals:
            by_family.setdefault(family, []).append((contacts, changes))
        for family, entries in by_family.items():
            if family in self._walks:
                self._walks[family].restore(entries)

    async def run(self) -> Progress:
        """Visit everything that is known and becomes known, and return the final counts."""
        async with trio.open_nursery() as nursery:
            for family, walk in self._walks.items():
                nursery.start_soon(walk.run, name=f"walk IPv{int(family)}")
        return self.progress()

    async def verify(self, run_id: int, after: float) -> None:
        """Ask everybody who has answered in a run once more, `after` seconds later; to be called last."""
        self._verifications = [
            SecondVisits(asker, self._writer, self._settings, self._pace, run_id, after, self._wall_clock)
            for asker in self._askers
        ]
        async with trio.open_nursery() as nursery:
            for verification in self._verifications:
                nursery.start_soon(verification.run, name="verification")

    def progress(self) -> Progress:
        """Return the counts of the moment."""
        walks = self._walks.values()
        parts = [walk.frontier.statistics() for walk in walks]
        return Progress(
            FrontierStatistics(
                sum(part.sighted for part in parts),
                sum(part.queued for part in parts),
                sum(part.in_flight for part in parts),
                sum(part.settled for part in parts),
                sum(part.dropped for part in parts),
                sum(part.answered for part in parts),
            ),
            dict(sum((walk.outcomes for walk in walks), Counter[Outcome]())),
            sum(walk.queries for walk in walks),
            sum(walk.second_queries for walk in walks),
            sum(walk.second_answers for walk in walks),
            trio.current_time() - self._started_at,
            sum(each.answered for each in self._verifications),
            1 - sum(walk.named.new for walk in walks) / (sum(walk.named.all for walk in walks) or 1),
        )

    def sightings(self) -> dict[Family, Counter[Sighting]]:
        """Return for each family how many endpoints have come to what; linear in the endpoints."""
        return {family: walk.frontier.sightings() for family, walk in self._walks.items()}

    def tallies(self) -> dict[Family, Tally]:
        """Return what the crawl has come to; linear in the endpoints."""
        return {family: walk.tally() for family, walk in self._walks.items()}
