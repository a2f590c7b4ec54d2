"""The command `dhtcrawl scrape`: how large swarms are, by asking the nodes that know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TextIO

import click

from crawler.cli.metadata import METADATA_OPTION, handing_over
from crawler.cli.options import FRESH_OPTION, pace_options, read_exclusion, with_limits
from crawler.settings import CrawlSettings
from dhtnode import DhtError, InfoHash, InvalidInfoHash, cli, parse_info_hash
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.swarms.survey import SwarmSurvey
    from dhtnode import Scrape

MAX_WAYS_IN = 32  # of all torrent files together; each may cost a look-up of a name
MAX_AT_ONCE = 5000


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@pace_options
@click.option(
    "--from",
    "listed",
    type=click.File(),
    metavar="FILE",
    help="Read more info-hashes from a file, one per line; - is standard input.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, MAX_AT_ONCE),
    metavar="N",
    help="How many to measure at once; by default 4 with lookups, 200 without.",
)
@FRESH_OPTION
@METADATA_OPTION
@console.common_options(None)
def scrape(
    swarms: tuple[console.SwarmArgument, ...],
    db: Path,
    rate: float,
    max_new_endpoints: float,
    exclude: TextIO | None,
    anonymize: bool,
    listed: TextIO | None,
    at_once: int | None,
    fresh: float,
    wants_metadata: bool,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Measure the size of swarms, and record each sample with its interval and replies.

    INFOHASH may be the path of a torrent file.  With a fresh census in the database its nodes are asked
    directly; without one, nodes are looked up, and what one lookup learns the next one uses.
    """
    named = [swarm.info_hash for swarm in swarms]
    wanted = list(dict.fromkeys([*named, *(_read_list(listed) if listed else ())]))
    ways_in = [host for swarm in swarms for host in swarm.nodes][:MAX_WAYS_IN]
    if not wanted:
        raise click.UsageError("name at least one info-hash, or a file with --from")

    from crawler.core.progress import show_progress
    from crawler.core.session import open_session
    from crawler.db.database import DatabaseError
    from crawler.swarms.survey import MeasurementCounts, SwarmSurvey, describe
    from dhtnode.nurseries import open_service_nursery

    exclusion = read_exclusion(exclude)
    settings = CrawlSettings(rate=rate, new_endpoints_rate=max_new_endpoints)
    run_settings = asdict(settings) | {"at_once": at_once, "fresh": fresh, "info_hashes": len(wanted)}
    tally = MeasurementCounts()

    async def measure() -> None:
        async with (
            open_session(
                db, "scrape", run_settings, bootstrap=bootstrap, ways_in=ways_in, anonymize=anonymize
            ) as session,
            handing_over(
                session, as_json, is_wanted=wants_metadata, excludes=exclusion.excludes
            ) as hand_over,
            open_service_nursery() as nursery,
        ):
            survey = SwarmSurvey(
                session.node,
                session.writer,
                session.askers,
                settings,
                Random(SystemRandom().getrandbits(256)),
                excludes=exclusion.excludes if exclusion else None,
                fresh=fresh,
            )
            nursery.start_soon(show_progress, lambda: describe(survey.counts, tally, len(wanted)))
            private = await session.writer.call(lambda store: store.metadata.private(wanted))
            if private:
                click.echo(f"{len(private)} of {len(wanted)} swarms are private and left alone", err=True)
            await survey.measure(
                [info_hash for info_hash in wanted if info_hash not in private],
                tally=tally,
                at_once=at_once,
                on_sample=partial(_print_sample, as_json),
                on_failure=_print_failure,
                on_peers=hand_over,
            )
            _print_way(survey, len(wanted))

    ended = cli.run(partial(with_limits, measure, timeout), DatabaseError)
    if not ended or not tally.measured:
        raise click.ClickException(f"{tally.measured} of {len(wanted)} swarms measured")


def _read_list(file: TextIO) -> Iterable[InfoHash]:
    """Yield the info-hashes of a file; blank lines and those that begin with # are skipped."""
    try:
        lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file.name}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield parse_info_hash(line)
            except InvalidInfoHash as error:
                raise click.UsageError(f"{file.name}, line {number}: {error}") from error


def _print_sample(as_json: bool, measured: Scrape) -> None:
    console.emit(as_json, console.scrape_record(measured), console.scrape_text(measured))


def _print_failure(info_hash: InfoHash, error: DhtError) -> None:
    click.echo(f"{info_hash.hex()}: {error}", err=True)


def _print_way(survey: SwarmSurvey, wanted: int) -> None:
    """Say how nodes were found, when any were."""
    counts, census = survey.counts, survey.whereabouts.census
    if counts.direct and census is not None:
        click.echo(
            f"asked the nodes of the census of run {census.run_id} directly"
            f" for {counts.direct} of {wanted} swarms",
            err=True,
        )
    if counts.by_lookup:
        click.echo(
            f"looked nodes up for {counts.by_lookup} of {wanted} swarms: no fresh census covers them",
            err=True,
        )
