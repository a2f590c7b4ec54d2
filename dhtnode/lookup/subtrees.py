"""What to ask the neighbours of a target when some that they name are silent.

A reply names 8 nodes.  Each of them that is gone stands in the place of one that is there, so of the
closest nodes the last ones may be named by nobody, however many are asked for the target.  But a
*part* of the neighbourhood, the ids that share exactly so many bits with the target, is smaller, and
a node in it knows it best.  Asked for the id across from the target, the one nearest to it in that
part, it names the part first, and those who are gone elsewhere are in nobody's place.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dhtnode.addresses import Address, Contact
from dhtnode.ids import NodeId, as_id, as_int

WIDEST = 2  # parts that are asked: what is left of the neighbourhood is small enough for any reply
MOST_ASKS = 7  # of one part


class SubtreeQuery(NamedTuple):
    """Hold which node is to be asked for which id, which part that is of, and the how manieth ask it is."""

    part: int
    ask: int
    address: Address
    target: NodeId


class Subtrees:
    """Keep track of what the parts were asked, each until there is an answer."""

    def __init__(self, target: bytes) -> None:
        self._target = as_int(target)
        self._asks: dict[int, int] = {}
        self._fresh: set[int] = set()
        self._answered: dict[int, int] = {}  # which ask it was

    def next(self, closest: Sequence[Contact]) -> SubtreeQuery | None:
        """Return what to ask now that these are the closest, or None; at most 7 asks of one part.

        Each time it is another node's turn, so that no single one can be in the way.
        """
        by_part: dict[int, list[Contact]] = {}
        for contact in reversed(closest):
            by_part.setdefault((as_int(contact.node_id) ^ self._target).bit_length(), []).append(contact)
        for part in list(by_part)[:WIDEST]:
            asks = self._asks.get(part, 0)
            if part and part not in self._fresh and part not in self._answered and asks < MOST_ASKS:
                contact = by_part[part][-1 - asks % len(by_part[part])]
                return SubtreeQuery(part, asks + 1, contact.address, as_id(self._target ^ 1 << part - 1))
        return None

    def on_asked(self, question: SubtreeQuery) -> None:
        """Take note that a question is under way."""
        self._asks[question.part] = question.ask
        self._fresh.add(question.part)

    def on_answer(self, question: SubtreeQuery) -> None:
        """Take note of an answer, perhaps to one that had stalled; the part is done."""
        self._fresh.discard(question.part)
        self._answered.setdefault(question.part, question.ask)

    def on_silence(self, question: SubtreeQuery) -> None:
        """Take note that an answer is late, or will not come."""
        if self._asks.get(question.part) == question.ask:
            self._fresh.discard(question.part)

    def asked_and_lost(self) -> tuple[int, int]:
        """Return how many queries were sent, all to nodes that are there, and how many of them were in vain.

        The last one to a part that has not answered does not count: its answer may only be late.
        """
        asked = sum(self._answered.get(part, asks - 1) for part, asks in self._asks.items())
        return asked, asked - len(self._answered)

    @property
    def under_way(self) -> int:
        """Return how many parts are waited for."""
        return len(self._fresh)
