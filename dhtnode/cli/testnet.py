"""The command `dhtnode testnet`: a small DHT on loopback, until it is told to stop."""

from __future__ import annotations

from functools import partial

import click

from dhtnode import cli, testing
from dhtnode.cli import console
from dhtnode.cli.console import emit
from dhtnode.ids import InfoHash


@click.command()
@click.option("--nodes", type=click.IntRange(1, 1000), default=30, show_default=True, help="How many nodes.")
@click.option(
    "--swarm",
    "swarms",
    multiple=True,
    metavar="INFOHASH:SEEDS:LEECHERS",
    help="A swarm of known size; repeatable.",
)
@click.option("--seed", type=int, help="Make ids and swarms the same each time.")
@console.JSON_OPTION
@console.timeout_option(None)
@console.BOOTSTRAP_OPTION
def testnet(
    nodes: int,
    swarms: tuple[str, ...],
    seed: int | None,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Run a small DHT on loopback; prints addresses to join it through.

    Serves until SIGINT or SIGTERM, or until standard input ends if that is a pipe.
    """
    wanted = [_parse_swarm(text) for text in swarms]

    async def serve() -> None:
        async with testing.open_testnet(nodes, seed=seed, bootstrap=bootstrap) as testnet:
            for info_hash, seeds, leechers in wanted:
                testnet.place_swarm(info_hash, seeds, leechers)
            record = {"bootstrap": testnet.bootstrap, "nodes": nodes}
            announce = partial(emit, as_json, record, *testnet.bootstrap)
            await cli.serve_until_stopped(announce, timeout, stops_with_input=True)

    cli.run(serve)


def _parse_swarm(text: str) -> tuple[InfoHash, int, int]:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts[1:]):
        shown = text if len(text) <= 100 else text[:97] + "..."
        raise click.BadParameter(f"{shown!r} is not INFOHASH:SEEDS:LEECHERS", param_hint="--swarm")
    return console.info_hash(parts[0]), int(parts[1]), int(parts[2])
