"""The command `dhtcrawl browse`: a database in the browser, with texts, questions and plots."""

from __future__ import annotations

from pathlib import Path

import click

import crawler.browse
from crawler.cli.options import READ_OPTION
from dhtnode.cli import console
from dhtnode.lines import say

PORT = 8001
SLOW = 2.0  # seconds for a page


@click.command()
@READ_OPTION
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="The port of 127.0.0.1 to serve on; 0 for any that is free.",
)
@click.option("--open", "in_browser", is_flag=True, help="Open a web browser there.")
@click.option(
    "--check",
    is_flag=True,
    help="Open each page once, say how long it took, and end: status 1 if one fails or takes longer than"
    f" {SLOW:g} s.",
)
@console.JSON_OPTION
def browse(db: Path, port: int, in_browser: bool, check: bool, as_json: bool) -> None:
    """Serve a database to browsers on this machine until SIGINT or SIGTERM.

    Needs Datasette: pip install 'dhtnode[browse]'.  A crawl may write to the database meanwhile.
    """
    try:
        if check:
            _check(db, as_json)
        else:
            _serve(db, port, in_browser, as_json)
    except ImportError as error:
        # An error in an import of ours stays one.
        if str(error.name).partition(".")[0] not in ("datasette", "uvicorn", "markupsafe"):
            raise
        raise click.ClickException("browsing needs Datasette: pip install 'dhtnode[browse]'") from error


def _serve(db: Path, port: int, in_browser: bool, as_json: bool) -> None:
    def announce(address: str) -> None:
        console.emit(as_json, {"address": address}, f"serving {db} on {address}")
        if in_browser and not _opens(address):
            say("dhtcrawl: found no web browser to open")

    try:
        number = crawler.browse.serve(db, port, announce)
    except crawler.browse.PortTaken as error:
        raise click.ClickException(str(error)) from error
    if number is not None:
        raise console.Stopped(number)


def _check(db: Path, as_json: bool) -> None:
    wrong = []

    def show(opened: crawler.browse.Opened) -> None:
        is_wrong = opened.status != 200 or opened.seconds > SLOW
        wrong.extend([opened.path] * is_wrong)
        record = {"page": opened.path, "status": opened.status, "seconds": round(opened.seconds, 3)}
        note = "  !" if is_wrong else ""
        console.emit(as_json, record, f"{opened.seconds:6.2f} s  {opened.status}  {opened.path}{note}")

    crawler.browse.open_all(db, show)
    if wrong:
        raise click.ClickException(f"{len(wrong)} pages failed or took longer than {SLOW:g} s")


def _opens(address: str) -> bool:
    # Not above: it takes as long as all other commands together, and the list of commands imports this.
    import webbrowser

    return webbrowser.open(address)
