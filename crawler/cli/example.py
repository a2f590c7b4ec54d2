"""The command `dhtcrawl example`: a database to look at, of a network that was made up."""

from __future__ import annotations

from pathlib import Path

import click

import crawler
import crawler.demo
import crawler.synthetic
from dhtnode.cli import console


@click.command()
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    default="example.db",
    show_default=True,
    metavar="FILE",
    help="The SQLite database to make; nothing that is there is replaced.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same network.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
def example(db: Path, seed: int, as_json: bool) -> None:
    """Make a database of one day of a small network that was made up, for the notebooks.

    Nothing is sent: the day passes in virtual time, in some ten seconds.  The truth about the network is
    written beside the database.
    """
    try:
        crawler.demo.make_example(db, seed)
    except (crawler.DatabaseError, crawler.synthetic.TruthError) as error:
        raise click.ClickException(str(error)) from error
    truth = crawler.demo.truth_of(db)
    console.emit(as_json, {"database": str(db), "truth": str(truth)}, f"{db}, and the truth in {truth}")
