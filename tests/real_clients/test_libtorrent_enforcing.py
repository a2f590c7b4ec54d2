"""Our node among libtorrent clients that take no node whose id does not go with its address (BEP 42)."""

import json

import pytest

from dhtnode import NodeId, open_node
from dhtnode.bep42 import is_compliant
from tests.namespaces import in_a_namespace, run_unshared
from tests.real_clients.enforcing import CLIENTS, LEARNER, PORT
from tests.real_clients.libtorrent_network import libtorrent_network, until

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

LOCAL_HOSTS = [f"127.{number}.0.1" for number in range(90, 102)]


async def test_local_addresses_are_exempt():
    fixed_id = NodeId(bytes(20))
    async with (
        libtorrent_network(*LOCAL_HOSTS, settings={"dht_enforce_node_id": True}) as network,
        open_node(bootstrap=[str(network[0].address)], node_id=fixed_id) as node,
    ):
        await node.wait_joined()
        asked = {contact.address for contact in node.contacts()}
        ids = {client.address: (await node.ping(client.address)).node_id for client in network}
        own_address = node.addresses[0]

        def holders():
            for client in network:
                client.poll()
                client.ask_live_nodes(ids[client.address])
            return {client.address for client in network if own_address in client.live_nodes}

        await until(lambda: asked <= holders())

        assert len(asked) >= 8
        assert all(is_compliant(node_id, address.host) for address, node_id in ids.items())
        assert {client.live_nodes.get(own_address) for client in network} - {None} == {fixed_id}


@in_a_namespace
def test_node_that_learns_its_address_is_taken_in_and_one_that_does_not_is_refused():
    done = run_unshared("tests.real_clients.enforcing")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "clients": len(CLIENTS),
        "conforming_clients": len(CLIENTS),
        "first_id_conforms": False,
        "id_conforms": True,
        "external_address": f"{LEARNER}:{PORT}",
        "known_nodes": len(CLIENTS),
        "held_by": len(CLIENTS),
        "announced_to": 8,
        "peer_found": True,
        "stubborn_good_nodes": 0,
        "stubborn_errors": True,
        "stubborn_held_by": 0,
    }
