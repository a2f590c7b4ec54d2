"""What several tests on the memory network do: compare with the truth, collect, let nodes live and die."""

import trio

from dhtnode import distance


def closest_ids(nodes, target, asker=None, count=8):
    """Return the ids of the nodes that are truly closest to a target, the asker itself left out."""
    ids = [node.node_id for node in nodes if node is not asker]
    return sorted(ids, key=lambda node_id: distance(node_id, target))[:count]


async def find_ids(node, target):
    """Return the ids of the nodes that a lookup finds, closest first."""
    return [found.node_id for found in await node.find_node(target)]


async def find_peers(node, info_hash):
    """Return all peers that a lookup finds."""
    async with node.get_peers(info_hash) as peers:
        return {peer async for peer in peers}


def host_of(node):
    """Return the address of a node's first socket, without the port."""
    return node.addresses[0].host


def queries_sent(node):
    """Return how many queries a node has sent so far, over all its sockets."""
    return sum(endpoint.counts.get("queries sent", 0) for endpoint in node.statistics().endpoints)


async def sleep_minutes(minutes):
    """Let virtual time pass."""
    await trio.sleep(60 * minutes)


async def live(network, number, through, *, task_status):
    """Be a node until the scope that is handed out with it is cancelled."""
    with trio.CancelScope() as scope:
        async with network.open_node(number, through=through) as node:
            await node.wait_joined()
            task_status.started((node, scope))
            await trio.sleep_forever()
