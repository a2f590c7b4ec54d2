"""How many info-hashes a tracker takes in one scrape, found out by asking, without losing one."""

from collections.abc import Sequence

from dhtnode.ids import InfoHash
from dhtnode.trackers.messages import Outcome, ScrapeAnswer, SwarmCounts, TrackerError

_TOO_MANY = ("status 400", "status 500")


class ScrapeBatches:
    """The scrapes that one tracker is asked for some swarms: batches in turn, and what they came to.

    Over UDP an answer shows that it was cut.  Over HTTP one that leaves out the last swarms of a batch may
    have been cut, or these are unknown: the first of them goes first in the next batch, which tells.
    """

    def __init__(self, info_hashes: Sequence[InfoHash], most: int) -> None:
        """Begin with different info-hashes; `most` is what goes into one batch."""
        self._waiting = tuple(info_hashes)
        self._counts: dict[InfoHash, SwarmCounts] = {}
        self._has_utf8_keys = False
        self._is_cut = False
        self._doubt: tuple[InfoHash, int] | None = None  # left out, after so many that were listed
        self.most = most
        """What the tracker takes at once, as far as is known."""

    def next_batch(self) -> tuple[InfoHash, ...]:
        """Return what to ask for next; empty at the end."""
        return self._waiting[: self.most]

    def add(self, batch: Sequence[InfoHash], answer: ScrapeAnswer) -> None:
        """Take in the answer to the batch just asked for."""
        self._counts |= answer.counts
        self._has_utf8_keys |= answer.has_utf8_keys
        if answer.is_cut:
            self._is_cut = not answer.counts
            self.most = len(answer.counts)
            self._waiting = self._waiting[self.most :] if self.most else ()
            return
        if self._doubt is not None and self._doubt[0] in answer.counts:
            self.most = self._doubt[1]
        listed = next((at for at in range(len(batch), 0, -1) if batch[at - 1] in answer.counts), 0)
        self._doubt = (batch[listed], listed) if 0 < listed < len(batch) else None
        self._waiting = self._waiting[listed or len(batch) :]

    def shrink(self, batch: Sequence[InfoHash], error: TrackerError) -> bool:
        """Ask for half as many after an error that may come from too many; return whether to go on."""
        is_too_many = error.outcome is Outcome.TOO_LONG or (
            error.outcome is Outcome.HTTP and error.reason in _TOO_MANY
        )
        # As Transmission takes it: some say it in words.
        is_too_many |= error.outcome is Outcome.REFUSED and "too long" in error.reason.lower()
        if not is_too_many or len(batch) < 2:
            return False
        self.most = len(batch) // 2
        return True

    def answer(self) -> ScrapeAnswer:
        """Return all that the tracker has said; `is_cut` if it answers no scrape at all."""
        return ScrapeAnswer(self._counts, self._is_cut, self._has_utf8_keys)
