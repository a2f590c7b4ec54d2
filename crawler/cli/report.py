"""The command `dhtcrawl report`: named questions to a database, answered as text or data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhtnode.cli import console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from sqlite3 import Connection

    from crawler.reports import Report

READ_OPTION = click.option(
    "--db",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to read; it is not changed.",
)

RUN_OPTION = click.option("--run", type=click.IntRange(1), metavar="N", help="Only what this run saw.")


def _print_list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the names of all reports, and leave."""
    if not wanted or context.resilient_parsing:
        return

    from crawler.reports import QUESTIONS, swarm

    asked = QUESTIONS | {"swarm INFOHASH": swarm}
    for name, question in asked.items():
        click.echo(f"{name:16} {str(question.__doc__).splitlines()[0]}")
    context.exit()


@click.command()
@click.argument("name", required=False)
@click.argument("info_hash", required=False, type=console.info_hash, metavar="[INFOHASH]")
@READ_OPTION
@click.option("--csv", "form", flag_value="csv", help="Print the rows as CSV.")
@click.option("--json", "form", flag_value="json", help="One JSON object per line on stdout.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@RUN_OPTION
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Rows of each table; default 20, and 5 in the summary.",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_print_list, help="Name all reports."
)
def report(
    name: str | None,
    info_hash: bytes | None,
    db: Path,
    form: str | None,
    run: int | None,
    limit: int | None,
) -> None:
    """Answer a question from a database, named by NAME; without one, print a summary.

    The database may be in use by a crawl.  `report swarm INFOHASH` tells the history of a swarm.
    """
    _check(name, info_hash, form)

    from crawler.db.database import DatabaseError
    from crawler.reports import NoAnswer, open_reading

    try:
        with open_reading(db) as connection:
            bounds = {key: value for key, value in {"run": run, "limit": limit}.items() if value}
            reports = list(_ask(connection, name, info_hash, bounds))
    except (DatabaseError, NoAnswer) as error:
        raise click.ClickException(str(error)) from error
    _print(reports, form, is_summary=name is None)


def _check(name: str | None, info_hash: bytes | None, form: str | None) -> None:
    """Raise `UsageError` unless the arguments go together."""
    from crawler.reports import QUESTIONS

    if name is None and form == "csv":
        raise click.UsageError("--csv prints one table: name a report, as --list does")
    if name is not None and name != "swarm" and name not in QUESTIONS:
        raise click.UsageError(f"there is no report {name!r}: --list names them all")
    if name == "swarm" and info_hash is None:
        raise click.UsageError("say which swarm, by its info-hash")
    if name != "swarm" and info_hash is not None:
        raise click.UsageError(f"the report {name!r} takes no info-hash")


def _ask(
    db: Connection, name: str | None, info_hash: bytes | None, bounds: dict[str, int]
) -> Iterator[Report]:
    from crawler.reports import QUESTIONS, summary, swarm

    if name is None:
        yield from summary(db, **bounds)
    elif info_hash is not None:
        yield swarm(db, info_hash=info_hash.hex(), **bounds)
    else:
        yield QUESTIONS[name](db, **bounds)


def _print(reports: list[Report], form: str | None, *, is_summary: bool) -> None:
    from crawler.reports import render

    if form == "json":
        for each in reports:
            if each.rows:
                click.echo(render.json_lines(each, named=is_summary))
        return
    if not reports:
        click.echo(render.NOTHING)
    for number, each in enumerate(reports):
        if number:
            click.echo()
        if form == "csv":
            click.echo(render.csv_text(each))
        elif form == "markdown":
            click.echo(render.markdown(each))
        elif sys.stdout.isatty():
            from rich.console import Console

            render.draw(each, Console())
        else:
            click.echo(render.plain(each))
