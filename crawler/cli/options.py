"""What the commands of the crawler share: their options, the errors in one line, and how a crawl runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import fields
from functools import partial, wraps
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import click

import crawler
import dhtnode
from crawler.settings import FRESH, CrawlOptions, CrawlSettings
from dhtnode import InfoHash, InvalidInfoHash, cli
from dhtnode.cli import console
from dhtnode.ranges import range_of

T = TypeVar("T")


def db_option(help_text: str, *, exists: bool = False, default: str | None = None) -> console.Decorator:
    """Return the option `--db`, which has to be given unless there is a default."""
    presence: dict[str, Any] = {"default": default, "show_default": True} if default else {"required": True}
    path = click.Path(exists=exists, dir_okay=False, path_type=Path)
    return click.option("--db", type=path, metavar="FILE", help=help_text, **presence)


def setting_option(
    kind: Any, flag: str, help_text: str, *, field: str | None = None, metavar: str | None = None
) -> console.Decorator:
    """Return the option for one field of a dataclass of settings, with its range and its default."""
    field = field or flag.removeprefix("--").replace("-", "_")
    number, (low, high, is_open) = range_of(kind, field)
    default = kind.__dataclass_fields__[field].default
    limits: Callable[..., click.ParamType[Any]] = click.IntRange if number is int else console.Number
    return click.option(
        flag,
        field,
        type=limits(low, None if high == inf else high, min_open=is_open),
        default=default,
        show_default=default is not None,
        metavar=metavar,
        help=help_text,
    )


DB_OPTION = db_option("The SQLite database to record in; made when it is not there.")
READ_OPTION = db_option("The SQLite database to read; it is not changed.", exists=True)
RUN_OPTION = click.option("--run", type=click.IntRange(1), metavar="N", help="Only what this run saw.")
SEED_OPTION = partial(click.option, "--seed", type=int, default=1, show_default=True)
FRESH_OPTION = click.option(
    "--fresh",
    type=console.Number(min=0),
    default=FRESH,
    show_default=True,
    metavar="SECONDS",
    help="Ask the nodes of a census that ended so long ago at most, without lookups; 0 always looks up.",
)


def at_once_option(most: int) -> console.Decorator:
    """Return the option for how many swarms are measured together."""
    help_text = "How many to measure at once; by default 4 with lookups, 200 without."
    return click.option("--at-once", type=click.IntRange(1, most), metavar="N", help=help_text)


def exclude_option(help_text: str) -> console.Decorator:
    """Return the option `--exclude`, to be read by `read_exclusion`."""
    return click.option("--exclude", type=console.ListFile(), metavar="FILE", help=help_text)


def read_exclusion(listed: console.ListedLines | None) -> list[str]:
    """Check the list that `--exclude` names, or none."""
    if listed is None:
        return []
    try:
        crawler.Exclusion.read(listed.lines)
    except ValueError as error:
        raise click.UsageError(f"{listed.name}: {error}") from error
    return listed.lines


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


# Each has the name of a field of `CrawlSettings`.
PACE_OPTIONS = (
    setting_option(
        CrawlSettings,
        "--rate",
        "Queries per second; 0 lifts this limit and most others, for a network of your own.",
        metavar="N",
    ),
    setting_option(
        CrawlSettings,
        "--max-new-endpoints",
        "Endpoints never asked before, per second: spares the NAT tables of routers.",
        field="new_endpoints_rate",
        metavar="N",
    ),
)

_AREA_OPTIONS = (
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

_LIMITING_OPTIONS = (
    exclude_option("Networks, addresses and node ids to leave alone, one to a line; - is standard input."),
    click.option(
        "--anonymize",
        is_flag=True,
        help="Write /24 and /48 instead of addresses of nodes, no ports, and pseudonyms instead of ids.",
    ),
)


def crawl_options(command: console.Command) -> console.Command:
    """Add the options of a crawl, of which a command gets a `CrawlOptions` as `crawl`.

    The bootstrap nodes are those of its `network_options`.
    """
    return _add(command, DB_OPTION, *PACE_OPTIONS, *_LIMITING_OPTIONS)


def crawl_options_with_area(command: console.Command) -> console.Command:
    """Add the options of a crawl, and where to go and whether to serve beside it."""
    return _add(command, DB_OPTION, *PACE_OPTIONS, *_AREA_OPTIONS, *_LIMITING_OPTIONS)


def _add(command: console.Command, *options: console.Decorator) -> console.Command:
    @wraps(command)
    def call(*, db: Path, exclude: console.ListedLines | None, anonymize: bool, **others: Any) -> None:
        pace = {field.name: others.pop(field.name) for field in fields(CrawlSettings) if field.name in others}
        crawl = CrawlOptions(
            db,
            CrawlSettings(**pace),
            exclude=read_exclusion(exclude),
            anonymize=anonymize,
            bootstrap=others["bootstrap"],
            listen=others["listen"],
            shows_progress=True,
        )
        command(crawl=crawl, **others)

    return console.add_options(*options)(call)


def read_swarm_list(listed: console.ListedLines) -> Iterator[console.SwarmArgument]:
    """Yield the swarms of a file; blank lines and those that begin with # are skipped."""
    for number, line in enumerate(listed.lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield console.linked_swarm(line)
            except InvalidInfoHash as error:
                raise click.UsageError(f"{listed.name}, line {number}: {error}") from error


def info_hashes_of(swarms: Iterable[console.SwarmArgument]) -> list[InfoHash]:
    """Return the info-hashes of these swarms, each once; of hybrid torrents, both."""
    both = (info_hash for swarm in swarms for info_hash in (swarm.info_hash, swarm.twin))
    return list(dict.fromkeys(info_hash for info_hash in both if info_hash is not None))


def hybrids_of(swarms: Iterable[console.SwarmArgument]) -> list[crawler.HybridTorrent]:
    """Return the hybrid torrents among these, and whether their versions name the same files."""
    found = []
    for swarm in swarms:
        if swarm.twin is not None:
            is_file = console.is_torrent_file(swarm.text)
            marks = dhtnode.read_details(swarm.text).marks if is_file else ()
            is_consistent = "inconsistent-hybrid" not in marks if is_file else None
            source = "file" if is_file else "magnet"
            found.append(crawler.HybridTorrent(swarm.info_hash, swarm.twin, source, is_consistent))
    return found


def torrent_nodes_of(swarms: Iterable[console.SwarmArgument]) -> list[str]:
    """Return the bootstrap nodes that their torrent files list."""
    return [host for swarm in swarms for host in swarm.nodes]


def run_crawl(crawl: Callable[[], Awaitable[T]], timeout: float | None) -> T | None:
    """Run a crawl and return its result, or None when the timeout came first; signals end the command."""
    results: list[T] = []

    async def keep_result() -> None:
        results.append(await crawl())

    async def limited() -> None:
        await cli.run_with_timeout(partial(cli.run_until_signal, keep_result), timeout)

    cli.run(limited, crawler.DatabaseError)
    return results[0] if results else None


def print_measured(as_json: bool, measured: dhtnode.SwarmMeasurement) -> None:
    """Print the size of one swarm."""
    console.emit(as_json, console.scrape_record(measured), "" if as_json else console.scrape_text(measured))
