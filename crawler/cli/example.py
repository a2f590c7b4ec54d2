"""The command `dhtcrawl example`: a database to look at, of a network that was made up."""

from __future__ import annotations

from pathlib import Path

import click

import crawler.demo
from crawler.cli.options import SEED_OPTION, db_option
from dhtnode.cli import console


@click.command()
@db_option("The SQLite database to make; nothing that is there is replaced.", default="example.db")
@SEED_OPTION(help="Same seed, same network.")
@console.JSON_OPTION
def example(db: Path, seed: int, as_json: bool) -> None:
    """Make a database of one day of a small network that was made up, for the notebooks.

    Nothing is sent: the day passes in virtual time, in some ten seconds.  The truth about the network is
    written beside the database.
    """
    crawler.demo.make_example(db, seed)
    truth = crawler.demo.truth_of(db)
    console.emit(as_json, {"database": str(db), "truth": str(truth)}, f"{db}, and the truth in {truth}")
