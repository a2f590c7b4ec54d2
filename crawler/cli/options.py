"""What the commands that crawl share: where to record, how fast to go, whom to leave alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from crawler.settings import CrawlSettings
from dhtnode import cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from random import Random

    from crawler.core.exclusion import Exclusion
    from crawler.zone import Zone

DEFAULTS = CrawlSettings()

DB_OPTION = click.option(
    "--db",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to record in; made when it is not there.",
)

FRESH_OPTION = click.option(
    "--fresh",
    type=console.Number(min=0),
    default=21600.0,
    show_default=True,
    metavar="SECONDS",
    help="Ask the nodes of a census that ended so long ago at most, without lookups; 0 always looks up.",
)


def crawl_options(command: console.Command) -> console.Command:
    """Add the options of a crawl: where to record, how fast to go, where, and whom to leave alone."""
    zone = click.option(
        "--zone",
        "zone_text",
        default="0",
        metavar="PREFIX",
        help="Only ids with one prefix: so many bits, drawn (8), or given in hex (0x5b).",
    )
    serve = click.option(
        "--serve",
        is_flag=True,
        help="Be a full node beside the crawl, which answers; the crawl itself stays read-only (ro),"
        " for its sockets answer nobody.",
    )
    return pace_options(command, zone, serve)


def pace_options(
    command: console.Command, *others: Callable[[console.Command], console.Command]
) -> console.Command:
    """Add options: where to record, how fast to go, whatever `others` add, and whom to leave alone."""
    options: list[Callable[[console.Command], console.Command]] = [
        DB_OPTION,
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
            type=console.Number(min=0, min_open=True),
            default=DEFAULTS.new_endpoints_rate,
            show_default=True,
            metavar="N",
            help="Endpoints never asked before, per second: spares the NAT tables of routers.",
        ),
        *others,
        click.option(
            "--exclude",
            type=click.File(),
            metavar="FILE",
            help="Networks, addresses and node ids to leave alone, one to a line; - is standard input.",
        ),
        click.option("--anonymize", is_flag=True, help="Write /24 and /48 instead of addresses of nodes."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_exclusion(file: TextIO | None) -> Exclusion:
    """Read the list that `--exclude` names, or none."""
    from crawler.core.exclusion import Exclusion

    if file is None:
        return Exclusion()
    try:
        return Exclusion.read(file.read().splitlines())
    except (OSError, ValueError) as error:  # a text that is no UTF-8 is a ValueError too
        raise click.UsageError(f"{file.name}: {error}") from error


def read_zone(text: str, random: Random) -> Zone:
    """Read what `--zone` says."""
    from crawler.zone import Zone

    try:
        return Zone.parse(text, random)
    except ValueError as error:
        reason = f"{text!r} is neither a number of bits nor a prefix as 0x5b"
        raise click.BadParameter(reason, param_hint="--zone") from error


async def with_limits(main: console.Main, timeout: float | None) -> bool:
    """Run until the end, a signal or the timeout; return whether the end came first."""
    import trio

    with trio.move_on_after(timeout or float("inf")) as limit:
        await cli.run_until_signal(main)
    return not limit.cancelled_caught
