"""The search for a tracker that our own network announces in its reverse DNS (BEP 22)."""

from collections.abc import Callable
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

import trio

from dhtnode.addresses import Scope, scope_of
from dhtnode.errors import InvalidArgument
from dhtnode.tracker_client.names import Dns, addresses_of
from dhtnode.trackers.local_trackers import SrvRecord, in_order, reverse_name, service_names
from dhtnode.trackers.messages import TrackerError
from dhtnode.trackers.urls import InvalidTrackerUrl, TrackerUrl, parse_tracker_url

LOCAL_TIMEOUT = 10.0
"""Seconds for all questions about a local tracker."""

MAX_TARGETS = 8
"""Targets of one name whose addresses are looked up."""

LONGEST_MEMORY = 86_400.0
"""Seconds that an answer is kept at most, however long its DNS allows."""


class DnsAnswer(NamedTuple):
    """A name that was asked for, the kind of record, and what came: `HOST` of PTR, `HOST:PORT` of SRV."""

    name: str
    kind: str
    answers: tuple[str, ...]
    refused: tuple[str, ...] = ()
    """Of SRV, why targets are not used."""


class LocalTrackers(NamedTuple):
    """The trackers that a network announces, in the order to try them, and the names that were asked for."""

    urls: tuple[TrackerUrl, ...]
    asked: tuple[DnsAnswer, ...]


class LocalSearch:
    """What is asked for the trackers of one network; `asked` and `urls` grow while it runs."""

    def __init__(self, dns: Dns, random: Random, is_public_suffix: Callable[[str], bool]) -> None:
        self._dns = dns
        self._random = random
        self._is_public_suffix = is_public_suffix
        self.asked: list[DnsAnswer] = []
        self.urls: list[TrackerUrl] = []
        self.seconds = LONGEST_MEMORY
        """How long the DNS allows to keep the answer."""

    async def run(self, external_host: str) -> None:
        """Ask for the name of an address, then for the trackers of it and of what is above it."""
        with trio.move_on_after(LOCAL_TIMEOUT):
            reverse = reverse_name(external_host)
            names, seconds = await self._dns.names_of(reverse)
            self.seconds = min(self.seconds, seconds)
            self.asked.append(DnsAnswer(reverse, "PTR", tuple(names)))
            for name in service_names(names[0] if names else "", self._is_public_suffix):
                records, seconds = await self._dns.services(name)
                # Kept before targets are looked up, for which the time may be too short.
                told = tuple(f"{each.target.rstrip('.') or '.'}:{each.port}" for each in records)
                self.asked.append(DnsAnswer(name, "SRV", told))
                refused = await self._take(records, scope_of(external_host))
                self.asked[-1] = DnsAnswer(name, "SRV", told, refused)
                if self.urls:
                    self.seconds = min(self.seconds, seconds)
                    return

    async def _take(self, records: list[SrvRecord], scope: Scope) -> tuple[str, ...]:
        """Keep the targets that may be asked, and return why others are not."""
        refused = list[str]()
        for record in in_order(records, self._random)[:MAX_TARGETS]:
            target = record.target.rstrip(".")
            try:
                url = parse_tracker_url(f"http://{target}:{record.port}/announce")
                await addresses_of(url, scope, self._dns)
            except (InvalidTrackerUrl, TrackerError) as error:
                refused.append(str(error))
            else:
                self.urls.append(url)
        return tuple(refused)


def check_external_host(text: str) -> str:
    """Return an address in its usual form; raises `InvalidArgument` if it is none, or of no network."""
    try:
        address = ip_address(text)
    except (TypeError, ValueError):
        raise InvalidArgument(f"the external address is an IP address, not {str(text)[:60]!r}") from None
    if address.is_unspecified or address.is_multicast:
        raise InvalidArgument(f"no host has the address {address}")
    return str(address)
