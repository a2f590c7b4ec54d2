"""The command `dhtcrawl scrape`: how large swarms are, by the nodes that store their peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

import click

import crawler
from crawler import CrawlOptions
from crawler.cli.metadata import METADATA_OPTION, print_failure, print_fetched
from crawler.cli.options import FRESH_OPTION, crawl_options, run_crawl, to_stderr
from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash
from dhtnode.cli import console

if TYPE_CHECKING:
    from dhtnode.swarm import SwarmMeasurement

MAX_AT_ONCE = 5000


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@crawl_options
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
    crawl: CrawlOptions,
    listed: TextIO | None,
    at_once: int | None,
    fresh: float,
    wants_metadata: bool,
    as_json: bool,
    timeout: float | None,
) -> None:
    """Measure the size of swarms, and record each sample with its interval and replies.

    INFOHASH may be the path of a torrent file.  With a fresh census in the database its nodes are asked
    directly; without one, nodes are looked up, and what one lookup learns the next one uses.
    """
    named = [swarm.info_hash for swarm in swarms]
    wanted = list(dict.fromkeys([*named, *(_read_list(listed) if listed else ())]))
    if not wanted:
        raise click.UsageError("name at least one info-hash, or a file with --from")
    measured = 0

    def print_measured(scrape: SwarmMeasurement) -> None:
        nonlocal measured
        measured += 1
        console.emit(as_json, console.scrape_record(scrape), console.scrape_text(scrape))

    measure = partial(
        crawler.measure,
        wanted,
        replace(crawl, torrent_nodes=[host for swarm in swarms for host in swarm.nodes]),
        at_once=at_once,
        fresh=fresh,
        on_measured=print_measured,
        on_failure=print_failure,
        on_fetched=partial(print_fetched, as_json) if wants_metadata else None,
        say=to_stderr,
    )
    if not run_crawl(measure, timeout):
        raise click.ClickException(f"{measured} of {len(wanted)} swarms measured")


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
