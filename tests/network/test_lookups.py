"""Lookups over a whole network: what they find, what they cost, and what they leave behind."""

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from dhtnode import Address, random_id
from tests.network.scenes import closest_ids, find_ids, find_peers, host_of, queries_sent, sleep_minutes


@pytest.mark.parametrize("seed", [1, 2])
async def test_find_node_returns_exactly_the_closest_nodes(new_network, seed):
    """Without loss a lookup is exact, whoever asks."""
    network, random = new_network(seed), Random(seed)

    async with network.open_nodes(60) as nodes:
        for asker in nodes:
            target = random_id(random)

            assert await find_ids(asker, target) == closest_ids(nodes, target, asker)


@pytest.mark.parametrize("seed", [1, 2])
async def test_peers_are_found_under_loss(new_network, seed):
    """With one datagram in five lost, more than a third of all queries fail; lookups hardly ever do."""
    network, random = new_network(seed, loss=0.2), Random(seed)
    found = 0

    async with network.open_nodes(60) as nodes:
        await sleep_minutes(5)
        for _ in range(100):
            info_hash = random_id(random)
            announcer, seeker = random.sample(nodes, 2)
            await announcer.announce(info_hash, 7000)
            found += Address(host_of(announcer), 7000) in await find_peers(seeker, info_hash)

    assert found >= 99
    assert 0.19 < network.statistics().lost / network.statistics().sent < 0.21


@pytest.mark.parametrize("seed", [1, 2])
async def test_duplicated_datagrams_do_no_harm(new_network, seed):
    """An answer counts once, a peer is stored once, and lookups are exact."""
    network, random = new_network(seed, duplication=0.5), Random(seed)

    async with network.open_nodes(40) as nodes:
        for announcer in nodes:
            target = random_id(random)
            announcement = await announcer.announce(target, 7000)

            assert await find_ids(announcer, target) == closest_ids(nodes, target, announcer)
            assert await find_peers(random.choice(nodes), target) == {Address(host_of(announcer), 7000)}
            stored = [node for node in nodes if node.peers.filters(target, None, trio.current_time())]
            assert len(stored) == len(announcement.announced_to) == 8

    assert sum(node.statistics().peers.peers for node in nodes) == 40 * 8
    assert network.totals()["answers"] <= network.totals()["queries sent"]
    assert network.statistics().duplicated > 1000


async def test_lookup_in_an_empty_network_says_so(new_network):
    """Nobody to ask is an error, not an empty result."""


@pytest.mark.parametrize("seed", [1])
async def test_cancelled_lookup_leaves_nothing_behind(new_network, seed):
    """No query stays open and no task stays alive, however a lookup is left."""
    network, random = new_network(seed), Random(seed)

    async with network.open_nodes(30) as nodes:
        await sleep_minutes(1)
        node, target = nodes[7], random_id(random)
        tasks = trio.lowlevel.current_statistics().tasks_living

        for operation in (node.find_node, node.scrape, find_peers_of(node), announce_of(node)):
            with trio.move_on_after(0.1) as scope:
                await operation(target)
            await wait_all_tasks_blocked()

            assert scope.cancelled_caught
            assert node.statistics().endpoints[0].pending == 0
            assert trio.lowlevel.current_statistics().tasks_living == tasks


def find_peers_of(node):
    return lambda info_hash: find_peers(node, info_hash)


def announce_of(node):
    return lambda info_hash: node.announce(info_hash, 7000)
