"""What the commands `dhtnode` and `dhtcrawl` share: types of arguments, options, printing, endings.

With `--json` each result is one JSON object per line on stdout and nothing else is there; logs and
progress go to stderr.  Exit status: 0 done, 1 the network or the data said no, 2 the command line
was wrong.

Trio, and what needs it, is not imported here: what only reads the command line, as `--help` does,
does without.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

import dhtnode
from dhtnode.addresses import Address, parse_address, split_host_port
from dhtnode.cli.captures import pcap_options
from dhtnode.cli.streams import print_lines
from dhtnode.errors import InvalidInfoHash, InvalidTorrent, PrivateTorrent
from dhtnode.files import read_file, text_of
from dhtnode.ids import ID_BYTES, InfoHash, NodeId
from dhtnode.magnet import is_magnet, parse_info_hash, parse_magnet

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]
Main = Callable[[], Awaitable[None]]


def info_hash(text: str) -> InfoHash:
    """Read an info-hash (hex, base32, magnet link) from the command line."""
    try:
        return parse_info_hash(text)
    except InvalidInfoHash as error:
        raise click.BadParameter(str(error)) from error


class SwarmArgument(NamedTuple):
    """A swarm, with the bootstrap nodes and the trackers that its torrent file or magnet link names.

    `twin` is the info-hash of version 2 of a hybrid (BEP 52), `text` what was typed.
    """

    info_hash: InfoHash
    nodes: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    text: str = ""
    twin: InfoHash | None = None


def swarm(text: str) -> SwarmArgument:
    """Read an info-hash (hex, base32, magnet link) or the path of a torrent file from the command line.

    A private torrent (BEP 27) ends the command here, with status 1: before a node is opened.
    """
    try:
        return linked_swarm(text)
    except InvalidInfoHash as error:
        if not is_torrent_file(text):
            raise click.BadParameter(str(error)) from error
    return _swarm_in(Path(text))


def linked_swarm(text: str) -> SwarmArgument:
    """Read an info-hash or a magnet link, with the trackers in it; raises `InvalidInfoHash`."""
    if not is_magnet(text):
        return SwarmArgument(parse_info_hash(text), text=text)
    magnet = parse_magnet(text)
    twin = magnet.info_hashes[1] if magnet.is_hybrid else None
    return SwarmArgument(magnet.info_hash, trackers=magnet.trackers, text=text, twin=twin)


def is_torrent_file(text: str) -> bool:
    """Return whether a torrent is given by the path of a file."""
    is_path = text.lower().endswith(".torrent") or os.path.exists(text)  # noqa: PTH110  never raises
    return is_path and not is_magnet(text)


def _swarm_in(path: Path) -> SwarmArgument:
    try:
        metainfo = dhtnode.read_torrent(path)
        info_hash = dhtnode.public_info_hash(metainfo)
        twin = metainfo.info_hashes[1] if len(metainfo.info_hashes) == 2 else None
        return SwarmArgument(info_hash, metainfo.nodes, metainfo.tracker_urls, str(path), twin)
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
    """A range of numbers that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail("NaN is not a number", param, ctx)
        return number


SECONDS = Number(min=0, min_open=True)
MAX_LIST = 100_000_000  # bytes: a million magnet links


class ListedLines(NamedTuple):
    """The lines of a file that an option names."""

    name: str
    lines: list[str]


class ListFile(click.ParamType[ListedLines]):
    """A file whose lines are read, where - is standard input."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ListedLines:
        """Read the file."""
        try:
            data = sys.stdin.buffer.read(MAX_LIST + 1) if value == "-" else read_file(value, MAX_LIST + 1)
        except OSError as error:
            self.fail(f"cannot read {value}: {error.strerror}", param, ctx)
        if len(data) > MAX_LIST:
            self.fail(f"{value} is longer than {MAX_LIST} bytes", param, ctx)
        return ListedLines("<stdin>" if value == "-" else value, text_of(data).splitlines())


JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
BOOTSTRAP_OPTION = click.option(
    "--bootstrap",
    type=host_port,
    multiple=True,
    metavar="HOST:PORT",
    help="A node to join through; may be repeated. When all are on loopback, or one is in a private"
    " network, we are there too.",
)
LISTEN_OPTION = click.option(
    "--listen",
    type=local_address,
    multiple=True,
    metavar="IP:PORT",
    help="Address to ask from, where port 0 is any free one; may be repeated.",
)


def timeout_option(default: float | None) -> Decorator:
    """Return the option `--timeout`; without a default, the work has no end of its own."""
    ending = "run until told to stop" if default is None else f"default {default:g}"
    return click.option(
        "--timeout",
        type=SECONDS,
        default=default,
        metavar="SECONDS",
        help=f"Stop after so many seconds; {ending}.",
    )


def add_options(*options: Decorator) -> Decorator:
    """Return a decorator that adds options to a command, shown in the order in which they are given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def option_group(kind: Callable[..., object], parameter: str, *options: Decorator) -> Decorator:
    """Return a decorator that adds options which a command gets as one value, `parameter=kind(...)`.

    `kind` is a dataclass whose fields have the names of the options' parameters.
    """
    names = tuple(inspect.signature(kind).parameters)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            grouped = kind(**{name: given.pop(name) for name in names})
            return command(*args, **given, **{parameter: grouped})

        return add_options(*options)(call)

    return decorate


class NetworkOptions(NamedTuple):
    """What `network_options` read: form of the output, time, nodes to join through, addresses to bind."""

    as_json: bool
    timeout: float | None
    bootstrap: tuple[str, ...]
    listen: tuple[Address, ...]


def network_options(default_timeout: float | None) -> Decorator:
    """Add the options that all commands on the network have, which a command gets as `network`.

    They are `--json`, `--timeout`, `--bootstrap` and `--listen`; `--pcap` is for what runs the command.
    """
    options = JSON_OPTION, timeout_option(default_timeout), BOOTSTRAP_OPTION, LISTEN_OPTION, pcap_options
    return option_group(NetworkOptions, "network", *options)


def emit(as_json: bool, record: Mapping[str, object], *lines: str) -> None:
    """Print one result, as a line of JSON or as lines of text."""
    print_lines(*([json.dumps(record)] if as_json else lines))


def scrape_record(measured: dhtnode.SwarmMeasurement) -> dict[str, object]:
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
        "method": estimate.method,
        "saturated": estimate.saturated,
        "nodes_asked": measured.nodes_asked,
        "nodes_answered": measured.nodes_answered,
        "nodes_with_filters": estimate.nodes_with_filters,
        "distinct_peers": estimate.distinct_peers,
        "queries": measured.queries,
    }


def scrape_text(measured: dhtnode.SwarmMeasurement) -> str:
    """Return a measurement in a line for people."""
    from dhtnode.swarm import between, count_text

    estimate = measured.estimate
    peers, seeds, leechers = (
        f"{count_text(count, high)} {name}" + ("" if high is None else f" ({between(low, high)})")
        for name, count, low, high in (
            ("peers", estimate.peers, estimate.peers_low, estimate.peers_high),
            ("seeds", estimate.seeds, estimate.seeds_low, estimate.seeds_high),
            ("leechers", estimate.leechers, estimate.leechers_low, estimate.leechers_high),
        )
    )
    return (
        f"{measured.info_hash.hex()} {peers}: {seeds}, {leechers};"
        f" {estimate.nodes_with_filters} of {measured.nodes_answered} nodes gave filters,"
        f" {estimate.distinct_peers} peers seen"
    )


class Stopped(click.ClickException):
    """The end of work by a signal; the status is that of a shell."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + number  # type: ignore[misc]  # click declares it for the class


def set_up_logging(verbosity: int) -> None:
    """Send log lines to stderr: warnings, with -v what happens, with -vv everything."""
    # Not above: it is a fifth of what `--help` takes.
    from dhtnode.logs import direct_log

    direct_log(None, ("warning", "info", "debug")[min(verbosity, 2)], replaces=False)
