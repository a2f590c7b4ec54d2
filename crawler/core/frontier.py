"""Which endpoints of one family are known, which wait, and what the crawl knows of each.

An endpoint is visited once, under the first id that it was returned with; other ids at the same address
and port are not queried, or one host could keep a crawl busy for ever.  When nothing is left, endpoints
that were unresponsive but were returned by two nodes or more get a second visit: their packet may have
been lost.

Millions of endpoints are known at the end, so each is a row of a few arrays: some 45 bytes over IPv4.
They are numbered as they come, and wait in that order, so that a queue is no more than the number of the
next.  One byte holds how far an endpoint has come, how many different nodes have returned it (up to 5),
and whether a node of each half of the crawl has: the estimate of how many nodes were missed needs that
of every node that answered.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes, ContactTable, Keys, Numbers, group_starts, grow, rank_in_group
from dhtnode import Family
from dhtnode.ids import ID_BYTES

SECOND_VISIT_REFERRERS = 2
# Ports of one IP address that are visited; behind carrier-grade NATs are dozens.
MAX_PORTS_PER_HOST = 64
# Endpoints of one /24, or of one /64 over IPv6, where one host has all the addresses.
MAX_PER_NETWORK = 4096
# Two hosts that share a counter share the 64, and so do two networks their bound.
_HOST_COUNTERS, _NETWORK_COUNTERS = 1 << 22, 1 << 20
_NETWORK_BYTES = {Family.IPV4: 3, Family.IPV6: 8}

# The lowest two bits of what is known of an endpoint: how far it has come.
WAITING, UNRESPONSIVE, ANSWERED, FAILED = range(4)
_STATE = 0b11
_REFERRER = 0b100
_REFERRERS = 0b1_1100
_MANY = 5  # where the counter stops
_VISITED_AGAIN = 0b1000_0000
HALVES = (0b10_0000, 0b100_0000)  # returned by a node of this half of the crawl
NO_HALF = 0  # instead of a half: the word of the node is not counted

_CHANGE = np.dtype([("number", ">u4"), ("known", "u1")])


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

    def __init__(
        self, family: Family, max_endpoints: int, random: Random, *, counts_hosts: bool = True
    ) -> None:
        """Start empty; with `counts_hosts`, endpoints of one IP address and of one network are bounded."""
        self._size = family.contact_bytes
        self._max_endpoints = max_endpoints
        self.table = ContactTable(self._size, random)
        self._known: Bytes = np.zeros(0, np.uint8)
        self._bounds = [
            _Bound(_HOST_COUNTERS, family.address_bytes - 2, MAX_PORTS_PER_HOST),
            _Bound(_NETWORK_COUNTERS, _NETWORK_BYTES[family], MAX_PER_NETWORK),
        ][: 2 * counts_hosts]
        self._next = 0  # of those that were never taken
        # Those that are to be taken before, of which so many were taken.
        self._again: Numbers = np.zeros(0, np.int64)
        self._taken_again = 0
        self._later: list[tuple[float, int, int]] = []
        self._deferrals = 0
        self._in_flight = 0
        self._dropped = 0
        self._answered = 0
        self._journaled = 0  # contacts that are in a journal
        self._changes: list[Numbers] = []

    def add(self, contacts: bytes) -> int:
        """Add compact contacts to start from; return how many are new."""
        rows = np.frombuffer(contacts, np.uint8).reshape(-1, self._size)
        new, _ = self._add_unknown(rows, self.table.keys(rows))
        return len(new)

    def add_returned(
        self, contacts: Bytes, keys: Keys, owners: Numbers, halves: Bytes, answers: int
    ) -> tuple[NDArray[np.int64], Numbers]:
        """Add the contacts of some answers; return how many of each answer are new, and the numbers of all.

        `owners` are the positions of the answers that the contacts stand in, below `answers`; of one node,
        each contact comes once.  `halves` has for each answer the half of the crawl that the node belongs
        to, or NO_HALF if its word is not to be counted.  What is dropped has the number -1.
        """
        added, numbers = self._add_unknown(contacts, keys)
        new = np.bincount(owners[added], minlength=answers)
        marks = halves[owners]
        counted = np.flatnonzero((numbers >= 0) & (marks != NO_HALF))
        if counted.size:
            self._count_referrers(numbers[counted], marks[counted])
        return new, numbers

    def _add_unknown(self, contacts: Bytes, keys: Keys) -> tuple[Numbers, Numbers]:
        """Add what is not known, within the bounds; return the positions added, and the numbers of all."""
        numbers = self.table.find(keys)
        unknown = np.flatnonzero(numbers < 0)
        if not unknown.size:
            return unknown, numbers
        _, first = np.unique(keys[unknown], return_index=True)
        added = unknown[np.sort(first)]
        for bound in self._bounds:
            added = added[bound.admit(contacts[added])]
        added = added[: max(0, self._max_endpoints - len(self.table))]
        for bound in self._bounds:
            bound.count(contacts[added])
        self.table.add(contacts[added], keys[added])
        grow(self._known, len(self.table))
        numbers[unknown] = self.table.find(keys[unknown])
        self._dropped += int(np.count_nonzero(numbers[unknown] < 0))
        return added, numbers

    def _count_referrers(self, numbers: Numbers, marks: Bytes) -> None:
        order = np.argsort(numbers)
        ordered = numbers[order]
        starts = group_starts(ordered)
        times = np.diff(starts, append=len(ordered))
        distinct = ordered[starts]
        before = self._known[distinct]
        referrers = np.minimum(((before & _REFERRERS) >> 2) + times, _MANY).astype(np.uint8)
        after = (
            (before & ~np.uint8(_REFERRERS)) | referrers << 2 | np.bitwise_or.reduceat(marks[order], starts)
        )
        self._set(distinct[after != before], after[after != before])

    def take(self, now: float, most: int) -> list[tuple[int, bytes]]:
        """Return up to `most` contacts to visit now, each with its number; they then count as in flight."""
        numbers: list[int] = []
        while self._later and self._later[0][0] <= now and len(numbers) < most:
            numbers.append(heappop(self._later)[2])
        again = self._again[self._taken_again : self._taken_again + most - len(numbers)].tolist()
        self._taken_again += len(again)
        numbers += again
        end = min(self._next + most - len(numbers), len(self.table))
        numbers.extend(range(self._next, end))
        self._next = end
        if not numbers:
            return []
        self._in_flight += len(numbers)
        compact, size = self.table.compact(np.array(numbers)), self._size
        return [(number, compact[at * size : (at + 1) * size]) for at, number in enumerate(numbers)]

    def defer(self, number: int, until: float) -> None:
        """Put a contact that was taken back, to be taken again at `until`."""
        self._in_flight -= 1
        self._deferrals += 1
        heappush(self._later, (until, self._deferrals, number))

    def finish(self, numbers: Sequence[int], states: Sequence[int]) -> list[int]:
        """Record how visits have ended: UNRESPONSIVE, ANSWERED or FAILED; return the referrers of each."""
        ended, outcomes = np.array(numbers, np.int64), np.array(states, np.uint8)
        self._in_flight -= len(ended)
        known = self._known[ended]
        again = np.where(known & _STATE == UNRESPONSIVE, _VISITED_AGAIN, 0).astype(np.uint8)
        self._answered += int(np.count_nonzero(outcomes == ANSWERED))
        self._set(ended, (known & ~np.uint8(_STATE)) | outcomes | again)
        referrers: list[int] = ((known & _REFERRERS) >> 2).tolist()
        return referrers

    def requeue_unresponsive(self) -> int:
        """Queue the unresponsive endpoints that enough nodes returned by now, each once; return how many.

        Cost: linear in the endpoints, some ms for a million.  To be called when nothing is in flight.
        """
        if self._taken_again == len(self._again):
            known = self._known[: len(self.table)]
            is_due = known & (_STATE | _VISITED_AGAIN) == UNRESPONSIVE
            is_due &= known & _REFERRERS >= SECOND_VISIT_REFERRERS * _REFERRER
            self._again, self._taken_again = np.flatnonzero(is_due), 0
        return len(self._again) - self._taken_again

    def next_due(self) -> float | None:
        """Return when the first deferred contact is due, if any is deferred."""
        return self._later[0][0] if self._later else None

    @property
    def answered(self) -> Numbers:
        """Return the numbers of the endpoints whose visit brought an answer; linear in the endpoints."""
        return np.flatnonzero(self._known[: len(self.table)] & _STATE == ANSWERED)

    @property
    def has_waiting(self) -> bool:
        """Return whether contacts wait to be visited."""
        return bool(self._queued)

    @property
    def _queued(self) -> int:
        again = len(self._again) - self._taken_again
        return len(self.table) - self._next + again + len(self._later)

    def statistics(self) -> FrontierStatistics:
        """Return the counts of the moment."""
        sighted, queued = len(self.table), self._queued
        finished = sighted - queued - self._in_flight
        return FrontierStatistics(sighted, queued, self._in_flight, finished, self._dropped, self._answered)

    def sightings(self) -> Counter[Sighting]:
        """Count endpoints by what is known of them; cost: linear in those known, some ns each."""
        counts = np.bincount(self._known[: len(self.table)], minlength=256)
        return Counter({_sighting(int(known)): int(counts[known]) for known in np.flatnonzero(counts)})

    def take_journal(self) -> tuple[bytes, bytes]:
        """Return what has changed since the last call: new contacts, and what is known of endpoints."""
        contacts = self.table.since(self._journaled)
        self._journaled = len(self.table)
        changed = np.unique(np.concatenate([*self._changes, np.zeros(0, np.int64)]))
        self._changes.clear()
        changes = np.empty(len(changed), _CHANGE)
        changes["number"], changes["known"] = changed, self._known[changed]
        return contacts, changes.tobytes()

    def restore(self, journals: Iterable[tuple[bytes, bytes]]) -> None:
        """Make of an empty frontier the one that wrote these journals, given all in their order.

        What was in flight waits again.
        """
        for compact, journal in journals:
            contacts = np.frombuffer(compact, np.uint8).reshape(-1, self._size)
            self.table.add(contacts, self.table.keys(contacts))
            for bound in self._bounds:
                bound.count(contacts)
            grow(self._known, len(self.table))
            changes = np.frombuffer(journal, _CHANGE)
            self._known[changes["number"]] = changes["known"]
        self._journaled = self._next = len(self.table)
        states = self._known[: len(self.table)] & _STATE
        self._again = np.flatnonzero(states == WAITING)
        self._answered = int(np.count_nonzero(states == ANSWERED))

    def _set(self, numbers: Numbers, known: Bytes) -> None:
        self._known[numbers] = known
        self._changes.append(numbers)


class _Bound:
    """A bound on the endpoints whose addresses have the same first bytes."""

    def __init__(self, counters: int, prefix_bytes: int, most: int) -> None:
        self._counters = np.zeros(counters, np.uint16)
        self._prefix = slice(ID_BYTES, ID_BYTES + prefix_bytes)
        self._most = most

    def admit(self, contacts: Bytes) -> NDArray[np.bool_]:
        """Return for each contact whether it is within the bound, those before it counted."""
        places = self._places(contacts)
        return self._counters[places] + rank_in_group(places) < self._most

    def count(self, contacts: Bytes) -> None:
        """Count contacts that are taken."""
        np.add.at(self._counters, self._places(contacts), 1)

    def _places(self, contacts: Bytes) -> Numbers:
        places = np.zeros(len(contacts), np.uint64)
        for column in contacts[:, self._prefix].T:
            places = places * np.uint64(0x9E3779B97F4A7C15) + column
        places ^= places >> np.uint64(32)
        return (places % np.uint64(len(self._counters))).astype(np.int64)


def _sighting(known: int) -> Sighting:
    first, second = (bool(known & half) for half in HALVES)
    return Sighting(
        known & _STATE, (known & _REFERRERS) // _REFERRER, (first, second), bool(known & _VISITED_AGAIN)
    )
