"""The command `dhtcrawl export`: a database as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.report import READ_OPTION, RUN_OPTION
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.reports.files import Form

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@READ_OPTION
@click.option("--parquet", type=FOLDER, metavar="DIR", help="Write Parquet files into this folder.")
@click.option("--csv", type=FOLDER, metavar="DIR", help="Write CSV files into this folder.")
@click.option("--gzip", is_flag=True, help="Compress the CSV files.")
@click.option(
    "--anonymize",
    is_flag=True,
    help="Write /24 and /48 instead of addresses of nodes, pseudonyms instead of ids, no ports, and nothing"
    " about groups of fewer than 10 nodes.",
)
@RUN_OPTION
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
def export(
    db: Path,
    parquet: Path | None,
    csv: Path | None,
    gzip: bool,
    anonymize: bool,
    run: int | None,
    as_json: bool,
) -> None:
    """Write the tables and views of a database as files, with a schema.json that explains each column.

    Raw filters and other data of peers are never written, and files that are there already never
    overwritten.  With --run, tables whose rows belong to no run, as those of nodes and swarms, are left out.
    """
    folder = parquet or csv
    if folder is None or (parquet and csv):
        raise click.UsageError("give one of --parquet DIR and --csv DIR")
    if gzip and parquet:
        raise click.UsageError("--gzip is for CSV; Parquet files are compressed anyway")

    import secrets

    from crawler.db.connection import open_reading
    from crawler.db.database import DatabaseError
    from crawler.reports import NoAnswer
    from crawler.reports.export import ExportError, export_tables
    from crawler.reports.files import NoParquet

    key = secrets.token_bytes(32) if anonymize else None
    try:
        form = _form(parquet is not None, gzip)
        with open_reading(db) as connection:
            for done in export_tables(connection, folder, form, run=run, key=key):
                record: dict[str, object] = {"file": done.file, "table": done.table, "rows": done.rows}
                console.emit(as_json, record, f"{done.rows:12,} rows  {done.file}")
    except (DatabaseError, NoAnswer, ExportError, NoParquet) as error:
        raise click.ClickException(str(error)) from error


def _form(is_parquet: bool, is_compressed: bool) -> Form:
    from crawler.reports import files

    if is_parquet:
        return files.parquet()
    return files.CSV_GZIP if is_compressed else files.CSV
