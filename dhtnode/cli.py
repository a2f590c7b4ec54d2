"""The command `dhtnode`: each subcommand is one call of the library, plus printing.

What opens a node is imported where it is used, as `console` says.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhtnode import __version__, console
from dhtnode.addresses import Address
from dhtnode.clients import format_version
from dhtnode.console import (
    common_options,
    emit,
    run,
    set_up_logging,
)
from dhtnode.errors import NotJoined, QueryTimeout
from dhtnode.ids import InfoHash, NodeId, distance_bits
from dhtnode.settings import NodeSettings

if TYPE_CHECKING:
    import trio

    from dhtnode.node import Node
    from dhtnode.results import FoundNode

DEFAULT_PORT = 6881


@click.group("dhtnode", cls=console.OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhtnode")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Be a node of the BitTorrent mainline DHT, or ask it a question."""
    set_up_logging(verbose)


@main.command("run")
@click.option(
    "--listen",
    type=console.local_address,
    multiple=True,
    metavar="IP:PORT",
    help="Address to bind; one per family.",
)
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="File that keeps id and contacts."
)
@click.option("--no-default-bootstrap", is_flag=True, help="Never ask the well-known hosts.")
@click.option("--read-only", is_flag=True, help="Answer no queries (BEP 43).")
@common_options(None)
def run_command(
    listen: tuple[Address, ...],
    state: Path | None,
    no_default_bootstrap: bool,
    read_only: bool,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Run a node until SIGINT or SIGTERM; prints one line per socket when it serves."""
    import trio

    from dhtnode.opening import open_node

    async def serve() -> None:
        async with open_node(
            listen=listen or None,
            port=DEFAULT_PORT,
            bootstrap=bootstrap,
            well_known=not no_default_bootstrap,
            state_file=state,
            settings=NodeSettings(read_only=read_only),
        ) as node:
            with console.catching_signals() as next_signal:  # before the lines that others wait for
                for address in node.addresses:
                    record = {"listening": str(address), "node_id": node.node_id.hex()}
                    emit(as_json, record, f"listening {address} id={node.node_id.hex()}")
                with trio.move_on_after(timeout or float("inf")):
                    await next_signal()

    run(serve)


@main.command()
@click.argument("host_port", type=console.host_port, metavar="HOST:PORT")
@common_options(10.0)
def ping(host_port: str, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Ask one node for its id, and how it sees us."""
    from dhtnode.udp import resolve

    async def ask(node: Node) -> None:
        addresses = await resolve(host_port, frozenset(address.family for address in node.addresses))
        if not addresses:
            raise NotJoined(f"{host_port}: no such host")
        found = await _ping_patiently(node, addresses[0])
        record = {
            "address": str(found.address),
            "node_id": found.node_id.hex(),
            "version": format_version(found.version),
            "rtt_ms": _milliseconds(found.rtt),
            "external_address": str(found.external_address) if found.external_address else None,
        }
        emit(as_json, record, _describe(found))

    _ask(ask, timeout, (*bootstrap, host_port), well_known=False)


@main.command("find-node")
@click.argument("target", type=console.node_id, metavar="ID")
@common_options(30.0)
def find_node(target: NodeId, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Find the nodes closest to an id, closest first; each of them answered."""

    async def ask(node: Node) -> None:
        for found in await node.find_node(target):
            record = {
                "node_id": found.node_id.hex(),
                "address": str(found.address),
                "distance_bits": distance_bits(found.node_id, target),
                "rtt_ms": _milliseconds(found.rtt),
            }
            emit(as_json, record, _describe(found))

    _ask(ask, timeout, bootstrap)


@main.command("get-peers")
@click.argument("info_hash", type=console.info_hash, metavar="INFOHASH")
@common_options(30.0)
def get_peers(info_hash: InfoHash, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Print the peers of a swarm as they are found, each once."""
    count = 0

    async def ask(node: Node) -> None:
        nonlocal count
        async with node.get_peers(info_hash) as peers:
            async for peer in peers:
                count += 1
                emit(as_json, {"address": str(peer)}, str(peer))
        if not count:
            raise NotJoined(f"no peers known for {info_hash.hex()}")

    _ask(ask, timeout, bootstrap, enough=lambda: count > 0)


@main.command()
@click.argument("info_hash", type=console.info_hash, metavar="INFOHASH")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port of the peer.")
@click.option("--seed", is_flag=True, help="The peer has everything (BEP 33).")
@click.option("--implied-port", is_flag=True, help="Nodes shall use our UDP source port instead.")
@common_options(30.0)
def announce(
    info_hash: InfoHash,
    port: int,
    seed: bool,
    implied_port: bool,
    as_json: bool,
    timeout: float,
    bootstrap: tuple[str, ...],
) -> None:
    """Announce a peer on this host to the nodes closest to a swarm."""

    async def ask(node: Node) -> None:
        done = await node.announce(info_hash, port, seed=seed, implied_port=implied_port)
        record = {"info_hash": info_hash.hex(), "port": port, "announced_to": len(done.announced_to)}
        if not done.announced_to:
            raise NotJoined(f"none of {done.not_taken} nodes took the announcement")
        emit(as_json, record, f"{info_hash.hex()} port {port} announced to {len(done.announced_to)} nodes")

    _ask(ask, timeout, bootstrap)


@main.command()
@click.argument("info_hash", type=console.info_hash, metavar="INFOHASH")
@common_options(60.0)
def scrape(info_hash: InfoHash, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Measure how large a swarm is, with an interval (BEP 33)."""

    async def ask(node: Node) -> None:
        measured = await node.scrape(info_hash)
        emit(as_json, console.scrape_record(measured), console.scrape_text(measured))

    _ask(ask, timeout, bootstrap)


@main.command()
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

    from dhtnode.testnet import open_testnet

    async def serve() -> None:
        async with open_testnet(nodes, seed=seed, bootstrap=bootstrap) as network:
            for info_hash, seeds, leechers in wanted:
                network.place_swarm(info_hash, seeds, leechers)
            with console.catching_signals() as next_signal:
                emit(as_json, {"bootstrap": network.bootstrap, "nodes": nodes}, "\n".join(network.bootstrap))
                with trio.move_on_after(timeout or float("inf")):
                    await _wait_until_told_to_stop(next_signal)

    run(serve)


def _ask(
    question: Callable[[Node], Awaitable[None]],
    timeout: float,
    bootstrap: tuple[str, ...],
    *,
    well_known: bool = True,
    enough: Callable[[], bool] = bool,
) -> None:
    """Open a short-lived, read-only node and ask; fail when time runs out before there is enough."""
    import trio

    async def ask() -> None:
        with trio.move_on_after(timeout) as limit:
            async with _open_asker(bootstrap, well_known=well_known) as node:
                await question(node)
        if limit.cancelled_caught and not enough():
            raise NotJoined(f"no result within {timeout:g} s")

    run(ask)


def _open_asker(bootstrap: tuple[str, ...], *, well_known: bool) -> AbstractAsyncContextManager[Node]:
    from dhtnode.opening import open_node

    return open_node(bootstrap=bootstrap, well_known=well_known, settings=NodeSettings(read_only=True))


async def _ping_patiently(node: Node, address: Address) -> FoundNode:
    """Ping again after each timeout, since a datagram may be lost; the caller limits the time."""
    for _ in range(2):
        try:
            return await node.ping(address)
        except QueryTimeout:
            continue
    return await node.ping(address)


def _describe(found: FoundNode) -> str:
    parts = [found.node_id.hex(), str(found.address), f"{_milliseconds(found.rtt)} ms"]
    if version := format_version(found.version):
        parts.append(version)
    if found.external_address:
        parts.append(f"sees us as {found.external_address}")
    return "  ".join(parts)


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


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
