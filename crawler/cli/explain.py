"""The command `dhtcrawl explain`: how the number of one sample came about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhtnode import InvalidInfoHash, parse_info_hash
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.db.database import CrawlDatabase

MAX_DIGITS = 18  # of the number of a sample; an info-hash has 40


@click.command()
@click.option(
    "--db",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database that holds the sample.",
)
@click.argument("sample", metavar="SAMPLE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def explain(db: Path, sample: str, as_json: bool) -> None:
    """Say who was asked for a sample, who said what, what was left out, and how the number came about.

    SAMPLE is the number of a sample, or an info-hash for its latest one.  The number is computed again
    from what was kept; the exit status is 1 when that comes to anything else.
    """
    find = _finder(sample)

    from crawler.db.database import CrawlDatabase, DatabaseError
    from crawler.reports.explain import explain_sample, explanation_record, explanation_text

    try:
        with CrawlDatabase.open(db) as store:
            found = explain_sample(store, find)
    except DatabaseError as error:
        raise click.ClickException(str(error)) from error
    if found is None:
        raise click.ClickException(f"{db} has no sample {sample}")
    console.emit(as_json, explanation_record(found), explanation_text(found))
    if found.differences:
        raise click.ClickException(
            f"sample {found.sample['id']}: computed again it differs in {', '.join(found.differences)}"
        )


def _finder(text: str) -> Callable[[CrawlDatabase], dict[str, Any] | None]:
    """Return what finds the sample that somebody asked for."""
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        number = int(text)
        return lambda store: store.swarms.sample(number)
    try:
        info_hash = parse_info_hash(text)
    except InvalidInfoHash as error:
        raise click.BadParameter(str(error), param_hint="SAMPLE") from error
    return lambda store: store.swarms.latest_sample(info_hash)
