"""Which endpoints of one family are known, which wait, and what the crawl knows of each.

An endpoint is visited once, under the first id that it was returned with; other ids at the same address
and port are not queried, or one host could keep a crawl busy for ever.  When nothing is left, endpoints
that were unresponsive but were returned by two nodes or more get a second visit: their packet may have
been lost.

Millions of endpoints are known at the end, so each takes little: an entry in a dictionary from the
endpoint to a small integer, some 95 bytes, and 26 more while it waits.  The integer holds how far the
endpoint has come, how many different nodes have returned it (up to 5), and whether a node of each half
of the crawl has: the estimate of how many nodes were missed needs that of every node that answered.
It stays below 256, because Python has one object for each number up to there.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from crawler.core.contact_queue import ContactQueue
from dhtnode.krpc import CompactContacts, PackedEndpoint

SECOND_VISIT_REFERRERS = 2
# Ports of one IP address that are visited; behind carrier-grade NATs are dozens.
MAX_PORTS_PER_HOST = 64
# One byte each, for all hosts; two hosts that share a counter share the 64.
_HOST_COUNTERS = 1 << 22

# The lowest two bits of what is known of an endpoint: how far it has come.
WAITING, UNRESPONSIVE, ANSWERED, FAILED = range(4)
_STATE = 0b11
_REFERRER = 0b100
_REFERRERS = 0b1_1100
_MANY = 5 * _REFERRER  # where the counter stops
_HALVES = (0b10_0000, 0b100_0000)  # returned by a node of this half of the crawl
_VISITED_AGAIN = 0b1000_0000
NO_HALF = -1  # instead of a half: the word of the node is not counted


class Sighting(NamedTuple):
    """What is known of an endpoint in the end; `referrers` is 5 for five or more."""

    state: int
    referrers: int
    in_halves: tuple[bool, bool]
    visited_again: bool


@dataclass(frozen=True, slots=True)
class FrontierStatistics:
    """Endpoints by how far they have come, and contacts that were not followed."""

    sighted: int
    queued: int
    in_flight: int
    finished: int
    dropped: int
    answered: int = 0


class Frontier:
    """All endpoints of one family that a crawl has heard of."""

    def __init__(self, compact: CompactContacts, max_endpoints: int, *, counts_hosts: bool = True) -> None:
        """Start empty; with `counts_hosts`, no more than 64 ports of one IP address are taken."""
        self._compact = compact
        self._max_endpoints = max_endpoints
        self._ports_of_hosts = bytearray(_HOST_COUNTERS) if counts_hosts else None
        self._known: dict[PackedEndpoint, int] = {}
        self._queue = ContactQueue(compact.bytes_each)
        self._unresponsive = ContactQueue(compact.bytes_each)
        self._later: list[tuple[float, int, bytes]] = []
        self._deferrals = 0
        self._in_flight = 0
        self._dropped = 0
        self._answered = 0
        self._new_contacts = bytearray()
        self._changes: list[int] = []  # endpoints and, in the lowest byte, what is known of them
        self._change_bytes = compact.family.address_bytes + 1

    def add(self, node_id: bytes, endpoint: PackedEndpoint) -> bool:
        """Add a contact to start from; return whether it was new."""
        return endpoint not in self._known and self._add_new(node_id, endpoint, 0)

    def add_returned(
        self, contacts: Iterable[tuple[bytes, PackedEndpoint]], half: int, returned: set[PackedEndpoint]
    ) -> int:
        """Add the contacts that one node returned, and return how many are new.

        `returned` are those that it has returned before: it counts once for each.  `half` is the half of
        the crawl that it belongs to, or NO_HALF if its word is not to be counted.
        """
        new = 0
        known_endpoints, changes = self._known, self._changes
        mark = 0 if half == NO_HALF else _HALVES[half]
        for node_id, endpoint in contacts:
            if endpoint in returned:
                continue
            returned.add(endpoint)
            known = known_endpoints.get(endpoint)
            if known is None:
                new += self._add_new(node_id, endpoint, mark)
            elif mark:
                after = known | mark if known & _REFERRERS >= _MANY else (known | mark) + _REFERRER
                if after != known:
                    known_endpoints[endpoint] = after
                    changes.append(endpoint << 8 | after)
        return new

    def take_next(self, now: float) -> tuple[bytes, PackedEndpoint] | None:
        """Return a contact to visit now, or None when none is due; it then counts as in flight."""
        if self._later and self._later[0][0] <= now:
            contact = heappop(self._later)[2]
        elif self._queue:
            contact = self._queue.pop()
        else:
            return None
        self._in_flight += 1
        return self._split(contact)

    def defer(self, node_id: bytes, endpoint: PackedEndpoint, until: float) -> None:
        """Put a contact that was taken back, to be taken again at `until`."""
        self._in_flight -= 1
        self._deferrals += 1
        heappush(self._later, (until, self._deferrals, self._compact.write(node_id, endpoint)))

    def finish(self, node_id: bytes, endpoint: PackedEndpoint, state: int) -> None:
        """Record how a visit has ended: UNRESPONSIVE, ANSWERED or FAILED."""
        self._in_flight -= 1
        known = self._known[endpoint]
        if known & _STATE == UNRESPONSIVE:
            known |= _VISITED_AGAIN
        elif state == UNRESPONSIVE:
            self._unresponsive.push(self._compact.write(node_id, endpoint))
        self._answered += state == ANSWERED
        self._set(endpoint, known & ~_STATE | state)

    def requeue_unresponsive(self) -> int:
        """Queue the unresponsive endpoints that enough nodes returned by now, each once; return how many.

        Cost: linear in the unresponsive endpoints.
        """
        for contact in self._unresponsive.drain():
            is_due = self.referrers(self._split(contact)[1]) >= SECOND_VISIT_REFERRERS
            (self._queue if is_due else self._unresponsive).push(contact)
        return len(self._queue)

    def next_due(self) -> float | None:
        """Return when the first deferred contact is due, if any is deferred."""
        return self._later[0][0] if self._later else None

    def referrers(self, endpoint: PackedEndpoint) -> int:
        """Return how many different nodes have returned an endpoint, 5 for five or more."""
        return (self._known[endpoint] & _REFERRERS) // _REFERRER

    def has_answered(self, endpoint: PackedEndpoint) -> bool:
        """Return whether an endpoint is known, and its visit brought an answer."""
        return self._known.get(endpoint, WAITING) & _STATE == ANSWERED

    @property
    def has_waiting(self) -> bool:
        """Return whether contacts wait to be visited."""
        return bool(self._queue or self._later)

    def statistics(self) -> FrontierStatistics:
        """Return the counts of the moment."""
        sighted, queued = len(self._known), len(self._queue) + len(self._later)
        finished = sighted - queued - self._in_flight
        return FrontierStatistics(sighted, queued, self._in_flight, finished, self._dropped, self._answered)

    def sightings(self) -> Counter[Sighting]:
        """Count endpoints by what is known of them; cost: linear in those known, some 50 ns each."""
        return Counter({_sighting(known): count for known, count in Counter(self._known.values()).items()})

    def take_journal(self) -> tuple[bytes, bytes]:
        """Return what has changed since the last call: new contacts, and what is known of endpoints."""
        size = self._change_bytes
        changes = b"".join([change.to_bytes(size, "big") for change in self._changes])
        journal = bytes(self._new_contacts), changes
        self._new_contacts.clear()
        self._changes.clear()
        return journal

    def restore(self, journals: Iterable[tuple[bytes, bytes]]) -> None:
        """Make of an empty frontier the one that wrote these journals, given all in their order.

        What was in flight waits again.  Cost: about a microsecond per entry.
        """
        contacts = bytearray()
        for new_contacts, changes in journals:
            contacts += new_contacts
            for _, endpoint in self._each(new_contacts):
                self._known[endpoint] = WAITING
                self._count_host(endpoint)
            for at in range(0, len(changes), self._change_bytes):
                endpoint = int.from_bytes(changes[at : at + self._change_bytes - 1], "big")
                self._known[endpoint] = changes[at + self._change_bytes - 1]
        for node_id, endpoint in self._each(contacts):
            known = self._known[endpoint]
            if known & _STATE == WAITING:
                self._queue.push(self._compact.write(node_id, endpoint))
            elif known & _STATE == ANSWERED:
                self._answered += 1
            elif known & _STATE == UNRESPONSIVE and not known & _VISITED_AGAIN:
                self._unresponsive.push(self._compact.write(node_id, endpoint))

    def _add_new(self, node_id: bytes, endpoint: PackedEndpoint, mark: int) -> bool:
        if len(self._known) >= self._max_endpoints or not self._count_host(endpoint):
            self._dropped += 1
            return False
        contact = self._compact.write(node_id, endpoint)
        self._queue.push(contact)
        self._new_contacts += contact
        self._known[endpoint] = WAITING
        if mark:
            self._set(endpoint, _REFERRER | mark)
        return True

    def _count_host(self, endpoint: PackedEndpoint) -> bool:
        """Count one more port of a host, and return whether it may have so many."""
        counters = self._ports_of_hosts
        if counters is None:
            return True
        place = hash(endpoint >> 16) * 0x9E3779B1 % _HOST_COUNTERS
        if counters[place] >= MAX_PORTS_PER_HOST:
            return False
        counters[place] += 1
        return True

    def _set(self, endpoint: PackedEndpoint, known: int) -> None:
        self._known[endpoint] = known
        self._changes.append(endpoint << 8 | known)

    def _each(self, contacts: bytes | bytearray) -> Iterable[tuple[bytes, PackedEndpoint]]:
        size = self._compact.bytes_each
        return (self._split(contacts[at : at + size]) for at in range(0, len(contacts), size))

    def _split(self, contact: bytes | bytearray) -> tuple[bytes, PackedEndpoint]:
        return bytes(contact[:20]), int.from_bytes(contact[20:], "big")


def _sighting(known: int) -> Sighting:
    first, second = (bool(known & half) for half in _HALVES)
    return Sighting(
        known & _STATE, (known & _REFERRERS) // _REFERRER, (first, second), bool(known & _VISITED_AGAIN)
    )
