"""The command `dhtcrawl watch`: measure swarms again and again, each as often as it changes."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TextIO

import click

from crawler.cli.options import FRESH_OPTION, pace_options, read_exclusion, with_limits
from crawler.settings import MOST_WATCHED, CrawlSettings, WatchSettings
from dhtnode import DhtError, InfoHash, cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
    from crawler.swarms.watch import Measure, SwarmWatch
    from dhtnode import Scrape

DEFAULTS = WatchSettings()
BUSY_TIMEOUT = 60.0  # seconds; a purge of a large database takes that long, and is no reason to end
MAX_WAYS_IN = 32  # of all torrent files together; each may cost a look-up of a name


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@pace_options
@click.option(
    "--from",
    "listed",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Watch the info-hashes in a file, one per line; read again whenever it changes.",
)
@click.option(
    "--discovered",
    type=click.IntRange(0, MOST_WATCHED),
    metavar="N",
    help="Watch so many of the swarms that `dhtcrawl sample` has found, drawn at random.",
)
@click.option("--once", is_flag=True, help="Measure what is due and end: for cron.")
@click.option(
    "--shortest",
    type=console.SECONDS,
    default=DEFAULTS.shortest,
    show_default=True,
    metavar="SECONDS",
    help="The interval for swarms that change fast.",
)
@click.option(
    "--longest",
    type=console.SECONDS,
    default=DEFAULTS.longest,
    show_default=True,
    metavar="SECONDS",
    help="The interval for swarms that do not change; dead ones are measured more rarely still.",
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=DEFAULTS.budget,
    show_default=True,
    metavar="N",
    help="Measurements per hour at most, of all watches of this database; each costs some 30 queries.",
)
@click.option(
    "--keep-filters",
    type=console.Number(min=0, max=36_500),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Delete the raw filters of older samples; their numbers stay.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    metavar="N",
    help="How many to measure at once; by default 4 with lookups, 200 without.",
)
@FRESH_OPTION
@console.common_options(None)
def watch(
    swarms: tuple[console.SwarmArgument, ...],
    db: Path,
    rate: float,
    max_new_endpoints: float,
    exclude: TextIO | None,
    anonymize: bool,
    listed: Path | None,
    discovered: int | None,
    once: bool,
    shortest: float,
    longest: float,
    budget: int,
    keep_filters: float,
    at_once: int | None,
    fresh: float,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Measure swarms again and again, each as often as it changes, within a budget.

    Runs until told to stop, and goes on where it was when it is started again. Without INFOHASH, --from
    and --discovered it watches what it watched the last time.
    """
    is_named = bool(swarms or listed or discovered is not None)
    if not is_named and not db.exists():
        raise click.UsageError(
            "name at least one info-hash, a file with --from, or a number with --discovered"
        )
    try:
        settings = WatchSettings(shortest, longest, budget)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--longest") from error

    from crawler.core.progress import show_progress
    from crawler.core.session import open_session
    from crawler.db.database import DatabaseError
    from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
    from crawler.swarms.watch import SwarmWatch
    from crawler.swarms.watch_list import WatchList
    from dhtnode.nurseries import open_service_nursery

    named = WatchList([swarm.info_hash for swarm in swarms], listed) if is_named else None
    ways_in = [host for swarm in swarms for host in swarm.nodes][:MAX_WAYS_IN]
    exclusion = read_exclusion(exclude)
    pace = CrawlSettings(rate=rate, new_endpoints_rate=max_new_endpoints)
    run_settings = asdict(pace) | asdict(settings) | {"at_once": at_once, "fresh": fresh}
    random = Random(SystemRandom().getrandbits(256))
    tally = MeasurementCounts()

    async def watch_all() -> None:
        async with (
            open_session(
                db,
                "watch",
                run_settings,
                bootstrap=bootstrap,
                ways_in=ways_in,
                anonymize=anonymize,
                busy_timeout=BUSY_TIMEOUT,
            ) as session,
            open_service_nursery() as nursery,
        ):
            watch = SwarmWatch(
                session.writer,
                settings,
                random,
                named=named,
                discovered=discovered or 0,
                keep_filters=keep_filters,
                say=partial(click.echo, err=True),
            )
            survey = SwarmSurvey(
                session.node,
                session.writer,
                session.askers,
                pace,
                random,
                excludes=exclusion.excludes if exclusion else None,
                fresh=fresh,
            )
            nursery.start_soon(show_progress, watch.describe)
            await watch.run(_measure_by(survey, watch, tally, at_once, as_json), once=once)

    ended = cli.run(partial(with_limits, watch_all, timeout), DatabaseError)
    if once and not ended:
        raise click.ClickException(f"stopped before the end; {db} holds the samples taken")
    if once and tally.failed and not tally.measured:
        raise click.ClickException(f"none of {tally.failed} swarms measured")


def _measure_by(
    survey: SwarmSurvey, watch: SwarmWatch, tally: MeasurementCounts, at_once: int | None, as_json: bool
) -> Measure:
    """Return what measures a batch, records it, prints it, and tells the watch about it."""
    from crawler.db.records.watched_swarms import MeasuredSize

    def on_sample(scrape: Scrape) -> None:
        estimate = scrape.estimate
        watch.took(scrape.info_hash, MeasuredSize(estimate.peers, estimate.peers_low, estimate.peers_high))
        console.emit(as_json, console.scrape_record(scrape), console.scrape_text(scrape))

    def on_failure(info_hash: InfoHash, error: DhtError) -> None:
        watch.failed(info_hash, str(error))

    async def measure(info_hashes: Sequence[InfoHash]) -> None:
        await survey.measure(
            info_hashes, tally=tally, at_once=at_once, on_sample=on_sample, on_failure=on_failure
        )

    return measure
