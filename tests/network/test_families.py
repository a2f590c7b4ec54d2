"""Two networks at once: IPv4 and IPv6 side by side in one node (BEP 32)."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from dhtnode import Address, Family, FindNode, GetPeers, Ping, QueryNotSent, random_id
from tests.network.scenes import find_peers, sleep_minutes

V4, V6 = Family.IPV4, Family.IPV6
BOTH = (V4, V6)


@asynccontextmanager
async def open_both(network):
    """Open 9 nodes with both families, then 6 with IPv4 only and 6 with IPv6 only."""
    async with network.open_nodes(9, families=BOTH) as dual:
        through = dual[0].addresses
        async with (
            network.open_nodes(6, first=20, through=through) as only4,
            network.open_nodes(6, first=40, families=[V6], through=through) as only6,
        ):
            yield dual, only4, only6


@pytest.mark.parametrize("seed", [1])
async def test_node_with_both_families_joins_both(autojump_clock, new_network, seed):
    """Each family has a table of its own, with contacts of that family only."""
    network = new_network(seed)

    async with (
        open_both(network) as (dual, _, _),
        network.open_node(60, families=BOTH, through=dual[0].addresses) as node,
    ):
        await node.wait_joined()
        families = [contact.address.family for contact in node.contacts()]
        endpoints = node.statistics().endpoints

    assert [endpoint.family for endpoint in endpoints] == [V4, V6]
    assert min(endpoint.nodes for endpoint in endpoints) >= 8
    assert sorted(families) == [V4] * endpoints[0].nodes + [V6] * endpoints[1].nodes


@pytest.mark.parametrize("seed", [1])
async def test_want_decides_which_contacts_are_listed(autojump_clock, new_network, seed):
    """Those asked for, or those of the family that the query came over."""
    network, target = new_network(seed), random_id(Random(seed))

    async with open_both(network) as (dual, only4, only6):
        server4, server6 = dual[3].addresses
        for asker, server, own in ((only4[3], server4, {V4}), (only6[3], server6, {V6})):
            for want in (frozenset(), frozenset({V4}), frozenset({V6}), frozenset(BOTH)):
                for method in (FindNode(target, want), GetPeers(target, want)):
                    response = (await asker.query(method, server)).response

                    listed = {family for family in BOTH if len(response.contacts(family)) == 8}
                    assert listed == set(want or own)
                    assert {response.nodes is not None, response.nodes6 is not None} == {
                        V4 in listed,
                        V6 in listed,
                    }


@pytest.mark.parametrize("seed", [1])
async def test_announce_and_get_peers_use_both_families(autojump_clock, new_network, seed):
    """A peer with two addresses is announced under both; a lookup returns peers of both networks."""
    network, info_hash = new_network(seed), random_id(Random(seed))

    async with open_both(network) as (dual, only4, only6):
        announcement = await dual[3].announce(info_hash, 7000)
        await only4[3].announce(info_hash, 7001)
        await only6[3].announce(info_hash, 7002)
        peers4 = {Address(dual[3].addresses[0].host, 7000), Address(only4[3].addresses[0].host, 7001)}
        peers6 = {Address(dual[3].addresses[1].host, 7000), Address(only6[3].addresses[0].host, 7002)}

        told = [contact.address.family for contact in announcement.announced_to]
        assert sorted(told) == [V4] * 8 + [V6] * 8
        assert await find_peers(dual[7], info_hash) == peers4 | peers6
        assert await find_peers(only4[5], info_hash) == peers4
        assert await find_peers(only6[5], info_hash) == peers6


async def test_family_without_a_socket_cannot_be_asked(autojump_clock, new_network):
    """It says so at once, and is counted as not sent."""
    network = new_network(seed=1)

    async with network.open_nodes(2) as nodes:
        with pytest.raises(QueryNotSent):
            await nodes[1].query(Ping(), Address(network.host(0, V6), 6881))


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize(("dead", "alive"), [(V4, V6), (V6, V4)])
async def test_dead_family_does_not_delay_the_other(autojump_clock, new_network, seed, dead, alive):
    """Peers come over one family while nobody at all answers in the other."""
    network, info_hash = new_network(seed), random_id(Random(seed))

    async with network.open_nodes(20, families=[alive]) as nodes:
        await nodes[3].announce(info_hash, 7000)
        nobody = [Address(network.host(number, dead), 6881) for number in range(30, 40)]
        through = [*nobody, *nodes[0].addresses]
        async with network.open_node(60, families=BOTH, through=through) as node:
            with trio.fail_after(4.0):  # less than the first timeout, 5 s
                while len(node.contacts()) < 8:
                    await sleep_minutes(0.1 / 60)
                async with node.get_peers(info_hash) as peers:
                    found = await anext(peers)

            assert found == (nodes[3].addresses[0].host, 7000)
            assert {contact.address.family for contact in node.contacts()} == {alive}


@pytest.mark.parametrize("seed", [1])
async def test_family_that_dies_later_does_not_harm_the_other(autojump_clock, new_network, seed):
    """Half an hour after IPv4 was lost, IPv6 goes on as before, and announces still count."""
    network, info_hash = new_network(seed), random_id(Random(seed))

    async with network.open_nodes(9, families=BOTH) as dual:
        for node in dual:
            network.cut(node.addresses[0].host)
        await sleep_minutes(30)
        announcement = await dual[3].announce(info_hash, 7000)

        assert {contact.address.family for contact in announcement.announced_to} == {V6}
        assert await find_peers(dual[7], info_hash) == {Address(dual[3].addresses[1].host, 7000)}
