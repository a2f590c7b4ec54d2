"""Two networks at once: IPv4 and IPv6 side by side in one node (BEP 32)."""

from collections import Counter
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from dhtnode import Address, Family, ImmutableItem, QueryNotSent, random_id
from dhtnode.api.dual_stack import SILENT_GRACE
from dhtnode.krpc import FindNode, GetPeers, Ping
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import find_peers, sleep_minutes

pytestmark = pytest.mark.slow

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


async def test_node_with_both_families_joins_both(autojump_clock, new_network):
    """Each family has a table of its own, with contacts of that family only."""
    network = new_network(1)
    async with (
        open_both(network) as (dual, _, _),
        network.open_node(60, families=BOTH, through=dual[0].addresses) as node,
    ):
        await node.wait_joined()
        families = [contact.address.family for contact in node.contacts()]
        endpoints = node.statistics().sockets
    assert [endpoint.family for endpoint in endpoints] == [V4, V6]
    assert min(endpoint.nodes for endpoint in endpoints) >= 8
    assert sorted(families) == [V4] * endpoints[0].nodes + [V6] * endpoints[1].nodes


async def test_want_decides_which_contacts_are_listed(autojump_clock, new_network):
    network, target = new_network(1), random_id(Random(1))

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


async def test_announce_and_get_peers_use_both_families(autojump_clock, new_network):
    network, info_hash = new_network(1), random_id(Random(1))
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
    network = new_network(seed=1)
    async with network.open_nodes(2) as nodes:
        with pytest.raises(QueryNotSent):
            await nodes[1].query(Ping(), Address(network.host(0, V6), 6881))


@pytest.mark.parametrize(("dead", "alive"), [(V4, V6), (V6, V4)])
async def test_dead_family_does_not_delay_the_other(autojump_clock, new_network, dead, alive):
    network, info_hash = new_network(1), random_id(Random(1))

    async with network.open_nodes(20, families=[alive]) as nodes:
        await nodes[3].announce(info_hash, 7000)
        unused = [Address(network.host(number, dead), 6881) for number in range(30, 40)]
        through = [*unused, *nodes[0].addresses]
        async with network.open_node(60, families=BOTH, through=through) as node:
            with trio.fail_after(4.0):  # less than the first timeout, 5 s
                while len(node.contacts()) < 8:
                    await sleep_minutes(0.1 / 60)
                async with node.get_peers(info_hash) as peers:
                    found = await anext(peers)

            assert found == (nodes[3].addresses[0].host, 7000)
            assert {contact.address.family for contact in node.contacts()} == {alive}


async def test_family_that_dies_later_does_not_harm_the_other(autojump_clock, new_network):
    """Half an hour after IPv4 was lost, IPv6 goes on as before, and announces still count."""
    network, info_hash = new_network(1), random_id(Random(1))
    async with network.open_nodes(9, families=BOTH) as dual:
        for node in dual:
            network.cut(node.addresses[0].host)
        await sleep_minutes(30)
        announcement = await dual[3].announce(info_hash, 7000)
        assert {contact.address.family for contact in announcement.announced_to} == {V6}
        assert await find_peers(dual[7], info_hash) == {Address(dual[3].addresses[1].host, 7000)}


MEASURED = range(60, 64)  # several nodes, because what one of them asks for is partly chance
COUNTED = ("queries sent", "answers", "timeouts", "queries received", "replies sent")


async def half_an_hour(network, families, living, alive, through):
    """Return what nodes have counted and known in one family in their first half hour, all together.

    In a network of their own: what nodes before them had asked would still be known in it.
    """
    total = Counter()
    async with (
        network.open_nodes(12, families=living),
        network.open_nodes(len(MEASURED), first=MEASURED[0], families=families, through=through) as nodes,
    ):
        await sleep_minutes(30)
        for node in nodes:
            (one,) = [each for each in node.statistics().sockets if each.family is alive]
            total.update({name: one.counts[name] for name in COUNTED} | {"good nodes": one.good_nodes})
    return total


@pytest.mark.parametrize(
    ("dead", "alive", "trouble"),
    [(V6, V4, "all lost"), (V4, V6, "all lost"), (V6, V4, "no node there"), (V4, V6, "names hang")],
)
async def test_upkeep_of_one_family_is_the_same_without_the_other(
    autojump_clock, new_network, monkeypatch, dead, alive, trouble
):
    """What is asked, answered and known is what it is for nodes of the one family only."""
    measured = []
    for families in ((alive,), BOTH):
        network = new_network(1)
        through = [Address(network.host(0, family), 6881) for family in BOTH]
        if trouble == "all lost":
            for number in MEASURED:
                network.cut(network.host(number, dead))
        elif trouble == "no node there":
            through += [Address(network.host(number, dead), 6881) for number in range(80, 90)]
        else:
            through = ["name:6881"]
            answering = names_in(alive, network.host(0, alive))
            monkeypatch.setattr(trio.socket, "getaddrinfo", answering)
        living = BOTH if trouble == "all lost" else (alive,)
        measured.append(await half_an_hour(network, families, living, alive, through))
    alone, beside = measured

    assert alone["queries sent"] > 30 * len(MEASURED)
    assert alone["good nodes"] >= 8 * len(MEASURED)
    for name in (*COUNTED, "good nodes"):
        assert beside[name] == pytest.approx(alone[name], rel=0.15, abs=6), (name, alone, beside)


def names_in(family, host):
    """Return a `getaddrinfo` that finds one host for all names, and hangs in the other family."""

    async def getaddrinfo(_name, port, kind, *_):
        if kind != (trio.socket.AF_INET if family is V4 else trio.socket.AF_INET6):
            await trio.sleep_forever()
        return [(0, 0, 0, "", (host, port))]

    return getaddrinfo


@pytest.mark.parametrize(("dead", "alive"), [(V6, V4), (V4, V6)])
async def test_operations_do_not_wait_for_a_dead_family(autojump_clock, new_network, dead, alive):
    """Seconds more than the living one needs, whatever the other had in its table once."""
    network, info_hash = new_network(1), random_id(Random(1))
    async with (
        network.open_nodes(14, families=BOTH) as nodes,
        network.open_node(60, families=BOTH, through=nodes[0].addresses) as node,
    ):
        await node.wait_joined()
        network.cut(network.host(60, dead))
        for minutes in (1, 60):  # its contacts still seem good, then bad
            await sleep_minutes(minutes)
            for operation in (
                lambda: node.find_node(info_hash),
                lambda: node.announce(info_hash, 7000),
                lambda: node.scrape(info_hash),
                lambda: node.get_item(info_hash),
                lambda: node.put_item(ImmutableItem(b"4:item")),
                lambda: find_peers(node, info_hash),
            ):
                with trio.fail_after(SILENT_GRACE + 10.0):
                    await operation()

        found = await node.find_node(info_hash)
        assert [each.address.family for each in found] == [alive] * 8


async def test_joining_does_not_wait_for_a_dead_family(autojump_clock, new_network):
    network = new_network(1)
    async with network.open_nodes(20) as nodes:
        dead = [Address(network.host(number, V6), 6881) for number in range(200, 300)]
        async with network.open_node(60, families=BOTH, through=[*dead, *nodes[0].addresses]) as node:
            with trio.fail_after(SILENT_GRACE + 6.0):
                await node.wait_joined()
            assert len(node.contacts()) >= 8


async def test_slow_family_is_waited_for(autojump_clock, new_network):
    """Its nodes answer after 2 seconds each, those of the other after a tenth."""
    network, target = new_network(1, Uneven), random_id(Random(1))
    async with network.open_nodes(20, families=BOTH) as nodes:
        found = await nodes[7].find_node(target)
    assert Counter(each.address.family for each in found) == {V4: 8, V6: 8}


class Uneven(MemoryNetwork):
    """A network in which IPv6 is far slower than IPv4."""

    def carry(self, data, source, destination, now):
        self.latency = (0.9, 1.1) if source.family is V6 else (0.04, 0.06)
        super().carry(data, source, destination, now)


class Wanting(MemoryNetwork):
    """A network that counts queries which ask for both kinds of contacts."""

    wanting = 0

    def carry(self, data, source, destination, now):
        self.wanting += b"4:wantl2:n42:n6e" in data
        super().carry(data, source, destination, now)


@pytest.mark.parametrize(("known", "other"), [(V4, V6), (V6, V4)])
async def test_one_family_leads_to_the_other(autojump_clock, new_network, known, other):
    """A node that knows a way into one network only finds the other through nodes in both (BEP 32)."""
    network = new_network(1, Wanting)
    async with network.open_nodes(14, families=BOTH) as nodes:
        through = [address for address in nodes[0].addresses if address.family is known]
        async with network.open_node(60, families=BOTH, through=through) as node:
            await sleep_minutes(2)
            assert network.wanting > 0
            assert {each.family: each.good_nodes >= 8 for each in node.statistics().sockets} == {
                V4: True,
                V6: True,
            }
            await sleep_minutes(5)
            before = network.wanting
            await sleep_minutes(30)
            assert network.wanting == before  # only while it helps


async def test_both_tables_stay_full(autojump_clock, new_network):
    network, random = new_network(1), Random(1)
    async with (
        network.open_nodes(14, families=BOTH) as nodes,
        network.open_node(60, families=BOTH, through=nodes[0].addresses) as node,
    ):
        await node.wait_joined()
        least = {V4: 99, V6: 99}
        for _ in range(6):
            await sleep_minutes(10)
            found = Counter(each.address.family for each in await node.find_node(random_id(random)))
            assert found == {V4: 8, V6: 8}
            for one in node.statistics().sockets:
                least[one.family] = min(least[one.family], one.good_nodes)

    assert min(least.values()) >= 10
