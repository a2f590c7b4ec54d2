"""The command `dhtcrawl explain`: how the number of one sample came about."""

from __future__ import annotations

from pathlib import Path

import click

import crawler
from crawler import reports
from crawler.cli.options import db_option
from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash
from dhtnode.cli import console

MAX_DIGITS = 18  # of the number of a sample; an info-hash has 40


@click.command()
@db_option("The SQLite database that holds the sample.", exists=True)
@click.argument("sample", metavar="SAMPLE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def explain(db: Path, sample: str, as_json: bool) -> None:
    """Say who was asked for a sample, who said what, what was left out, and how the number came about.

    SAMPLE is the number of a sample, or an info-hash for its latest one.  The number is computed again
    from what was kept; the exit status is 1 when that comes to anything else.
    """
    found = crawler.explain(_measurement(sample), db=db)
    if found is None:
        raise click.ClickException(f"{db} has no sample {sample}")
    texts = reports.explain
    console.emit(as_json, texts.explanation_record(found), *texts.explanation_lines(found))
    if found.differences:
        raise click.ClickException(
            f"sample {found.sample['id']}: computed again it differs in {', '.join(found.differences)}"
        )


def _measurement(text: str) -> int | InfoHash:
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)
    try:
        return parse_info_hash(text)
    except InvalidInfoHash as error:
        raise click.BadParameter(str(error), param_hint="SAMPLE") from error
