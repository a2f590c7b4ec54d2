"""The command `dhtcrawl merge`: what several machines have recorded, in one database."""

from __future__ import annotations

from pathlib import Path

import click

import crawler
from dhtnode.cli import console

MAX_WINDOW = 86_400  # seconds


@click.command()
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE..."
)
@click.option(
    "--into",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The database to merge into; made when it is not there.",
)
@click.option(
    "--window",
    type=click.IntRange(1, MAX_WINDOW),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Samples of one swarm from the same window of time are combined.",
)
@console.JSON_OPTION
def merge(sources: tuple[Path, ...], into: Path, window: int, as_json: bool) -> None:
    """Merge the databases of several machines or vantage points into one.

    The sources are only read.  Merging the same database again adds what has been recorded since.
    """
    result = crawler.merge(into, sources, window)
    for source in result.sources:
        console.emit(as_json, _record(source), _text(source))
    plural = "" if result.combined == 1 else "s"
    console.emit(
        as_json,
        {"into": str(into), "combined_samples": result.combined},
        f"{into}: {result.combined} combined sample{plural} computed",
    )


def _record(source: crawler.MergedSource) -> dict[str, object]:
    return {
        "source": str(source.path),
        "vantage": source.identity,
        "new_runs": source.new_runs,
        "renewed_runs": source.renewed_runs,
        "known_runs": source.known_runs,
        "rows": dict(source.rows),
    }


def _text(source: crawler.MergedSource) -> str:
    runs = f"{source.new_runs} runs new, {source.renewed_runs} gone on, {source.known_runs} known"
    rows = ", ".join(f"{count} {table}" for table, count in source.rows.items() if count)
    return f"{source.path} (vantage {source.identity[:8]}): {runs}" + (f"; {rows}" if rows else "")
