"""Lookups over a whole network: what they find, what they cost, and what they leave behind."""

from functools import partial
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from dhtnode import Address, Contact, Family, InfoHash, NotJoined, random_id
from dhtnode.krpc import FindNode, GetPeers, Response
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_address, pack_contact
from dhtnode.node.maintenance import RENEWAL_PAUSE
from tests.network.scenes import (
    closest_ids,
    find_ids,
    find_peers,
    host_of,
    pending,
    sleep_minutes,
    wait_until_quiet,
)

pytestmark = pytest.mark.slow

PEER = Address("30.1.2.3", 7000)


async def test_find_node_returns_exactly_the_closest_nodes(autojump_clock, new_network):
    network, random = new_network(1), Random(1)
    async with network.open_nodes(40) as nodes:
        for asker in nodes:
            target = random_id(random)
            assert await find_ids(asker, target) == closest_ids(nodes, target, asker)


async def test_peers_are_found_under_loss(autojump_clock, new_network):
    """With one datagram in five lost, more than a third of all queries fail, but hardly a lookup."""
    network, random = new_network(1, loss=0.2), Random(1)
    found = 0
    async with network.open_nodes(24) as nodes:
        for _ in range(40):
            info_hash = random_id(random)
            announcer, seeker = random.sample(nodes, 2)
            await announcer.announce(info_hash, 7000)
            found += Address(host_of(announcer), 7000) in await find_peers(seeker, info_hash)
    assert found >= 39
    assert network.statistics().lost / network.statistics().sent == pytest.approx(0.2, abs=0.01)


async def test_duplicated_datagrams_do_no_harm(autojump_clock, new_network):
    network, random = new_network(1, duplication=0.5), Random(1)

    async with network.open_nodes(20) as nodes:
        for announcer in nodes:
            target = random_id(random)
            announcement = await announcer.announce(target, 7000)
            seeker = random.choice(nodes)

            assert len(announcement.announced_to) == 8
            assert await find_peers(seeker, target) == {Address(host_of(announcer), 7000)}
            assert await find_ids(seeker, target) == closest_ids(nodes, target, seeker)
        await sleep_minutes(1)
        stored = sum(node.statistics().peers.peers for node in nodes)

    totals = network.totals()
    assert stored == 20 * 8
    assert totals["queries received"] > 1.3 * totals["queries sent"] > 1.3 * totals["answers"]


async def test_counters_of_all_nodes_add_up(autojump_clock, new_network):
    network, random = new_network(seed=1), Random(1)

    async with network.open_nodes(20) as nodes:
        await trio.sleep(2 * RENEWAL_PAUSE)  # who has learnt its address has taken an id and joined again
        await wait_until_quiet(nodes)
        network.cut(host_of(nodes[9]))
        for asker in random.sample(nodes[:9], 5):
            await asker.find_node(random_id(random))
        await wait_until_quiet(nodes)
        totals, datagrams = network.totals(), network.statistics()

    assert totals["timeouts"] > 0
    assert totals["queries sent"] == totals["queries received"] + datagrams.cut_off
    assert totals["queries received"] == totals["replies sent"]
    assert totals["replies sent"] == totals["answers"] + totals["dropped: unknown transaction"]
    assert totals["datagrams sent"] == totals["queries sent"] + totals["replies sent"] == datagrams.sent
    assert totals["datagrams received"] == datagrams.delivered


async def test_lookup_without_answers_says_so(autojump_clock, new_network):
    network = new_network(seed=1)
    unused = Address(network.host(5), 6881)
    for through in ([], [unused]):
        async with network.open_node(0, through=through) as node:
            with pytest.raises(NotJoined):
                await node.find_node(node.node_id)
            with pytest.raises(NotJoined):
                await find_peers(node, node.node_id)


@pytest.mark.parametrize("seed", [1, 2])
async def test_cancelled_lookup_leaves_nothing_behind(autojump_clock, new_network, seed):
    network, random = new_network(seed), Random(seed)

    async with network.open_nodes(20) as nodes:
        node = nodes[7]
        for operation in (
            node.find_node,
            node.scrape,
            partial(node.announce, port=7000),
            partial(find_peers, node),
        ):
            await wait_until_quiet(nodes)
            tasks = trio.lowlevel.current_statistics().tasks_living
            with trio.move_on_after(0.1) as scope:
                await operation(random_id(random))
            await wait_all_tasks_blocked()

            assert scope.cancelled_caught
            assert pending(node) == 0
            assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_get_peers_that_is_left_early_leaves_nothing_behind(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(20) as nodes:
        info_hash = random_id(Random(1))
        await nodes[3].announce(info_hash, 7000)
        await wait_until_quiet(nodes)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with nodes[7].get_peers(info_hash) as peers:
            assert await anext(peers) == (host_of(nodes[3]), 7000)
        await wait_all_tasks_blocked()
        assert pending(nodes[7]) == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks


class Terse:
    """A node as rTorrent and webtorrent are: with peers in a reply there are no contacts in it (BEP 5)."""

    def __init__(self, network, number, node):
        self._socket = network.socket(network.host(number))
        self.address = self._socket.address
        self._id, self._node = random_id(Random(number)), node
        self.asked = []

    async def run(self):
        while True:
            await self._socket.wait_readable()
            while (datagram := self._socket.receive_nowait()) is not None:
                query = decode_untrusted(datagram[0], Family.IPV4)
                self.asked.append(type(query.method))
                reply = Response(query.transaction_id, self._id, token=b"token")
                if isinstance(query.method, FindNode):
                    contacts = [Contact(self._node.node_id, self._node.addresses[0])]
                    reply = reply._replace(nodes=b"".join(map(pack_contact, contacts)))
                elif isinstance(query.method, GetPeers):
                    reply = reply._replace(values=(pack_address(PEER),))
                self._socket.send_nowait(encode(reply), datagram[1])


@pytest.mark.parametrize("reads_filters", [False, True])
async def test_lookup_goes_on_behind_a_node_that_returns_peers_alone(
    autojump_clock, new_network, reads_filters
):
    network, info_hash = new_network(seed=3), InfoHash(bytes(range(20)))
    async with network.open_nodes(20) as nodes, trio.open_nursery() as nursery:
        await nodes[3].announce(info_hash, 6881)
        terse = Terse(network, 90, nodes[5])
        nursery.start_soon(terse.run)
        async with network.open_node(91, through=[terse.address]) as node:
            if reads_filters:
                measured = await node.scrape(info_hash)
                assert measured.nodes_answered >= 8
            else:
                assert set(await find_peers(node, info_hash)) == {PEER, Address(host_of(nodes[3]), 6881)}
        assert FindNode in terse.asked
        assert terse.asked.count(FindNode) <= 4
        nursery.cancel_scope.cancel()
