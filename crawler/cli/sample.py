"""The command `dhtcrawl sample`: which info-hashes there are, from what nodes show (BEP 51)."""

from __future__ import annotations

from functools import partial

import click

import crawler.infohashes
from crawler import CrawlOptions
from crawler.cli.options import crawl_options_with_area, run_crawl
from dhtnode.cli import console


@click.command()
@crawl_options_with_area
@click.option("--once", is_flag=True, help="Ask each node once at most; the default.")
@click.option(
    "--rounds", type=click.IntRange(1), metavar="N", help="Ask so often, each node when its time has come."
)
@click.option(
    "--for",
    "seconds",
    type=console.SECONDS,
    metavar="SECONDS",
    help="Go on for so long, each node again whenever its time has come.",
)
@console.network_options(None)
def sample(
    crawl: CrawlOptions,
    zone: str,
    serve: bool,
    once: bool,
    rounds: int | None,
    seconds: float | None,
    network: console.NetworkOptions,
) -> None:
    """Ask nodes which info-hashes they store, and estimate how many there are (BEP 51).

    Asks the nodes of a census in the database; without any, or with --bootstrap, it walks from node to
    node.  No node is asked again before the interval that it named is over, by whatever run.
    """
    if once + (rounds is not None) + (seconds is not None) > 1:
        raise click.UsageError("give one of --once, --rounds and --for")
    if crawl.anonymize and ((rounds or 1) > 1 or seconds is not None):
        raise click.UsageError("--rounds and --for need addresses to ask again: leave --anonymize out")
    texts, cut = crawler.infohashes.survey, list[crawler.InfohashResults]()
    visit = partial(
        crawler.sample, crawl, zone=zone, rounds=rounds, seconds=seconds, serve=serve, when_cut=cut.append
    )
    try:
        found = run_crawl(visit, network.timeout)
    finally:
        for known in cut:
            lines = [texts.describe(known.counts), *map(texts.describe_discovery, known.discoveries)]
            lines.append("cut short: the same command goes on from here")
            known_record = texts.record(known.counts, known.discoveries, is_complete=False)
            console.emit(network.as_json, known_record, *lines)
    if found is None:
        kept = f"{crawl.db} holds the samples taken, and what they amount to"
        raise click.ClickException(f"stopped before the end; {kept}")
    lines = [texts.describe(found.counts), *map(texts.describe_discovery, found.discoveries)]
    console.emit(network.as_json, texts.record(found.counts, found.discoveries), *lines)
