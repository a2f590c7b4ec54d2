"""The command `dhtcrawl`: each subcommand is one call of the crawler, plus printing.

What crawls, records and draws is imported where it is used, as `dhtnode.cli.console` says.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.browse import browse
from crawler.cli.census import census
from crawler.cli.example import example
from crawler.cli.explain import explain
from crawler.cli.export import export
from crawler.cli.merge import merge
from crawler.cli.metadata import metadata
from crawler.cli.options import with_limits
from crawler.cli.purge import purge
from crawler.cli.report import report
from crawler.cli.sample import sample
from crawler.cli.scrape import scrape
from crawler.cli.synthetic import synthetic
from crawler.cli.watch import watch
from dhtnode import __version__, cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.demo.demo import Comparison, DemoResult


@click.group("dhtcrawl", cls=cli.LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhtcrawl")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Measure the BitTorrent mainline DHT and record everything in SQLite."""
    console.set_up_logging(verbose)


main.add_command(browse)
main.add_command(census)
main.add_command(purge)
main.add_command(metadata)
main.add_command(export)
main.add_command(report)
main.add_command(merge)
main.add_command(example)
main.add_command(sample)
main.add_command(scrape)
main.add_command(explain)
main.add_command(synthetic)
main.add_command(watch)


@main.command()
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    default="demo.db",
    show_default=True,
    metavar="FILE",
    help="The SQLite database to record in.",
)
@click.option(
    "--nodes", type=click.IntRange(20, 500), default=60, show_default=True, help="Size of the network."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same ids and swarms.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
@click.option(
    "--timeout", type=console.SECONDS, default=120.0, metavar="SECONDS", help="Give up after so long."
)
def demo(db: Path, nodes: int, seed: int, as_json: bool, timeout: float) -> None:
    """Measure a network of our own on loopback, and print the truth beside it."""
    from crawler.db.database import DatabaseError
    from crawler.demo.demo import run_demo

    results: list[DemoResult] = []

    async def show() -> None:
        results.append(await run_demo(db, nodes=nodes, seed=seed))

    if not cli.run(partial(with_limits, show, timeout), DatabaseError):
        raise click.ClickException("stopped before the end")
    _print_demo(results[0], db, as_json)


def _print_demo(result: DemoResult, db: Path, as_json: bool) -> None:
    if as_json:
        for swarm in result.swarms:
            console.emit(True, _demo_record(swarm), "")
        return

    from rich.console import Console
    from rich.table import Table

    from crawler.crawl.census import describe

    click.echo(f"{describe(result.census)}\n")
    table = Table(title="Swarm sizes: the truth, and what was measured through the DHT", title_justify="left")
    for heading in ("info-hash", "true peers", "measured", "interval", "", "true seeds", "measured", "nodes"):
        table.add_column(heading, justify="left" if heading in ("info-hash", "") else "right")
    for swarm in result.swarms:
        table.add_row(*_demo_row(swarm))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    click.echo(
        f"The truth lies in the interval for {result.within} of {len(result.swarms)} swarms"
        f" (an interval is made to hold it in 95 of 100).\n"
        f"{result.nodes} nodes, {len(result.swarms)} swarms, {result.seconds:.0f} s; recorded in {db}.\n\n"
        f"Look at it:        {_installed('dhtcrawl')} report --db {db}\n"
        f"                   {_installed('sqlite-utils')} rows {db} latest_swarms --table\n"
        f"Measure for real:  {_installed('dhtcrawl')} scrape --db swarms.db INFOHASH\n"
        f"                   {_installed('dhtcrawl')} census --db census.db --timeout 600"
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


def _demo_row(swarm: Comparison) -> list[str]:
    if swarm.measured is None:
        return [swarm.info_hash.hex(), str(swarm.peers), "no answer", "", "", str(swarm.seeds), "", "0"]
    estimate = swarm.measured.estimate
    return [
        swarm.info_hash.hex()[:16] + "...",
        str(swarm.peers),
        str(estimate.peers),
        f"{estimate.peers_low} to {estimate.peers_high}",
        "" if swarm.is_within else "missed",
        str(swarm.seeds),
        str(estimate.seeds),
        str(swarm.measured.nodes_answered),
    ]


def _demo_record(swarm: Comparison) -> dict[str, object]:
    truth = {"true_seeds": swarm.seeds, "true_leechers": swarm.leechers, "true_peers": swarm.peers}
    measured = (
        console.scrape_record(swarm.measured) if swarm.measured else {"info_hash": swarm.info_hash.hex()}
    )
    return {**measured, **truth, "within": swarm.is_within}
