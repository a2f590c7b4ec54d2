"""The commands that query the network once: each is one call of the library, plus printing.

They open a node of their own, short-lived and read-only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import click

import dhtnode
from dhtnode import cli
from dhtnode.cli import console
from dhtnode.cli.console import NetworkOptions, SwarmArgument, emit, network_options
from dhtnode.clients import format_version
from dhtnode.errors import NotJoined, QueryTimeout
from dhtnode.ids import NodeId, distance_bits


@click.command()
@click.argument("host_port", type=console.host_port, metavar="HOST:PORT")
@network_options(10.0)
def ping(host_port: str, network: NetworkOptions) -> None:
    """Ask one node for its id, and how it sees us."""

    async def query(node: dhtnode.Node) -> None:
        found = await _ping_patiently(node, await node.resolve(host_port))
        record = {
            "address": str(found.address),
            "node_id": found.node_id.hex(),
            "version": format_version(found.version),
            "rtt_ms": _milliseconds(found.rtt),
            "external_address": str(found.external_address) if found.external_address else None,
        }
        emit(network.as_json, record, _describe(found))

    query_network(query, network, only=host_port)


@click.command("find-node")
@click.argument("target", type=console.node_id, metavar="ID")
@network_options(30.0)
def find_node(target: NodeId, network: NetworkOptions) -> None:
    """Find the nodes closest to an id, closest first; each of them answered."""

    async def query(node: dhtnode.Node) -> None:
        for found in await node.find_node(target):
            record = {
                "node_id": found.node_id.hex(),
                "address": str(found.address),
                "distance_bits": distance_bits(found.node_id, target),
                "rtt_ms": _milliseconds(found.rtt),
            }
            emit(network.as_json, record, _describe(found))

    query_network(query, network)


@click.command("get-peers")
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@network_options(30.0)
def get_peers(swarm: SwarmArgument, network: NetworkOptions) -> None:
    """Print the peers of a swarm as they are found, each once.

    INFOHASH may be the path of a torrent file.
    """
    info_hash = swarm.info_hash
    count = 0

    async def query(node: dhtnode.Node) -> None:
        nonlocal count
        async with node.get_peers(info_hash) as peers:
            async for peer in peers:
                count += 1
                emit(network.as_json, {"address": str(peer)}, str(peer))
        if not count:
            raise NotJoined(f"no peers known for {info_hash.hex()}")

    query_network(query, network, torrent_nodes=swarm.nodes, is_enough=lambda: count > 0)


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port of the peer.")
@click.option("--seed", is_flag=True, help="The peer has everything (BEP 33).")
@click.option("--implied-port", is_flag=True, help="Nodes shall use our UDP source port instead.")
@network_options(30.0)
def announce(
    swarm: SwarmArgument, port: int, seed: bool, implied_port: bool, network: NetworkOptions
) -> None:
    """Announce a peer on this host to the nodes closest to a swarm.

    INFOHASH may be the path of a torrent file.
    """
    info_hash = swarm.info_hash

    async def query(node: dhtnode.Node) -> None:
        done = await node.announce(info_hash, port, seed=seed, implied_port=implied_port)
        record = {"info_hash": info_hash.hex(), "port": port, "announced_to": len(done.announced_to)}
        if not done.announced_to:
            raise NotJoined(f"none of {done.not_taken} nodes took the announcement")
        text = f"{info_hash.hex()} port {port} announced to {len(done.announced_to)} nodes"
        emit(network.as_json, record, text)

    query_network(query, network, torrent_nodes=swarm.nodes)


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@network_options(60.0)
def scrape(swarm: SwarmArgument, network: NetworkOptions) -> None:
    """Measure how large a swarm is, with an interval (BEP 33).

    INFOHASH may be the path of a torrent file.
    """

    async def query(node: dhtnode.Node) -> None:
        measured = await node.scrape(swarm.info_hash)
        emit(network.as_json, console.scrape_record(measured), console.scrape_text(measured))

    query_network(query, network, torrent_nodes=swarm.nodes)


def query_network(
    query: Callable[[dhtnode.Node], Awaitable[None]],
    network: NetworkOptions,
    *,
    only: str | None = None,
    torrent_nodes: tuple[str, ...] = (),
    is_enough: Callable[[], bool] = bool,
) -> None:
    """Open a short-lived, read-only node and query; fail when time runs out before there is enough.

    With `only`, the node joins through one host that is to be queried, and through no well-known one.
    """
    bootstrap = network.bootstrap if only is None else (*network.bootstrap, only)

    async def query_briefly() -> None:
        async with dhtnode.open_node(
            bootstrap=bootstrap,
            torrent_nodes=torrent_nodes,
            well_known=only is None,
            settings=dhtnode.NodeSettings(read_only=True),
        ) as node:
            await query(node)

    is_done = cli.run(partial(cli.run_with_timeout, query_briefly, network.timeout))
    if not is_done and not is_enough():
        raise click.ClickException(f"no result within {network.timeout:g} s")


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
