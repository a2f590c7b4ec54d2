"""All that one tracker has, asked for once in six hours at most, and only when the user names it."""

import time
from collections.abc import Callable
from dataclasses import replace

import trio

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import GIVEN, KnownTracker, SweepBatch, TrackerSweep
from crawler.db.writer import Writer
from crawler.trackers.asked import not_asked, pause_of
from crawler.trackers.known_urls import NEVER, PASSKEY, Wanted
from crawler.trackers.place import outcome_of
from dhtnode.tracker_client import Trackers, scrape_all
from dhtnode.trackers import FullEntry, Outcome, TrackerError, TrackerUrl

FULL_PAUSE = 6 * 3600.0
"""Seconds until a tracker is asked for all that it has again."""

_NOT_ALLOWED = ("http-402", "http-403")


async def scrape_fully(
    client: Trackers,
    writer: Writer,
    run_id: int,
    url: TrackerUrl,
    wall_clock: Callable[[], float] = time.time,
) -> TrackerSweep:
    """Ask an HTTP tracker for all that it has, record the swarms with any number but 0, and return the row.

    Of torrents known to be private nothing is recorded.  A full answer comes in one piece: memory does not
    grow with it.
    """
    sweep = TrackerSweep(0, str(url), None, None, utc_text(wall_clock()))
    if url.has_secret:
        return replace(sweep, url=url.shown, outcome=PASSKEY, finished_at=sweep.started_at)
    new = Wanted(url, GIVEN).first_seen(sweep.started_at)
    known = await writer.call(lambda store: store.trackers.meet([new]))
    tracker = known[new.url]
    full = _FullScrape(client, writer, run_id, tracker, url, wall_clock)
    try:
        sweep = await full.run(sweep)
    except TrackerError as error:
        sweep = await full.failed(error)
    return sweep


class _FullScrape:
    def __init__(
        self,
        client: Trackers,
        writer: Writer,
        run_id: int,
        tracker: KnownTracker,
        url: TrackerUrl,
        wall_clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._writer = writer
        self._run_id = run_id
        self._tracker = tracker
        self._url = url
        self._wall_clock = wall_clock
        self._row = TrackerSweep(0, str(url), None, None, utc_text(wall_clock()))
        self._private: set[bytes] = set()

    async def run(self, sweep: TrackerSweep) -> TrackerSweep:
        """Ask, unless it was asked lately."""
        now, self._row = self._wall_clock(), sweep
        not_before = max(self._tracker.not_before or "", self._tracker.full_not_before or "")
        if utc_text(now) < not_before:
            never = self._tracker.not_before == NEVER
            raise TrackerError(Outcome.NEVER if never else Outcome.LATER, f"not before {not_before}")
        if self._url.scheme == "udp":
            raise TrackerError(Outcome.NO_SCRAPE, "UDP trackers do not tell all that they have")
        where, (address, *_) = await self._client.find(self._url, is_typed=True)
        self._private = await self._writer.call(lambda store: store.trackers.private())
        # Before the request leaves: whatever ends this process, it was asked.
        later = replace(self._tracker, full_not_before=utc_text(now + FULL_PAUSE))
        await self._writer.call(lambda store: store.trackers.update([later]))
        here = replace(sweep, family=int(address.family), host=address.host, requests=1)
        (self._row,) = await self._writer.call(lambda store: store.trackers.begin(self._run_id, [here]))
        try:
            await scrape_all(self._client, where, address, self._take, is_typed=True)
        except BaseException:
            # What came before is kept, also where the user has had enough.
            self._writer.put_nowait(SweepBatch([replace(self._row, outcome="partial")]))
            raise
        at = utc_text(self._wall_clock())
        self._row = replace(self._row, outcome="answered", answers=1, finished_at=at)
        answered = replace(later, last_answer=at, silences=0)
        await self._writer.call(lambda store: store.trackers.update([answered]))
        await self._writer.put(SweepBatch([self._row]))
        return self._row

    async def _take(self, entries: list[FullEntry]) -> None:
        """Write some of the swarms that it lists."""
        now, samples = int(1000 * self._wall_clock()), []
        for info_hash, told in entries:
            if info_hash not in self._private and (told.seeds or told.leechers or told.downloaded):
                counts = told.seeds, told.leechers, told.downloaded, told.downloaders
                samples.append((self._row.id, info_hash, now, *counts))
        self._row = replace(
            self._row, listed=self._row.listed + len(entries), nonzero=self._row.nonzero + len(samples)
        )
        await self._writer.put(SweepBatch([self._row], samples))

    async def failed(self, error: TrackerError) -> TrackerSweep:
        """Record why there is no whole answer."""
        word = outcome_of(error)
        row = replace(not_asked(self._row, error), outcome="not-allowed" if word in _NOT_ALLOWED else word)
        if row.listed:
            row = replace(row, outcome="partial")
        row = replace(row, finished_at=utc_text(self._wall_clock()), errors=row.requests)
        if row.id:
            await self._writer.put(SweepBatch([row]))
        else:
            (row,) = await self._writer.call(lambda store: store.trackers.begin(self._run_id, [row]))
        if pause := pause_of(error):
            later = replace(self._tracker, not_before=utc_text(self._wall_clock() + pause))
            await self._writer.call(lambda store: store.trackers.update([later]))
        await trio.lowlevel.checkpoint()
        return row
