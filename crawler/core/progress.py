"""Tell somebody at a terminal, or a log file, how far long work has come: on stderr, never stdout."""

import sys
from collections.abc import Callable

import click
import trio
from rich.console import Console

TERMINAL_PERIOD = 0.25  # seconds between two drawings on a terminal
LINE_PERIOD = 10.0  # seconds between two plain lines elsewhere


async def show_progress(describe: Callable[[], str]) -> None:
    """Show what `describe` returns until cancelled.

    On a terminal it is one line that changes; elsewhere a plain line every 10 seconds.
    """
    if not sys.stderr.isatty():
        while True:
            await trio.sleep(LINE_PERIOD)
            click.echo(describe(), err=True)
    with Console(stderr=True).status(describe()) as status:
        while True:
            await trio.sleep(TERMINAL_PERIOD)
            status.update(describe())
