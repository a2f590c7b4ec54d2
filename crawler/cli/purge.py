"""The command `dhtcrawl purge`: delete what is old, or what somebody asks to have deleted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhtnode import InfoHash
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.db.database import CrawlDatabase
    from crawler.db.purge import Orders

BUSY_TIMEOUT = 60.0  # seconds; a crawl that writes lets others in between its batches
DAYS = console.Number(min=0, max=36_500)


@click.command()
@click.option(
    "--db",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to delete from.",
)
@click.option(
    "--filters-older",
    type=DAYS,
    metavar="DAYS",
    help="Delete the raw filters of older samples; their numbers stay.",
)
@click.option(
    "--older", type=DAYS, metavar="DAYS", help="Delete whole runs that ended longer ago, with all they wrote."
)
@click.option(
    "--swarm",
    "swarms",
    type=console.info_hash,
    multiple=True,
    metavar="INFOHASH",
    help="Delete all of a swarm; may be repeated.",
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NODE",
    help="Delete all of the nodes with an address, in a network, or with an id; may be repeated.",
)
@click.option(
    "--vacuum", is_flag=True, help="Write the file anew, so that nothing of what was deleted is left in it."
)
@click.option("--dry-run", "dry", is_flag=True, help="Only count what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
def purge(
    db: Path,
    filters_older: float | None,
    older: float | None,
    swarms: tuple[InfoHash, ...],
    nodes: tuple[str, ...],
    vacuum: bool,
    dry: bool,
    as_json: bool,
) -> None:
    """Delete what is old or what somebody asks to have deleted, and say how many rows went.

    All of it goes in one transaction, or nothing.
    """
    from crawler.db.database import CrawlDatabase, DatabaseError

    orders = _orders(filters_older, older, swarms, nodes)
    if not (vacuum or swarms or nodes) and older is None and filters_older is None:
        raise click.UsageError("say what to delete: --filters-older, --older, --swarm, --node or --vacuum")
    try:
        with CrawlDatabase.open(db, busy_timeout=BUSY_TIMEOUT) as store:
            changed = store.purge.run(orders, time.time(), dry=dry)
            _print(changed, dry, as_json)
            if vacuum and not dry:
                _compact(store, db)
    except DatabaseError as error:
        raise click.ClickException(str(error)) from error


def _orders(
    filters_older: float | None, older: float | None, swarms: tuple[InfoHash, ...], nodes: tuple[str, ...]
) -> Orders:
    from crawler.db.purge import Orders, parse_node

    try:
        parsed = [parse_node(node) for node in nodes]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--node") from error
    return Orders(
        filters_older,
        older,
        swarms,
        tuple(each for each in parsed if not isinstance(each, bytes)),
        tuple(each for each in parsed if isinstance(each, bytes)),
    )


def _compact(store: CrawlDatabase, db: Path) -> None:
    if not store.purge.compact():
        raise click.ClickException(
            f"{db}: another process reads it, so traces may be left in {db.name}-wal; run it again later"
        )


def _print(changed: dict[str, int], dry: bool, as_json: bool) -> None:
    what = "to go" if dry else "deleted or emptied"
    rows = ", ".join(f"{count} in {table}" for table, count in changed.items()) or "none"
    console.emit(as_json, {"dry_run": dry, "rows": changed}, f"rows {what}: {rows}")
