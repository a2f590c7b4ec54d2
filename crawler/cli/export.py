"""The command `dhtcrawl export`: a database as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import crawler
from crawler.cli.options import READ_OPTION, RUN_OPTION
from dhtnode.cli import console

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
@console.JSON_OPTION
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

    form: Literal["parquet", "csv", "csv.gz"] = "parquet" if parquet else "csv.gz" if gzip else "csv"
    for done in crawler.export(folder, db=db, form=form, anonymize=anonymize, run=run):
        record = {"file": done.file, "table": done.table, "rows": done.rows}
        console.emit(as_json, record, f"{done.rows:12,} rows  {done.file}")
