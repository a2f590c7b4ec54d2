"""The commands that ask the network one question: each is one call of the library, plus printing.

They open a node of their own, short-lived and read-only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import click

import dhtnode
from dhtnode import cli
from dhtnode.cli import console
from dhtnode.cli.console import SwarmArgument, common_options, emit
from dhtnode.clients import format_version
from dhtnode.errors import NotJoined, QueryTimeout
from dhtnode.ids import NodeId, distance_bits
from dhtnode.settings import NodeSettings


@click.command()
@click.argument("host_port", type=console.host_port, metavar="HOST:PORT")
@common_options(10.0)
def ping(host_port: str, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Ask one node for its id, and how it sees us."""

    async def ask(node: dhtnode.Node) -> None:
        found = await _ping_patiently(node, await node.resolve(host_port))
        record = {
            "address": str(found.address),
            "node_id": found.node_id.hex(),
            "version": format_version(found.version),
            "rtt_ms": _milliseconds(found.rtt),
            "external_address": str(found.external_address) if found.external_address else None,
        }
        emit(as_json, record, _describe(found))

    ask_network(ask, timeout, (*bootstrap, host_port), well_known=False)


@click.command("find-node")
@click.argument("target", type=console.node_id, metavar="ID")
@common_options(30.0)
def find_node(target: NodeId, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Find the nodes closest to an id, closest first; each of them answered."""

    async def ask(node: dhtnode.Node) -> None:
        for found in await node.find_node(target):
            record = {
                "node_id": found.node_id.hex(),
                "address": str(found.address),
                "distance_bits": distance_bits(found.node_id, target),
                "rtt_ms": _milliseconds(found.rtt),
            }
            emit(as_json, record, _describe(found))

    ask_network(ask, timeout, bootstrap)


@click.command("get-peers")
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@common_options(30.0)
def get_peers(swarm: SwarmArgument, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Print the peers of a swarm as they are found, each once.

    INFOHASH may be the path of a torrent file.
    """
    info_hash = swarm.info_hash
    count = 0

    async def ask(node: dhtnode.Node) -> None:
        nonlocal count
        async with node.get_peers(info_hash) as peers:
            async for peer in peers:
                count += 1
                emit(as_json, {"address": str(peer)}, str(peer))
        if not count:
            raise NotJoined(f"no peers known for {info_hash.hex()}")

    ask_network(ask, timeout, bootstrap, ways_in=swarm.ways_in, enough=lambda: count > 0)


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port of the peer.")
@click.option("--seed", is_flag=True, help="The peer has everything (BEP 33).")
@click.option("--implied-port", is_flag=True, help="Nodes shall use our UDP source port instead.")
@common_options(30.0)
def announce(
    swarm: SwarmArgument,
    port: int,
    seed: bool,
    implied_port: bool,
    as_json: bool,
    timeout: float,
    bootstrap: tuple[str, ...],
) -> None:
    """Announce a peer on this host to the nodes closest to a swarm.

    INFOHASH may be the path of a torrent file.
    """
    info_hash = swarm.info_hash

    async def ask(node: dhtnode.Node) -> None:
        done = await node.announce(info_hash, port, seed=seed, implied_port=implied_port)
        record = {"info_hash": info_hash.hex(), "port": port, "announced_to": len(done.announced_to)}
        if not done.announced_to:
            raise NotJoined(f"none of {done.not_taken} nodes took the announcement")
        emit(as_json, record, f"{info_hash.hex()} port {port} announced to {len(done.announced_to)} nodes")

    ask_network(ask, timeout, bootstrap, ways_in=swarm.ways_in)


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@common_options(60.0)
def scrape(swarm: SwarmArgument, as_json: bool, timeout: float, bootstrap: tuple[str, ...]) -> None:
    """Measure how large a swarm is, with an interval (BEP 33).

    INFOHASH may be the path of a torrent file.
    """

    async def ask(node: dhtnode.Node) -> None:
        measured = await node.scrape(swarm.info_hash)
        emit(as_json, console.scrape_record(measured), console.scrape_text(measured))

    ask_network(ask, timeout, bootstrap, ways_in=swarm.ways_in)


def ask_network(
    question: Callable[[dhtnode.Node], Awaitable[None]],
    timeout: float,
    bootstrap: tuple[str, ...],
    *,
    ways_in: tuple[str, ...] = (),
    well_known: bool = True,
    enough: Callable[[], bool] = bool,
) -> None:
    """Open a short-lived, read-only node and ask; fail when time runs out before there is enough."""

    async def ask() -> None:
        async with dhtnode.open_node(
            bootstrap=bootstrap, ways_in=ways_in, well_known=well_known, settings=NodeSettings(read_only=True)
        ) as node:
            await question(node)

    if not cli.run(partial(cli.run_with_timeout, ask, timeout)) and not enough():
        raise click.ClickException(f"no result within {timeout:g} s")


async def _ping_patiently(node: dhtnode.Node, address: dhtnode.Address) -> dhtnode.FoundNode:
    """Ping again after each timeout, since a datagram may be lost; the caller limits the time."""
    for _ in range(2):
        try:
            return await node.ping(address)
        except QueryTimeout:
            continue
    return await node.ping(address)


def _describe(found: dhtnode.FoundNode) -> str:
    parts = [found.node_id.hex(), str(found.address), f"{_milliseconds(found.rtt)} ms"]
    if version := format_version(found.version):
        parts.append(version)
    if found.external_address:
        parts.append(f"sees us as {found.external_address}")
    return "  ".join(parts)


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
