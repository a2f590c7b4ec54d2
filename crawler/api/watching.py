"""A watch: measure swarms again and again, each as often as it changes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.api.measuring import (
    check_measuring,
    in_rounds,
    new_survey,
    opened_beside,
    opened_fetching,
)
from crawler.core.progress import shown_progress
from crawler.core.session import Session, new_random, open_session
from crawler.db.records.watched_swarms import MeasuredSize
from crawler.settings import (
    FRESH,
    MOST_WATCHED,
    CrawlOptions,
    PeerSettings,
    TrackerOptions,
    WatchSettings,
    WebSeedOptions,
)
from crawler.swarms.survey import MeasurementCounts
from crawler.swarms.watch import SwarmWatch
from crawler.swarms.watch_list import WatchList
from dhtnode import DhtError, InfoHash, SwarmMeasurement
from dhtnode.arguments import check_settings, check_whole, path_of, swarms_of

if TYPE_CHECKING:
    from crawler.db.records.trackers import SwarmOverlap, TrackerMeasurement
    from crawler.torrents.fetch import Fetched
    from crawler.torrents.web_seeds import CheckedSeed, SeedWatch
    from crawler.trackers import TrackersBeside


async def watch(
    info_hashes: Iterable[InfoHash],
    db: str | Path | CrawlOptions,
    *,
    list_file: Path | None = None,
    discovered: int | None = None,
    settings: WatchSettings | None = None,
    once: bool = False,
    at_once: int | None = None,
    fresh: float = FRESH,
    on_measured: Callable[[SwarmMeasurement], None] = lambda _: None,
    on_fetched: Callable[[Fetched], None] | None = None,
    peer_settings: PeerSettings | None = None,
    trackers: TrackerOptions | None = None,
    on_told: Callable[[TrackerMeasurement], None] = lambda _: None,
    on_overlap: Callable[[SwarmOverlap], None] = lambda _: None,
    web_seeds: WebSeedOptions | None = None,
    on_check: Callable[[CheckedSeed], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> MeasurementCounts:
    """Measure swarms whenever they are due, within a budget; with `once`, those due now, and return counts.

    Watches the swarms given, those in `list_file`, which is read again whenever it changes, and so many of
    those `discovered` by samples.  Without any of the three it watches what it watched the last time.
    Which swarm is due when is in the database, so that a watch goes on where it was.  With `web_seeds`, those
    are asked as well, and `on_check` is told.  The other arguments are as for `measure`.

    Raises `DatabaseError`, and `ValueError` when the file or a line of the exclusion cannot be read.
    """
    options, settings = CrawlOptions.of(db), WatchSettings() if settings is None else settings
    check_settings(settings, WatchSettings, or_zero=True)
    check_measuring(at_once, fresh, peer_settings, trackers)
    if web_seeds is not None:
        check_settings(web_seeds, WebSeedOptions)
    named = _list_of(info_hashes, list_file, discovered)
    run_settings = asdict(options.settings) | asdict(settings) | {"at_once": at_once, "fresh": fresh}
    async with (
        open_session(options, "watch", run_settings) as session,
        opened_fetching(session, on_fetched, say, peer_settings) as on_peers,
        opened_beside(session, options, trackers, on_told, on_overlap, say) as beside,
        _opened_web_seeds(session, web_seeds, on_check, say, once=once) as seeds,
    ):
        begun = SwarmWatch(
            session.writer,
            settings,
            new_random(),
            named=named,
            discovered=discovered or 0,
            say=say,
            on_links=None if seeds is None else seeds.take_links,
        )
        measure = partial(new_survey(session, options, fresh).measure, at_once=at_once, on_peers=on_peers)
        async with shown_progress(begun.describe, shows=session.shows_progress):
            counts = await _measure_due(begun, measure, beside, on_measured, once=once)
        if seeds is not None:
            await seeds.has_ended.wait()
        return counts


def _list_of(
    info_hashes: Iterable[InfoHash], list_file: Path | None, discovered: int | None
) -> WatchList | None:
    """Return the list of what to watch, or None where that is what was watched the last time."""
    if discovered is not None:
        check_whole("discovered", discovered, 0, MOST_WATCHED)
    file = None if list_file is None else path_of("list_file", list_file)
    given = swarms_of("info_hashes", info_hashes)
    return WatchList(given, file) if given or file or discovered is not None else None


def _opened_web_seeds(
    session: Session,
    asked: WebSeedOptions | None,
    on_check: Callable[[CheckedSeed], None],
    say: Callable[[str], None],
    *,
    once: bool,
) -> AbstractAsyncContextManager[SeedWatch | None]:
    """Return what asks web seeds beside a watch, or nothing where that is not wanted."""
    if asked is None:
        return nullcontext()
    # What talks to web seeds is imported for those few who want it.
    from crawler.api.web_seeds import asking_web_seeds

    return asking_web_seeds(session, asked, on_check, say, once=once)


async def _measure_due(
    begun: SwarmWatch,
    measure: Callable[..., Awaitable[None]],
    beside: TrackersBeside | None,
    on_measured: Callable[[SwarmMeasurement], None],
    *,
    once: bool,
) -> MeasurementCounts:
    """Measure what is due as a watch says, tell it each outcome, and return the counts."""
    counts = MeasurementCounts()

    def on_sample(measured: SwarmMeasurement) -> None:
        estimate = measured.estimate
        high = math.inf if estimate.peers_high is None else estimate.peers_high
        size = MeasuredSize(estimate.peers, estimate.peers_low, high)
        begun.took(measured.info_hash, size)
        on_measured(measured)

    def on_failure(info_hash: InfoHash, error: DhtError) -> None:
        begun.failed(info_hash, str(error))

    by_dht = partial(measure, tally=counts, on_failure=on_failure)

    async def by_both(due: Sequence[InfoHash]) -> None:
        await in_rounds(beside, due, by_dht, on_sample)

    await begun.run(by_both, once=once)
    return counts
