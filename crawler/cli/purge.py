"""The command `dhtcrawl purge`: delete what is old, or what a request asks for."""

from __future__ import annotations

from pathlib import Path

import click

import crawler
from crawler.cli.options import db_option
from dhtnode import InfoHash
from dhtnode.cli import console

DAYS = console.Number(min=0, max=36_500)


@click.command()
@db_option("The SQLite database to delete from.", exists=True)
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
    "--vacuum", is_flag=True, help="Write the file again, so that nothing of what was deleted is left in it."
)
@click.option("--dry-run", "dry", is_flag=True, help="Only count what would go.")
@console.JSON_OPTION
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
    """Delete what is old or what a request asks for, and say how many rows went.

    All of it goes in one transaction, or nothing.
    """
    if not (vacuum or swarms or nodes) and older is None and filters_older is None:
        raise click.UsageError("say what to delete: --filters-older, --older, --swarm, --node or --vacuum")
    try:
        changed = crawler.purge(
            db, filters_older=filters_older, older=older, swarms=swarms, nodes=nodes, dry=dry
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--node") from error
    what = "to go" if dry else "deleted or emptied"
    rows = ", ".join(f"{count} in {table}" for table, count in changed.items()) or "none"
    console.emit(as_json, {"dry_run": dry, "rows": changed}, f"rows {what}: {rows}")
    if vacuum and not dry:
        crawler.vacuum(db)
