"""The command `dhtnode local-tracker`: the tracker that our own network announces in its reverse DNS."""

from __future__ import annotations

import secrets
from functools import partial

import click

import dhtnode
from dhtnode import cli
from dhtnode.addresses import Address, is_public
from dhtnode.cli.console import NetworkOptions, emit, local_address, network_options
from dhtnode.errors import InvalidArgument
from dhtnode.escaping import escaped


@click.command("local-tracker")
@click.option(
    "--external",
    metavar="IP",
    help="The address that others see us at; by default the nodes of the DHT are asked for it.",
)
@click.option(
    "--name-server",
    "name_servers",
    type=local_address,
    multiple=True,
    metavar="IP:PORT",
    help="Ask this one in place of those of the system; may be repeated, with one port.",
)
@network_options(60.0)
def local_tracker(external: str | None, name_servers: tuple[Address, ...], network: NetworkOptions) -> None:
    """Find the tracker that the network of this machine announces in its reverse DNS (BEP 22).

    Prints the names asked for and what came, and at the end the URLs to announce to, in the order to try
    them.  Who runs the reverse zone of your address, and the zones above it, can see that you asked.
    Nothing is sent to a tracker.  Exit status 1 if none was found.
    """
    if len({server.port for server in name_servers}) > 1:
        raise click.UsageError("all name servers are asked on one port")
    found: list[str] = []

    async def search() -> None:
        # Not above: it brings Trio.
        from dhtnode.tracker_client import open_trackers

        host = await _external_host(network) if external is None else external
        async with open_trackers(name_servers=name_servers) as trackers:
            local = await trackers.find_local(host)
        for asked in local.asked:
            record = {
                "name": asked.name,
                "kind": asked.kind,
                "answers": asked.answers,
                "refused": asked.refused,
            }
            words = [", ".join(asked.answers) or "nothing", *(f"({reason})" for reason in asked.refused)]
            emit(network.as_json, record, escaped(f"{asked.name}  {asked.kind}  {'  '.join(words)}"))
        found.extend(str(url) for url in local.urls)

    try:
        is_done = cli.run(partial(cli.run_with_timeout, search, network.timeout))
    except InvalidArgument as error:
        raise click.UsageError(str(error)) from error
    if not is_done:
        raise click.ClickException(f"no result within {network.timeout:g} s")
    if not found:
        raise click.ClickException("the network announces no tracker")
    emit(network.as_json, {"trackers": found}, *found)


async def _external_host(network: NetworkOptions) -> str:
    """Return the address that most nodes of the DHT see us at, once enough have said so."""
    import trio

    settings = dhtnode.NodeSettings(read_only=True)
    async with dhtnode.open_node(
        listen=network.listen or None, bootstrap=network.bootstrap, settings=settings
    ) as node:
        await node.wait_joined()
        while True:
            seen = [each.external_address for each in node.statistics().sockets if each.external_address]
            if seen:
                break
            # What makes them say so is any query.
            await node.find_node(dhtnode.NodeId(secrets.token_bytes(20)))
            await trio.sleep(0.2)
    public = [address.host for address in seen if is_public(address.host)]
    if not public:
        raise InvalidArgument(f"{seen[0].host} is in a special network: give the address by --external")
    return public[0]
