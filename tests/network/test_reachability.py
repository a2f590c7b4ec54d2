"""Nodes that cannot be reached from outside, and those that do not want to be."""

from contextlib import AsyncExitStack
from random import Random

import pytest

from dhtnode import Address, NodeSettings, QueryTimeout, random_id
from dhtnode.krpc import Ping
from dhtnode.krpc.codec import decode_untrusted
from dhtnode.krpc.messages import Response
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import closest_ids, find_ids, find_peers, host_of, known_hosts, sleep_minutes

pytestmark = pytest.mark.slow

READ_ONLY = NodeSettings(read_only=True)


class OverheardNetwork(MemoryNetwork):
    """Remember which node has sent a response to which."""

    def __init__(self, **options):
        super().__init__(**options)
        self.responses = set()

    def carry(self, data, source, destination, now):
        """Listen in, then carry as always."""
        if isinstance(decode_untrusted(data, source.family), Response):
            self.responses.add((source.host, destination.host))
        super().carry(data, source, destination, now)


async def open_with_nats(network, stack, count):
    nodes = []
    for number in range(count):
        through = nodes[0].addresses if nodes else []
        node = network.open_node(number, through=through, nat=number % 3 == 2)
        nodes.append(await stack.enter_async_context(node))
        await nodes[-1].wait_joined()
    return [node for number, node in enumerate(nodes) if number % 3 != 2], nodes[2::3]


async def test_nodes_behind_nats_find_and_are_found(autojump_clock, new_network):
    """With a third of the nodes behind NATs, every node finds whatever any node announced.

    Lookups find the closest nodes that can be reached, and hardly miss one: a reply has room for 8
    contacts, some of them behind NATs.
    """
    network, random = new_network(1), Random(1)
    hits, sought = 0, 0

    async with AsyncExitStack() as stack:
        public, nated = await open_with_nats(network, stack, 30)
        public_ids = {node.node_id for node in public}
        await sleep_minutes(20)
        for announcers, seekers in ((public, nated), (nated, public), (nated, nated), (public, public)):
            for _ in range(8):
                target, announcer = random_id(random), random.choice(announcers)
                await announcer.announce(target, 7000)
                assert await find_peers(random.choice(seekers), target) == {Address(host_of(announcer), 7000)}
        for asker in public:
            target = random_id(random)
            found = [node_id for node_id in await find_ids(asker, target) if node_id in public_ids]
            truth = closest_ids(public, target, asker)[: len(found)]
            hits += len(set(found) & set(truth))
            sought += len(truth)
            assert found[:4] == truth[:4]

    assert hits > 0.95 * sought


async def test_no_node_returns_one_that_never_answered_it(autojump_clock, new_network):
    """Who only asks, or is only named by others, is in no table."""
    network = new_network(1, OverheardNetwork)
    async with AsyncExitStack() as stack:
        public, nated = await open_with_nats(network, stack, 30)
        hidden = {host_of(node) for node in nated}
        for _ in range(2):
            await sleep_minutes(10)
            for node in public + nated:
                answered = {host for host, asker in network.responses if asker == host_of(node)}
                assert known_hosts(node) <= answered
        known = [len(known_hosts(node) & hidden) / len(known_hosts(node)) for node in public]
    assert sum(known) / len(known) < 1 / 3  # fewer than there are, although every one of them asks about


async def test_read_only_node_is_in_no_table_and_answers_nothing(autojump_clock, new_network):
    """It asks like any other, but it is not there for others (BEP 43)."""
    network, random = new_network(1), Random(1)

    async with network.open_nodes(20) as nodes:
        through = nodes[0].addresses
        async with network.open_node(30, through=through, settings=READ_ONLY) as reader:
            for _ in range(6):
                target = random_id(random)
                assert await find_ids(reader, target) == closest_ids(nodes, target)
                await sleep_minutes(5)
            with pytest.raises(QueryTimeout):
                await nodes[3].query(Ping(), reader.addresses[0])

            assert not any(host_of(reader) in known_hosts(node) for node in nodes)
            assert reader.statistics().sockets[0].counts.get("replies sent", 0) == 0


async def test_read_only_node_announces_and_is_found(autojump_clock, new_network):
    network, info_hash = new_network(seed=1), random_id(Random(1))
    async with network.open_nodes(30) as nodes:
        through = nodes[0].addresses
        async with network.open_node(30, through=through, settings=READ_ONLY) as reader:
            await reader.announce(info_hash, 7000)
            assert await find_peers(nodes[3], info_hash) == {Address(host_of(reader), 7000)}
