"""The command `dhtcrawl`: each subcommand is one call of the crawler, plus printing.

What crawls, records and draws is imported where it is used, as `dhtnode.console` says.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from crawler.cli_census import census
from crawler.cli_crawls import DB_OPTION, with_limits
from crawler.cli_example import example
from crawler.cli_sample import sample
from crawler.cli_synthetic import synthetic
from crawler.settings import CrawlSettings
from dhtnode import DhtError, InfoHash, InvalidInfoHash, __version__, console, parse_info_hash

if TYPE_CHECKING:
    from crawler.demo import Comparison, DemoResult
    from dhtnode import Scrape

DEFAULTS = CrawlSettings()

MAX_WAYS_IN = 32  # of all torrent files together; each may cost a look-up of a name


@click.group("dhtcrawl", cls=console.OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhtcrawl")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Measure the BitTorrent mainline DHT and record everything in SQLite."""
    console.set_up_logging(verbose)


main.add_command(census)
main.add_command(example)
main.add_command(sample)
main.add_command(synthetic)


@main.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@DB_OPTION
@click.option(
    "--from",
    "listed",
    type=click.File(),
    metavar="FILE",
    help="Read more info-hashes from a file, one per line; - is standard input.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=DEFAULTS.scrapes_at_once,
    show_default=True,
    help="How many to measure at once.",
)
@console.common_options(None)
def scrape(
    swarms: tuple[console.Swarm, ...],
    db: Path,
    listed: TextIO | None,
    at_once: int,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Measure the size of swarms, and record each sample with its interval and replies.

    INFOHASH may be the path of a torrent file.
    """
    named = [swarm.info_hash for swarm in swarms]
    wanted = list(dict.fromkeys([*named, *(_read_list(listed) if listed else ())]))
    ways_in = [host for swarm in swarms for host in swarm.ways_in][:MAX_WAYS_IN]
    if not wanted:
        raise click.UsageError("name at least one info-hash, or a file with --from")

    from crawler.measure import Tally, measure_swarms
    from crawler.progress import show_progress
    from crawler.session import open_session
    from crawler.store import StoreError
    from dhtnode import open_service_nursery

    tally = Tally()

    async def measure() -> None:
        settings = {"at_once": at_once, "info_hashes": len(wanted)}
        async with (
            open_session(db, "scrape", settings, bootstrap=bootstrap, ways_in=ways_in) as session,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(
                show_progress,
                lambda: f"scrape: {tally.measured} measured, {tally.failed} failed, of {len(wanted)}",
            )
            await measure_swarms(
                session.node,
                session.writer,
                wanted,
                at_once=at_once,
                tally=tally,
                on_sample=partial(_print_sample, as_json),
                on_failure=_print_failure,
            )

    ended = console.run(partial(with_limits, measure, timeout), StoreError)
    if not ended or not tally.measured:
        raise click.ClickException(f"{tally.measured} of {len(wanted)} swarms measured")


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
    from crawler.demo import run_demo
    from crawler.store import StoreError

    results: list[DemoResult] = []

    async def show() -> None:
        results.append(await run_demo(db, nodes=nodes, seed=seed))

    if not console.run(partial(with_limits, show, timeout), StoreError):
        raise click.ClickException("stopped before the end")
    _print_demo(results[0], db, as_json)


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


def _print_demo(result: DemoResult, db: Path, as_json: bool) -> None:
    if as_json:
        for swarm in result.swarms:
            console.emit(True, _demo_record(swarm), "")
        return

    from rich.console import Console
    from rich.table import Table

    from crawler.census import describe

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
        f"Look at it:        {_installed('sqlite-utils')} rows {db} latest_swarms --table\n"
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
