"""The sockets that a node binds, and the networks that they are part of.

What the user types decides both: the addresses to listen on, and the nodes to join through, given by
address or by a name that stands for it.  With nodes on loopback only, the sockets are on loopback;
with one in a private network, they talk to private addresses too.  Nothing else has a say: not the
well-known nodes, not those that a torrent file lists, and not what other nodes send.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import trio

from dhtnode.addresses import (
    WILDCARDS,
    Address,
    Family,
    Scope,
    check_listen,
    normalize_host,
    scope_of,
    split_host_port,
)
from dhtnode.arguments import address_of, several
from dhtnode.errors import CannotListen
from dhtnode.net.udp import DatagramSocket, open_udp_socket, resolve

_LOOPBACK = {Family.IPV4: Address("127.0.0.1", 0), Family.IPV6: Address("::1", 0)}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The networks in which the nodes live that a user wants to join through.

    `families` are those of nodes on loopback, when all are there.  `is_own` says that no node named is
    in the public network, so that nodes there are none of the user's business.  `found` are the addresses
    of each `HOST:PORT`.
    """

    scope: Scope
    families: tuple[Family, ...] = ()
    is_own: bool = False
    found: Mapping[str, Sequence[Address]] = field(default_factory=dict)

    @classmethod
    def of(cls, hosts: Sequence[str], addresses: Sequence[Sequence[Address]]) -> "Surroundings":
        """Judge hosts, `HOST:PORT`, by the addresses found for each."""
        scopes = set[Scope]()
        for host, found in zip(hosts, addresses, strict=True):
            scopes.update(scope_of(address.host) for address in found)
            # A name that has no address by now, as that of a container which starts later, tells
            # by its form that no public name server knows it.
            if not found:
                scopes.add(Scope.PUBLIC if "." in split_host_port(host)[0] else Scope.PRIVATE)
        is_own = bool(scopes) and Scope.PUBLIC not in scopes
        if scopes == {Scope.LOOPBACK}:
            families = {address.family for found in addresses for address in found}
            return cls(Scope.LOOPBACK, tuple(sorted(families)), is_own)
        return cls(Scope.PRIVATE if Scope.PRIVATE in scopes else Scope.PUBLIC, (), is_own)


async def look_around(bootstrap: Sequence[str]) -> Surroundings:
    """Find the addresses of what a user typed; takes up to 5 s when a name server hangs."""
    found: dict[str, list[Address]] = {}

    async def find(host_port: str) -> None:
        host, port = split_host_port(host_port)
        try:
            found[host_port] = [Address(normalize_host(host), port)]
        except ValueError:
            found[host_port] = await resolve(host_port, Family)

    async with trio.open_nursery() as nursery:
        for host_port in dict.fromkeys(bootstrap):
            nursery.start_soon(find, host_port)
    hosts = list(found)
    return replace(Surroundings.of(hosts, [found[host] for host in hosts]), found=found)


def bind(
    listen: Sequence[str | Address] | None, port: int, surroundings: Surroundings
) -> list[DatagramSocket]:
    """Bind what `listen` names; without it, as many of the default addresses as this machine has.

    These are a port of loopback when all nodes to join through are there, else `port` of each family.
    Raises `AddressInUse`, `CannotListen` or `ValueError`.
    """
    if listen is None:
        wanted = [_LOOPBACK[family] for family in surroundings.families]
        # BEP 32 and BEP 45 advise against wildcards: on a host with several addresses a reply may leave
        # from another than the query came to.  `listen` names those; a wildcard works wherever there is one.
        wanted = wanted or [Address(host, port) for host in WILDCARDS]
        return _bind_all(wanted, surroundings.scope, all_needed=False)
    addresses = [address_of(entry) for entry in several("listen", listen)]
    check_listen(addresses)
    return _bind_all(addresses, surroundings.scope, all_needed=True)


def _bind_all(addresses: Iterable[Address], scope: Scope, *, all_needed: bool) -> list[DatagramSocket]:
    """Bind every address, or at least one of them if not all are needed, or leave nothing bound."""
    bound: list[DatagramSocket] = []
    failure: CannotListen | None = None
    # No wildcard is on loopback: nodes there answer one that is bound to an address of loopback.
    scope = Scope.PUBLIC if scope is Scope.LOOPBACK else scope
    with ExitStack() as undo:
        for address in addresses:
            try:
                bound.append(open_udp_socket(address, scope))
            except CannotListen as error:  # no IPv6 on this machine, or no IPv4
                failure = error
            else:
                undo.callback(bound[-1].close)
        if failure is not None and (all_needed or not bound):
            raise failure
        undo.pop_all()
    return bound
