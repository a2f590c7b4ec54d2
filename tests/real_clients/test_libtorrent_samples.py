"""Samples of info-hashes between libtorrent and us, both ways (BEP 51)."""

from datetime import timedelta

import pytest

from dhtnode import Address, InfoHash, open_node
from tests.real_clients.libtorrent_network import libtorrent_network, until

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

SWARMS = {InfoHash(bytes([number]) * 20) for number in range(1, 6)}


async def test_samples_go_both_ways():
    async with (
        libtorrent_network(*["127.0.0.1"] * 4) as clients,
        open_node(bootstrap=[str(clients[0].address)]) as node,
    ):
        await node.wait_joined()
        for swarm in SWARMS:
            await node.announce(swarm, 6881)
            node.peers.announce(swarm, Address("127.9.9.9", 7000), 0.0, seed=False)
        theirs = [await node.sample_infohashes(client.address) for client in clients]
        clients[1].ask_sample(node.addresses[0], b"t" * 20)
        await until(lambda: clients[1].poll() or node.addresses[0] in clients[1].samples)
        num, samples, interval = clients[1].samples[node.addresses[0]]

    assert {info_hash for sample in theirs for info_hash in sample.info_hashes} == SWARMS
    assert all(sample.num == len(sample.info_hashes) for sample in theirs)
    assert (num, samples) == (5, SWARMS)
    assert timedelta(hours=5, minutes=59) < interval <= timedelta(hours=6)
