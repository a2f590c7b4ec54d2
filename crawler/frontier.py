"""Which endpoints are known, which wait, which are being visited, and whether the crawl is over.

An endpoint is visited once, under the first id that it was named by; other ids at the same address
and port are counted and not asked, or one host could keep a crawl busy for ever.  When nothing is
left, endpoints that stayed silent but were named by two others or more get a second visit: their
packet may have been lost.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush

from dhtnode import Address, Contact

SECOND_VISIT_REFERRERS = 2


class _State(Enum):
    QUEUED = "queued"
    IN_FLIGHT = "in flight"
    SILENT = "silent"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class FrontierStatistics:
    """Count endpoints by state, and contacts that were not followed."""

    sighted: int
    queued: int
    in_flight: int
    settled: int
    aliases: int
    dropped: int


class Frontier:
    """Hold every endpoint a crawl has heard of."""

    def __init__(self, max_endpoints: int) -> None:
        self._max_endpoints = max_endpoints
        self._endpoints: dict[Address, _Endpoint] = {}
        self._queue: deque[_Endpoint] = deque()
        self._later: list[tuple[float, int, _Endpoint]] = []
        self._deferrals = 0
        self._in_flight = 0
        self._aliases = 0
        self._dropped = 0
        self._is_second_pass = False

    def add(self, contact: Contact) -> bool:
        """Take in a contact that somebody named; return whether its endpoint is new to us."""
        known = self._endpoints.get(contact.address)
        if known is not None:
            known.referrers += 1
            self._aliases += known.contact.node_id != contact.node_id
            return False
        if len(self._endpoints) >= self._max_endpoints:
            self._dropped += 1
            return False
        endpoint = _Endpoint(contact)
        self._endpoints[contact.address] = endpoint
        self._queue.append(endpoint)
        return True

    def take_next(self, now: float) -> Contact | None:
        """Return a contact to visit now, or None when none is due; it then counts as in flight."""
        if self._later and self._later[0][0] <= now:
            _, _, endpoint = heappop(self._later)
        elif self._queue:
            endpoint = self._queue.popleft()
        else:
            return None
        endpoint.state = _State.IN_FLIGHT
        self._in_flight += 1
        return endpoint.contact

    def defer(self, address: Address, until: float) -> None:
        """Put a contact that was taken back, to be taken again at `until`."""
        endpoint = self._endpoints[address]
        endpoint.state = _State.QUEUED
        self._in_flight -= 1
        self._deferrals += 1
        heappush(self._later, (until, self._deferrals, endpoint))

    def settle(self, address: Address, *, answered: bool) -> None:
        """Take note that a visit has ended."""
        endpoint = self._endpoints[address]
        endpoint.state = _State.SETTLED if answered else _State.SILENT
        self._in_flight -= 1

    def start_second_pass(self) -> int:
        """Queue silent endpoints once more that enough others named; return how many, 0 the second time.

        Cost: linear in the endpoints known.
        """
        if self._is_second_pass:
            return 0
        self._is_second_pass = True
        again = [
            endpoint
            for endpoint in self._endpoints.values()
            if endpoint.state is _State.SILENT and endpoint.referrers >= SECOND_VISIT_REFERRERS
        ]
        for endpoint in again:
            endpoint.state = _State.QUEUED
        self._queue.extend(again)
        return len(again)

    def next_due(self) -> float | None:
        """Return when the first deferred contact is due, if any is deferred."""
        return self._later[0][0] if self._later else None

    def referrers(self, address: Address) -> int:
        """Return how many times an endpoint was named."""
        return self._endpoints[address].referrers

    @property
    def is_exhausted(self) -> bool:
        """Tell whether nothing waits and nothing is in flight."""
        return not (self._queue or self._later or self._in_flight)

    @property
    def in_flight(self) -> int:
        """Return how many visits are under way."""
        return self._in_flight

    def statistics(self) -> FrontierStatistics:
        """Return the counts of the moment."""
        queued = len(self._queue) + len(self._later)
        sighted = len(self._endpoints)
        settled = sighted - queued - self._in_flight
        return FrontierStatistics(sighted, queued, self._in_flight, settled, self._aliases, self._dropped)


class _Endpoint:
    __slots__ = ("contact", "referrers", "state")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.referrers = 1
        self.state = _State.QUEUED
