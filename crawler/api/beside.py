"""Trackers beside the DHT: what opens them for a run that measures swarms."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from crawler.api.trackers import is_excluded
from crawler.core.session import Session, new_random
from crawler.db.records.trackers import GIVEN, LISTED, OF_TORRENT, SwarmOverlap, TrackerMeasurement
from crawler.settings import CrawlOptions, TrackerOptions
from crawler.trackers import Announcer, TrackersBeside, TrackerSweeper
from crawler.trackers.known_urls import choose, left_out_lines
from dhtnode.tracker_client import SweepPace, open_trackers


@asynccontextmanager
async def asking_beside(
    session: Session,
    options: CrawlOptions,
    asked: TrackerOptions,
    on_told: Callable[[TrackerMeasurement], None],
    on_overlap: Callable[[SwarmOverlap], None],
    say: Callable[[str], None],
) -> AsyncIterator[TrackersBeside]:
    """Yield what asks trackers in the run of a session; it says how many of those given are left out."""
    known = await session.writer.call(lambda store: store.trackers.known())
    named = {GIVEN: asked.trackers, LISTED: asked.listed, OF_TORRENT: asked.of_torrents}
    wanted, left_out = choose(known, named)
    for line in left_out_lines(left_out):
        say(line)
    if not wanted:
        say("no tracker is known: give some by --tracker or --tracker-list")
    pace, writer, run_id = SweepPace(asked.requests_rate), session.writer, session.run_id
    async with open_trackers(sweep_pace=pace) as client:
        sweeper = TrackerSweeper(
            *(client, writer, run_id, pace, new_random()),
            excludes=lambda address: is_excluded(session.exclusion, address),
            anonymizes=options.anonymize,
        )
        announcer = None if asked.port is None else Announcer(client, writer, run_id, asked.port)
        yield TrackersBeside(
            *(sweeper, writer, run_id, wanted, announcer), on_told=on_told, on_overlap=on_overlap
        )
