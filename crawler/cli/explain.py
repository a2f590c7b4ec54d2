"""The command `dhtcrawl explain`: how the number of one sample, or the sizes of a census, came about."""

from __future__ import annotations

from pathlib import Path

import click

import crawler
import crawler.crawl
from crawler import reports
from crawler.cli.options import db_option
from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash
from dhtnode.cli import console

MAX_DIGITS = 18  # of the number of a sample; an info-hash has 40
MOST = 2**63 - 1  # runs


@click.command()
@db_option("The SQLite database that holds the sample.", exists=True)
@click.argument("sample", metavar="[SAMPLE]", required=False)
@click.option(
    "--census", type=click.IntRange(1, MOST), metavar="RUN", help="Explain the sizes of this census."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def explain(db: Path, sample: str | None, census: int | None, as_json: bool) -> None:
    """Say who was asked for a sample, who said what, what was left out, and how the number came about.

    SAMPLE is the number of a sample, or an info-hash for its latest one.  With --census, the sizes of a
    census are explained step by step instead, from its visits.  All numbers are computed again from what was
    kept; the exit status is 1 when that comes to anything else.
    """
    if (sample is None) == (census is None):
        raise click.UsageError("give either a SAMPLE or --census RUN")
    if census is not None:
        _explain_census(db, census, as_json=as_json)
    elif sample is not None:
        _explain_sample(db, sample, as_json=as_json)


def _explain_census(db: Path, run: int, *, as_json: bool) -> None:
    found = crawler.explain_census(run, db=db)
    if found is None:
        raise click.ClickException(f"{db} has no census {run}")
    texts = crawler.crawl.explanation_text
    console.emit(as_json, texts.explanation_record(found), *texts.explanation_lines(found))
    if found.differences:
        raise click.ClickException(
            f"census {run}: counted again it differs in {', '.join(found.differences)}"
        )


def _explain_sample(db: Path, sample: str, *, as_json: bool) -> None:
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
