"""The bootstrap nodes through which we join, and the addresses that their names stand for.

Name servers fail, hang, and return many addresses.  So each name is resolved in a task of its own,
callers wait as long as they like, and late addresses are kept for the next caller.  Each family
resolves names on its own: trouble with one holds nothing up in the other.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import trio

from dhtnode.addresses import Address, Family, normalize_host, split_host_port
from dhtnode.net.udp import look_up

# Each is a thread while it lasts: one that hangs cannot be ended, only left behind at the end.
MAX_LOOK_UPS = 8
MAX_PER_NAME = 2
MAX_ADDRESSES = 16  # of one name
AGAIN_AFTER = 10.0  # seconds, when a name had no address or its look-up hangs
RENEW_AFTER = 300.0  # seconds, when it had some

LookUp = Callable[[str, int, Family], Awaitable[list[Address]]]


class BootstrapHosts:
    """The addresses of hosts, `HOST:PORT`, in one family."""

    def __init__(self, hosts: Iterable[str], family: Family, look_up: LookUp = look_up) -> None:
        """Begin with the addresses among the hosts; `serve` must run for names to be looked up."""
        self._family = family
        self._look_up = look_up
        self._known = {host: _Host(*split_host_port(host)) for host in hosts}
        for host in self._known.values():
            host.read_literal(family)
        self._wanted: list[_Host] = []
        self._requested = trio.Event()
        self._changed = trio.Event()

    def take(self, resolved: Mapping[str, Sequence[Address]], now: float) -> None:
        """Take over the addresses of names that were looked up a moment ago."""
        for name, addresses in resolved.items():
            host = self._known.get(name)
            if host is not None and addresses and not host.is_literal:
                found = [each for each in addresses if each.family is self._family]
                host.addresses, host.requested_at = tuple(found[:MAX_ADDRESSES]), now

    def addresses(self, hosts: Iterable[str]) -> list[Address]:
        """Return the addresses of these hosts known by now, in their order, each once."""
        return list(dict.fromkeys(address for host in hosts for address in self._known[host].addresses))

    def request(self, hosts: Iterable[str], now: float) -> None:
        """Have the names among these hosts looked up, unless that was done a moment ago."""
        for name in hosts:
            host = self._known[name]
            under_way = sum(each.under_way for each in self._known.values())
            if host.is_due(now) and under_way < MAX_LOOK_UPS:
                host.requested_at = now
                host.under_way += 1
                self._wanted.append(host)
                self._requested.set()

    def is_waiting(self, hosts: Iterable[str]) -> bool:
        """Return whether one of these hosts is being looked up that has no address yet."""
        return any(self._known[host].under_way and not self._known[host].addresses for host in hosts)

    async def wait_changed(self) -> None:
        """Wait until the next look-up ends, whatever it has found."""
        await self._changed.wait()

    async def serve(self) -> None:
        """Look up what is requested, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._requested.wait()
                self._requested = trio.Event()
                wanted, self._wanted = self._wanted, []
                for host in wanted:
                    nursery.start_soon(self._resolve, host, name=f"look up {host.name}")

    async def _resolve(self, host: "_Host") -> None:
        try:
            found = await self._look_up(host.name, host.port, self._family)
        finally:
            host.under_way -= 1
        # Otherwise those of last time may still do.
        if found:
            host.addresses = tuple(found[:MAX_ADDRESSES])
        self._changed.set()
        self._changed = trio.Event()


@dataclass(slots=True)
class _Host:
    name: str
    port: int
    is_literal: bool = False
    addresses: tuple[Address, ...] = ()
    requested_at: float = -inf
    under_way: int = 0

    def read_literal(self, family: Family) -> None:
        """Read the host as an address if it is one; one of the other family is left out."""
        try:
            address = Address(normalize_host(self.name), self.port)
        except ValueError:
            return
        self.is_literal = True
        self.addresses = (address,) if address.family is family else ()

    def is_due(self, now: float) -> bool:
        pause = RENEW_AFTER if self.addresses else AGAIN_AFTER
        return not self.is_literal and self.under_way < MAX_PER_NAME and now - self.requested_at >= pause
