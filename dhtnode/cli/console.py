"""What the commands `dhtnode` and `dhtcrawl` share: kinds of arguments, options, printing, endings.

With `--json` each result is one JSON object per line on stdout and nothing else is there; logs and
progress go to stderr.  Exit status: 0 done, 1 the network or the data said no, 2 the command line
was wrong.

Trio, and all of this package that needs it, is imported where it is used: what only reads the
command line, as `--help` does, shall not wait for it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import click

from dhtnode.addresses import Address, parse_address, split_host_port
from dhtnode.errors import DhtError, InvalidInfoHash, InvalidTorrent, PrivateTorrent
from dhtnode.ids import ID_BYTES, InfoHash, NodeId
from dhtnode.magnet import parse_info_hash
from dhtnode.process import LOG_LINE, catching_signals

if TYPE_CHECKING:
    from dhtnode.api.results import Scrape

T = TypeVar("T")
Command = Callable[..., Any]
Main = Callable[[], Awaitable[None]]


class OneLineGroup(click.Group):
    """Be a command whose every failure is one line on stderr, whatever click would print."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and exit."""
        try:
            status = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            click.echo(f"{self.name}: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo(f"{self.name}: interrupted", err=True)
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # Whoever read our output has gone; so that Python does not complain at exit either:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt, even of what it imports first, is one line too."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # click would add an empty line
            raise click.Abort from error


def info_hash(text: str) -> InfoHash:
    """Read an info-hash (hex, base32, magnet link) from the command line."""
    try:
        return parse_info_hash(text)
    except InvalidInfoHash as error:
        raise click.BadParameter(str(error)) from error


class SwarmArgument(NamedTuple):
    """Name a swarm, with the ways into the DHT that its torrent file holds, if it was given by one."""

    info_hash: InfoHash
    ways_in: tuple[str, ...] = ()


def swarm(text: str) -> SwarmArgument:
    """Read an info-hash (hex, base32, magnet link) or the path of a torrent file from the command line.

    A private torrent (BEP 27) ends the command here, with status 1: before a node is opened.
    """
    try:
        return SwarmArgument(info_hash(text))
    except click.BadParameter:
        is_path = text.lower().endswith(".torrent") or os.path.exists(text)  # noqa: PTH110  never raises
        if text[:7].lower() == "magnet:" or not is_path:
            raise
    return _swarm_in(Path(text))


def _swarm_in(path: Path) -> SwarmArgument:
    from dhtnode.metainfo import MAX_BYTES, parse_metainfo, public_info_hash

    try:
        with path.open("rb") as file:
            metainfo = parse_metainfo(file.read(MAX_BYTES + 1))
        return SwarmArgument(public_info_hash(metainfo), metainfo.nodes)
    except OSError as error:
        raise click.BadParameter(f"cannot read {path}: {error.strerror}") from error
    except InvalidTorrent as error:
        raise click.BadParameter(f"{path} is no torrent file: {error}") from error
    except PrivateTorrent as error:
        raise click.ClickException(f"{path}: {error}") from error


def node_id(text: str) -> NodeId:
    """Read a node id of 40 hex digits from the command line."""
    try:
        read = bytes.fromhex(text)
    except ValueError:
        read = b""
    if len(read) != ID_BYTES:
        raise click.BadParameter(f"{text!r} is not an id of 40 hex digits")
    return NodeId(read)


def host_port(text: str) -> str:
    """Check `HOST:PORT`, where the host may be a name, and leave it as it is."""
    try:
        _, port = split_host_port(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not port:
        raise click.BadParameter(f"{text!r}: port 0 cannot be asked")
    return text


def local_address(text: str) -> Address:
    """Read `IP:PORT` to listen on, where port 0 means any free one."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class Number(click.FloatRange):
    """Be a range of numbers that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail("NaN is not a number", param, ctx)
        return number


SECONDS = Number(min=0, min_open=True)


def common_options(default_timeout: float | None) -> Callable[[Command], Command]:
    """Add the options that every command has: `--json`, `--timeout`, `--bootstrap`."""
    ending = "run until told to stop" if default_timeout is None else f"default {default_timeout:g}"
    options = [
        click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout."),
        click.option(
            "--timeout",
            type=SECONDS,
            default=default_timeout,
            metavar="SECONDS",
            help=f"Stop after so many seconds; {ending}.",
        ),
        click.option(
            "--bootstrap",
            type=host_port,
            multiple=True,
            metavar="HOST:PORT",
            help="A node to join through; may be repeated. Bind to loopback when all are on loopback.",
        ),
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def emit(as_json: bool, record: Mapping[str, object], text: str) -> None:
    """Print one result: the record as a line of JSON, or the text; flushed, for whoever reads along."""
    click.echo(json.dumps(record) if as_json else text)
    sys.stdout.flush()


def run(main: Callable[[], Awaitable[T]], *expected: type[Exception]) -> T:
    """Run a command to its end; what the network or the system refused becomes one line and status 1.

    `expected` names exceptions that count as such besides `DhtError`.
    """
    import trio

    from dhtnode.clock import ElapsedClock

    refusals: tuple[type[Exception], ...] = (DhtError, *expected)
    try:
        return trio.run(_until_interrupted, main, clock=ElapsedClock())
    except refusals as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except BaseExceptionGroup as group:
        if group.subgroup((KeyboardInterrupt, click.Abort)):
            raise click.Abort from group
        if gone := group.subgroup(BrokenPipeError):
            raise _leaves(gone)[0] from group
        refused, others = group.split(refusals)
        if refused is None or others is not None:
            raise
        raise click.ClickException("; ".join(map(str, _leaves(refused)))) from group


async def _until_interrupted(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main`; when an interrupt comes first, cancel it and raise `click.Abort`.

    Left alone, Trio raises KeyboardInterrupt wherever the program happens to be, and where that is
    the starting of a task it breaks Trio itself.
    """
    import trio

    from dhtnode.nurseries import open_service_nursery

    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with open_service_nursery() as nursery:

            async def watch() -> None:
                await anext(aiter(interrupts))
                raise click.Abort

            nursery.start_soon(watch, name="watch for an interrupt")
            return await main()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions of a group and of the groups inside it."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


def scrape_record(measured: Scrape) -> dict[str, object]:
    """Return a measurement with the keys that `dhtnode scrape --json` prints."""
    estimate = measured.estimate
    return {
        "info_hash": measured.info_hash.hex(),
        "seeds": estimate.seeds,
        "seeds_low": estimate.seeds_low,
        "seeds_high": estimate.seeds_high,
        "leechers": estimate.leechers,
        "leechers_low": estimate.leechers_low,
        "leechers_high": estimate.leechers_high,
        "peers": estimate.peers,
        "peers_low": estimate.peers_low,
        "peers_high": estimate.peers_high,
        "saturated": estimate.saturated,
        "nodes_asked": measured.nodes_asked,
        "nodes_answered": measured.nodes_answered,
        "nodes_with_filters": estimate.nodes_with_filters,
        "distinct_peers": estimate.distinct_peers,
    }


def scrape_text(measured: Scrape) -> str:
    """Return a measurement in a line for people."""
    estimate = measured.estimate
    more = " or more" if estimate.saturated else ""
    return (
        f"{measured.info_hash.hex()} {estimate.peers}{more} peers"
        f" ({estimate.peers_low} to {estimate.peers_high}):"
        f" {estimate.seeds} seeds ({estimate.seeds_low} to {estimate.seeds_high}),"
        f" {estimate.leechers} leechers ({estimate.leechers_low} to {estimate.leechers_high});"
        f" {estimate.nodes_with_filters} of {measured.nodes_answered} nodes gave filters,"
        f" {estimate.distinct_peers} peers seen"
    )


class Stopped(click.ClickException):
    """Say that a signal ended the work; the status is that of a shell."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + number  # type: ignore[misc]  # click declares it for the class


async def run_until_signal(main: Main) -> None:
    """Run `main` until it ends; raise `Stopped` when a signal asks to stop."""
    import trio

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


def set_up_logging(verbosity: int) -> None:
    """Send log lines to stderr: warnings, with -v what happens, with -vv everything."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(stream=sys.stderr, level=level, format=LOG_LINE)
