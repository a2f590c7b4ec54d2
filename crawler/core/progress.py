"""Shows on a terminal, or in a log file, how far long work has come: on stderr, never stdout."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from dhtnode.lines import giving_way, say
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
    status = _StatusLine()
    with giving_way(status.hide):
        while True:
            status.show(describe())
            await trio.sleep(TERMINAL_PERIOD)


class _StatusLine:
    """What a terminal shows of work under way, below all lines that are printed meanwhile."""

    def __init__(self) -> None:
        # Half as long to import as Trio, for those few who see it.
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")
        # It takes no stream over: what is printed on stdout may go to a file.
        self._new_live = partial(
            Live,
            self._spinner,
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live: Live | None = None

    def show(self, text: str) -> None:
        from rich.text import Text

        self._spinner.update(text=Text(text))
        if self._live is None:
            # One that was stopped still counts the lines that it had drawn, and would erase others.
            self._live = self._new_live()
            self._live.start()
        self._live.refresh()

    def hide(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


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
