"""Serve a site on loopback until a signal ends it, or open each of its pages once."""

import asyncio
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import uvicorn

from crawler.browse.site import close_site, make_site, page_paths

LOOPBACK = "127.0.0.1"
PATIENCE = 2  # seconds that requests under way get when a signal has come


class PortTaken(Exception):
    """The reason why the port cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The status of a page that was opened, and how long it took."""

    path: str
    status: int
    seconds: float


class _Server(uvicorn.Server):
    """A server that leaves signals to us, and calls `announce` when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The status of a command that a signal has ended is ours to give.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


def serve(path: Path, port: int, announce: Callable[[str], None]) -> Signals | None:
    """Serve a database on loopback; call `announce` with the address once it listens.

    Port 0 stands for any that is free.  Returns the signal that ended it.  Raises `PortTaken`, and
    `DatabaseError` if it is no crawl database of this version.
    """
    site = make_site(path)
    try:
        with _listening(port) as listener:
            address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
            return asyncio.run(_serve(site.app(), listener, lambda: announce(address)))
    finally:
        close_site(site)


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except OSError as error:
            raise PortTaken(f"cannot listen on {LOOPBACK}:{port}: {error.strerror}") from error
        yield listener


async def _serve(app: Any, listener: socket.socket, announce: Callable[[], None]) -> Signals | None:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=PATIENCE, ws="none"
    )
    server = _Server(config, announce)
    came: list[Signals] = []

    def stop(number: Signals) -> None:
        came.append(number)
        server.should_exit = True

    for number in (SIGINT, SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    with warnings.catch_warnings():
        # Datasette leaves such behind when a query of a page fails; what failed is told already.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        await server.serve([listener])
    return came[0] if came else None


def open_all(path: Path, opened: Callable[[Opened], None]) -> None:
    """Open each page once, without a server, and call `opened` for each.  Raises `DatabaseError`."""
    site = make_site(path)
    try:
        asyncio.run(_open_all(site, list(page_paths(path)), opened))
    finally:
        close_site(site)


async def _open_all(site: Any, paths: list[str], opened: Callable[[Opened], None]) -> None:
    await site.invoke_startup()
    for path in paths:
        began = time.perf_counter()
        response = await site.client.get(path, follow_redirects=True)
        opened(Opened(path, response.status_code, time.perf_counter() - began))
