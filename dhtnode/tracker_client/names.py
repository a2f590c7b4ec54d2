"""Where the name of a tracker leads, and what its DNS says about trackers there (BEP 22, 34)."""

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from types import ModuleType
from typing import Any

import trio

from dhtnode.addresses import Address, Family, Scope, normalize_host, scope_of
from dhtnode.net.udp import RESOLVE_TIMEOUT, resolve
from dhtnode.trackers.dns_preferences import Service, read_preferences
from dhtnode.trackers.local_trackers import SrvRecord
from dhtnode.trackers.messages import Outcome, TrackerError
from dhtnode.trackers.urls import TrackerUrl

MAX_RECORDS = 64
"""Records of one answer that are looked at."""

QUERY_TIMEOUT = 2.0
"""Seconds for one question about a local tracker."""


async def addresses_of(url: TrackerUrl, scope: Scope | None, dns: "Dns | None" = None) -> list[Address]:
    """Return the addresses of a tracker, one of each family, that a socket of a scope may talk to.

    None is the scope of what a user typed: any that a node can be at.  Raises `TrackerError`.
    """
    found = await _resolve(url, dns)
    if not found:
        raise TrackerError(Outcome.NO_SUCH_NAME, url.host)
    allowed = [address for address in found if (scope or scope_of(address.host)).allows(address)]
    if not allowed:
        raise TrackerError(Outcome.NOT_PUBLIC, f"{url.host} is {found[0].host}")
    first = {address.family: address for address in reversed(allowed)}
    return [first[family] for family in sorted(first)]


async def _resolve(url: TrackerUrl, dns: "Dns | None") -> list[Address]:
    with suppress(ValueError):
        return [Address(normalize_host(url.host), url.port)]
    if dns is not None and dns.has_own_servers:
        return await dns.addresses(url.host, url.port)
    return await resolve(f"{url.host}:{url.port}", Family)


class Dns:
    """Questions to the name servers of this machine that need dnspython; without it nothing is known."""

    def __init__(self, servers: Sequence[Address] = ()) -> None:
        """Ask the name servers that the system has, or those given, all on one port."""
        self._dns = _dnspython()
        self._resolver: Any = None
        self._servers = servers

    @property
    def is_known(self) -> bool:
        """Return whether it can ask anything."""
        return self._dns is not None

    @property
    def has_own_servers(self) -> bool:
        """Return whether it was given name servers, which then resolve names, too."""
        return self._dns is not None and bool(self._servers)

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses that a host has."""
        found = list[Address]()
        for kind in ("A", "AAAA"):
            records, _ = await self._ask(host, kind, RESOLVE_TIMEOUT)
            found += [Address(normalize_host(each.address), port) for each in records[:MAX_RECORDS]]
        return found

    async def preferences(self, host: str) -> tuple[Service, ...] | None:
        """Return what a host says of its trackers (BEP 34); None if nothing, or no name server tells."""
        with suppress(ValueError):
            ip_address(host)
            return None
        records, _ = await self._ask(host, "TXT", RESOLVE_TIMEOUT)
        return read_preferences([record.strings for record in records])

    async def names_of(self, reverse: str) -> tuple[list[str], float]:
        """Return the names that a reverse name leads to, and for how many seconds that holds."""
        records, seconds = await self._ask(reverse, "PTR", QUERY_TIMEOUT)
        return [str(each.target).rstrip(".") for each in records[:MAX_RECORDS]], seconds

    async def services(self, name: str) -> tuple[list[SrvRecord], float]:
        """Return the targets of a service, and for how many seconds they hold."""
        records, seconds = await self._ask(name, "SRV", QUERY_TIMEOUT)
        found = records[:MAX_RECORDS]
        return [SrvRecord(each.priority, each.weight, each.port, str(each.target)) for each in found], seconds

    async def _ask(self, name: str, kind: str, timeout: float) -> tuple[list[Any], float]:
        """Return the records of a name and how long they hold; none if no server tells."""
        if self._dns is None:
            await trio.lowlevel.checkpoint()
            return [], 0.0
        try:
            answer = await self._opened(self._dns).resolve(name, kind, lifetime=timeout, search=False)
            return list(answer), float(answer.rrset.ttl)
        except (self._dns.exception.DNSException, OSError, ValueError):
            return [], 0.0

    def _opened(self, dns: ModuleType) -> Any:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                self._resolver.nameservers = [server.host for server in self._servers]
                self._resolver.port = self._servers[0].port
        return self._resolver


def _dnspython() -> ModuleType | None:
    try:
        import dns
        import dns.asyncresolver
        import dns.exception
    except ImportError:
        return None
    return dns
