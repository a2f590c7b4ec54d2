"""Measurements of swarms: how large they are, by the nodes that store their peers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from crawler.core.progress import shown_progress
from crawler.core.session import Session, new_random, open_session
from crawler.settings import FRESH, CrawlOptions, PeerSettings, TrackerOptions
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey, describe
from dhtnode import DhtError, InfoHash, SwarmMeasurement
from dhtnode.arguments import check_positive, check_settings, check_whole, swarms_of
from dhtnode.nurseries import open_service_nursery

MOST_AT_ONCE = 100_000  # swarms
TOLD_AT_ONCE, ANNOUNCED_AT_ONCE = 1000, 50
"""Swarms of a round with trackers: as many as both sources tell of within 10 minutes."""

if TYPE_CHECKING:
    from crawler.api.metadata import OnPeers
    from crawler.db.records.trackers import SwarmOverlap, TrackerMeasurement
    from crawler.torrents.fetch import Fetched
    from crawler.trackers import TrackersBeside


async def measure(
    info_hashes: Iterable[InfoHash],
    db: str | Path | CrawlOptions,
    *,
    at_once: int | None = None,
    fresh: float = FRESH,
    on_measured: Callable[[SwarmMeasurement], None] = lambda _: None,
    on_failure: Callable[[InfoHash, DhtError], None] = lambda _, __: None,
    on_fetched: Callable[[Fetched], None] | None = None,
    peer_settings: PeerSettings | None = None,
    trackers: TrackerOptions | None = None,
    on_told: Callable[[TrackerMeasurement], None] = lambda _: None,
    on_overlap: Callable[[SwarmOverlap], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> MeasurementCounts:
    """Measure each swarm once, record each measurement, and return how many a node replied to.

    The nodes of a census that ended `fresh` seconds ago at most are queried directly; without one, nodes
    are looked up.  `at_once` swarms are measured together, by default 4 with lookups and 200 without.
    Swarms of torrents known to be private are left alone.  `on_measured` and `on_failure` get each
    outcome as it comes, which is then forgotten: with all its observations it takes some 15 kB.  `say`
    gets single lines for a user.  With `on_fetched`, peers are contacted over TCP, within the bounds of
    `peer_settings`, for the name and size of the torrent and for the share of seeds, and it gets what they
    replied.
    With `trackers`, these are asked in the same rounds: `on_told` gets what they say of each swarm together,
    and where they name addresses, `on_overlap` how far they and the DHT have the same peers.

    Raises `DatabaseError`, and `ValueError` when a line of the exclusion is wrong.
    """
    options = CrawlOptions.of(db)
    check_measuring(at_once, fresh, peer_settings, trackers)
    wanted = list(dict.fromkeys(swarms_of("info_hashes", info_hashes)))
    counts = MeasurementCounts()
    settings = asdict(options.settings) | {"at_once": at_once, "fresh": fresh, "info_hashes": len(wanted)}

    async with (
        open_session(options, "scrape", settings) as session,
        opened_fetching(session, on_fetched, say, peer_settings) as on_peers,
        opened_beside(session, options, trackers, on_told, on_overlap, say) as beside,
    ):
        survey = new_survey(session, options, fresh)
        measure = partial(
            survey.measure, tally=counts, at_once=at_once, on_failure=on_failure, on_peers=on_peers
        )
        doing = partial(describe, survey.counts, counts, len(wanted))
        async with shown_progress(doing, shows=session.shows_progress):
            await in_rounds(beside, await _public(session, wanted, say), measure, on_measured)
        for line in _how_found(survey, len(wanted)):
            say(line)
    return counts


async def in_rounds(
    beside: TrackersBeside | None,
    wanted: Sequence[InfoHash],
    measure: Callable[..., Awaitable[None]],
    on_sample: Callable[[SwarmMeasurement], None],
) -> None:
    """Measure swarms by the DHT, and where trackers are asked, by these at the same time."""
    if beside is None:
        await measure(wanted, on_sample=on_sample)
        return
    at_once = ANNOUNCED_AT_ONCE if beside.announces else TOLD_AT_ONCE
    for at in range(0, len(wanted), at_once):
        some, measured = wanted[at : at + at_once], list[SwarmMeasurement]()

        def take(sample: SwarmMeasurement, measured: list[SwarmMeasurement] = measured) -> None:
            on_sample(sample)
            # With all observations, they take much memory.
            if beside.announces:
                measured.append(sample)

        async with open_service_nursery() as nursery:
            asked = trio.Event()
            nursery.start_soon(_ask_beside, beside, some, asked)
            await measure(some, on_sample=take)
            await asked.wait()
        await beside.announce(measured)


async def _ask_beside(beside: TrackersBeside, some: Sequence[InfoHash], asked: trio.Event) -> None:
    await beside.ask(some)
    asked.set()


def opened_beside(
    session: Session,
    options: CrawlOptions,
    trackers: TrackerOptions | None,
    on_told: Callable[[TrackerMeasurement], None],
    on_overlap: Callable[[SwarmOverlap], None],
    say: Callable[[str], None],
) -> AbstractAsyncContextManager[TrackersBeside | None]:
    """Return what asks trackers beside the DHT, or nothing where that is not wanted."""
    if trackers is None:
        return nullcontext()
    # What talks to trackers is imported for those few who want it.
    from crawler.api.beside import asking_beside

    return asking_beside(session, options, trackers, on_told, on_overlap, say)


async def _public(session: Session, wanted: list[InfoHash], say: Callable[[str], None]) -> list[InfoHash]:
    """Return the swarms that are not known to be private, and say how many others there are."""
    private = await session.writer.call(lambda store: store.metadata.private(wanted))
    if private:
        say(f"{len(private)} of {len(wanted)} swarms are private and left alone")
    return [info_hash for info_hash in wanted if info_hash not in private]


def opened_fetching(
    session: Session,
    on_fetched: Callable[[Fetched], None] | None,
    say: Callable[[str], None],
    settings: PeerSettings | None,
) -> AbstractAsyncContextManager[OnPeers | None]:
    """Return what contacts peers while swarms are measured, or nothing where that is not wanted."""
    if on_fetched is None:
        return nullcontext()
    # What talks to peers is imported for those few who want it.
    from crawler.api.metadata import fetching_beside

    return fetching_beside(session, on_fetched, say, settings or PeerSettings())


def check_measuring(
    at_once: int | None, fresh: float, peer_settings: PeerSettings | None, trackers: TrackerOptions | None
) -> None:
    """Raise `InvalidArgument` unless these are what `measure` takes."""
    if at_once is not None:
        check_whole("at_once", at_once, 1, MOST_AT_ONCE)
    check_positive("fresh", fresh, or_zero=True)
    if peer_settings is not None:
        check_settings(peer_settings, PeerSettings, or_zero=True)
    if trackers is not None:
        check_settings(trackers, TrackerOptions, or_zero=True)


def new_survey(session: Session, options: CrawlOptions, fresh: float) -> SwarmSurvey:
    """Return what measures swarms over the sockets of a session."""
    return SwarmSurvey(
        session.node,
        session.writer,
        session.clients,
        options.settings,
        new_random(),
        excludes=session.excludes,
        fresh=fresh,
    )


def _how_found(survey: SwarmSurvey, wanted: int) -> list[str]:
    """Return how nodes were found, in lines for a user."""
    counts, census = survey.counts, survey.nodes.census
    lines = []
    if counts.direct and census is not None:
        lines.append(
            f"asked the nodes of the census of run {census.run_id} directly"
            f" for {counts.direct} of {wanted} swarms"
        )
    if counts.by_lookup:
        lines.append(
            f"looked nodes up for {counts.by_lookup} of {wanted} swarms: no fresh census covers them"
        )
    return lines
