"""Names of hosts that resolve, fail, hang, or name many addresses; in virtual time, without threads."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dhtnode import Node, open_node
from dhtnode.addresses import Address, Family
from dhtnode.node.bootstrap import AGAIN_AFTER, MAX_ADDRESSES, RENEW_AFTER, BootstrapHosts
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import find_peers

ADDRESS = Address("21.0.0.1", 6881)


class Names:
    """A name server: each name has a delay, infinite if need be, and the hosts that it stands for."""

    def __init__(self, **names: tuple[float, list[str]]) -> None:
        self.names = names
        self.asked: list[tuple[str, Family]] = []
        self.under_way = 0
        self.most = 0

    async def __call__(self, name: str, port: int, family: Family) -> list[Address]:
        self.asked.append((name, family))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            delay, hosts = self.names.get(name, (0.0, []))
            await trio.sleep(delay)
            return [Address(host, port) for host in hosts]
        finally:
            self.under_way -= 1


@asynccontextmanager
async def serving(names: Names, *hosts: str) -> AsyncIterator[BootstrapHosts]:
    bootstrap_hosts = BootstrapHosts(hosts, Family.IPV4, names)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bootstrap_hosts.serve)
        yield bootstrap_hosts
        nursery.cancel_scope.cancel()
    assert names.under_way == 0


def test_addresses_are_known_without_asking() -> None:
    hosts = ["21.0.0.1:6881", "[2a00::1]:6881", "21.0.0.2:1", "21.0.0.1:6881"]
    bootstrap_hosts = BootstrapHosts(hosts, Family.IPV4, Names())
    bootstrap_hosts.request(hosts, 0.0)
    assert bootstrap_hosts.addresses(hosts) == [ADDRESS, Address("21.0.0.2", 1)]
    assert not bootstrap_hosts.is_waiting(hosts)


async def test_name_that_was_looked_up_before_is_not_looked_up_at_once(autojump_clock: MockClock) -> None:
    """Nor in the family in which it has no address; but one without any may have one by now."""
    names = Names(four=(0.0, ["21.0.0.9"]), six=(0.0, []), none=(0.0, ["21.0.0.8"]))
    hosts = ["four:6881", "six:6881", "none:6881", "21.0.0.2:1"]
    async with serving(names, *hosts) as bootstrap_hosts:
        known = {
            "four:6881": [ADDRESS],
            "six:6881": [Address("2a00::1", 6881)],
            "none:6881": [],
            "other:1": [],
        }
        bootstrap_hosts.take(known, trio.current_time())
        bootstrap_hosts.request(hosts, trio.current_time())
        await wait_all_tasks_blocked()
        assert names.asked == [("none", Family.IPV4)]
        assert bootstrap_hosts.addresses(hosts) == [
            ADDRESS,
            Address("21.0.0.8", 6881),
            Address("21.0.0.2", 1),
        ]
        await trio.sleep(RENEW_AFTER)
        bootstrap_hosts.request(hosts, trio.current_time())
        await wait_all_tasks_blocked()
        assert bootstrap_hosts.addresses(["four:6881"]) == [Address("21.0.0.9", 6881)]


async def test_name_that_hangs_does_not_hide_the_others(autojump_clock: MockClock) -> None:
    names = Names(slow=(60.0, ["21.0.0.9"]), quick=(0.1, ["21.0.0.1"]))
    hosts = ["slow:6881", "quick:6881"]
    async with serving(names, *hosts) as bootstrap_hosts:
        bootstrap_hosts.request(hosts, trio.current_time())
        await bootstrap_hosts.wait_changed()
        first = bootstrap_hosts.addresses(hosts)
        assert bootstrap_hosts.is_waiting(hosts)
        await bootstrap_hosts.wait_changed()
        assert (first, bootstrap_hosts.addresses(hosts)) == ([ADDRESS], [Address("21.0.0.9", 6881), ADDRESS])
        assert not bootstrap_hosts.is_waiting(hosts)


async def test_look_ups_that_hang_do_not_pile_up(autojump_clock: MockClock) -> None:
    hosts = [f"name{number}:1" for number in range(20)]
    names = Names(**{f"name{number}": (float("inf"), []) for number in range(20)})
    async with serving(names, *hosts) as bootstrap_hosts:
        for _ in range(1000):
            bootstrap_hosts.request(hosts, trio.current_time())
            await trio.sleep(AGAIN_AFTER)
        assert (names.most, len(names.asked)) == (8, 8)
    names.asked.clear()
    async with serving(names, *hosts[:1]) as bootstrap_hosts:
        for _ in range(1000):
            bootstrap_hosts.request(hosts[:1], trio.current_time())
            await trio.sleep(AGAIN_AFTER)

        assert len(names.asked) == 2


@pytest.mark.parametrize(("found", "pause"), [([], 10.0), (["21.0.0.1"], 300.0)])
async def test_name_is_looked_up_again_after_a_pause(
    autojump_clock: MockClock, found: list[str], pause: float
) -> None:
    names = Names(name=(0.0, found))
    async with serving(names, "name:6881") as bootstrap_hosts:
        for _ in range(int(10 * pause)):
            bootstrap_hosts.request(["name:6881"], trio.current_time())
            await trio.sleep(1.0)
    assert len(names.asked) == 10


async def test_addresses_outlast_a_name_server_that_fails_later(autojump_clock: MockClock) -> None:
    names = Names(name=(0.0, ["21.0.0.1"]))
    known = []
    async with serving(names, "name:6881") as bootstrap_hosts:
        for hosts in (["21.0.0.1"], [], ["21.0.0.2"]):
            names.names["name"] = (0.0, hosts)
            bootstrap_hosts.request(["name:6881"], trio.current_time())
            await trio.sleep(RENEW_AFTER)
            known.append(bootstrap_hosts.addresses(["name:6881"]))
    assert known == [[ADDRESS], [ADDRESS], [Address("21.0.0.2", 6881)]]


async def test_addresses_of_one_name_are_bounded(autojump_clock: MockClock) -> None:
    names = Names(name=(0.0, [f"21.0.{number}.1" for number in range(250)]))
    async with serving(names, "name:6881") as bootstrap_hosts:
        bootstrap_hosts.request(["name:6881"], trio.current_time())
        await wait_all_tasks_blocked()
        assert len(bootstrap_hosts.addresses(["name:6881"])) == MAX_ADDRESSES


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Names], None]:
    """Return a function that puts a name server in the place of the system's, for new nodes."""

    def use(names: Names) -> None:
        async def getaddrinfo(host: str, port: int, kind: int, *_: object) -> list[object]:
            family = Family.IPV6 if kind == trio.socket.AF_INET6 else Family.IPV4
            found = await names(host, port, family)
            return [(0, 0, 0, "", (address.host, address.port)) for address in found]

        monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)

    return use


@pytest.mark.slow
async def test_node_joins_by_the_one_name_that_resolves(
    autojump_clock: MockClock, use: Callable[[Names], None]
) -> None:
    network = MemoryNetwork(seed=1)
    async with network.open_nodes(12) as nodes:
        use(Names(slow=(float("inf"), []), good=(0.2, [network.host(200), network.host(0)])))
        async with open_through(network, 30, "slow:6881", "bad:6881", "good:6881") as node:
            with trio.fail_after(4.0):
                await node.wait_joined()
            assert len(node.contacts()) >= 8
            with trio.fail_after(4.0):
                assert await find_peers(node, nodes[3].node_id) == set()


@pytest.mark.slow
async def test_late_answer_of_a_name_server_is_used(
    autojump_clock: MockClock, use: Callable[[Names], None]
) -> None:
    """The walk that asked for it has gone on without; the next one need not ask again."""
    network, names = MemoryNetwork(seed=1), Names()
    async with network.open_nodes(12):
        names.names["late"] = (20.0, [network.host(0)])
        use(names)
        async with open_through(network, 30, "late:6881") as node:
            await node.wait_joined()
            assert node.contacts() == []
            await trio.sleep(20.0)
            assert len(node.contacts()) >= 8


@pytest.mark.slow
async def test_names_that_fail_for_hours_are_found_within_seconds(
    autojump_clock: MockClock, use: Callable[[Names], None]
) -> None:
    """A node that starts for the first time, without a network, knows no other node."""
    network, names = MemoryNetwork(seed=1), Names()
    use(names)
    async with open_through(network, 30, "name:6881") as node:
        await trio.sleep(3 * 3600.0)
        asked = len(names.asked)
        async with network.open_nodes(12):
            names.names["name"] = (0.1, [network.host(0)])
            await trio.sleep(AGAIN_AFTER + 10.0)
            assert asked <= 3 * 3600 / AGAIN_AFTER + 1
            assert len(node.contacts()) >= 8


async def test_names_of_one_family_do_not_hold_up_the_other(
    autojump_clock: MockClock, use: Callable[[Names], None]
) -> None:
    class HalfNames(Names):
        async def __call__(self, name: str, port: int, family: Family) -> list[Address]:
            if family is Family.IPV6:
                await trio.sleep_forever()
            return await super().__call__(name, port, family)

    network = MemoryNetwork(seed=1)
    async with network.open_nodes(12):
        use(HalfNames(name=(0.1, [network.host(0)])))
        async with open_through(network, 30, "name:6881", families=tuple(Family)) as node:
            await trio.sleep(4.0)
            assert len(node.contacts()) >= 8


@asynccontextmanager
async def open_through(
    network: MemoryNetwork, number: int, *hosts: str, families: tuple[Family, ...] = (Family.IPV4,)
) -> AsyncIterator[Node]:
    sockets = [network.socket(network.host(number, family)) for family in families]
    async with open_node(sockets=sockets, bootstrap=hosts, well_known=False) as node:
        yield node
    network.statistics().check()
