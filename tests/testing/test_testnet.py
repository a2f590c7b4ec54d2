"""The test network on loopback: joined, true to what it says it holds, and the same for the same seed."""

from functools import reduce
from operator import or_

import pytest
import trio

from dhtnode import Address, CannotListen, Family, InfoHash, NodeSettings, open_node
from dhtnode.ids import distance
from dhtnode.net.udp import open_udp_socket
from dhtnode.testing import open_testnet
from dhtnode.testing.testnet import HOLDERS, RENEW_AFTER, PlacedSwarm

HASH = InfoHash(bytes(range(20)))
OTHER = InfoHash(bytes(range(20, 40)))


def stored(testnet, info_hash):
    """Return what each node stores of a swarm: seeds and peers by filter estimate, peers by list."""
    shares = {}
    for node in testnet.nodes:
        held = {
            (peer.compact, peer.seed)
            for known, swarm in node.peers.swarms.items()
            if known == info_hash
            for peer in swarm.peers.values()
        }
        if held:
            shares[node.node_id] = held
    return shares


async def test_nodes_have_joined_when_the_block_begins():
    async with open_testnet(8, seed=1) as testnet:
        assert [len(each.contacts()) for each in testnet.nodes] == [7] * 8
        async with open_node(bootstrap=testnet.bootstrap, settings=NodeSettings(read_only=True)) as node:
            found = await node.find_node(testnet.nodes[5].node_id)
        assert {each.node_id for each in found} == {each.node_id for each in testnet.nodes}
        assert found[0].node_id == testnet.nodes[5].node_id
        assert testnet.bootstrap == [str(each.addresses[0]) for each in testnet.nodes[:3]]


async def test_network_of_one_node_serves():
    async with open_testnet(1) as testnet, open_node(bootstrap=testnet.bootstrap) as node:
        (found,) = await node.find_node(testnet.nodes[0].node_id)
        assert found.address == testnet.nodes[0].addresses[0]


async def test_network_without_nodes_is_empty():
    async with open_testnet(0) as testnet:
        assert (testnet.nodes, testnet.bootstrap) == ((), [])


@pytest.mark.parametrize(("seeds", "leechers"), [(0, 0), (1, 0), (0, 1), (3, 4), (300, 200)])
async def test_stores_hold_the_swarm_that_was_placed(seeds, leechers):
    async with open_testnet(12, seed=2) as testnet:
        swarm = testnet.place_swarm(HASH, seeds, leechers)
        shares = stored(testnet, HASH)
    all_peers = reduce(or_, shares.values(), set())
    closest = sorted(testnet.nodes, key=lambda node: distance(node.node_id, HASH))[:HOLDERS]
    assert swarm == PlacedSwarm(HASH, seeds, leechers)
    assert swarm.peers == len(all_peers) == seeds + leechers
    assert len({compact[:4] for compact, _ in all_peers}) == seeds + leechers
    assert sum(seed for _, seed in all_peers) == seeds
    assert all(compact[0] == 198 and compact[1] in (18, 19) for compact, _ in all_peers)
    assert shares.keys() <= {node.node_id for node in closest}


@pytest.mark.slow
async def test_closer_nodes_hold_more_and_none_holds_all_of_a_large_swarm():
    async with open_testnet(12, seed=3) as testnet:
        testnet.place_swarm(HASH, 500, 500)
        shares = stored(testnet, HASH)
        closest = sorted(testnet.nodes, key=lambda node: distance(node.node_id, HASH))[:HOLDERS]
    sizes = [len(shares[node.node_id]) for node in closest]
    assert max(sizes) < 1000
    assert sizes[0] > sizes[3] > sizes[7] > 0


async def test_stores_hold_every_peer_of_a_swarm_larger_than_the_usual_cap():
    async with open_testnet(8, seed=4) as testnet:
        swarm = testnet.place_swarm(HASH, 2000, 3000)
        shares = stored(testnet, HASH)
    assert len(reduce(or_, shares.values(), set())) == swarm.peers


async def test_scrape_measures_what_was_placed():
    async with open_testnet(10, seed=5) as testnet, open_node(bootstrap=testnet.bootstrap) as node:
        testnet.place_swarm(HASH, 3, 4)
        estimate = (await node.scrape(HASH)).estimate
    assert (estimate.seeds, estimate.leechers, estimate.peers) == (3, 4, 7)


async def run_once(seed):
    async with open_testnet(9, seed=seed) as testnet:
        testnet.place_swarm(HASH, 20, 30)
        testnet.place_swarm(OTHER, 1, 2)
        return [node.node_id for node in testnet.nodes], stored(testnet, HASH), stored(testnet, OTHER)


async def test_same_seed_makes_the_same_ids_and_shares():
    assert await run_once(6) == await run_once(6)


async def test_other_seeds_and_none_make_other_networks():
    networks = [await run_once(seed) for seed in (6, 7, None, None)]
    assert len({tuple(ids) for ids, _, _ in networks}) == 4


async def test_more_peers_than_addresses_are_refused():
    """198.18.0.0/15 has room for so many, and nothing is placed of what does not fit."""
    async with open_testnet(1) as testnet:
        with pytest.raises(ValueError, match="at most 131070 peers in a swarm, not 131071"):
            testnet.place_swarm(HASH, 131_071, 0)
        assert (testnet.swarms, stored(testnet, HASH)) == ([], {})


async def test_placed_swarms_are_renewed(autojump_clock):
    """Peers expire after 45 minutes; those of a test network are announced again before."""
    testnet = None
    async with open_testnet(3, seed=8) as opened:
        testnet = opened
        testnet.place_swarm(HASH, 2, 3)
        node = testnet.nodes[0]
        (swarm,) = node.peers.swarms.values()
        before = {host: peer.expires_at for host, peer in swarm.peers.items()}
        started_at = trio.current_time()
        await trio.sleep(RENEW_AFTER + 1.0)

        after = {host: peer.expires_at for host, peer in swarm.peers.items()}
        assert trio.current_time() >= started_at + RENEW_AFTER
        assert after.keys() == before.keys()
        assert all(after[host] >= before[host] + RENEW_AFTER - 1.0 for host in before)


async def test_networks_can_be_joined_to_each_other():
    async with open_testnet(4) as first, open_testnet(4, bootstrap=first.bootstrap) as second:
        known = {contact.node_id for contact in second.nodes[0].contacts()}
        assert {node.node_id for node in first.nodes} <= known


async def test_network_runs_on_ipv6_loopback():
    try:
        open_udp_socket(Address("::1", 0)).close()
    except CannotListen as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    async with open_testnet(4, host="::1") as testnet, open_node(bootstrap=testnet.bootstrap) as node:
        found = await node.find_node(testnet.nodes[0].node_id)
        assert {each.address.family for each in found} == {Family.IPV6}
        assert len(found) == 4


@pytest.mark.parametrize("error", [KeyError("mine"), NotImplementedError("mine"), KeyboardInterrupt()])
async def test_exception_of_the_block_comes_out_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        async with open_testnet(2):
            raise error
    assert caught.value is error


async def test_cancelled_block_leaves_no_socket_behind():
    """Every port is free again: warnings about open sockets would fail this test."""
    with trio.CancelScope() as scope:
        async with open_testnet(3) as testnet:
            addresses = [node.addresses[0] for node in testnet.nodes]
            scope.cancel()
            await trio.sleep_forever()
    for address in addresses:
        open_udp_socket(address).close()
