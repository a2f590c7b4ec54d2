"""Measurements of swarms: how large they are, by the nodes that store their peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.core.progress import shown_progress
from crawler.core.session import Session, new_random, open_session
from crawler.settings import FRESH, CrawlOptions, PeerSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey, describe
from dhtnode import DhtError, InfoHash, SwarmMeasurement
from dhtnode.arguments import check_positive, check_settings, check_whole, swarms_of

MOST_AT_ONCE = 100_000  # swarms

if TYPE_CHECKING:
    from crawler.api.metadata import OnPeers
    from crawler.torrents.fetch import Fetched


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

    Raises `DatabaseError`, and `ValueError` when a line of the exclusion is wrong.
    """
    options = CrawlOptions.of(db)
    check_measuring(at_once, fresh)
    if peer_settings is not None:
        check_settings(peer_settings, PeerSettings, or_zero=True)
    wanted = list(dict.fromkeys(swarms_of("info_hashes", info_hashes)))
    counts = MeasurementCounts()
    settings = asdict(options.settings) | {"at_once": at_once, "fresh": fresh, "info_hashes": len(wanted)}

    async with (
        open_session(options, "scrape", settings) as session,
        _fetching(session, on_fetched, say, peer_settings or PeerSettings()) as on_peers,
    ):
        survey = new_survey(session, options, fresh)
        measure = partial(survey.measure, on_sample=on_measured, on_failure=on_failure, on_peers=on_peers)
        doing = partial(describe, survey.counts, counts, len(wanted))
        async with shown_progress(doing, shows=session.shows_progress):
            await measure(await _public(session, wanted, say), tally=counts, at_once=at_once)
        for line in _how_found(survey, len(wanted)):
            say(line)
    return counts


async def _public(session: Session, wanted: list[InfoHash], say: Callable[[str], None]) -> list[InfoHash]:
    """Return the swarms that are not known to be private, and say how many others there are."""
    private = await session.writer.call(lambda store: store.metadata.private(wanted))
    if private:
        say(f"{len(private)} of {len(wanted)} swarms are private and left alone")
    return [info_hash for info_hash in wanted if info_hash not in private]


def _fetching(
    session: Session,
    on_fetched: Callable[[Fetched], None] | None,
    say: Callable[[str], None],
    settings: PeerSettings,
) -> AbstractAsyncContextManager[OnPeers | None]:
    """Return what contacts peers while swarms are measured, or nothing where that is not wanted."""
    if on_fetched is None:
        return nullcontext()
    # What talks to peers is imported for those few who want it.
    from crawler.api.metadata import fetching_beside

    return fetching_beside(session, on_fetched, say, settings)


def check_measuring(at_once: int | None, fresh: float) -> None:
    """Raise `InvalidArgument` unless these are what `measure` takes."""
    if at_once is not None:
        check_whole("at_once", at_once, 1, MOST_AT_ONCE)
    check_positive("fresh", fresh, or_zero=True)


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
