"""The command `dhtcrawl watch`: measure swarms again and again, each as often as it changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

import crawler
from crawler import CrawlOptions
from crawler.cli.options import FRESH_OPTION, crawl_options, run_crawl, to_stderr
from crawler.settings import MOST_WATCHED, WatchSettings
from dhtnode.cli import console

if TYPE_CHECKING:
    from dhtnode.swarm import SwarmMeasurement

DEFAULTS = WatchSettings()


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@crawl_options
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
    default=DEFAULTS.keep_filters,
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
    crawl: CrawlOptions,
    listed: Path | None,
    discovered: int | None,
    once: bool,
    at_once: int | None,
    fresh: float,
    as_json: bool,
    timeout: float | None,
    **bounds: float,
) -> None:
    """Measure swarms again and again, each as often as it changes, within a budget.

    Runs until told to stop, and goes on where it was when it is started again. Without INFOHASH, --from
    and --discovered it watches what it watched the last time.
    """
    is_named = bool(swarms or listed or discovered is not None)
    if not is_named and not Path(crawl.db).exists():
        raise click.UsageError(
            "name at least one info-hash, a file with --from, or a number with --discovered"
        )
    try:
        settings = WatchSettings(**bounds)  # type: ignore[arg-type]  # the budget is an int, by its option
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--longest") from error

    def print_measured(scrape: SwarmMeasurement) -> None:
        console.emit(as_json, console.scrape_record(scrape), console.scrape_text(scrape))

    watch = partial(
        crawler.watch,
        [swarm.info_hash for swarm in swarms],
        replace(crawl, torrent_nodes=[host for swarm in swarms for host in swarm.nodes]),
        list_file=listed,
        discovered=discovered,
        settings=settings,
        once=once,
        at_once=at_once,
        fresh=fresh,
        on_measured=print_measured,
        say=to_stderr,
    )
    counts = run_crawl(watch, timeout)
    if not once:
        return
    if counts is None:
        raise click.ClickException(f"stopped before the end; {crawl.db} holds the samples taken")
    if counts.failed and not counts.measured:
        raise click.ClickException(f"none of {counts.failed} swarms measured")
