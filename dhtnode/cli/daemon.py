"""The commands around the daemon: `run` serves, `config` shows its settings, `status` shows its state."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from dhtnode import cli, daemon
from dhtnode.cli import console
from dhtnode.cli.captures import pcap_options
from dhtnode.cli.console import SECONDS, emit
from dhtnode.errors import DhtError
from dhtnode.files import read_file
from dhtnode.lines import say

FILE = click.Path(dir_okay=False)
# Whether we may read the socket is found out when we connect to it.
SOCKET = click.Path(dir_okay=False, readable=False)

CONFIG_OPTION = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="DHTNODE_CONFIG",
    metavar="FILE",
    help="TOML file with settings; DHTNODE_CONFIG names one too.",
)
STATUS_SOCKET_OPTION = click.option(
    "--status-socket", type=SOCKET, metavar="FILE", help="Unix socket where `dhtnode status` asks."
)
# Each parameter, but for `assignments`, has the name of its setting; one that is not given is None.
setting_options = console.add_options(
    CONFIG_OPTION,
    click.option(
        "--listen",
        type=console.local_address,
        multiple=True,
        metavar="IP:PORT",
        help="Address to bind; may be repeated, in each family too.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        help="UDP port of every family, without --listen; 6881 if not given, 0 is any free one.",
    ),
    click.option("--state", type=FILE, help="File that keeps id and contacts."),
    click.option("--log", type=FILE, metavar="FILE", help="File for log lines, in place of stderr."),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="What is logged; warning if not given.",
    ),
    click.option(
        "--metrics",
        metavar="IP:PORT",
        help="Serve metrics for Prometheus, on loopback or at the path of a Unix socket.",
    ),
    STATUS_SOCKET_OPTION,
    click.option(
        "--no-default-bootstrap",
        "default_bootstrap",
        is_flag=True,
        flag_value=False,
        default=None,
        help="Never ask the well-known hosts.",
    ),
    click.option("--read-only", is_flag=True, default=None, help="Answer no queries (BEP 43)."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any setting by its name, as in `dhtnode config --show`; may be repeated.",
    ),
)
VERBOSE = (None, "info", "debug")  # what -v and -vv stand for


@click.command("run")
@setting_options
@click.option(
    "--gateway",
    is_flag=True,
    default=None,
    help="Be a tracker, too, whose peers come from the DHT: as `dhtnode gateway`, set up by --set.",
)
@console.JSON_OPTION
@console.timeout_option(None)
@console.BOOTSTRAP_OPTION
@pcap_options
def run_command(as_json: bool, timeout: float | None, **given: Any) -> None:
    """Run a node until SIGINT or SIGTERM; prints one line per socket when it serves.

    SIGHUP opens the log again and reads the settings again.
    """
    serve(given, as_json=as_json, timeout=timeout)


def serve(given: Mapping[str, Any], *, as_json: bool, timeout: float | None) -> None:
    """Run a daemon with the settings given, until it is told to stop."""
    read = _reader(given)
    settings = _warned(_load(read)).settings

    async def run() -> None:
        await daemon.Daemon(settings, read, partial(emit, as_json), os.environ).run(timeout)

    cli.run(run)


@click.command()
@click.option("--show", is_flag=True, help="Print every setting with the place where it was given, as TOML.")
@setting_options
@console.BOOTSTRAP_OPTION
@console.JSON_OPTION
def config(show: bool, as_json: bool, **given: Any) -> None:
    """Check the settings that `dhtnode run` would go by with the same options, and show them."""
    configuration = _warned(_load(_reader(given)))
    if not show:
        emit(as_json, {"valid": True}, "the settings are valid")
        return
    for name, value, origin in configuration.entries():
        emit(as_json, {"name": name, "value": value, "origin": origin}, daemon.in_toml(name, value, origin))


@click.command()
@CONFIG_OPTION
@STATUS_SOCKET_OPTION
@console.JSON_OPTION
@click.option(
    "--timeout", type=SECONDS, default=5.0, metavar="SECONDS", help="Wait so long at most; default 5."
)
def status(as_json: bool, timeout: float, **given: Any) -> None:
    """Ask the daemon on this machine how it is, through its status socket."""
    path = _load(_reader(given)).settings.status_socket
    if path is None:
        raise click.UsageError("name the socket with --status-socket, or status_socket in the settings")

    async def show() -> None:
        answer = await daemon.query_socket(Path(path), timeout)
        try:
            record = daemon.read_status_untrusted(answer)
        except daemon.NotAStatus as error:
            raise DhtError(f"{path}: {error}") from error
        emit(as_json, record, *daemon.status_text(record).split("\n"))

    cli.run(show)


def _reader(given: Mapping[str, Any]) -> Callable[[], daemon.Configuration]:
    """Return what reads the settings, again if need be; the flags stay as they were given."""
    flags, assignments = _flags(given), _assignments(given.get("assignments", ()))
    return lambda: _read(given["config_file"], flags, assignments)


def _load(read: Callable[[], daemon.Configuration]) -> daemon.Configuration:
    """Return the effective settings; what is wrong with them becomes one line and status 2."""
    try:
        return read()
    except daemon.ConfigError as error:
        raise click.UsageError(str(error)) from error


def _warned(configuration: daemon.Configuration) -> daemon.Configuration:
    """Print the warnings about settings, and return the settings as they are."""
    for line in configuration.warnings:
        say(f"dhtnode: warning: {line}")
    return configuration


def _read(
    path: Path | None, flags: Mapping[str, object], assignments: Mapping[str, str]
) -> daemon.Configuration:
    """Read the file and the environment, and add the flags; raises `ConfigError`."""
    document: dict[str, object] = {}
    if path is not None:
        try:
            document = daemon.parse_file(read_file(path, daemon.MAX_FILE + 1))
        except OSError as error:
            raise daemon.ConfigError(f"cannot read {path}: {error.strerror}") from error
        except daemon.ConfigError as error:
            raise daemon.ConfigError(f"{path}: {error}") from error
    return daemon.configure(
        file=document,
        file_name=str(path),
        environment=os.environ,
        flags=flags,
        assignments=assignments,
    )


def _flags(given: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings that were given as flags, under their names."""
    others = {"config_file", "assignments"}
    flags = {name: value for name, value in given.items() if name not in others and value not in (None, ())}
    if "listen" in flags:
        flags["listen"] = tuple(map(str, given["listen"]))
    if level := VERBOSE[min(click.get_current_context().find_root().params["verbose"], 2)]:
        flags.setdefault("log_level", level)
    return flags


def _assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """Split what was given with `--set`; of two values for one name the later counts."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}
