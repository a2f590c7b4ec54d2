"""Which endpoints of one family are known, and which of them wait to be visited.

An endpoint is visited once, under the first id that it was returned with; other ids at the same address
and port are not queried, or one host could keep a crawl busy for ever.  When nothing is left, endpoints
that were unresponsive but were returned by two nodes or more get a second visit: their packet may have
been lost.

Endpoints that two nodes have returned are confirmed, and go first.  Hosts that return ever new addresses of
their own lead to endpoints that one node alone has returned, without an end.  At the end of a crawl of an
honest network few nodes are like that, and never more than there are.  So there is a bound on how many of
them may respond, as a share of the confirmed or as the size that nodes tell: beyond it the rest is held
back, and counted.

Millions of endpoints are known at the end, so each is a row of a few arrays: some 45 bytes over IPv4.
They are numbered as they come.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crawler.core.bounds import bounds_of
from crawler.core.contact_table import Bytes, ContactTable, Keys, Numbers, count_bytes, group_starts, grow
from crawler.core.sightings import (
    ANSWERED,
    KINDS,
    NO_HALF,
    WAITING,
    Sighting,
    are_confirmed,
    are_due_again,
    count_sightings,
    encode_changes,
    read_changes,
    referrers_of,
    returned_by,
    states_of,
    visited,
)
from dhtnode import Family

# Unconfirmed endpoints that may respond: so many, and so many for each confirmed one that does, or as many
# as the network is told to have nodes.
_FREE_UNCONFIRMED, _UNCONFIRMED_SHARE = 128, 0.5
# Few go among the confirmed, so that it is known at any time how many of them would respond.
_PROBED_EVERY = 16
_LEAST_UNCONFIRMED = 256  # that are queued at once, if there are so many and they may be

Waiting: TypeAlias = NDArray[np.int32]
"""Numbers of endpoints that wait, in half of the bytes."""


@dataclass(frozen=True, slots=True)
class FrontierStatistics:
    """Endpoints by how far they have come, and contacts that were not followed.

    `held` are those that one node alone has returned, and that are not visited: too many like them respond.
    """

    sighted: int
    queued: int
    in_flight: int
    finished: int
    dropped: int
    answered: int = 0
    held: int = 0


class Frontier:
    """All endpoints of one family that a crawl has heard of."""

    def __init__(
        self, family: Family, max_endpoints: int, random: Random, *, counts_hosts: bool = True
    ) -> None:
        """Start empty; with `counts_hosts`, endpoints of one host and of one network are bounded."""
        self._size = family.contact_bytes
        self._max_endpoints = max_endpoints
        self.table = ContactTable(self._size, random)
        self._known: Bytes = np.zeros(0, np.uint8)
        self._bounds = bounds_of(family) if counts_hosts else ()
        self._next = 0  # of those that were never looked at
        # Those that are to be taken, of which so many were.
        self._due: Waiting = np.zeros(0, np.int32)
        self._taken = 0
        self._unconfirmed: Waiting = np.zeros(0, np.int32)
        self._probed: Waiting = np.zeros(0, np.int32)  # taken while they were unconfirmed
        self._free = _FREE_UNCONFIRMED
        self.told_size = 0  # nodes in all, as those tell that answer
        self._is_held = False
        self._later: list[tuple[float, int, int]] = []
        self._deferrals = 0
        self._in_flight = 0
        self._dropped = 0
        self._answered = 0
        self._journaled = 0  # contacts that are in a journal
        self._changes: list[Numbers] = []

    def add(self, contacts: bytes) -> int:
        """Add compact contacts to start from, which need no referrer; return how many are new."""
        rows = np.frombuffer(contacts, np.uint8).reshape(-1, self._size)
        first = len(self.table)
        new, _ = self._add_unknown(rows, self.table.keys(rows))
        self._look_at_new(first)
        self._due = np.concatenate([self._due, self._new_since(first)])
        self._next = len(self.table)
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
        after = returned_by(before, times, np.bitwise_or.reduceat(marks[order], starts))
        self._set(distinct[after != before], after[after != before])

    def take(self, now: float, most: int) -> list[tuple[int, bytes]]:
        """Return up to `most` contacts to visit now, each with its number; they then count as in flight."""
        numbers: list[int] = []
        while self._later and self._later[0][0] <= now and len(numbers) < most:
            numbers.append(heappop(self._later)[2])
        while len(numbers) < most and self._has_due():
            due = self._due[self._taken : self._taken + most - len(numbers)].tolist()
            self._taken += len(due)
            numbers += due
        if not numbers:
            return []
        self._in_flight += len(numbers)
        compact, size = self.table.compact(np.array(numbers)), self._size
        return [(number, compact[at * size : (at + 1) * size]) for at, number in enumerate(numbers)]

    def _has_due(self) -> bool:
        """Return whether endpoints are to be taken; queue more if none are: the confirmed, or else others.

        Others are held where there is no room for them, unless one of those under way may make some.
        """
        if self._taken < len(self._due):
            return True
        self._look_at_new(len(self.table))
        waiting = self._unconfirmed
        is_confirmed = are_confirmed(self._known[waiting])
        due, rest = waiting[is_confirmed], waiting[~is_confirmed]
        self._is_held = False
        if rest.size:
            room = self._room_for_unconfirmed()
            self._is_held = room <= 0 and not (due.size or self._probed.size)
            most = 1 + len(due) // _PROBED_EVERY if due.size else max(_LEAST_UNCONFIRMED, len(rest) // 8)
            probes, rest = np.split(rest, [max(0, min(room, most))])
            self._probed = np.concatenate([self._probed, probes])
            due = np.concatenate([due, probes])
        self._due, self._taken, self._unconfirmed = due, 0, rest
        return len(due) > 0

    def _look_at_new(self, end: int) -> None:
        """Let the new ones below a number wait until they are confirmed."""
        if self._next < end:
            self._unconfirmed = np.concatenate(
                [self._unconfirmed, self._new_since(self._next)[: end - self._next]]
            )
            self._next = end

    def _new_since(self, number: int) -> Waiting:
        return np.arange(number, len(self.table), dtype=np.int32)

    def _room_for_unconfirmed(self) -> int:
        """Return how many more unconfirmed endpoints may be visited now; 1 ns for each known."""
        known = self._known[self._probed]
        self._probed = self._probed[(states_of(known) == WAITING) & ~are_confirmed(known)]
        responded, most = self.unconfirmed
        return most - responded - len(self._probed)

    @property
    def unconfirmed(self) -> tuple[int, int]:
        """Return how many unconfirmed endpoints have responded, and how many may; 1 ns for each known."""
        counts = count_bytes(self._known[: len(self.table)])
        has_responded = states_of(KINDS) >= ANSWERED
        confirmed = int(counts[has_responded & are_confirmed(KINDS)].sum())
        most = self._free + max(int(_UNCONFIRMED_SHARE * confirmed), self.told_size)
        return int(counts[has_responded].sum()) - confirmed, most

    def defer(self, number: int, until: float) -> None:
        """Put a contact that was taken back, to be taken again at `until`."""
        self._in_flight -= 1
        self._deferrals += 1
        heappush(self._later, (until, self._deferrals, number))

    def finish(self, numbers: Sequence[int], states: Sequence[int]) -> list[int]:
        """Record how visits have ended: UNRESPONSIVE, ANSWERED or FAILED; return the referrers of each."""
        ended, outcomes = np.array(numbers, np.int64), np.array(states, np.uint8)
        self._in_flight -= len(ended)
        self._answered += int(np.count_nonzero(outcomes == ANSWERED))
        self._set(ended, visited(self._known[ended], outcomes))
        referrers: list[int] = self.referrers(ended).tolist()
        return referrers

    def requeue_unresponsive(self) -> int:
        """Queue the unresponsive endpoints that enough nodes returned by now, each once; return how many.

        Cost: linear in the endpoints, some ms for a million.  To be called when nothing is in flight.
        """
        if not self._has_due():
            is_due = are_due_again(self._known[: len(self.table)])
            self._due, self._taken = np.flatnonzero(is_due).astype(np.int32), 0
        return len(self._due) - self._taken

    def next_due(self) -> float | None:
        """Return when the first deferred contact is due, if any is deferred."""
        return self._later[0][0] if self._later else None

    @property
    def answered(self) -> Numbers:
        """Return the numbers of the endpoints whose visit brought an answer; linear in the endpoints."""
        return np.flatnonzero(states_of(self._known[: len(self.table)]) == ANSWERED)

    def believed(self, numbers: Numbers) -> Numbers:
        """Return those of some endpoints that a size counts: where others are held, the confirmed ones."""
        return numbers[are_confirmed(self._known[numbers])] if self._is_held else numbers

    def known(self, numbers: Sequence[int] | Numbers) -> Bytes:
        """Return what is known of endpoints, a byte for each."""
        known: Bytes = self._known[np.asarray(numbers)]
        return known

    def referrers(self, numbers: Numbers) -> Bytes:
        """Return by how many nodes endpoints were returned, 5 for five or more."""
        return referrers_of(self._known[numbers])

    @property
    def has_waiting(self) -> bool:
        """Return whether contacts wait to be visited."""
        return bool(self._queued)

    @property
    def _queued(self) -> int:
        due = len(self._due) - self._taken + len(self._later)
        return due + len(self.table) - self._next + len(self._unconfirmed) - self._held

    @property
    def _held(self) -> int:
        return len(self._unconfirmed) if self._is_held else 0

    def statistics(self) -> FrontierStatistics:
        """Return the counts of the moment."""
        sighted, queued = len(self.table), self._queued
        finished = sighted - queued - self._in_flight - self._held
        counts = (sighted, queued, self._in_flight, finished)
        return FrontierStatistics(*counts, self._dropped, self._answered, self._held)

    def sightings(self, numbers: Numbers | None = None) -> Counter[Sighting]:
        """Count endpoints, all or some, by what is known of them; some ns for each."""
        known = self._known[: len(self.table)]
        return count_sightings(known if numbers is None else known[numbers])

    def take_journal(self) -> tuple[bytes, bytes]:
        """Return what has changed since the last call: new contacts, and what is known of endpoints."""
        contacts = self.table.since(self._journaled)
        self._journaled = len(self.table)
        changed = np.unique(np.concatenate([*self._changes, np.zeros(0, np.int64)]))
        self._changes.clear()
        return contacts, encode_changes(changed, self._known[changed])

    def restore(
        self, journals: Iterable[tuple[bytes, bytes]], *, is_held: bool = False, dropped: int = 0
    ) -> None:
        """Make of an empty frontier the one that wrote these journals, given all in their order.

        What was in flight waits again.  `is_held` says whether endpoints were held back in the end,
        `dropped` how many contacts there was no room for.
        """
        self._is_held, self._dropped = is_held, dropped
        for compact, journal in journals:
            contacts = np.frombuffer(compact, np.uint8).reshape(-1, self._size)
            self.table.add(contacts, self.table.keys(contacts))
            for bound in self._bounds:
                bound.count(contacts)
            grow(self._known, len(self.table))
            numbers, known = read_changes(journal)
            self._known[numbers] = known
        self._journaled = self._next = len(self.table)
        states = states_of(self._known[: len(self.table)])
        self._unconfirmed = np.flatnonzero(states == WAITING).astype(np.int32)
        self._answered = int(np.count_nonzero(states == ANSWERED))
        # The size that was told is not in the journal: what has responded is let be.
        self._free += self.unconfirmed[0]

    def _set(self, numbers: Numbers, known: Bytes) -> None:
        self._known[numbers] = known
        self._changes.append(numbers)
