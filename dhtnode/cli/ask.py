"""The commands that query the network once: each is one call of the library, plus printing.

They open a node of their own, short-lived and read-only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, TypeAlias

import click

import dhtnode
from dhtnode import cli
from dhtnode.cli import console
from dhtnode.cli.console import Command, Decorator, NetworkOptions, SwarmArgument, emit, network_options
from dhtnode.client_names import client_name, letters_of_version
from dhtnode.errors import NotJoined, QueryTimeout
from dhtnode.ids import NodeId, distance_bits

Show: TypeAlias = Callable[[Mapping[str, object], *tuple[str, ...]], None]
"""A function that prints one result: as a record, or as lines of text."""


def asking(default_timeout: float) -> Decorator:
    """Make a command of a coroutine function that is called with a node, a way to show, and its arguments.

    A `host_port` among these is the only node to query, and that to join through.  The nodes that the
    torrent file of a `swarm` lists are to join through too.
    """

    def decorate(ask: Callable[..., Awaitable[None]]) -> Command:
        @wraps(ask)
        def command(network: NetworkOptions, **given: Any) -> None:
            torrent_nodes = given["swarm"].nodes if "swarm" in given else ()
            query = partial(ask, **given)
            query_network(query, network, only=given.get("host_port"), torrent_nodes=torrent_nodes)

        return network_options(default_timeout)(command)

    return decorate


def query_network(
    ask: Callable[[dhtnode.Node, Show], Awaitable[None]],
    network: NetworkOptions,
    *,
    only: str | None = None,
    torrent_nodes: tuple[str, ...] = (),
) -> None:
    """Open a short-lived, read-only node and ask; fail when time runs out before anything is shown.

    With `only`, the node joins through one host that is to be queried, and through no well-known one.
    """
    shown: list[str] = []
    trouble: tuple[str, ...] = ()

    def show(record: Mapping[str, object], *lines: str) -> None:
        shown.extend(lines)
        emit(network.as_json, record, *lines)

    async def ask_briefly() -> None:
        nonlocal trouble
        async with dhtnode.open_node(
            listen=network.listen or None,
            bootstrap=network.bootstrap if only is None else (*network.bootstrap, only),
            torrent_nodes=torrent_nodes,
            well_known=only is None,
            settings=dhtnode.NodeSettings(read_only=True),
        ) as node:
            try:
                await ask(node, show)
            finally:
                trouble = node.bootstrap_trouble()

    is_done = cli.run(partial(cli.run_with_timeout, ask_briefly, network.timeout))
    if not is_done and not shown:
        raise click.ClickException("; ".join([f"no result within {network.timeout:g} s", *trouble]))


@click.command()
@click.argument("host_port", type=console.host_port, metavar="HOST:PORT")
@asking(10.0)
async def ping(node: dhtnode.Node, show: Show, host_port: str) -> None:
    """Ask one node for its id, and how it sees us."""
    found = await _ping_patiently(node, await node.resolve_all(host_port))
    record = {
        "address": str(found.address),
        "node_id": found.node_id.hex(),
        "client": _client(found.version),
        "version": _version(found.version),
        "rtt_ms": _milliseconds(found.rtt),
        "external_address": str(found.external_address) if found.external_address else None,
    }
    show(record, _describe(found))


@click.command("find-node")
@click.argument("target", type=console.node_id, metavar="ID")
@asking(30.0)
async def find_node(node: dhtnode.Node, show: Show, target: NodeId) -> None:
    """Find the nodes closest to an id, closest first; each of them answered."""
    for found in await node.find_node(target):
        record = {
            "node_id": found.node_id.hex(),
            "address": str(found.address),
            "distance_bits": distance_bits(found.node_id, target),
            "rtt_ms": _milliseconds(found.rtt),
        }
        show(record, _describe(found))


@click.command("get-peers")
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@asking(30.0)
async def get_peers(node: dhtnode.Node, show: Show, swarm: SwarmArgument) -> None:
    """Print the peers of a swarm as they are found, each once.

    INFOHASH may be the path of a torrent file.
    """
    peer = None
    async with node.get_peers(swarm.info_hash) as peers:
        async for peer in peers:
            show({"address": str(peer)}, str(peer))
    if peer is None:
        raise NotJoined(f"no peers known for {swarm.info_hash.hex()}")


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port of the peer.")
@click.option("--seed", is_flag=True, help="The peer has everything (BEP 33).")
@click.option("--implied-port", is_flag=True, help="Nodes shall use our UDP source port instead.")
@asking(30.0)
async def announce(
    node: dhtnode.Node, show: Show, swarm: SwarmArgument, port: int, seed: bool, implied_port: bool
) -> None:
    """Announce a peer on this host to the nodes closest to a swarm.

    INFOHASH may be the path of a torrent file.
    """
    info_hash = swarm.info_hash.hex()
    done = await node.announce(swarm.info_hash, port, seed=seed, implied_port=implied_port)
    count = len(done.announced_to)
    if not count:
        raise NotJoined(f"none of {done.not_taken} nodes took the announcement")
    record = {"info_hash": info_hash, "port": port, "announced_to": count}
    show(record, f"{info_hash} port {port} announced to {count} nodes")


@click.command()
@click.argument("swarm", type=console.swarm, metavar="INFOHASH")
@asking(60.0)
async def scrape(node: dhtnode.Node, show: Show, swarm: SwarmArgument) -> None:
    """Measure how large a swarm is, with an interval (BEP 33).

    INFOHASH may be the path of a torrent file.
    """
    measured = await node.scrape(swarm.info_hash)
    show(console.scrape_record(measured), console.scrape_text(measured))


async def _ping_patiently(node: dhtnode.Node, addresses: Sequence[dhtnode.Address]) -> dhtnode.FoundNode:
    """Ping one after the other, each three times: a datagram may be lost; the caller limits the time."""
    *firsts, last = list(addresses) * 3
    for address in firsts:
        with suppress(QueryTimeout):
            return await node.ping(address)
    return await node.ping(last)


def _describe(found: dhtnode.FoundNode) -> str:
    parts = [found.node_id.hex(), str(found.address), f"{_milliseconds(found.rtt)} ms"]
    if version := _version(found.version):
        name = _client(found.version) or ""
        parts.append(version if version.startswith(name) else f"{name} ({version})")
    if found.external_address:
        parts.append(f"sees us as {found.external_address}")
    return "  ".join(parts)


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _client(version: bytes | None) -> str | None:
    """Return the name of the client that a `v` claims, its letters where it is unknown to us."""
    letters = letters_of_version(version or b"")
    return letters and client_name(letters)


def _version(version: bytes | None) -> str | None:
    """Return `v` as text: two letters and the version bytes in hex (BEP 20), or plain hex, or None."""
    if not version:
        return None
    letters = letters_of_version(version)
    return f"{letters} {version[2:].hex()}".strip() if letters else version.hex()
