"""Shows on a terminal, or in a log file, how far long work has come: on stderr, never stdout."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from dhtnode.lines import say
from dhtnode.nurseries import open_service_nursery

TERMINAL_PERIOD = 0.25  # seconds between two drawings on a terminal
LINE_PERIOD = 10.0  # seconds between two plain lines elsewhere


async def show_progress(describe: Callable[[], str]) -> None:
    """Show what `describe` returns until cancelled.

    On a terminal it is one line that changes; elsewhere a plain line every 10 seconds.
    """
    if not sys.stderr.isatty():
        while True:
            await trio.sleep(LINE_PERIOD)
            say(*describe().split("\n"))
    # Half as long to import as Trio, for those few who see it.
    from rich.console import Console

    with Console(stderr=True).status(describe()) as status:
        while True:
            await trio.sleep(TERMINAL_PERIOD)
            status.update(describe())


@asynccontextmanager
async def shown_progress(describe: Callable[[], str], *, shows: bool) -> AsyncIterator[None]:
    """Show progress for as long as the block lasts, or not."""
    async with open_service_nursery() as nursery:
        if shows:
            nursery.start_soon(show_progress, describe)
        yield


def timed(doing: str) -> Callable[[], str]:
    """Return what describes work that has no counts: what it is, and how long it has taken from now."""
    started_at = trio.current_time()
    return lambda: f"{doing}, {trio.current_time() - started_at:.0f} s so far"
