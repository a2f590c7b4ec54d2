"""Where a node is: decided by what the user types, and by nothing else."""

import pytest
import trio

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.api.binding import Surroundings, bind, look_around
from dhtnode.ids import NodeId
from dhtnode.lookup.lookup import Lookup

LOOPBACK, PRIVATE, PUBLIC = Scope
HERE, THERE = "127.0.0.1", "::1"
LAB, LAB6, COMPOSE, HOME, CARRIER = "10.1.2.3", "fd00::1", "172.18.0.2", "192.168.77.1", "100.64.1.1"
NET = "8.9.10.11"


@pytest.mark.parametrize(
    ("found", "scope", "is_own"),
    [
        ({}, PUBLIC, False),
        ({"a.example": [NET]}, PUBLIC, False),
        ({"a.example": []}, PUBLIC, False),
        ({"localhost": [HERE, THERE]}, LOOPBACK, True),
        ({"mybox": ["127.0.1.1"]}, LOOPBACK, True),
        ({"node1": []}, PRIVATE, True),
        *[({"a": [host]}, PRIVATE, True) for host in (LAB, LAB6, COMPOSE, HOME, CARRIER)],
        ({"a": [HOME], "b": [NET]}, PRIVATE, False),
        ({"a": [HOME], "b": [HERE]}, PRIVATE, True),
        ({"a": [HERE], "b": [NET]}, PUBLIC, False),
    ],
)
def test_addresses_of_bootstrap_nodes_decide(found: dict[str, list[str]], scope: Scope, is_own: bool) -> None:
    addresses = [[Address(host, 6881) for host in hosts] for hosts in found.values()]
    around = Surroundings.of([f"{name}:6881" for name in found], addresses)
    assert (around.scope, around.is_own) == (scope, is_own)


async def test_localhost_is_both_families(autojump_clock: trio.testing.MockClock) -> None:
    around = await look_around(["localhost:6881"])
    sockets = bind(None, 0, around)
    for socket in sockets:
        socket.close()
    assert [socket.address.host for socket in sockets] in ([HERE, THERE], [HERE])


@pytest.mark.parametrize(("through", "scope"), [(HOME, PRIVATE), (NET, PUBLIC), (HERE, PUBLIC)])
async def test_wildcard_is_where_the_bootstrap_nodes_are(through: str, scope: Scope) -> None:
    around = await look_around([f"{through}:6881"])
    (socket,) = bind(["0.0.0.0:0"], 0, around)
    assert socket.scope is scope
    socket.close()


async def test_address_that_is_bound_decides_alone() -> None:
    (socket,) = bind(["127.0.0.1:0"], 0, await look_around([f"{HOME}:6881"]))
    assert socket.scope is LOOPBACK
    socket.close()


def returned_by(source: str, *, scope: Scope) -> list[str]:
    """Return the hosts that a lookup queries of those that one node returns."""
    lookup = Lookup(bytes(20), NodeId(bytes([1]) * 20), scope)
    lookup.add_bootstrap_nodes([Address(source, 1)])
    assert lookup.take_next() == Address(source, 1)
    hosts = (LAB, COMPOSE, NET, "45.1.2.3")
    contacts = [Contact(NodeId(bytes([2, at]) * 10), Address(host, 2)) for at, host in enumerate(hosts)]
    lookup.on_response(Address(source, 1), NodeId(bytes([3]) * 20), contacts)
    queried = iter(lookup.take_next, None)
    return sorted(address.host for address in queried)


def test_only_private_nodes_name_private_ones() -> None:
    """A stranger in the public network cannot make us knock at doors of a network of ours."""
    assert returned_by(HOME, scope=PRIVATE) == sorted([LAB, COMPOSE, NET, "45.1.2.3"])
    assert returned_by("9.9.9.9", scope=PRIVATE) == sorted([NET, "45.1.2.3"])
    assert returned_by("9.9.9.9", scope=PUBLIC) == sorted([NET, "45.1.2.3"])


@pytest.mark.parametrize(
    ("scope", "address", "reason"),
    [
        (PUBLIC, Address(HOME, 1), "it is in a private network: name a node there to join through"),
        (PUBLIC, Address(HERE, 1), "it is on loopback, and this node is not"),
        (LOOPBACK, Address(NET, 1), "it is not on loopback, as this node is"),
        (LOOPBACK, Address(HOME, 1), "it is not on loopback, as this node is"),
        (PUBLIC, Address(NET, 0), "no node can be there"),
        (PUBLIC, Address("224.0.0.1", 1), "no node can be there"),
    ],
)
def test_refusal_says_why(scope: Scope, address: Address, reason: str) -> None:
    assert (scope.refusal(address) or "").startswith(reason)


@pytest.mark.parametrize("scope", Scope)
def test_what_is_allowed_is_not_refused(scope: Scope) -> None:
    host = {LOOPBACK: HERE, PRIVATE: HOME, PUBLIC: NET}[scope]
    assert scope.refusal(Address(host, 1)) is None
