"""Our own network is gone for hours, and comes back."""

from collections import Counter
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from dhtnode import Address, Contact, NotJoined, QueryTimeout, open_node, random_id
from dhtnode.ids import as_id
from dhtnode.krpc import Ping
from dhtnode.node.state_file import SavedState, save_state
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import closest_ids, find_ids, host_of, known_hosts, queries_sent, sleep_minutes

pytestmark = pytest.mark.slow

HOURS = 2
OWN_IDS = {Address("0.0.0.0", 0): as_id(1 << 100)}  # for whichever address there is
SOON = 10.0  # seconds after the network is back


def timeouts(node):
    return sum(endpoint.counts.get("timeouts", 0) for endpoint in node.statistics().sockets)


@pytest.mark.parametrize("number", [0, 7])  # node 0 opened the network and has no node to join through
async def test_node_is_back_within_seconds_after_hours(autojump_clock, new_network, number):
    network, random = new_network(1), Random(1)

    async with network.open_nodes(14) as nodes:
        node = nodes[number]
        await sleep_minutes(5)
        known = known_hosts(node)
        network.cut(host_of(node))
        await sleep_minutes(10)
        sent = queries_sent(node)
        await sleep_minutes(60 * HOURS)
        asked = (queries_sent(node) - sent) / HOURS

        assert known_hosts(node) == known
        assert not any(host_of(node) in known_hosts(other) for other in nodes if other is not node)
        assert asked < 2500  # in an hour; a node in a network asks as many
        network.restore(host_of(node))
        await trio.sleep(SOON)

        target = random_id(random)
        assert await find_ids(node, target) == closest_ids(nodes, target, node)
        assert node.node_id in await find_ids(nodes[3], node.node_id)


async def test_node_that_started_without_a_network_joins_when_it_is_there(autojump_clock, new_network):
    network = new_network(1)
    async with network.open_nodes(12) as nodes:
        network.cut(network.host(20))
        async with network.open_node(20, through=nodes[0].addresses) as node:
            await node.wait_joined()
            await sleep_minutes(60 * HOURS)
            assert known_hosts(node) == set()
            asked = queries_sent(node) / HOURS
            network.restore(network.host(20))
            await trio.sleep(SOON)
            assert len(known_hosts(node)) >= 8
            assert asked < 1000


async def test_short_outage_counts_against_no_node(autojump_clock, new_network):
    network = new_network(1)

    async with network.open_nodes(14) as nodes:
        node = nodes[7]
        await sleep_minutes(1)
        network.cut(host_of(node))
        for _ in range(5):
            for contact in node.contacts():
                with pytest.raises(QueryTimeout):
                    await node.query(Ping(), contact.address)
        (endpoint,) = node.statistics().sockets

        assert timeouts(node) > 60
        assert sum(bucket.bad for bucket in endpoint.table) <= 1  # before we knew
        network.restore(host_of(node))
        await trio.sleep(SOON)


async def test_saved_contacts_lead_back_without_any_host(autojump_clock, new_network, tmp_path):
    network, random = new_network(1), Random(1)
    path = tmp_path / "state.json"
    async with network.open_nodes(12) as nodes:
        dead = [Address(network.host(number), 6881) for number in range(100, 400)]
        alive = [contact for node in nodes for contact in node.contacts()][:20]
        contacts = [Contact(random_id(random), address) for address in dead]
        save_state(path, SavedState(OWN_IDS, (*contacts, *alive)))
        async with open_saved(network, 50, path) as node:
            with trio.fail_after(60.0):
                while len(known_hosts(node)) < 8:
                    await sleep_minutes(1 / 60)
            assert not known_hosts(node) & {address.host for address in dead}


async def test_many_dead_saved_contacts_do_not_keep_us_from_the_hosts(autojump_clock, new_network, tmp_path):
    network, random = new_network(1), Random(1)
    path = tmp_path / "state.json"
    async with network.open_nodes(12) as nodes:
        dead = [Address(network.host(number), 6881) for number in range(100, 500)]
        save_state(path, SavedState(OWN_IDS, tuple(Contact(random_id(random), address) for address in dead)))
        async with open_saved(network, 50, path, through=nodes[0].addresses) as node:
            await trio.sleep(SOON)
            assert len(known_hosts(node)) >= 8


async def test_hosts_are_left_alone_when_saved_contacts_answer(autojump_clock, new_network, tmp_path):
    """A restart is no reason to query the bootstrap nodes."""
    network = new_network(1, CountingNetwork)
    path = tmp_path / "state.json"
    async with network.open_nodes(20) as nodes:
        host = Address(network.host(99), 6881)
        contacts = [contact for node in nodes for contact in node.contacts()]
        save_state(path, SavedState(OWN_IDS, tuple(dict.fromkeys(contacts))))
        async with open_saved(network, 50, path, through=[host]) as node:
            await sleep_minutes(10)
            assert len(known_hosts(node)) >= 8
    assert network.sent_to[host] == 0


async def test_lookup_without_a_network_ends(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(14) as nodes:
        node = nodes[7]
        network.cut(host_of(node))
        await sleep_minutes(60)
        with trio.fail_after(60.0), pytest.raises(NotJoined):
            await node.find_node(nodes[3].node_id)


class CountingNetwork(MemoryNetwork):
    """Count what is sent to each address."""

    def __init__(self, **options):
        super().__init__(**options)
        self.sent_to = Counter()

    def carry(self, data, source, destination, now):
        """Count, then carry as always."""
        self.sent_to[destination] += 1
        super().carry(data, source, destination, now)


@asynccontextmanager
async def open_saved(network, number, path, through=()):
    async with open_node(
        sockets=[network.socket(network.host(number))],
        bootstrap=[str(address) for address in through],
        well_known=False,
        state_file=path,
        random=Random(number),
    ) as node:
        yield node
