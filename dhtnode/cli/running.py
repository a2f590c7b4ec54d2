"""How a command runs: under Trio, until it ends, is interrupted or told to stop.

Only a command that begins its work imports this; reading a command line takes no Trio.
"""

import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from math import inf
from typing import TypeVar

import click
import trio

from dhtnode.cli.captures import CaptureOptions, capture_options
from dhtnode.cli.console import Main, Stopped
from dhtnode.cli.streams import reason_of
from dhtnode.daemon.signals import catching_signals
from dhtnode.errors import DhtError
from dhtnode.net import NodeClock
from dhtnode.nurseries import open_service_nursery
from dhtnode.pcap.capture import capture

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], *expected: type[Exception]) -> T:
    """Run a command to its end; what the network or the system refused becomes one line and status 1.

    `expected` names exceptions that count as such besides `DhtError`.
    """
    refusals: tuple[type[Exception], ...] = (DhtError, *expected)
    captured = capture_options()
    try:
        return trio.run(_until_interrupted, main, captured, clock=NodeClock())
    except refusals as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except BaseExceptionGroup as group:
        if group.subgroup((KeyboardInterrupt, click.Abort)):
            raise click.Abort from group
        if gone := group.subgroup(BrokenPipeError):
            raise _leaves(gone)[0] from group
        if (reason := reason_of(group, refusals)) is None:
            raise
        raise click.ClickException(reason) from group


async def _until_interrupted(main: Callable[[], Awaitable[T]], captured: CaptureOptions | None) -> T:
    """Run `main`, captured if wished; when an interrupt comes first, cancel it and raise `click.Abort`."""
    # Without a receiver, Trio raises KeyboardInterrupt wherever the program happens to be, and where
    # that is the starting of a task it breaks Trio itself.
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with open_service_nursery() as nursery:

            async def watch() -> None:
                await anext(aiter(interrupts))
                raise click.Abort

            nursery.start_soon(watch, name="watch for an interrupt")
            with capture(captured.path, limit=captured.limit) if captured else nullcontext():
                return await main()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions of a group and of the groups inside it."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


async def run_with_timeout(main: Main, timeout: float | None) -> bool:
    """Run `main`, for so many seconds at most if it is limited; return whether it came to its end."""
    with trio.move_on_after(inf if timeout is None else timeout) as limit:
        await main()
    return not limit.cancelled_caught


async def run_until_signal(main: Main) -> None:
    """Run `main` until it ends; raise `Stopped` when a signal stops it."""
    number: int | None = None
    with catching_signals() as next_signal:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal number
                number = await next_signal()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch, name="watch for signals")
            await main()
            nursery.cancel_scope.cancel()
    if number is not None:
        raise Stopped(number)


async def serve_until_stopped(
    announce: Callable[[], None], timeout: float | None, *, stops_with_input: bool = False
) -> None:
    """Catch signals, call `announce`, then wait for a signal or the timeout.

    With `stops_with_input`, the end of a pipe on standard input ends the wait too.
    """
    with catching_signals() as next_signal:
        announce()
        with trio.move_on_after(inf if timeout is None else timeout):
            async with trio.open_nursery() as nursery:
                if stops_with_input:
                    nursery.start_soon(_cancel_at_end_of_input, nursery.cancel_scope)
                await next_signal()
                nursery.cancel_scope.cancel()


async def _cancel_at_end_of_input(scope: trio.CancelScope) -> None:
    if sys.stdin is None:
        return
    number = sys.stdin.fileno()
    mode = os.fstat(number).st_mode
    # Only pipes and sockets are watched: a job in the background has /dev/null there, or a terminal
    # that would stop it for reading.
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        while True:
            await trio.lowlevel.wait_readable(number)
            if not os.read(number, 4096):
                scope.cancel()
                return
