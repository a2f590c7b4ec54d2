"""Our node among libtorrent clients that take no node whose id does not go with its address (BEP 42)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dhtnode import NodeId, open_node
from dhtnode.bep42 import is_compliant
from tests.real_clients.enforcing import CLIENTS, LEARNER, PORT
from tests.real_clients.libtorrent_network import libtorrent_network, until

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

ROOT = Path(__file__).resolve().parents[2]
UNSHARED = ["unshare", "--user", "--map-root-user", "--net"]
LOCAL_HOSTS = [f"127.{number}.0.1" for number in range(90, 102)]


def can_unshare():
    """Tell whether this machine lets us make a network namespace and configure it."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    probe = [*UNSHARED, "ip", "link", "set", "lo", "up"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


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


@pytest.mark.skipif(not can_unshare(), reason="cannot make a network namespace here")
def test_node_that_learns_its_address_is_taken_in_and_one_that_does_not_is_refused():
    command = [*UNSHARED, sys.executable, "-m", "tests.real_clients.enforcing"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

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
