"""The command `dhtcrawl demo`: a network of our own measured, with the truth beside it."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

import click

import crawler.crawl
import crawler.demo
from crawler.cli.options import SEED_OPTION, db_option, run_crawl
from dhtnode.cli import console, streams


@click.command()
@db_option("The SQLite database to record in.", default="demo.db")
@click.option(
    "--nodes", type=click.IntRange(20, 500), default=60, show_default=True, help="Size of the network."
)
@SEED_OPTION(help="Same seed, same ids and swarms.")
@console.JSON_OPTION
@click.option(
    "--timeout", type=console.SECONDS, default=120.0, metavar="SECONDS", help="Give up after so long."
)
def demo(db: Path, nodes: int, seed: int, as_json: bool, timeout: float) -> None:
    """Measure a network of our own on loopback, and print the truth beside it."""
    result = run_crawl(partial(crawler.demo.run_demo, db, nodes=nodes, seed=seed), timeout)
    if result is None:
        raise click.ClickException("stopped before the end")
    if as_json:
        for swarm in result.swarms:
            console.emit(True, _record(swarm))
    else:
        _print_text(result, db)


def _print_text(result: crawler.demo.DemoResult, db: Path) -> None:
    streams.print_lines(*crawler.crawl.census_progress.describe(result.census).split("\n"), "")
    crawler.demo.print_comparison(result.swarms)
    streams.print_lines(
        f"The truth lies in the interval for {result.within} of {len(result.swarms)} swarms"
        f" (an interval is made to hold it in 95 of 100).",
        f"{result.nodes} nodes, {len(result.swarms)} swarms, {result.seconds:.0f} s; recorded in {db}.",
        "",
        f"Look at it:        {_installed('dhtcrawl')} report --db {db}",
        f"                   {_installed('sqlite-utils')} rows {db} latest_swarms --table",
        f"Measure for real:  {_installed('dhtcrawl')} scrape --db swarms.db INFOHASH",
        f"                   {_installed('dhtcrawl')} census --db census.db --timeout 600",
    )


def _installed(command: str) -> str:
    """Return how to call a command from here: by its name, or by its place beside our own program.

    Our own folder does not count as searched: `dev.py` puts it in front for us, not for the reader.
    """
    beside_us = Path(sys.executable).parent
    elsewhere = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder) != beside_us)
    if shutil.which(command, path=elsewhere) or not (beside_us / command).exists():
        return command
    return os.path.relpath(beside_us / command)


def _record(swarm: crawler.demo.Comparison) -> dict[str, object]:
    truth = {"true_seeds": swarm.seeds, "true_leechers": swarm.leechers, "true_peers": swarm.peers}
    measured = (
        console.scrape_record(swarm.measured) if swarm.measured else {"info_hash": swarm.info_hash.hex()}
    )
    return {**measured, **truth, "within": swarm.is_within}
