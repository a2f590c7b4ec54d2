"""What a crawl knows of endpoints, in one byte for each: how far it has come, and which nodes returned it.

The byte holds whether the endpoint was visited, and with what outcome, how many different nodes have
returned it (up to 5), and whether a node of each half of the crawl has: the estimate of how many nodes were
missed needs that of every node that answered.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes, Numbers, count_bytes

CONFIRMING_REFERRERS = 2
MOST_REFERRERS = 5  # where the counter stops
WAITING, UNRESPONSIVE, ANSWERED, FAILED = range(4)  # how far an endpoint has come: the lowest two bits
HALVES = (0b10_0000, 0b100_0000)  # returned by a node of this half of the crawl
NO_HALF = 0  # instead of a half: the word of the node is not counted
KINDS: Bytes = np.arange(256, dtype=np.uint8)  # all that can be known

_STATE = 0b11
_REFERRERS, _FIRST_BIT = 0b1_1100, 2
_VISITED_AGAIN = 0b1000_0000
_CHANGE = np.dtype([("number", ">u4"), ("known", "u1")])


class Sighting(NamedTuple):
    """What is known of an endpoint in the end; `referrers` is 5 for five or more."""

    state: int
    referrers: int
    in_halves: tuple[bool, bool]
    visited_again: bool


def states_of(known: Bytes) -> Bytes:
    """Return how far endpoints have come."""
    return known & np.uint8(_STATE)


def referrers_of(known: Bytes) -> Bytes:
    """Return by how many nodes endpoints were returned, 5 for five or more."""
    return (known & np.uint8(_REFERRERS)) >> np.uint8(_FIRST_BIT)


def are_confirmed(known: Bytes) -> NDArray[np.bool_]:
    """Return which endpoints two nodes have returned."""
    are_confirmed: NDArray[np.bool_] = known & _REFERRERS >= CONFIRMING_REFERRERS << _FIRST_BIT
    return are_confirmed


def are_due_again(known: Bytes) -> NDArray[np.bool_]:
    """Return which endpoints are to be visited a second time: unresponsive and confirmed ones."""
    are_due: NDArray[np.bool_] = known & (_STATE | _VISITED_AGAIN) == UNRESPONSIVE
    return are_due & are_confirmed(known)


def returned_by(known: Bytes, times: Numbers, halves: Bytes) -> Bytes:
    """Return what is known of endpoints once so many more nodes, of these halves, have returned them."""
    referrers = np.minimum(referrers_of(known) + times, MOST_REFERRERS).astype(np.uint8)
    returned: Bytes = (known & ~np.uint8(_REFERRERS)) | referrers << np.uint8(_FIRST_BIT) | halves
    return returned


def visited(known: Bytes, outcomes: Bytes) -> Bytes:
    """Return what is known of endpoints once their visits have ended."""
    again = np.where(states_of(known) == UNRESPONSIVE, _VISITED_AGAIN, 0).astype(np.uint8)
    return (known & ~np.uint8(_STATE)) | outcomes | again


def seen_in_visits(known: Bytes, has_answered: NDArray[np.bool_], visits: Bytes) -> Bytes:
    """Return what visits have shown of endpoints, with what is known of who returned them."""
    states = np.where(has_answered, ANSWERED, UNRESPONSIVE) | np.where(visits > 1, _VISITED_AGAIN, 0)
    return sighted(known) | states.astype(np.uint8)


def sighted(known: Bytes) -> Bytes:
    """Return what is known of endpoints but for their visits."""
    return known & ~np.uint8(_STATE | _VISITED_AGAIN)


def count_sightings(known: Bytes) -> Counter[Sighting]:
    """Count endpoints by what is known of them; some ns for each."""
    counts = count_bytes(known)
    return Counter({_sighting(int(each)): int(counts[each]) for each in np.flatnonzero(counts)})


def _sighting(known: int) -> Sighting:
    first, second = (bool(known & half) for half in HALVES)
    referrers = (known & _REFERRERS) >> _FIRST_BIT
    return Sighting(known & _STATE, referrers, (first, second), bool(known & _VISITED_AGAIN))


def encode_changes(numbers: Numbers, known: Bytes) -> bytes:
    """Return what a journal says of endpoints, by their numbers."""
    changes = np.empty(len(numbers), _CHANGE)
    changes["number"], changes["known"] = numbers, known
    return changes.tobytes()


def read_changes(journal: bytes) -> tuple[Numbers, Bytes]:
    """Return the numbers of endpoints in a journal, and what it says of them."""
    changes = np.frombuffer(journal, _CHANGE)
    return changes["number"].astype(np.int64), changes["known"]
