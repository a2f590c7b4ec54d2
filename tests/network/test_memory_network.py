"""The network in memory itself: a test network that errs would let everything else err with it."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from dhtnode import Address, Family, Scope, random_id
from dhtnode.testing import QUEUE_LIMIT, MemoryNetwork
from tests.network.scenes import host_of


def drain(socket):
    return list(iter(socket.receive_nowait, None))


def pair(network, **options):
    """Return two sockets on hosts 0 and 1; the options are for the second."""
    return network.socket(network.host(0)), network.socket(network.host(1), **options)


async def test_datagram_arrives_after_its_latency(autojump_clock, new_network):
    a, b = pair(new_network(seed=1, latency=(0.3, 0.3)))
    assert a.send_nowait(b"hello", b.address)
    assert b.receive_nowait() is None
    started = trio.current_time()
    await b.wait_readable()
    assert trio.current_time() - started == pytest.approx(0.3)
    assert drain(b) == [(b"hello", a.address)]


async def test_batch_is_sent_and_received_as_single_datagrams_are(autojump_clock, new_network):
    a, b = pair(new_network(seed=1, latency=(0.3, 0.3)))
    elsewhere = Address("2a00::1", 6881)
    failed = a.send_batch([(b"0", b.address), (b"1", elsewhere), (b"2", b.address), (b"3", b.address)])
    await b.wait_readable()
    assert list(failed) == [1]
    assert b.receive_batch(2) == [(b"0", a.address), (b"2", a.address)]
    assert b.receive_batch(2) == [(b"3", a.address)]


async def test_waiting_ends_with_the_earliest_datagram(autojump_clock, new_network):
    network = new_network(seed=1, latency=(5.0, 5.0))
    a, b = pair(network)
    a.send_nowait(b"slow", b.address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.wait_readable)
        await trio.sleep(1.0)
        network.latency = (0.5, 0.5)
        a.send_nowait(b"fast", b.address)
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(0.5)
    assert drain(b) == [(b"fast", a.address)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_loss_and_duplication_have_the_given_rates(autojump_clock, new_network, seed):
    network = new_network(seed, loss=0.3, duplication=0.1)
    a, b = pair(network)

    for _ in range(5000):
        a.send_nowait(b"hello", b.address)
        await trio.sleep(0.01)
        drain(b)
    await trio.sleep(1.0)
    drain(b)

    numbers = network.statistics()
    assert numbers.sent == 5000
    assert numbers.duplicated == pytest.approx(500, abs=100)
    assert numbers.lost == pytest.approx(1650, abs=150)
    assert numbers.delivered == numbers.sent + numbers.duplicated - numbers.lost


async def test_nat_lets_in_only_hosts_that_were_sent_to(autojump_clock, new_network):
    network = new_network(seed=1, latency=(0.1, 0.1))
    outside, inside = pair(network, nat=True)
    other = network.socket(network.host(0), port=7000)

    async def reaches_inside(sender):
        sender.send_nowait(b"hello", inside.address)
        await trio.sleep(1.0)
        return bool(drain(inside))

    assert not await reaches_inside(outside)
    inside.send_nowait(b"hello", outside.address)
    assert await reaches_inside(outside)
    assert not await reaches_inside(other)
    await trio.sleep(117.0)
    assert await reaches_inside(outside)
    assert not await reaches_inside(outside)
    assert network.statistics().dropped_at_nat == 3


async def test_nat_is_not_opened_for_what_has_come_before(autojump_clock, new_network):
    network = new_network(seed=1)
    outside, inside = pair(network, nat=True)
    outside.send_nowait(b"hello", inside.address)
    await trio.sleep(1.0)
    inside.send_nowait(b"hello", outside.address)
    assert drain(inside) == []


async def test_host_that_is_cut_off_neither_sends_nor_receives(autojump_clock, new_network):
    network = new_network(seed=1, latency=(0.1, 0.1))
    a, b = pair(network)

    a.send_nowait(b"before", b.address)
    await trio.sleep(1.0)
    a.send_nowait(b"under way", b.address)
    network.cut(b.address.host)
    a.send_nowait(b"after", b.address)
    b.send_nowait(b"after", a.address)
    await trio.sleep(1.0)
    network.restore(b.address.host)
    a.send_nowait(b"restored", b.address)
    await trio.sleep(1.0)

    assert [data for data, _ in drain(b)] == [b"before", b"restored"]
    assert drain(a) == []
    assert network.statistics().cut_off == 3


async def test_full_queue_drops_what_comes_then(autojump_clock, new_network):
    """A node that does not keep up loses the newest datagrams, as in the kernel."""
    network = new_network(seed=1, latency=(0.1, 0.1))
    a, b = pair(network)
    for number in range(QUEUE_LIMIT + 7):
        a.send_nowait(b"%d" % number, b.address)
    await trio.sleep(1.0)
    assert [data for data, _ in drain(b)] == [b"%d" % number for number in range(QUEUE_LIMIT)]
    assert network.statistics().queue_full == 7


async def test_closed_socket_is_gone(autojump_clock, new_network):
    network = new_network(seed=1)
    a, b = pair(network)
    a.send_nowait(b"under way", b.address)

    async def wait_until_closed():
        with pytest.raises(trio.ClosedResourceError):
            await b.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_until_closed)
        await trio.sleep(0.0)
        b.close()
        b.close()
    a.send_nowait(b"too late", b.address)

    assert not b.send_nowait(b"hello", a.address)
    assert network.statistics().unreachable == 2
    assert network.socket(b.address.host).address == b.address


async def test_address_is_given_once_and_families_do_not_mix(autojump_clock, new_network):
    network = new_network(seed=1)
    a = network.socket(network.host(0))
    with pytest.raises(ValueError, match="taken"):
        network.socket(network.host(0))
    assert not a.send_nowait(b"hello", Address(network.host(1, Family.IPV6), 6881))


@pytest.mark.parametrize("family", list(Family))
def test_hosts_are_public_and_each_in_a_network_of_its_own(family):
    """Or the rules of diversity would keep nodes out of each other's tables."""
    network = MemoryNetwork()
    addresses = [Address(network.host(number, family), 6881) for number in (0, 1, 255, 256, 65535, 65536)]
    assert all(Scope.PUBLIC.allows(address) for address in addresses)
    assert len({Scope.PUBLIC.network_key(address) for address in addresses}) == len(addresses)
    assert {address.family for address in addresses} == {family}


@pytest.mark.parametrize("number", [-1, 80 << 16])
def test_there_is_an_end_to_hosts(number):
    with pytest.raises(ValueError, match="is not in"):
        MemoryNetwork().host(number)


@pytest.mark.slow
def test_same_seed_makes_the_same_history():
    """Ids, delays and losses follow from the seed, so that a failure can be replayed."""

    async def history(seed):
        trio._core._run._r.seed(seed)
        network = MemoryNetwork(seed=seed, loss=0.1, duplication=0.1)
        async with network.open_nodes(10) as nodes:
            await nodes[3].find_node(random_id(Random(seed)))
            await trio.sleep(600.0)
            contacts = [node.contacts() for node in nodes]
        return contacts, network.statistics(), network.totals()

    first, again, other = (
        trio.run(history, seed, clock=MockClock(autojump_threshold=0)) for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


async def test_totals_keep_the_counters_of_closed_nodes(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(5) as nodes:
        await nodes[1].ping(nodes[2].addresses[0])
        sent = sum(node.statistics().sockets[0].counts["queries sent"] for node in nodes)
        assert network.totals()["queries sent"] == sent
    assert network.totals()["queries sent"] == sent
    assert {host_of(node) for node in nodes} == {network.host(number) for number in range(5)}
