"""Several addresses in one node: to all others each is a node of its own (BEP 45)."""

from collections import Counter
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest
import trio

from dhtnode import (
    Address,
    Family,
    ImmutableItem,
    NodeSettings,
    QueryRefused,
    QueryTimeout,
    open_node,
    random_id,
)
from dhtnode.bep42 import is_compliant
from dhtnode.ids import shared_prefix_bits
from dhtnode.krpc import AnnouncePeer, FindNode, GetPeers, Ping
from dhtnode.server.admission import RESERVE
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import find_peers, sleep_minutes

pytestmark = pytest.mark.slow

V4, V6 = Family.IPV4, Family.IPV6
OURS = (60, 61, 62)


class Listening(MemoryNetwork):
    """A network that records which host sent to which, and which asked for a target."""

    def __init__(self, **options):
        super().__init__(**options)
        self.pairs = Counter()
        self.target = b"no target of anybody"
        self.seekers = set()

    def carry(self, data, source, destination, now):
        self.pairs[source, destination] += 1
        if self.target in data:
            self.seekers.add(source.host)
        super().carry(data, source, destination, now)

    def senders(self, hosts):
        return {source.host for source, _ in self.pairs} & hosts


@asynccontextmanager
async def open_many(network, families=(V4,), count=24, **options):
    """Open a network of nodes with one address each, and one with three; yield them and that one."""
    async with network.open_nodes(count, families=families) as nodes:
        through = nodes[0].addresses
        async with network.open_node(
            OURS[0], also=OURS[1:], families=families, through=through, **options
        ) as node:
            await node.wait_joined()
            yield nodes, node


def tables(node):
    return {address: endpoint.table.contacts() for address, endpoint in node._sockets.by_address.items()}


async def test_each_address_is_a_node_of_its_own(autojump_clock, new_network):
    """It has an id that goes with it, far from the others, joins by itself, and is known to others."""
    network = new_network(1)

    async with open_many(network, (V4, V6)) as (nodes, node):
        await sleep_minutes(20)
        ids = node.node_ids
        known = {contact for other in nodes for contact in other.contacts()}

        assert len(node.addresses) == len(ids) == 6
        assert all(is_compliant(node_id, address.host) for address, node_id in ids.items())
        for family in (V4, V6):
            own = [node_id for address, node_id in ids.items() if address.family is family]
            assert max(shared_prefix_bits(*pair) for pair in pairwise(own)) < 12
        assert {len(contacts) >= 8 for contacts in tables(node).values()} == {True}
        assert {(node_id, address) for address, node_id in ids.items()} <= known
        for address, node_id in ids.items():
            assert (await nodes[5].ping(address)).node_id == node_id
        assert [endpoint.address for endpoint in node.statistics().sockets] == list(node.addresses)


async def test_addresses_of_one_node_have_nothing_to_do_with_each_other(autojump_clock, new_network):
    network = new_network(1, Listening)

    async with open_many(network) as (nodes, node):
        await sleep_minutes(40)
        ours = set(node.addresses)
        for address in node.addresses:
            found = await node.find_node(node.node_ids[address])
            assert not ours & {each.address for each in found}
            near = await nodes[3].query(FindNode(node.node_ids[address]), address)
            assert not ours & {contact.address for contact in near.response.contacts(V4)}
            others_find = {each.address for each in await nodes[3].find_node(node.node_ids[address])}
            assert address in others_find

        assert not ours & {contact.address for contacts in tables(node).values() for contact in contacts}
        assert not ours & {contact.address for contact in node.contacts()}
        assert not {pair for pair in network.pairs if set(pair) <= ours}


async def test_own_address_cannot_be_asked(autojump_clock, new_network):
    network = new_network(1)
    async with open_many(network) as (_, node):
        for address in node.addresses:
            assert node.send_query(Ping(), address, print) is None
        assert sum(each.counts["not sent: address not allowed"] for each in node.statistics().sockets) == 3


async def test_lookups_take_turns_and_each_has_one_address(autojump_clock, new_network):
    """No node is queried for one target by several of our sockets (BEP 45)."""
    network, random = new_network(1, Listening), Random(1)
    used = []
    async with open_many(network) as (_, node):
        for _ in range(6):
            network.target, network.seekers = random_id(random), set()
            await node.find_node(network.target)
            used.append(network.seekers)
    assert [len(each) for each in used] == [1] * 6
    assert set().union(*used[:3]) == {network.host(number) for number in OURS}
    assert used[3:] == used[:3]


async def test_address_whose_link_is_down_costs_no_lookup(autojump_clock, new_network):
    network, random = new_network(1, Listening), Random(1)
    down = network.host(OURS[1])

    async with open_many(network) as (_, node):
        network.cut(down)
        await sleep_minutes(60)
        network.pairs.clear()
        started = trio.current_time()
        for _ in range(6):
            assert len(await node.find_node(random_id(random))) == 8

        assert trio.current_time() - started < 6 * 10
        network.restore(down)
        await sleep_minutes(10)
        assert {len(contacts) >= 8 for contacts in tables(node).values()} == {True}


async def test_address_that_no_node_knows_is_led_in_by_another(autojump_clock, new_network):
    network = new_network(1)
    async with (
        network.open_node(OURS[0], also=OURS[1:]) as node,
        network.open_nodes(12, through=[Address(network.host(OURS[0]), 6881)]),
    ):
        await sleep_minutes(15)
        assert {len(contacts) >= 8 for contacts in tables(node).values()} == {True}


async def test_announce_names_one_address_or_each(autojump_clock, new_network):
    network, random = new_network(1), Random(1)
    one, each = random_id(random), random_id(random)

    async with open_many(network) as (nodes, node):
        hosts = {address.host for address in node.addresses}
        told = await node.announce(one, 7000)
        peers = await find_peers(nodes[5], one)
        assert len(told.announced_to) == 8
        assert len(peers) == 1
        assert peers <= {Address(host, 7000) for host in hosts}

        told = await node.announce(each, 7000, every_address=True)
        assert await find_peers(nodes[5], each) == {Address(host, 7000) for host in hosts}
        assert len(told.announced_to) + told.not_taken == 3 * 8
        assert told.not_taken == 0


async def test_stores_and_tokens_are_shared(autojump_clock, new_network):
    network, swarm = new_network(1), random_id(Random(1))
    item = ImmutableItem(b"6:shared")
    async with open_many(network) as (nodes, node):
        asker, (first, second, third) = nodes[4], node.addresses
        token = (await asker.query(GetPeers(swarm), first)).response.token
        await asker.query(AnnouncePeer(swarm, 7000, token), second)
        (peer,) = (await asker.query(GetPeers(swarm), third)).response.peers()
        assert peer == Address(asker.addresses[0].host, 7000)
        with pytest.raises(QueryRefused, match="token"):
            await nodes[5].query(AnnouncePeer(swarm, 7000, token), first)
        assert (await node.put_item(item)).stored_at
        assert (await node.get_item(item.target())).item == item


async def test_limits_count_what_reaches_all_addresses(autojump_clock, new_network):
    network = new_network(1)
    settings = NodeSettings(host_rate=0.01, host_burst=12.0)
    stranger = network.socket(network.host(90))

    async with open_many(network, settings=settings) as (_, node):
        for number in range(30):
            stranger.send_nowait(
                b"d1:ad2:id20:%be1:q4:ping1:t2:aa1:y1:qe" % (b"s" * 20), node.addresses[number % 3]
            )
        await trio.sleep(1.0)
        refused = [each.counts["dropped: too many from one address"] for each in node.statistics().sockets]

    stranger.close()
    # The burst, and of the reserve beyond it a part.
    assert 30 - 12 * (1 + RESERVE) <= sum(refused) <= 30 - 12
    assert all(refused)


async def test_host_is_asked_from_one_address_always(autojump_clock, new_network):
    network, swarm = new_network(1, Listening), random_id(Random(1))
    async with open_many(network) as (nodes, node):
        await sleep_minutes(1)
        network.pairs.clear()
        for other in nodes:
            token = (await node.query(GetPeers(swarm), other.addresses[0])).response.token
            await node.query(AnnouncePeer(swarm, 7000, token), other.addresses[0])
        pending = node.send_query(Ping(), nodes[0].addresses[0], print)
        node.forget(pending)
        assert len(network.senders({address.host for address in node.addresses})) == 3
        assert not any(each.pending for each in node.statistics().sockets)


async def test_contacts_of_the_other_family_come_from_an_endpoint_of_that_family(autojump_clock, new_network):
    network = new_network(1)
    async with open_many(network, (V4, V6)) as (nodes, node):
        await sleep_minutes(20)
        fours, sixes = node.addresses[::2], node.addresses[1::2]
        assert {address.family for address in fours} == {V4}
        for asked, near in zip(fours, sixes, strict=True):
            target = node.node_ids[near]
            response = (await nodes[3].query(FindNode(target, frozenset({V6})), asked)).response
            listed = set(response.contacts(V6))
            assert response.nodes is None
            assert len(listed) == 8
            assert listed <= set(tables(node)[near])


async def test_restart_keeps_each_id(autojump_clock, new_network, tmp_path):
    network, path = new_network(1), tmp_path / "node.json"

    async def run(numbers):
        sockets = [network.socket(network.host(number, family)) for number in numbers for family in (V4, V6)]
        async with open_node(sockets=sockets, well_known=False, state_file=path) as node:
            return dict(node.node_ids)

    first = await run([1, 2, 3])
    assert await run([3, 1, 2]) == first
    second = await run([4, 2])
    assert len(set(second.values()) - set(first.values())) == 2
    assert {address for address in second if second[address] == first.get(address)} == {
        Address(network.host(2, family), 6881) for family in (V4, V6)
    }


async def test_given_id_is_kept_and_spread(autojump_clock, new_network):
    """One for all addresses would look like one node that keeps moving."""
    network = new_network(1)
    async with open_many(network, node_id=b"i" * 20) as (nodes, node):
        first, *others = node.node_ids.values()
        assert first == node.node_id == b"i" * 20
        assert [shared_prefix_bits(first, other) for other in others] == [0, 1]
        assert (await nodes[0].ping(node.addresses[2])).node_id == others[1]


async def test_closed_node_leaves_all_its_addresses(autojump_clock, new_network):
    network = new_network(1)
    async with network.open_nodes(2) as nodes:
        async with network.open_node(OURS[0], also=OURS[1:], through=nodes[0].addresses) as node:
            await node.wait_joined()
            addresses = node.addresses
        for address in addresses:
            with pytest.raises(QueryTimeout):
                await nodes[1].ping(address)
