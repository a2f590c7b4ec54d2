"""The command `dhtcrawl trackers`: what trackers say of swarms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

import crawler
from crawler import CrawlOptions
from crawler.cli.beside.trackers import checked_urls, listed_urls, trackers_of
from crawler.cli.options import (
    DB_OPTION,
    exclude_option,
    info_hashes_of,
    read_exclusion,
    read_swarm_list,
    run_crawl,
)
from dhtnode.cli import captures, console
from dhtnode.escaping import escaped
from dhtnode.lines import say

if TYPE_CHECKING:
    from pathlib import Path

    from crawler.db.records.trackers import TrackerSweep

MOST_DISCOVERED = 1_000_000
_ANSWERED = ("answered", "partial")


@click.command()
@DB_OPTION
@click.option(
    "--from",
    "listed",
    type=console.ListFile(),
    metavar="FILE",
    help="Ask for the info-hashes in a file, one per line; - is standard input. The trackers of magnet links"
    " are asked, too.",
)
@click.option(
    "--known", is_flag=True, help="Ask for all swarms of the database; so it does without a choice."
)
@click.option("--watched", is_flag=True, help="Ask for the swarms on the list of `dhtcrawl watch`.")
@click.option(
    "--discovered",
    type=click.IntRange(1, MOST_DISCOVERED),
    metavar="N",
    help="Ask for so many of the swarms that `dhtcrawl sample` has found, drawn at random.",
)
@click.option(
    "--tracker", "typed", multiple=True, metavar="URL", help="A tracker to ask, and to remember; repeatable."
)
@click.option(
    "--tracker-list",
    "tracker_list",
    type=console.ListFile(),
    metavar="FILE",
    help="More trackers: a list as they are published, one URL a line.",
)
@click.option(
    "--named-by-peers",
    "takes_hints",
    is_flag=True,
    help="Ask also trackers that only peers have named (BEP 28): anyone can make these up.",
)
@click.option(
    "--full",
    multiple=True,
    metavar="URL",
    help="Ask this HTTP tracker for all that it has, at most once in 6 hours; repeatable.",
)
@click.option(
    "--tracker-rate",
    "rate",
    type=console.Number(min=0, max=1),
    default=1.0,
    show_default=True,
    metavar="R",
    help="Requests per second to one host of trackers; 0 lifts that on loopback.",
)
@click.option("--again", is_flag=True, help="Ask also those that asked never to be asked again.")
@exclude_option("Networks and addresses to leave alone, one to a line; - is standard input.")
@click.option("--anonymize", is_flag=True, help="Write no addresses of trackers.")
@console.timeout_option(None)
@console.JSON_OPTION
@captures.pcap_options
def trackers(
    db: Path,
    listed: console.ListedLines | None,
    known: bool,
    watched: bool,
    discovered: int | None,
    typed: tuple[str, ...],
    tracker_list: console.ListedLines | None,
    takes_hints: bool,
    full: tuple[str, ...],
    rate: float,
    again: bool,
    exclude: console.ListedLines | None,
    anonymize: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Ask trackers how large swarms are, and record what each says.

    Those that the database knows are asked, and those given. Each is asked for each swarm once in 30 minutes
    at most, in batches, with an info-hash in each that was made up: one that has peers for that invents them.
    """
    if sum((listed is not None, known, watched, discovered is not None)) > 1:
        raise click.UsageError("choose one of --from, --known, --watched and --discovered")
    which = "watched" if watched else "discovered" if discovered else "known"
    read = list(read_swarm_list(listed)) if listed else []
    # Only what was asked for in full, unless swarms are chosen.
    is_full_only = bool(full) and not (listed or known or watched or discovered or typed or tracker_list)
    sweep = partial(
        crawler.sweep_trackers,
        [] if is_full_only else info_hashes_of(read) if listed else which,
        CrawlOptions(db, exclude=read_exclusion(exclude), anonymize=anonymize, shows_progress=True),
        trackers=checked_urls(typed, "--tracker"),
        listed=listed_urls(tracker_list),
        of_torrents=trackers_of(read),
        full=checked_urls(full, "--full"),
        discovered=discovered or 0,
        takes_hints=takes_hints,
        rate=rate,
        asks_again=again,
        on_sweep=partial(_print_sweep, as_json),
        say=say,
    )
    results = run_crawl(sweep, timeout)
    if results is None:
        raise click.ClickException("stopped before the end; what was heard is recorded")
    if not results.sweeps:
        missing = (
            "no tracker to ask: name one with --tracker" if results.tally.swarms else "no swarm to ask for"
        )
        raise click.ClickException(missing)
    # One that runs it every ten minutes is told by the lines that nothing is due yet.
    is_nothing_due = all(each.not_due and not each.asked for each in results.sweeps)
    if not is_nothing_due and not any(each.outcome in _ANSWERED for each in results.sweeps):
        raise click.ClickException(f"none of {len(results.sweeps)} trackers answered")


def _print_sweep(as_json: bool, sweep: TrackerSweep) -> None:
    """Print what one tracker came to."""
    record = {
        "url": sweep.url,
        "address": sweep.host,
        "outcome": sweep.outcome,
        "reason": sweep.reason,
        "asked": sweep.asked,
        "listed": sweep.listed,
        "nonzero": sweep.nonzero,
        "not_due": sweep.not_due,
        "requests": sweep.requests,
        "answers": sweep.answers,
        "errors": sweep.errors,
        "rtt_ms": sweep.rtt_ms,
        "marks": list(sweep.marks),
    }
    place = f"  {sweep.host}" if sweep.host else ""
    told = f"  {sweep.nonzero} of {sweep.asked} with peers" if sweep.asked else ""
    if not sweep.asked and sweep.listed:
        told = f"  {sweep.nonzero} of all {sweep.listed} with peers"
    took = f"  {sweep.rtt_ms:.0f} ms" if sweep.rtt_ms is not None else ""
    not_due = f"  {sweep.not_due} not due" if sweep.not_due else ""
    reason = f"  {escaped(sweep.reason)}" if sweep.reason else ""
    marks = f"  {' '.join(sweep.marks)}" if sweep.marks else ""
    console.emit(as_json, record, f"{sweep.url}{place}  {sweep.outcome}{told}{not_due}{took}{marks}{reason}")
