"""What several tests on the memory network do: compare with the truth, collect, wait, live and die."""

import trio

from dhtnode import distance


def closest_ids(nodes, target, asker=None):
    """Return the ids of the 8 nodes that are truly closest to a target, the asker itself left out."""
    ids = [node.node_id for node in nodes if node is not asker]
    return sorted(ids, key=lambda node_id: distance(node_id, target))[:8]


async def find_ids(node, target):
    return [found.node_id for found in await node.find_node(target)]


async def find_peers(node, info_hash):
    async with node.get_peers(info_hash) as peers:
        return {peer async for peer in peers}


def host_of(node):
    """Return the address of a node's first socket, without the port."""
    return node.addresses[0].host


def pending(node):
    return sum(endpoint.pending for endpoint in node.statistics().sockets)


def queries_sent(node):
    return sum(endpoint.counts.get("queries sent", 0) for endpoint in node.statistics().sockets)


def known_hosts(node):
    """Return the hosts of the contacts that a node would hand out."""
    return {contact.address.host for contact in node.contacts()}


async def sleep_minutes(minutes):
    """Let virtual time pass."""
    await trio.sleep(60 * minutes)


async def wait_until_quiet(nodes):
    """Wait for a moment in which no query is under way, nor the answer to one that was given up."""
    quiet_since = trio.current_time()
    while trio.current_time() - quiet_since < 1.0:
        await trio.sleep(0.1)
        if any(map(pending, nodes)):
            quiet_since = trio.current_time()


async def live(network, number, through, *, task_status):
    with trio.CancelScope() as scope:
        async with network.open_node(number, through=through) as node:
            await node.wait_joined()
            task_status.started((node, scope))
            await trio.sleep_forever()
