"""A libtorrent network that takes no node whose id does not go with its address (BEP 42), and two of ours.

    unshare --user --map-root-user --net python -m tests.real_clients.enforcing

To be run in a network namespace of its own: addresses of loopback and of private networks are
exempt from the rule, so public ones are put on the loopback interface there, where nothing leaves.
Prints one JSON object: what became of a node that learns its address from the others, and of one
that keeps an id of its own.
"""

import json
import subprocess
from contextlib import suppress
from secrets import token_bytes

import click
import trio

from dhtnode import Address, InfoHash, NodeId, QueryError, open_node
from dhtnode.bep42 import is_compliant
from tests.real_clients.libtorrent_network import libtorrent_clients, table_sizes, until

CLIENTS = [f"45.{number}.0.1" for number in range(1, 13)]  # ten /24 at least must agree where we are
LEARNER, STUBBORN = "31.4.5.6", "32.4.5.6"
ENFORCING = {"dht_enforce_node_id": True, "dht_restrict_routing_ips": True, "dht_restrict_search_ips": True}
PORT, OTHER_PORT = 6881, 6882  # the first is taken on all addresses
FIXED_ID = NodeId(bytes(20))


def lay_addresses():
    """Bring loopback up with all addresses; what a wildcard sends to the clients comes from the learner.

    The kernel would take the address of the receiver itself.
    """
    lines = ["link set lo up"]
    lines += [f"address add {host}/32 dev lo" for host in (LEARNER, STUBBORN, *CLIENTS)]
    lines += [f"route replace local {host} dev lo table local src {LEARNER}" for host in CLIENTS]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


async def ids_of(clients, node):
    return {client.address: (await node.ping(client.address)).node_id for client in clients}


async def introduce(clients):
    """Let the clients meet one another again and again: each forgets all others when it renews its id."""
    while True:
        for client in clients:
            for other in clients:
                if other is not client:
                    client.meet(other.address)
        await trio.sleep(2.0)


async def ask_again_and_again(node, clients):
    """Ping all clients every few seconds: on a busy machine some answers to a join come too late."""
    while True:
        for client in clients:
            with suppress(QueryError):
                await node.ping(client.address)
        await trio.sleep(3.0)


def known_nodes(node):
    """Count the nodes of a table, with the ones that wait for a place.

    Ids are new in each run: in one of fourteen, nine and more fall into a bucket of eight.
    """
    buckets = node.statistics().sockets[0].table
    return sum(bucket.good + bucket.replacements for bucket in buckets)


async def holders(clients, node, host):
    ids = await ids_of(clients, node)
    for client in clients:
        client.live_nodes = None
        client.ask_live_nodes(ids[client.address])
    await until(lambda: table_sizes(clients) and all(client.live_nodes is not None for client in clients))
    return sum(any(address.host == host for address in client.live_nodes) for client in clients)


async def run():
    info_hash = InfoHash(token_bytes(20))
    async with libtorrent_clients(*CLIENTS, settings=ENFORCING) as clients, trio.open_nursery() as nursery:
        nursery.start_soon(introduce, clients)
        bootstrap_nodes = [str(client.address) for client in clients]
        async with (
            open_node(listen=[f"0.0.0.0:{PORT}"], bootstrap=bootstrap_nodes, well_known=False) as learner,
            open_node(
                listen=[f"{STUBBORN}:{OTHER_PORT}"],
                bootstrap=bootstrap_nodes,
                well_known=False,
                node_id=FIXED_ID,
            ) as stubborn,
        ):
            first_id = learner.node_id
            nursery.start_soon(ask_again_and_again, learner, clients)
            await until(lambda: known_nodes(learner) >= len(clients))
            await until(lambda: table_sizes(clients)[0] >= len(clients))
            announced = await learner.announce(info_hash, PORT)
            clients[-1].ask_peers(info_hash)
            await until(lambda: clients[-1].poll() or clients[-1].found[info_hash])
            (seen,), (other,) = (node.statistics().sockets for node in (learner, stubborn))
            ids = await ids_of(clients, learner)
            result = {
                "clients": len(clients),
                "conforming_clients": sum(is_compliant(ids[each], each.host) for each in ids),
                "first_id_conforms": is_compliant(first_id, LEARNER),
                "id_conforms": is_compliant(learner.node_id, LEARNER),
                "external_address": str(seen.external_address),
                "known_nodes": known_nodes(learner),
                "held_by": await holders(clients, learner, LEARNER),
                "announced_to": len(announced.announced_to),
                "peer_found": clients[-1].found[info_hash] == {Address(LEARNER, PORT)},
                "stubborn_good_nodes": other.good_nodes,
                "stubborn_errors": other.counts["errors received"] > 0,
                "stubborn_held_by": await holders(clients, learner, STUBBORN),
            }
        nursery.cancel_scope.cancel()
    return result


if __name__ == "__main__":
    lay_addresses()
    click.echo(json.dumps(trio.run(run)))
