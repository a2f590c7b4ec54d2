"""What the commands that crawl share: where to record, how fast to go, what to leave alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

import crawler
from crawler.settings import FRESH, CrawlOptions, CrawlSettings
from dhtnode import cli
from dhtnode.cli import console

T = TypeVar("T")
Option = Callable[[console.Command], console.Command]

DEFAULTS = CrawlSettings()

DB_OPTION = click.option(
    "--db",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to record in; made when it is not there.",
)

READ_OPTION = click.option(
    "--db",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to read; it is not changed.",
)

RUN_OPTION = click.option("--run", type=click.IntRange(1), metavar="N", help="Only what this run saw.")

FRESH_OPTION = click.option(
    "--fresh",
    type=console.Number(min=0),
    default=FRESH,
    show_default=True,
    metavar="SECONDS",
    help="Ask the nodes of a census that ended so long ago at most, without lookups; 0 always looks up.",
)

# Each has the name of a field of `CrawlSettings`.
PACE_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--rate",
        type=console.Number(min=0),
        default=DEFAULTS.rate,
        show_default=True,
        metavar="N",
        help="Queries per second; 0 lifts all limits, for a network of your own.",
    ),
    click.option(
        "--max-new-endpoints",
        "new_endpoints_rate",
        type=console.Number(min=0, min_open=True),
        default=DEFAULTS.new_endpoints_rate,
        show_default=True,
        metavar="N",
        help="Endpoints never asked before, per second: spares the NAT tables of routers.",
    ),
)


def _check_zone(_: click.Context, __: click.Parameter, text: str) -> str:
    # Not above: they are slow to import, and `--help` needs none.
    from random import Random

    from crawler.zone import Zone

    try:
        Zone.parse(text, Random(0))
    except ValueError as error:
        reason = f"{text!r} is neither a number of bits nor a prefix as 0x5b"
        raise click.BadParameter(reason, param_hint="--zone") from error
    return text


_AREA_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--zone",
        default="0",
        callback=_check_zone,
        metavar="PREFIX",
        help="Only ids with one prefix: so many bits, drawn (8), or given in hex (0x5b).",
    ),
    click.option(
        "--serve",
        is_flag=True,
        help="Be a full node beside the crawl, which answers; the crawl itself stays read-only (ro),"
        " for its sockets answer no queries.",
    ),
)

_LIMITING_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--exclude",
        type=click.File(),
        metavar="FILE",
        help="Networks, addresses and node ids to leave alone, one to a line; - is standard input.",
    ),
    click.option("--anonymize", is_flag=True, help="Write /24 and /48 instead of addresses of nodes."),
)


def crawl_options(command: console.Command) -> console.Command:
    """Add the options of a crawl, of which a command gets a `CrawlOptions` as `crawl`."""
    return _add(command, (DB_OPTION, *PACE_OPTIONS, *_LIMITING_OPTIONS))


def crawl_options_with_area(command: console.Command) -> console.Command:
    """Add the options of a crawl, and where to go and whether to serve beside it."""
    return _add(command, (DB_OPTION, *PACE_OPTIONS, *_AREA_OPTIONS, *_LIMITING_OPTIONS))


def _add(command: console.Command, options: Sequence[Option]) -> console.Command:
    @wraps(command)
    def gathered(
        *, db: Path, exclude: TextIO | None, anonymize: bool, bootstrap: tuple[str, ...], **others: Any
    ) -> None:
        pace = {field.name: others.pop(field.name) for field in fields(CrawlSettings) if field.name in others}
        crawl = CrawlOptions(
            db,
            CrawlSettings(**pace),
            exclude=read_exclusion(exclude),
            anonymize=anonymize,
            bootstrap=bootstrap,
            shows_progress=True,
        )
        command(crawl=crawl, **others)

    decorated: console.Command = gathered
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def read_exclusion(file: TextIO | None) -> list[str]:
    """Read the list that `--exclude` names, or none."""
    if file is None:
        return []
    try:
        lines = file.read().splitlines()
        crawler.Exclusion.read(lines)
    except (OSError, ValueError) as error:  # a text that is no UTF-8 is a ValueError too
        raise click.UsageError(f"{file.name}: {error}") from error
    return lines


def run_crawl(crawl: Callable[[], Awaitable[T]], timeout: float | None) -> T | None:
    """Run a crawl and return its result, or None when the timeout came first; signals end the command."""
    results: list[T] = []

    async def keep_result() -> None:
        results.append(await crawl())

    async def limited() -> None:
        await cli.run_with_timeout(partial(cli.run_until_signal, keep_result), timeout)

    cli.run(limited, crawler.DatabaseError)
    return results[0] if results else None


def to_stderr(line: str) -> None:
    """Print a line that is no result."""
    click.echo(line, err=True)
