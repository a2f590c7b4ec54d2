"""The command `dhtcrawl scrape`: how large swarms are, by the nodes that store their peers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import click

import crawler
import dhtnode
from crawler import CrawlOptions, PeerSettings, TrackerOptions
from crawler.cli.beside.trackers import print_overlap, print_told, tracker_options, trackers_of
from crawler.cli.metadata import METADATA_OPTION, PEX_OPTION, print_failure, print_fetched
from crawler.cli.options import (
    FRESH_OPTION,
    at_once_option,
    crawl_options,
    hybrids_of,
    info_hashes_of,
    print_measured,
    read_swarm_list,
    run_crawl,
    torrent_nodes_of,
)
from dhtnode.cli import console
from dhtnode.lines import say


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@crawl_options
@click.option(
    "--from",
    "listed",
    type=console.ListFile(),
    metavar="FILE",
    help="Read more info-hashes from a file, one per line; - is standard input.",
)
@at_once_option(5000)
@FRESH_OPTION
@METADATA_OPTION
@PEX_OPTION
@tracker_options
@console.network_options(None)
def scrape(
    swarms: tuple[console.SwarmArgument, ...],
    crawl: CrawlOptions,
    listed: console.ListedLines | None,
    at_once: int | None,
    fresh: float,
    wants_metadata: bool,
    pex: bool,
    trackers: TrackerOptions | None,
    network: console.NetworkOptions,
) -> None:
    """Measure the size of swarms, and record each sample with its interval and replies.

    INFOHASH may be the path of a torrent file.  With a fresh census in the database its nodes are asked
    directly; without one, nodes are looked up, and what one lookup learns the next one uses.
    With --trackers, these are asked as well: both sources have a part of the peers.
    """
    swarms = (*swarms, *(read_swarm_list(listed) if listed else ()))
    wanted = info_hashes_of(swarms)
    if not wanted:
        raise click.UsageError("name at least one info-hash, or a file with --from")
    measured = 0

    def on_measured(scrape: dhtnode.SwarmMeasurement) -> None:
        nonlocal measured
        measured += 1
        print_measured(network.as_json, scrape)

    measure = partial(
        crawler.measure,
        wanted,
        replace(crawl, torrent_nodes=torrent_nodes_of(swarms), hybrids=hybrids_of(swarms)),
        at_once=at_once,
        fresh=fresh,
        on_measured=on_measured,
        on_failure=print_failure,
        on_fetched=partial(print_fetched, network.as_json) if wants_metadata or pex else None,
        peer_settings=PeerSettings(pex=pex),
        trackers=trackers and replace(trackers, of_torrents=trackers_of(swarms)),
        on_told=partial(print_told, network.as_json),
        on_overlap=partial(print_overlap, network.as_json),
        say=say,
    )
    counts = run_crawl(measure, network.timeout)
    if counts is None or not counts.measured:
        raise click.ClickException(f"{measured} of {len(wanted)} swarms measured")
