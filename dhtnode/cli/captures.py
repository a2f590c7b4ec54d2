"""The options for a capture of our own packets, which no command reads, only what runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from dhtnode.settings import CAPTURE_LIMIT

MEGABYTE = 1_000_000
_GIVEN = "dhtnode.capture"  # in the context of click


class CaptureOptions(NamedTuple):
    """The file for our packets, and its longest size in bytes."""

    path: str
    limit: int


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta.setdefault(_GIVEN, {})[parameter.name] = value


_PATH_OPTION = click.option(
    "--pcap",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    expose_value=False,
    callback=_keep,
    help="Write our own packets to a new file, for Wireshark; it holds addresses of nodes and peers.",
)
_LIMIT_OPTION = click.option(
    "--pcap-limit",
    type=click.IntRange(1, 1_000_000),
    metavar="MB",
    expose_value=False,
    callback=_keep,
    help=f"Write so many megabytes of them at most; default {CAPTURE_LIMIT // MEGABYTE}.",
)


def pcap_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--pcap` and `--pcap-limit`."""
    return _PATH_OPTION(_LIMIT_OPTION(command))


def capture_options() -> CaptureOptions | None:
    """Return what the options of the present command say of a capture, or None where there is none."""
    context = click.get_current_context(silent=True)
    given = context.meta.get(_GIVEN) if context else None
    if not given:
        return None
    if "pcap" not in given:
        raise click.UsageError("--pcap-limit needs --pcap FILE")
    limit = given.get("pcap_limit", 0) * MEGABYTE
    return CaptureOptions(given["pcap"], limit or CAPTURE_LIMIT)
