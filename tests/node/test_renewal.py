"""A node that learns its address from others and takes an id that goes with it (BEP 42)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import trio

from dhtnode.addresses import Address, Contact, Family
from dhtnode.api.node import Node
from dhtnode.api.open_node import open_node
from dhtnode.bep42 import is_compliant
from dhtnode.ids import random_id
from dhtnode.node.state_file import SavedState, load_state, save_state
from dhtnode.testing import MemoryNetwork

INSIDE = Address("0.0.0.0", 6881)  # what a node on a wildcard knows of its own address
FIRST = Address("30.1.2.3", 6881)
SECOND = Address("31.4.5.6", 7000)


class Translating(MemoryNetwork):
    """Let one socket appear at another address than it is bound to, as a home router does."""

    outside = FIRST

    def carry(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        source = self.outside if source == INSIDE else source
        destination = INSIDE if destination == self.outside else destination
        super().carry(data, source, destination, now)


@asynccontextmanager
async def joined_inside(
    network: Translating, count: int, **options: Any
) -> AsyncIterator[tuple[list[Node], Node]]:
    """Open so many nodes, and one behind the translation that has joined through them."""
    async with (
        network.open_nodes(count) as nodes,
        open_node(
            sockets=[network.socket(*INSIDE)],
            bootstrap=[str(nodes[0].addresses[0])],
            well_known=False,
            random=Random(1),
            **options,
        ) as node,
    ):
        await node.wait_joined()
        yield nodes, node


async def settle(minutes: int = 5) -> None:
    """Let rounds of maintenance pass, in virtual time."""
    await trio.sleep(minutes * 60.0)


async def test_node_finds_its_address_and_takes_an_id_that_conforms(new_network, autojump_clock) -> None:
    network = new_network(1, Translating)
    async with joined_inside(network, 20) as (nodes, node):
        await settle(45)  # until those who know our first id have asked us, and have been asked again
        (statistics,) = node.statistics().sockets
        assert statistics.external_address == FIRST
        assert statistics.node_id == node.node_id
        assert is_compliant(node.node_id, FIRST.host)
        found = await nodes[7].find_node(node.node_id)
        assert (found[0].node_id, found[0].address) == (node.node_id, FIRST)


async def test_id_is_renewed_when_the_address_changes(new_network, autojump_clock) -> None:
    network, random = new_network(2, Translating), Random(2)
    async with joined_inside(network, 20) as (nodes, node):
        await settle()
        first_id, contacts = node.node_id, set(node.contacts())

        network.outside = SECOND
        while node.node_id == first_id:
            await node.find_node(random_id(random))
        assert is_compliant(node.node_id, SECOND.host)
        assert len(contacts & set(node.contacts())) >= 8  # the rest waits: it was near the old id
        await settle(45)

        assert node.statistics().sockets[0].external_address == SECOND
        assert (await nodes[5].ping(SECOND)).node_id == node.node_id
        found = await nodes[7].find_node(node.node_id)
        assert (found[0].node_id, found[0].address) == (node.node_id, SECOND)


async def test_given_id_is_never_renewed(new_network, autojump_clock) -> None:
    network = new_network(3, Translating)
    async with joined_inside(network, 15, node_id=b"i" * 20) as (_nodes, node):
        await settle()
        assert node.statistics().sockets[0].external_address == FIRST
        assert node.node_id == b"i" * 20


async def test_fewer_than_ten_networks_decide_nothing(new_network, autojump_clock) -> None:
    network = new_network(4, Translating)
    async with joined_inside(network, 9) as (_nodes, node):
        first_id = node.node_id
        await settle()
        assert node.statistics().sockets[0].external_address is None
        assert node.node_id == first_id


async def test_node_bound_to_a_public_address_starts_with_an_id_that_conforms(
    new_network, autojump_clock
) -> None:
    network = new_network(5)
    async with network.open_nodes(12, families=Family) as nodes:
        ids = [node.node_ids for node in nodes]
        for node in nodes:
            for address in node.addresses:
                assert is_compliant(node.node_ids[address], address.host)
        await settle()
        assert [node.node_ids for node in nodes] == ids
        for endpoint in nodes[3].statistics().sockets:
            assert endpoint.external_address == endpoint.address
            assert endpoint.node_id == nodes[3].node_ids[endpoint.address]


async def test_saved_id_is_taken_if_it_still_conforms(new_network, autojump_clock, tmp_path: Path) -> None:
    network, path = new_network(6), tmp_path / "node.json"
    hosts = {family: network.host(1, family) for family in Family}

    async def ids_of_a_run() -> dict[Family, bytes]:
        sockets = [network.socket(host) for host in hosts.values()]
        async with open_node(sockets=sockets, well_known=False, state_file=path) as node:
            await node.wait_joined()
            assert load_state(path).node_ids == node.node_ids
            return {address.family: node_id for address, node_id in node.node_ids.items()}

    first = await ids_of_a_run()
    assert first[Family.IPV4] != first[Family.IPV6]
    assert await ids_of_a_run() == first

    hosts[Family.IPV4] = network.host(2)
    second = await ids_of_a_run()
    assert second[Family.IPV6] == first[Family.IPV6]
    assert second[Family.IPV4] != first[Family.IPV4]
    assert is_compliant(second[Family.IPV4], hosts[Family.IPV4])


async def test_any_saved_id_is_taken_where_the_address_is_not_known(
    new_network, autojump_clock, tmp_path: Path
) -> None:
    network, path = new_network(7), tmp_path / "node.json"
    other = Contact(b"o" * 20, Address("8.8.8.8", 6881))
    save_state(path, SavedState({Address("10.0.0.9", 1): b"s" * 20}, (other,)))
    sockets = [network.socket(*INSIDE)]
    async with open_node(sockets=sockets, well_known=False, state_file=path) as node:
        assert node.node_id == b"s" * 20
