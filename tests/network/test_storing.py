"""Announced peers: how long they are kept, and what tokens are good for."""

from random import Random

import pytest

from dhtnode import Address, QueryRefused, random_id
from dhtnode.krpc import AnnouncePeer, GetPeers, Ping
from tests.network.scenes import find_peers, host_of, sleep_minutes

pytestmark = pytest.mark.slow


async def test_peer_expires_after_45_minutes(autojump_clock, new_network):
    network, info_hash = new_network(1), random_id(Random(1))
    async with network.open_nodes(12) as nodes:
        await nodes[3].announce(info_hash, 7000)
        await sleep_minutes(44)
        assert await find_peers(nodes[5], info_hash) == {Address(host_of(nodes[3]), 7000)}
        await sleep_minutes(2)
        assert await find_peers(nodes[5], info_hash) == set()
        assert sum(node.statistics().peers.peers for node in nodes) == 0


async def test_announcing_again_keeps_a_peer(autojump_clock, new_network):
    """The 45 minutes count from the last announce, and the last port counts."""
    network, info_hash = new_network(1), random_id(Random(1))
    async with network.open_nodes(12) as nodes:
        await nodes[3].announce(info_hash, 7000)
        await sleep_minutes(30)
        await nodes[3].announce(info_hash, 7001)
        await sleep_minutes(44)
        assert await find_peers(nodes[5], info_hash) == {Address(host_of(nodes[3]), 7001)}
        await sleep_minutes(2)
        assert await find_peers(nodes[5], info_hash) == set()


async def test_token_is_good_for_5_to_10_minutes(autojump_clock, new_network):
    """Accepted after 4 minutes, refused after 10 with error 203 (BEP 5)."""
    network, info_hash = new_network(1), random_id(Random(1))
    async with network.open_nodes(2) as (server, client):
        await sleep_minutes(Random(1).uniform(0, 10))
        token = (await client.query(GetPeers(info_hash), server.addresses[0])).response.token
        await sleep_minutes(4)
        await client.query(AnnouncePeer(info_hash, 7000, token), server.addresses[0])
        await sleep_minutes(6)
        with pytest.raises(QueryRefused) as refusal:
            await client.query(AnnouncePeer(info_hash, 7001, token), server.addresses[0])
        assert refusal.value.code == 203
        assert await find_peers(client, info_hash) == {Address(host_of(client), 7000)}


async def test_token_is_good_for_one_address_and_one_info_hash(autojump_clock, new_network):
    network = new_network(seed=1)
    info_hash, other_hash = random_id(Random(1)), random_id(Random(2))
    async with network.open_nodes(3) as (server, client, thief):
        token = (await client.query(GetPeers(info_hash), server.addresses[0])).response.token
        for asker, swarm in ((thief, info_hash), (client, other_hash)):
            with pytest.raises(QueryRefused) as refusal:
                await asker.query(AnnouncePeer(swarm, 7000, token), server.addresses[0])
            assert refusal.value.code == 203
        await server.query(Ping(), client.addresses[0])
        assert server.statistics().peers.peers == 0


async def test_implied_port_is_that_of_the_socket(autojump_clock, new_network):
    """A peer behind a NAT does not know its port outside, but the node that it asks does (BEP 5)."""
    network, info_hash = new_network(seed=1), random_id(Random(1))
    async with network.open_nodes(12) as nodes:
        await nodes[3].announce(info_hash, 7000, implied_port=True)
        assert await find_peers(nodes[5], info_hash) == {nodes[3].addresses[0]}
