"""The command `dhtcrawl synthetic`: a whole DHT on loopback, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

import crawler.synthetic
from crawler.synthetic.settings import (
    MAX_MEMBERS,
    MAX_SECONDS,
    MAX_STALE,
    MAX_SWARM,
    MAX_SWARMS,
    SyntheticSettings,
)
from dhtnode import DhtError, cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.synthetic import Bound, Network

MAX_LATENCY = 60  # seconds
SHARE = console.Number(0, 1)
DEFAULTS = SyntheticSettings()


def _seconds(text: str) -> tuple[float, float]:
    """Read `LOW:HIGH`, or one number for both."""
    low, colon, high = text.partition(":")
    try:
        bounds = float(low), float(high if colon else low)
    except ValueError:
        bounds = -1.0, -1.0
    if not 0 <= bounds[0] <= bounds[1] <= MAX_LATENCY:
        raise click.BadParameter(f"{text!r} is not LOW:HIGH, in seconds up to {MAX_LATENCY}")
    return bounds


def _share(
    name: str, help_text: str, default: float | None = None
) -> Callable[[console.Command], console.Command]:
    """Return an option that is a share or a chance."""
    shown = default is not None
    return click.option(
        name, type=SHARE, default=default, metavar="SHARE", show_default=shown, help=help_text
    )


@click.command()
@click.option(
    "--nodes", type=click.IntRange(1, MAX_MEMBERS), default=1000, show_default=True, help="Nodes that answer."
)
@click.option("--seed", type=int, default=DEFAULTS.seed, show_default=True, help="Same seed, same network.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port of all nodes; any free one by default."
)
@click.option(
    "--stale",
    type=console.Number(0, MAX_STALE),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Contacts that never answer, as a share of all in tables.",
)
@_share("--loss", "Datagrams lost, queries and replies alike.", 0.0)
@click.option(
    "--latency",
    type=_seconds,
    default="0",
    show_default=True,
    metavar="LOW:HIGH",
    help="Seconds between query and reply.",
)
@_share("--hostile", "Nodes that are hostile, in equal parts of every style.", 0.0)
@_share("--bep33", "Nodes that give scrape filters; by kind of client if not given.")
@_share("--bep42", "Nodes whose id follows from their address; by kind of client if not given.")
@_share("--bep51", "Nodes that give samples of info-hashes; by kind of client if not given.")
@_share("--capped", "Nodes that store 500 peers of a swarm whatever their kind; none more if not given.")
@click.option(
    "--interval",
    type=click.IntRange(0, 21600),
    metavar="SECONDS",
    help="Between two samples of info-hashes; by kind of client if not given.",
)
@click.option(
    "--swarms", type=click.IntRange(0, MAX_SWARMS), default=0, show_default=True, help="How many swarms."
)
@click.option(
    "--largest",
    type=click.IntRange(1, MAX_SWARM),
    default=DEFAULTS.largest,
    show_default=True,
    help="Peers of the largest; the n-th has one n-th of that (Zipf).",
)
@click.option(
    "--half-life",
    type=console.Number(0, MAX_SECONDS),
    default=DEFAULTS.half_life,
    show_default=True,
    metavar="SECONDS",
    help="In which a third of the swarms lose half their peers and a third gain half; 0: none changes.",
)
@click.option(
    "--session",
    type=console.Number(0, MAX_SECONDS),
    default=DEFAULTS.session,
    show_default=True,
    metavar="SECONDS",
    help="Mean time that a node is there before it leaves; 0: no node leaves.",
)
@click.option(
    "--session-shape",
    type=console.Number(0.2, 10),
    default=DEFAULTS.session_shape,
    show_default=True,
    metavar="SHAPE",
    help="Of the Weibull law of these times; below 1 most are short and a few very long.",
)
@click.option(
    "--absence",
    type=console.Number(1, MAX_SECONDS),
    default=DEFAULTS.absence,
    show_default=True,
    metavar="SECONDS",
    help="Mean time until a node that left is there again.",
)
@_share("--announce", "Chance that a peer is announced to one of the 8 closest nodes.", DEFAULTS.announce)
@_share("--announce-next", "The same for each of the next 8.", DEFAULTS.announce_next)
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    metavar="FILE.db|DIR",
    help="Write the truth here: as a database, or as CSV files in a directory.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
@click.option(
    "--timeout",
    type=console.SECONDS,
    metavar="SECONDS",
    help="Stop after so many seconds; run until told to stop.",
)
def synthetic(
    port: int,
    loss: float,
    latency: tuple[float, float],
    truth: Path | None,
    as_json: bool,
    timeout: float | None,
    **model: Any,
) -> None:
    """Play a whole DHT on loopback, each node with an address of its own in 127.0.0.0/8.

    Prints addresses to join it through when it is ready, and counts at the end.  Serves until SIGINT
    or SIGTERM.  Linux only.
    """
    truths = crawler.synthetic
    try:
        with _network(_settings(model), port, truth) as (network, bound):
            started_at = monotonic()
            cli.run(partial(_serve, network, bound, loss, latency, as_json, timeout))
        if truth is not None:
            lasted = monotonic() - started_at
            truths.write_counts(network.counts, truth)
            truths.write_sessions(network, lasted, truth)
            truths.write_swarm_sizes(network, lasted, truth)
    except (DhtError, truths.TruthError) as error:
        raise click.ClickException(str(error)) from error
    _print_counts(network, as_json)


def _settings(model: Mapping[str, Any]) -> SyntheticSettings:
    try:
        return SyntheticSettings(**model)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _network(settings: SyntheticSettings, port: int, truth: Path | None) -> Iterator[tuple[Network, Bound]]:
    """Make a network for a socket of ours, and write down the truth about it.

    Before Trio runs: this takes seconds, in which an interrupt is to end it.
    """
    if truth is not None:
        crawler.synthetic.check_place(truth)
    with crawler.synthetic.bind(port) as bound:
        network = crawler.synthetic.Network(replace(settings, port=bound.getsockname()[1]))
        if truth is not None:
            crawler.synthetic.write_truth(network, truth)
        yield network, bound


async def _serve(
    network: Network,
    bound: Bound,
    loss: float,
    latency: tuple[float, float],
    as_json: bool,
    timeout: float | None,
) -> None:
    """Say where the network is, and serve until a signal or the timeout."""
    async with crawler.synthetic.serve(network, bound, loss=loss, latency=latency) as server:
        record = {"bootstrap": server.bootstrap, "nodes": network.settings.nodes}
        announce = partial(console.emit, as_json, record, "\n".join(server.bootstrap))
        await cli.serve_until_stopped(announce, timeout)


def _print_counts(network: Network, as_json: bool) -> None:
    # For people there is nothing to read when nothing came.
    counts = dict(sorted(network.counts.items()))
    if as_json or counts:
        text = "\n".join(f"{name}: {value}" for name, value in counts.items())
        console.emit(as_json, {"counts": counts}, text)
