"""The command `dhtcrawl watch`: measure swarms again and again, each as often as it changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

import crawler
from crawler import CrawlOptions, PeerSettings, TrackerOptions, WebSeedOptions
from crawler.cli.beside.trackers import print_overlap, print_told, tracker_options, trackers_of
from crawler.cli.beside.web_seeds import print_check, web_seed_options, with_web_seeds_of
from crawler.cli.metadata import METADATA_OPTION, PEX_OPTION, print_fetched
from crawler.cli.options import (
    FRESH_OPTION,
    at_once_option,
    crawl_options,
    hybrids_of,
    info_hashes_of,
    print_measured,
    run_crawl,
    setting_option,
    torrent_nodes_of,
)
from crawler.settings import MOST_WATCHED, WatchSettings
from dhtnode.cli import console
from dhtnode.lines import say

option = partial(setting_option, WatchSettings)


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
@option("--shortest", "The interval for swarms that change fast.", metavar="SECONDS")
@option(
    "--longest",
    "The interval for swarms that do not change; dead ones are measured more rarely still.",
    metavar="SECONDS",
)
@option(
    "--budget",
    "Measurements per hour at most, of all watches of this database; each costs some 30 queries.",
    metavar="N",
)
@option("--keep-filters", "Delete the raw filters of older samples; their numbers stay.", metavar="DAYS")
@at_once_option(64)
@FRESH_OPTION
@METADATA_OPTION
@PEX_OPTION
@tracker_options
@web_seed_options
@console.network_options(None)
def watch(
    swarms: tuple[console.SwarmArgument, ...],
    crawl: CrawlOptions,
    listed: Path | None,
    discovered: int | None,
    once: bool,
    at_once: int | None,
    fresh: float,
    wants_metadata: bool,
    pex: bool,
    trackers: TrackerOptions | None,
    web_seeds: WebSeedOptions | None,
    network: console.NetworkOptions,
    **bounds: float,
) -> None:
    """Measure swarms again and again, each as often as it changes, within a budget.

    Runs until told to stop, and goes on where it was when it is started again. Without INFOHASH, --from
    and --discovered it watches what it watched the last time.
    """
    is_named = bool(swarms or listed or discovered is not None)
    if not is_named and not Path(crawl.db).exists():
        raise click.UsageError("name an info-hash, a file with --from, or a number with --discovered")
    watch = partial(
        crawler.watch,
        info_hashes_of(swarms),
        replace(crawl, torrent_nodes=torrent_nodes_of(swarms), hybrids=hybrids_of(swarms)),
        list_file=listed,
        discovered=discovered,
        settings=_settings_of(bounds),
        once=once,
        at_once=at_once,
        fresh=fresh,
        on_measured=partial(print_measured, network.as_json),
        on_fetched=partial(print_fetched, network.as_json) if wants_metadata or pex else None,
        peer_settings=PeerSettings(pex=pex),
        trackers=trackers and replace(trackers, of_torrents=trackers_of(swarms)),
        on_told=partial(print_told, network.as_json),
        on_overlap=partial(print_overlap, network.as_json),
        web_seeds=web_seeds and with_web_seeds_of(web_seeds, swarms),
        on_check=partial(print_check, network.as_json),
        say=say,
    )
    counts = run_crawl(watch, network.timeout)
    if not once:
        return
    if counts is None:
        raise click.ClickException(f"stopped before the end; {crawl.db} holds the samples taken")
    if counts.failed and not counts.measured:
        raise click.ClickException(f"none of {counts.failed} swarms measured")


def _settings_of(bounds: dict[str, float]) -> WatchSettings:
    try:
        return WatchSettings(**bounds)  # type: ignore[arg-type]  # the budget is an int, by its option
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--longest") from error
