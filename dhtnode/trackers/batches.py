"""How many info-hashes a tracker takes in one scrape, found out by asking, without losing one."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from math import log
from typing import Generic, TypeVar

from dhtnode.ids import InfoHash
from dhtnode.trackers.messages import Outcome, ScrapeAnswer, SwarmCounts, TrackerError

T = TypeVar("T")

_BY_CHANCE = log(1e-3)
_TOO_MANY = ("status 400", "status 500")


def says_too_many(error: TrackerError) -> bool:
    """Return whether an error may come from asking for too much at once."""
    is_status = error.outcome is Outcome.HTTP and error.reason in _TOO_MANY
    # As Transmission takes it: some say it in words.
    is_said = error.outcome is Outcome.REFUSED and "too long" in error.reason.lower()
    return error.outcome is Outcome.TOO_LONG or is_status or is_said


class ScrapeQueue(Generic[T]):
    """The swarms that one tracker is still to be asked for, in batches of as many as it takes.

    Over UDP an answer shows that it was cut (`cut`).  Over HTTP one that leaves out the last swarms of a
    batch may have been cut, or these are unknown (`take`).  The first of them goes first in the next batch:
    if it is listed there, the answer was cut, and the others are asked for again.  So they are when so many
    swarms have been listed, and none at so late a place, that chance does not explain it.
    """

    def __init__(self, swarms: Sequence[T], most: int) -> None:
        """Begin with different swarms, which are not copied; `most` is what goes into one batch."""
        self.most = most
        """What the tracker takes at once, as far as is known."""

        self.has_shown_most = False
        """Whether the tracker has shown that it takes no more."""

        self._swarms = swarms
        self._next = 0
        self._again: deque[T] = deque()
        self._proven = 0  # places of a batch that were listed, so that those before them were looked at
        self._listed = 0
        self._doubtful: list[tuple[int, T]] = []  # left out at the end of a batch, by place
        self._doubt: tuple[int, T] | None = None  # the first of them in the last batch

    @property
    def taken(self) -> int:
        """Return how many of the swarms have gone into a batch, those of the first places."""
        return self._next

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is left to ask for, beside the batch that was taken last."""
        return self._next == len(self._swarms) and not self._again

    def next_batch(self, most_new: int | None = None) -> list[T]:
        """Take the next batch, with at most so many swarms that were in none before; it may be empty."""
        batch = [self._again.popleft() for _ in range(min(self.most, len(self._again)))]
        new = self.most - len(batch)
        start = self._next
        self._next += min(new if most_new is None else min(new, most_new), len(self._swarms) - start)
        batch += self._swarms[start : self._next]
        return batch

    def put_back(self, batch: Iterable[T]) -> None:
        """Have the swarms of a batch asked for again, before all others."""
        self._again.extendleft(reversed(list(batch)))

    def cut(self, batch: Sequence[T], answered: int, most: int) -> None:
        """Take in that a tracker answered for the first of a batch only, and that it takes `most` at once."""
        self.most, self.has_shown_most = most, True
        self.put_back(batch[answered:])

    def take(self, batch: Sequence[T | None], listed: Collection[T]) -> None:
        """Take in which swarms of a batch were listed, where one that is left out may be unknown.

        In the place of what was asked for beside them is None.
        """
        doubt, self._doubt = self._doubt, None
        is_cut = doubt is not None and doubt[1] in listed
        last = next((at for at in range(len(batch), 0, -1) if batch[at - 1] in listed), 0)
        self._proven = max(last, doubt[0] if is_cut and doubt else self._proven)
        left_out = enumerate(batch[self._proven :], self._proven)
        tail = [(place, swarm) for place, swarm in left_out if swarm is not None]
        self._doubtful = [*(each for each in self._doubtful if each[0] >= self._proven), *tail]
        self._listed += len(listed)
        if is_cut or (tail and self._listed and self._listed * log(self._proven / len(batch)) < _BY_CHANCE):
            self._settle()
        elif tail and last:
            self._doubt = tail[0]
            self._doubtful.remove(tail[0])
            self._again.appendleft(tail[0][1])

    def _settle(self) -> None:
        """Take as many at once as were listed, and what may have been cut off again."""
        self.most, self.has_shown_most = self._proven, True
        self.put_back(swarm for _, swarm in self._doubtful)
        self._doubtful.clear()

    def halve(self, batch: Sequence[T]) -> bool:
        """Ask for half as many from now on, a batch again; return False if that was one already."""
        if len(batch) < 2:
            return False
        self.most, self.has_shown_most = len(batch) // 2, True
        self.put_back(batch)
        return True


class ScrapeBatches:
    """The scrapes that one tracker is asked for some swarms: batches in turn, and what they came to."""

    def __init__(self, info_hashes: Sequence[InfoHash], most: int) -> None:
        """Begin with different info-hashes; `most` is what goes into one batch."""
        self._queue = ScrapeQueue(info_hashes, most)
        self._counts: dict[InfoHash, SwarmCounts] = {}
        self._has_utf8_keys = False
        self._is_cut = False

    @property
    def most(self) -> int:
        """Return what the tracker takes at once, as far as is known."""
        return self._queue.most

    def next_batch(self) -> tuple[InfoHash, ...]:
        """Return what to ask for next; empty at the end."""
        return () if self._is_cut else tuple(self._queue.next_batch())

    def add(self, batch: Sequence[InfoHash], answer: ScrapeAnswer) -> None:
        """Take in the answer to the batch just asked for."""
        self._counts |= answer.counts
        self._has_utf8_keys |= answer.has_utf8_keys
        if answer.is_cut:
            self._is_cut = not answer.counts
            self._queue.cut(batch, len(answer.counts), len(answer.counts))
        else:
            self._queue.take(batch, answer.counts)

    def shrink(self, batch: Sequence[InfoHash], error: TrackerError) -> bool:
        """Ask for half as many after an error that may come from too many; return whether to go on."""
        return says_too_many(error) and self._queue.halve(batch)

    def answer(self) -> ScrapeAnswer:
        """Return all that the tracker has said; `is_cut` if it answers no scrape at all."""
        return ScrapeAnswer(self._counts, self._is_cut, self._has_utf8_keys)
