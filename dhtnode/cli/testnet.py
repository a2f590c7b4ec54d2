"""The command `dhtnode testnet`: a small DHT on loopback, until it is told to stop."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from dhtnode.cli import console
from dhtnode.cli.console import common_options, emit, run
from dhtnode.ids import InfoHash
from dhtnode.process import catching_signals

if TYPE_CHECKING:
    import trio


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
@common_options(None)
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

    import trio

    from dhtnode.testing.testnet import open_testnet

    async def serve() -> None:
        async with open_testnet(nodes, seed=seed, bootstrap=bootstrap) as network:
            for info_hash, seeds, leechers in wanted:
                network.place_swarm(info_hash, seeds, leechers)
            with catching_signals() as next_signal:
                emit(as_json, {"bootstrap": network.bootstrap, "nodes": nodes}, "\n".join(network.bootstrap))
                with trio.move_on_after(timeout or float("inf")):
                    await _wait_until_told_to_stop(next_signal)

    run(serve)


def _parse_swarm(text: str) -> tuple[InfoHash, int, int]:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts[1:]):
        shown = text if len(text) <= 100 else text[:97] + "..."
        raise click.BadParameter(f"{shown!r} is not INFOHASH:SEEDS:LEECHERS", param_hint="--swarm")
    return console.info_hash(parts[0]), int(parts[1]), int(parts[2])


async def _wait_until_told_to_stop(next_signal: Callable[[], Awaitable[int]]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wait_for_end_of_input, nursery.cancel_scope)
        await next_signal()
        nursery.cancel_scope.cancel()


async def _wait_for_end_of_input(scope: trio.CancelScope) -> None:
    """Cancel when a pipe on standard input is closed.

    Only pipes and sockets are watched: a job in the background has /dev/null there, or a terminal
    that would stop it for reading.
    """
    import trio

    if sys.stdin is None:
        return
    number = sys.stdin.fileno()
    mode = os.fstat(number).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        while True:
            await trio.lowlevel.wait_readable(number)
            if not os.read(number, 4096):
                scope.cancel()
                return


COMMANDS = (testnet,)
