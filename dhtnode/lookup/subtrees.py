"""Queries about the subtrees around a target, for when some of its neighbours are unresponsive.

A response lists 8 nodes.  Each unresponsive one takes the place of a live one, so the last of the
closest nodes may be in no response at all, however many nodes are queried for the target.  But a
*subtree* of the neighbourhood, the ids that share exactly so many bits with the target, is smaller,
and a node in it knows it best.  Queried for the id in the subtree that is nearest to the target, it
lists the subtree first, and unresponsive nodes elsewhere take no places.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dhtnode.addresses import Address, Contact
from dhtnode.ids import NodeId, as_id, as_int

# The widest subtrees: what is left of the neighbourhood is small enough for any response.
MAX_SUBTREES = 2
# For each subtree.
MAX_ATTEMPTS = 7


class SubtreeQuery(NamedTuple):
    """A query for `target` to one node, the `attempt`-th (from 1) about a subtree.

    `subtree` is the number of bits in which its ids may differ from the target of the lookup.
    """

    subtree: int
    attempt: int
    address: Address
    target: NodeId


class Subtrees:
    """The queries about each subtree, until there is an answer."""

    def __init__(self, target: bytes) -> None:
        self._target = as_int(target)
        self._attempts: dict[int, int] = {}
        self._waiting: set[int] = set()
        # The attempt that was answered.
        self._answered: dict[int, int] = {}

    def next(self, closest: Sequence[Contact]) -> SubtreeQuery | None:
        """Return the next query, given the closest nodes that answered, or None.

        There are at most 7 attempts for a subtree, and none while another one is in flight.
        """
        by_subtree: dict[int, list[Contact]] = {}
        for contact in reversed(closest):
            by_subtree.setdefault((as_int(contact.node_id) ^ self._target).bit_length(), []).append(contact)
        for subtree, contacts in list(by_subtree.items())[:MAX_SUBTREES]:
            attempts = self._attempts.get(subtree, 0)
            is_open = subtree not in self._waiting and subtree not in self._answered
            if subtree and is_open and attempts < MAX_ATTEMPTS:
                # Another node each time, so that no single one can be in the way.
                address = contacts[-1 - attempts % len(contacts)].address
                return SubtreeQuery(subtree, attempts + 1, address, as_id(self._target ^ 1 << subtree - 1))
        return None

    def on_sent(self, query: SubtreeQuery) -> None:
        """Record that a query is in flight."""
        self._attempts[query.subtree] = query.attempt
        self._waiting.add(query.subtree)

    def on_answer(self, query: SubtreeQuery) -> None:
        """Record an answer, perhaps to a query that had stalled; there are no more about the subtree."""
        self._waiting.discard(query.subtree)
        self._answered.setdefault(query.subtree, query.attempt)

    def on_timeout(self, query: SubtreeQuery) -> None:
        """Record that an answer is late, or will not come."""
        if self._attempts.get(query.subtree) == query.attempt:
            self._waiting.discard(query.subtree)

    def sent_and_lost(self) -> tuple[int, int]:
        """Return the number of queries, all to nodes that answered before, and of those that got lost.

        The last one about a subtree that has not answered is not counted: its answer may only be late.
        """
        sent = sum(self._answered.get(subtree, attempts - 1) for subtree, attempts in self._attempts.items())
        return sent, sent - len(self._answered)

    @property
    def in_flight(self) -> int:
        """Return the number of subtrees with a query in flight."""
        return len(self._waiting)
