"""The command `dhtcrawl census`: visit every node that can be reached, and count them."""

from __future__ import annotations

from functools import partial

import click

import crawler.crawl
from crawler import CrawlOptions
from crawler.cli.options import crawl_options_with_area, run_crawl
from crawler.settings import SECOND_WALK
from dhtnode import InfoHash
from dhtnode.cli import console

MOST = 2**31  # nodes


@click.command()
@crawl_options_with_area
@click.option(
    "--watch-id",
    "watched",
    type=console.info_hash,
    multiple=True,
    metavar="HEX",
    help="Test the surroundings of this id for nodes put there; may be repeated.",
)
@click.option(
    "--verify-after",
    type=console.SECONDS,
    metavar="SECONDS",
    help="Ask all that answered once more, so long after they did; 300 tells guests from residents.",
)
@click.option(
    "--second-walk",
    type=click.IntRange(0, MOST),
    default=SECOND_WALK,
    show_default=True,
    metavar="NODES",
    help="Walk again through a part of about so many nodes, for a second opinion on the size; 0 does not.",
)
@click.option("--new", is_flag=True, help="Begin a new census, even if the last one was interrupted.")
@console.network_options(None)
def census(
    crawl: CrawlOptions,
    zone: str,
    serve: bool,
    watched: tuple[InfoHash, ...],
    verify_after: float | None,
    second_walk: int,
    new: bool,
    network: console.NetworkOptions,
) -> None:
    """Visit every node that can be reached, and record each visit.

    A census that was interrupted, even by kill -9, goes on when the same command is given again.
    """
    if crawl.anonymize and verify_after is not None:
        raise click.UsageError("--verify-after needs the addresses that --anonymize does not keep")
    texts, cut = crawler.crawl.census_progress, list[crawler.crawl.Progress]()
    visit = partial(
        crawler.census,
        crawl,
        zone=zone,
        watched=watched,
        verify_after=verify_after,
        second_walk=second_walk,
        new=new,
        serve=serve,
        when_cut=cut.append,
    )
    try:
        found = run_crawl(visit, network.timeout)
    finally:
        for known in cut:
            console.emit(network.as_json, texts.record(known), *texts.describe(known).split("\n"))
    if found is None:
        raise click.ClickException(f"stopped before the end; {crawl.db} holds the visits made")
    console.emit(network.as_json, texts.record(found), *texts.describe(found).split("\n"))
