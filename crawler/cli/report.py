"""The command `dhtcrawl report`: named questions to a database, answered as text or data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

import crawler
from crawler import reports
from crawler.cli.options import READ_OPTION, RUN_OPTION
from dhtnode.cli import console, streams


def _print_list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the names of all reports, and leave."""
    if not wanted or context.resilient_parsing:
        return
    for each in crawler.REPORTS.values():
        name = f"{each.name} {each.needs.upper().replace('_', '')}".rstrip()
        streams.print_lines(f"{name:16} {each.about}")
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
    if name is None and form == "csv":
        raise click.UsageError("--csv prints one table: name a report, as --list does")
    bounds = {key: value for key, value in {"run": run, "limit": limit}.items() if value}
    try:
        if name is None:
            answers = crawler.report_summary(db=db, **bounds)
        else:
            answers = [crawler.report(name, info_hash.hex() if info_hash else None, db=db, **bounds)]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _print(answers, form, is_summary=name is None)


def _print(answers: Sequence[crawler.ReportAnswer], form: str | None, *, is_summary: bool) -> None:
    render = reports.render
    if form == "json":
        for each in answers:
            if each.rows:
                streams.print_lines(*render.json_lines(each, named=is_summary).split("\n"))
        return
    if not answers:
        streams.print_lines(render.NOTHING)
    write = {"csv": render.csv_text, "markdown": render.markdown}.get(form or "", render.plain)
    for number, each in enumerate(answers):
        if number:
            streams.print_lines("")
        if form is None and sys.stdout.isatty():
            render.draw(each)
        else:
            streams.print_lines(*write(each).split("\n"))
