"""The end of a node: nothing stays behind, and what was raised comes out as it was."""

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from dhtnode import Family, open_node, random_id
from tests.network.scenes import host_of


class OwnError(Exception):
    """An exception of the program that uses the library."""


def living_tasks():
    return trio.lowlevel.current_statistics().tasks_living


async def test_nothing_is_left_of_a_closed_node(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(10) as nodes:
        tasks = living_tasks()
        sockets = [network.socket(network.host(10, family)) for family in Family]
        async with open_node(
            sockets=sockets, bootstrap=[str(nodes[0].addresses[0])], well_known=False, random=Random(1)
        ) as node:
            await node.find_node(nodes[3].node_id)
            assert living_tasks() > tasks
        assert living_tasks() == tasks
        assert not any(socket.send_nowait(b"hello", socket.address) for socket in sockets)
        assert [network.socket(socket.address.host).address for socket in sockets] == list(node.addresses)


async def test_closing_in_the_middle_of_a_lookup_ends_it(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(20) as nodes:
        tasks = living_tasks()
        async with network.open_node(20, through=nodes[0].addresses) as node:
            await node.wait_joined()
            async with node.get_peers(random_id(Random(1))):
                await trio.sleep(0.1)
        await wait_all_tasks_blocked()
        assert living_tasks() == tasks


@pytest.mark.parametrize("error", [OwnError("mine"), KeyError("mine"), KeyboardInterrupt()])
async def test_exception_of_the_block_comes_out_as_it_is(autojump_clock, new_network, error):
    network = new_network(seed=1)
    with pytest.raises(type(error)) as raised:
        async with network.open_nodes(3) as nodes:
            await nodes[2].find_node(nodes[0].node_id)
            raise error
    assert raised.value is error


async def test_group_of_exceptions_stays_a_group(autojump_clock, new_network):
    """What the caller has wrapped is not unwrapped, even when it holds one exception only."""
    network, error = new_network(seed=1), OwnError()
    with pytest.raises(ExceptionGroup, match="mine") as raised:
        async with network.open_node(0):
            raise ExceptionGroup("mine", [error])
    assert raised.value.exceptions == (error,)


async def test_exception_during_a_lookup_comes_out_as_it_is(autojump_clock, new_network):
    network, error = new_network(seed=1), OwnError()
    async with network.open_nodes(10) as nodes:
        with pytest.raises(OwnError) as raised:
            async with nodes[3].get_peers(nodes[5].node_id):
                raise error
        assert raised.value is error


async def test_exception_while_cancelled_comes_out_as_it_is(autojump_clock, new_network):
    network, error = new_network(seed=1), OwnError()
    with pytest.raises(OwnError) as raised, trio.move_on_after(1.0):
        async with network.open_node(0):
            try:
                await trio.sleep_forever()
            finally:
                raise error
    assert raised.value is error


async def test_cancelling_the_block_closes_the_node(autojump_clock, new_network):
    network = new_network(seed=1)
    tasks = living_tasks()
    with trio.move_on_after(100.0) as scope:
        async with network.open_nodes(5) as nodes:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert living_tasks() == tasks
    assert [network.socket(host_of(node)).address for node in nodes] == [n.addresses[0] for n in nodes]
