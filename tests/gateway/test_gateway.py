"""A gateway on a node, in a network of other nodes, in virtual time."""

from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest
import trio

from dhtnode import Family, InfoHash, InvalidArgument
from dhtnode.gateway import GatewaySettings, Refusal
from dhtnode.gateway_server import open_gateway
from dhtnode.trackers import Event
from tests.gateway_cores import LAN, LOOPBACK, NEIGHBOUR, STRANGER, SWARM, request

OURS = 100
SETTINGS = GatewaySettings(is_open=True)


@asynccontextmanager
async def gateway_in(network, nodes, settings=SETTINGS, **how):
    """Open a gateway on a node that has joined the others."""
    async with network.open_node(OURS, through=nodes[0].addresses, **how) as node:
        await node.wait_joined()
        async with open_gateway(node, settings, random=Random(5)) as gateway:
            yield gateway


def stored(nodes):
    return sum(node.peers.statistics().peers for node in nodes)


async def test_clients_get_the_peers_of_the_dht(new_network, autojump_clock):
    network = new_network(1)
    async with network.open_nodes(20) as nodes, gateway_in(network, nodes) as gateway:
        await nodes[3].announce(SWARM, 4000, seed=True)
        await nodes[7].announce(SWARM, 5000)
        answer = await gateway.announce(request(), LAN)
        await trio.sleep(60)
        (counts,) = gateway.scrape([SWARM], LAN).counts.values()

    assert sorted(answer.peers) == sorted([(network.host(3), 4000), (network.host(7), 5000)])
    assert (answer.interval, answer.external_host) == (1800, LAN)
    assert (counts.seeds, counts.leechers) == (1, 2)


async def test_one_lookup_serves_all_who_wait(new_network, autojump_clock):
    network = new_network(2)
    async with network.open_nodes(20) as nodes, gateway_in(network, nodes) as gateway:
        await nodes[3].announce(SWARM, 4000)
        answers = []

        async def ask(number):
            answers.append(await gateway.announce(request(port=number), f"192.168.1.{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(1, 31):
                nursery.start_soon(ask, number)
        found = await gateway.find(SWARM, LAN, wanted=200)
        assert gateway.statistics().counts["lookups"] == 1

    assert all((network.host(3), 4000) in answer.peers for answer in answers)
    assert len(found.peers) == 31


async def test_answer_comes_after_a_time_whatever_the_dht_does(new_network, autojump_clock):
    network = new_network(3)
    settings = replace(SETTINGS, wait=2.0)
    async with network.open_nodes(5) as nodes, gateway_in(network, nodes, settings) as gateway:
        for node in nodes:
            network.cut(node.addresses[0].host)
        before = trio.current_time()
        answer = await gateway.announce(request(), LAN)
        assert trio.current_time() - before == pytest.approx(2.0)
        assert (answer.peers, answer.interval, answer.min_interval) == ((), 60, 30)
        await trio.sleep(120)
        assert gateway.statistics().lookups == 0


async def test_only_clients_at_our_own_address_are_announced(new_network, autojump_clock):
    """What others say of their address counts for nothing: nodes store the address of who announces."""
    network = new_network(4)
    async with network.open_nodes(12) as nodes, gateway_in(network, nodes) as gateway:
        for number, host in enumerate((LAN, NEIGHBOUR, STRANGER, "fd00::1", "2a00::1", "100.64.0.1"), 1):
            await gateway.announce(request(port=number), host)
            await gateway.announce(request(port=number, left=0, event=Event.COMPLETED), host)
            await gateway.find(SWARM, host)
        await trio.sleep(1800)
        assert gateway.statistics().announced == 0
        assert stored(nodes) == 0

        await gateway.announce(request(port=7777, left=0), LOOPBACK)
        await trio.sleep(60)
        assert stored(nodes) > 0
        async with nodes[0].get_peers(SWARM) as peers:
            assert {peer async for peer in peers} == {(network.host(OURS), 7777)}


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("::ffff:127.0.0.1", SETTINGS),
        (NEIGHBOUR, replace(SETTINGS, announce_for=(ip_network("192.168.1.6/31"),))),
        ("external", SETTINGS),
        ("external", GatewaySettings()),
    ],
)
async def test_clients_behind_our_address_are_announced(new_network, autojump_clock, host, settings):
    network = new_network(5)
    async with network.open_nodes(12) as nodes, gateway_in(network, nodes, settings) as gateway:
        await trio.sleep(60)
        client = network.host(OURS) if host == "external" else host
        await gateway.announce(request(port=7777), client)
        await trio.sleep(60)
        async with nodes[0].get_peers(SWARM) as peers:
            assert {peer async for peer in peers} == {(network.host(OURS), 7777)}


async def test_own_client_is_known_to_the_dht_as_long_as_it_is_here(new_network, autojump_clock):
    network = new_network(6)
    async with network.open_nodes(12) as nodes, gateway_in(network, nodes) as gateway:
        for _ in range(3):
            await gateway.announce(request(port=7777), LOOPBACK)
            await trio.sleep(1800)
            assert stored(nodes) > 0
        await gateway.announce(request(port=7777, event=Event.STOPPED), LOOPBACK)
        await trio.sleep(3600)
        assert stored(nodes) == 0
        assert gateway.statistics().announced == 0


async def test_who_gives_up_leaves_nothing_behind(new_network, autojump_clock):
    network = new_network(7)
    settings = replace(SETTINGS, interval=60)
    async with network.open_nodes(5) as nodes, gateway_in(network, nodes, settings) as gateway:
        for node in nodes:
            network.cut(node.addresses[0].host)
        with trio.move_on_after(1):
            await gateway.announce(request(), LAN)
        with trio.move_on_after(1):
            await gateway.find(InfoHash(bytes(20)), LAN)
        await trio.sleep(1900)
        assert gateway.statistics().swarms == gateway.statistics().lookups == 0


async def test_swarm_that_is_denied_meanwhile_is_forgotten(new_network, autojump_clock):
    network = new_network(8)
    async with network.open_nodes(12) as nodes, gateway_in(network, nodes) as gateway:
        await gateway.announce(request(port=7777), LOOPBACK)
        gateway.change_lists(None, frozenset({SWARM}))
        with pytest.raises(Refusal, match="not tracked here"):
            await gateway.announce(request(), LAN)
        assert gateway.statistics().peers == 0
        await trio.sleep(3000)
        assert stored(nodes) == 0


async def test_announce_over_one_family_leaves_the_other_alone(new_network, autojump_clock):
    network = new_network(9)
    both = {"families": (Family.IPV4, Family.IPV6)}
    async with (
        network.open_node(0, **both) as first,
        network.open_node(1, **both, through=first.addresses) as second,
    ):
        await second.wait_joined()
        for family in Family:
            announcement = await second.announce(SWARM, 7777, family=family)
            assert {each.address.family for each in announcement.announced_to} == {family}
        with pytest.raises(InvalidArgument):
            await second.announce(SWARM, 7777, family=4)
