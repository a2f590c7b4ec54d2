"""Trackers asked beside the DHT: about the same swarms, in the same round, by the turns of all sweeps."""

import time
from collections.abc import Callable, Sequence

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import SwarmOverlap, TrackerMeasurement
from crawler.db.writer import Writer
from crawler.trackers.announcing import Announcer
from crawler.trackers.known_urls import Wanted
from crawler.trackers.sweep import TrackerSweeper
from dhtnode import InfoHash, SwarmMeasurement

_ANSWERED = ("answered", "partial")


class TrackersBeside:
    """What asks some trackers about the swarms of a round, and records what they say of each together."""

    def __init__(
        self,
        sweeper: TrackerSweeper,
        writer: Writer,
        run_id: int,
        wanted: Sequence[Wanted],
        announcer: Announcer | None = None,
        *,
        on_told: Callable[[TrackerMeasurement], None] = lambda _: None,
        on_overlap: Callable[[SwarmOverlap], None] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask the trackers that are wanted; with an announcer, also for addresses."""
        self._sweeper = sweeper
        self._writer = writer
        self._run_id = run_id
        self._wanted = wanted
        self._announcer = announcer
        self._on_told = on_told
        self._on_overlap = on_overlap
        self._wall_clock = wall_clock

    @property
    def announces(self) -> bool:
        """Return whether trackers are also asked for addresses, which takes long."""
        return self._announcer is not None

    async def ask(self, info_hashes: Sequence[InfoHash]) -> None:
        """Ask every tracker that is due for the swarms that are due there."""
        rows = await self._sweeper.sweep(self._wanted, info_hashes)
        # Where some were asked for a short time ago, a swarm without a row may be one of these.
        is_told = any(row.outcome in _ANSWERED for row in rows) and not any(row.not_due for row in rows)
        asked = info_hashes if is_told else ()
        sweeps, now = [row.id for row in rows], utc_text(self._wall_clock())
        found = await self._writer.call(
            lambda store: store.trackers.measure(self._run_id, sweeps, now, asked)
        )
        for each in found:
            self._on_told(each)

    async def announce(self, measured: Sequence[SwarmMeasurement]) -> None:
        """Announce swarms that were measured, where that is wanted, and compare what trackers name."""
        if self._announcer is None:
            return
        await self._announcer.compare(self._wanted, measured, self._on_overlap)
