"""The clients of the gateway by their IP address: who may ask, how often, and what proves an address.

A connection id (BEP 15) is a keyed hash of the address and the minute, so none is stored; those of a
minute and of the two before it are good.  Clients heard of lately are remembered, so that a request costs
no more than looking them up.
"""

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import ip_address
from math import inf

from dhtnode.addresses import Scope, is_public, normalize_host, pack_host, scope_of
from dhtnode.gateway.refusals import Refusal, RefusalKind
from dhtnode.gateway.settings import GatewaySettings, Network
from dhtnode.server.sources import RecentSources

MAX_CLIENTS = 16_384  # remembered; what they are in is counted elsewhere
MINUTES = 3  # for which a connection id is good, the minute under way included
ID_BYTES = 8
_MAPPED = "::ffff:"


class Reach:
    """The networks from which an address can be reached, the widest first; a peer is told to those within."""

    PUBLIC, PRIVATE, LOOPBACK = 0, 1, 2
    NOWHERE = -1


_REACH = {Scope.PUBLIC: Reach.PUBLIC, Scope.PRIVATE: Reach.PRIVATE, Scope.LOOPBACK: Reach.LOOPBACK}


def reach_of(host: str) -> int:
    """Return from where an address can be reached: `Reach.NOWHERE` for one that no client can have."""
    scope = scope_of(host)
    return Reach.NOWHERE if scope is Scope.PUBLIC and not is_public(host) else _REACH[scope]


class Client:
    """One IP address that asks; `connections` are the connection ids that it may use in a minute."""

    __slots__ = ("connections", "host", "is_own", "may_ask", "minute", "packed", "reach", "used_until")

    def __init__(self, host: str, reach: int, *, may_ask: bool, is_own: bool) -> None:
        self.host = host
        self.packed = pack_host(host)
        self.reach = reach
        self.may_ask = may_ask
        self.is_own = is_own
        self.used_until = -inf
        self.minute = -MINUTES
        self.connections: tuple[bytes, ...] = ()


class Clients:
    """The clients heard of lately, at most `MAX_CLIENTS`."""

    def __init__(self, settings: GatewaySettings, secret: bytes) -> None:
        """Begin with a secret of 32 bytes that no client can guess."""
        self._settings = settings
        self._secret = secret
        self._external: frozenset[str] = frozenset()
        self._known: RecentSources[str, Client] = RecentSources(MAX_CLIENTS, self._make)
        self.get: Callable[[str], Client] = self._known.get
        self.gap = 1.0 / settings.rate
        # With a margin for what rounding takes from the last request of a burst.
        self.credit = (settings.burst - 1.0 + 1e-6) * self.gap

    def __len__(self) -> int:
        return len(self._known)

    def named(self, host: str) -> Client:
        """Return the client at an address in any form of text; an IPv4 address in an IPv6 one is that."""
        try:
            normal = normalize_host(host)
            if normal.startswith(_MAPPED):
                normal = normalize_host(str(ip_address(int(ip_address(normal)) & 0xFFFFFFFF)))
        except ValueError:
            raise Refusal(RefusalKind.NOT_ALLOWED) from None
        return self.get(normal)

    def is_own(self, host: str) -> bool:
        """Return whether a client has our own public address, so that we may announce it."""
        return (
            scope_of(host) is Scope.LOOPBACK
            or host in self._external
            or is_in(host, self._settings.announce_for)
        )

    def set_external(self, hosts: frozenset[str]) -> bool:
        """Take in which addresses of ours others see; return whether they have changed."""
        has_changed = hosts != self._external
        if has_changed:
            self._external = hosts
            for client in self._known.values():
                client.is_own = self.is_own(client.host)
                client.may_ask = self._may_ask(client.reach, is_own=client.is_own)
        return has_changed

    def takes(self, client: Client, now: float) -> bool:
        """Count one request of a client; return False when it asks too often, and is not to be served."""
        used = client.used_until
        if used < now:
            client.used_until = now + self.gap
            return True
        if used - now > self.credit:
            return False
        client.used_until = used + self.gap
        return True

    def renew(self, client: Client, minute: int) -> None:
        """Make the connection ids of a client that are good in a minute, the newest first."""
        client.minute = minute
        client.connections = tuple(
            blake2b(
                client.packed + (minute - age).to_bytes(8, "big", signed=True),
                key=self._secret,
                digest_size=ID_BYTES,
            ).digest()
            for age in range(MINUTES)
        )

    def _make(self, host: str) -> Client:
        reach = reach_of(host)
        is_own = self.is_own(host)
        return Client(host, reach, may_ask=self._may_ask(reach, is_own=is_own), is_own=is_own)

    def _may_ask(self, reach: int, *, is_own: bool) -> bool:
        return reach > Reach.PUBLIC or (reach == Reach.PUBLIC and (is_own or self._settings.is_open))


def is_in(host: str, networks: tuple[Network, ...]) -> bool:
    """Return whether an address is in one of some networks."""
    return bool(networks) and any(ip_address(host) in network for network in networks)
