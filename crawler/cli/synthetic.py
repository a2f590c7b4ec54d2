"""The command `dhtcrawl synthetic`: a whole DHT on loopback, until it is told to stop."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import click

import crawler.synthetic
from crawler.cli.options import SEED_OPTION, setting_option
from crawler.synthetic.settings import KEEPS, SIZES, SyntheticSettings
from dhtnode import cli
from dhtnode.cli import console

MAX_LATENCY = 60  # seconds

option = partial(setting_option, SyntheticSettings)


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


def _bind_trackers(
    trackers: list[crawler.synthetic.SyntheticTracker], port: int
) -> list[crawler.synthetic.TrackerServer]:
    try:
        return crawler.synthetic.bind_trackers(trackers, port)
    except ImportError as error:
        raise click.ClickException("synthetic trackers need h11: install dhtnode[trackers]") from error


@click.command()
@option("--nodes", "Nodes that answer.")
@SEED_OPTION(help="Same seed, same network.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port of all nodes; any free one by default."
)
@option("--stale", "Contacts that never answer, as a share of all in tables.", metavar="SHARE")
@click.option(
    "--loss",
    type=console.Number(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Datagrams lost, queries and replies alike.",
)
@click.option(
    "--latency",
    type=_seconds,
    default="0",
    show_default=True,
    metavar="LOW:HIGH",
    help="Seconds between query and reply.",
)
@option("--hostile", "Nodes that are hostile, in equal parts of every style.", metavar="SHARE")
@option("--bep33", "Nodes that give scrape filters; by kind of client if not given.", metavar="SHARE")
@option(
    "--bep42", "Nodes whose id follows from their address; by kind of client if not given.", metavar="SHARE"
)
@option("--bep51", "Nodes that give samples of info-hashes; by kind of client if not given.", metavar="SHARE")
@option(
    "--capped",
    "Nodes that store `--cap` peers of a swarm whatever their kind; none more if not given.",
    metavar="SHARE",
)
@option("--cap", "Peers of a swarm that these nodes store; 0: all.", metavar="PEERS")
@option("--cap-others", "The same for the others; by kind of client if not given.", metavar="PEERS")
@click.option(
    "--keeps",
    type=click.Choice(KEEPS),
    default="random",
    show_default=True,
    help="What a full store keeps: a random part, or the peers that came first.",
)
@option("--disorder", "How much later than others a node may hear of a peer; 0: all in one order.")
@click.option(
    "--announcers",
    default="equal",
    show_default=True,
    metavar="KIND",
    help="How peers differ: equal, uniform, beta:A,B, lognormal:SIGMA or two-classes:SHARE,CHANCE.",
)
@option(
    "--windows",
    "Nodes that return peers in a fixed order from a random one on; by kind of client if not given.",
    metavar="SHARE",
)
@option("--shared-stores", "Nodes whose filters hold the peers of both families.", metavar="SHARE")
@option("--dual-stack", "Peers that announce an IPv6 address too.", metavar="SHARE")
@option("--silent-seeds", "Seeds whose client does not say that it seeds.", metavar="SHARE")
@option(
    "--interval",
    "Between two samples of info-hashes; by kind of client if not given.",
    metavar="SECONDS",
)
@option("--swarms", "How many swarms.")
@option("--largest", "Peers of the largest.")
@click.option(
    "--sizes",
    type=click.Choice(SIZES),
    default="zipf",
    show_default=True,
    help="The n-th has one n-th of the largest, or sizes are even on a scale of logarithms, or all the same.",
)
@option(
    "--half-life",
    "In which a third of the swarms lose half their peers and a third gain half; 0: none changes.",
    metavar="SECONDS",
)
@option("--session", "Mean time that a node is there before it leaves; 0: no node leaves.", metavar="SECONDS")
@option(
    "--session-shape",
    "Of the Weibull law of these times; below 1 most are short and a few very long.",
    metavar="SHAPE",
)
@option("--absence", "Mean time until a node that left is there again.", metavar="SECONDS")
@click.option(
    "--trackers",
    default="",
    metavar="STYLE,...",
    help="Trackers that the peers announce to as well, each a program and what it does beside, as"
    " `opentracker,chihaya+invents,slow`.",
)
@option("--tracker-overlap", "Peers at trackers that the DHT has, too.", metavar="SHARE")
@option("--tracker-share", "Peers at trackers that one of them has.", metavar="SHARE")
@click.option(
    "--tracker-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of all trackers, UDP and TCP; any free ones by default.",
)
@option("--announce", "Chance that a peer is announced to one of the 8 closest nodes.", metavar="SHARE")
@option("--announce-next", "The same for each of the next 8.", metavar="SHARE")
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    metavar="FILE.db|DIR",
    help="Write the truth here: as a database, or as CSV files in a directory.",
)
@console.JSON_OPTION
@console.timeout_option(None)
def synthetic(
    port: int,
    loss: float,
    latency: tuple[float, float],
    truth: Path | None,
    tracker_port: int,
    as_json: bool,
    timeout: float | None,
    **model: Any,
) -> None:
    """Play a whole DHT on loopback, each node with an address of its own in 127.0.0.0/8.

    Prints addresses to join it through when it is ready, and counts at the end.  Serves until SIGINT
    or SIGTERM.  Linux only.
    """
    try:
        settings = SyntheticSettings(**model)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if truth is not None:
        crawler.synthetic.check_place(truth)
    with crawler.synthetic.bind(port) as bound:
        # Before Trio runs: this takes seconds, in which an interrupt is to end it.
        network = crawler.synthetic.Network(replace(settings, port=bound.getsockname()[1]))
        trackers = crawler.synthetic.make_trackers(network)
        servers = _bind_trackers(trackers, tracker_port) if trackers else []
        urls = [url for each in servers for url in each.urls]
        if truth is not None:
            crawler.synthetic.write_truth(network, truth, trackers)
        started_at = monotonic()

        async def serve() -> None:
            async with AsyncExitStack() as stack:
                server = await stack.enter_async_context(
                    crawler.synthetic.serve(network, bound, loss=loss, latency=latency)
                )
                if servers:
                    await stack.enter_async_context(crawler.synthetic.serve_trackers(servers))
                record = {"bootstrap": server.bootstrap, "nodes": settings.nodes}
                if servers:
                    record["trackers"] = urls
                announce = partial(console.emit, as_json, record, *server.bootstrap, *urls)
                await cli.serve_until_stopped(announce, timeout)

        cli.run(serve)
    if truth is not None:
        crawler.synthetic.write_end(network, monotonic() - started_at, truth, trackers)
    for tracker in trackers:
        network.counts.update({f"tracker {tracker.number} {name}": n for name, n in tracker.counts.items()})
    counts = dict(sorted(network.counts.items()))
    # For people there is nothing to read when nothing came.
    if as_json or counts:
        console.emit(as_json, {"counts": counts}, *(f"{name}: {counts[name]}" for name in counts))
