"""One tracker at one address in a sweep: what it is asked for next, and what it has said.  Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from crawler.db.records.trackers import KnownTracker, TrackerSweep
from crawler.trackers.marks import MOST_COMPARED, SweepFacts
from dhtnode import Family, InfoHash
from dhtnode.addresses import Address
from dhtnode.ids import ID_BYTES
from dhtnode.trackers import (
    MAX_SCRAPED,
    MAX_SCRAPED_IPV6,
    Outcome,
    ScrapeAnswer,
    ScrapeQueue,
    TrackerError,
    TrackerUrl,
    says_too_many,
)

HTTP_BATCH = 50
"""Info-hashes in one scrape with the made-up one, until the tracker shows that it takes fewer."""

CHUNK = 2000
"""Swarms that are recorded as asked for at once, before they are."""

MOST_PAUSE = 60
"""Seconds between requests of one sweep that a tracker may ask for; a longer pause is one between sweeps."""

Sample = tuple[int, bytes, int, int, int, int | None, int | None]


class TrackerPlace:
    """A tracker at one address, and its part of a sweep.

    Each batch has one info-hash that was made up, at a random place: what is said of it is invented.
    """

    def __init__(
        self,
        tracker: KnownTracker,
        url: TrackerUrl,
        address: Address,
        swarms: Sequence[InfoHash],
        due: Sequence[int],
        random: Random,
    ) -> None:
        self.tracker = tracker
        self.url = url
        self.address = address
        self.due = due
        self.facts = SweepFacts(tracker.url)
        self.reserved = 0
        """Due swarms that are recorded as asked for, the first ones."""

        self.error: TrackerError | None = None
        self.warning = ""
        self.pause: int | None = None
        """Seconds that it asks for between scrapes."""

        self.asked = self.listed = self.nonzero = 0
        self._swarms = swarms
        self._random = random
        most = MAX_SCRAPED if address.family is Family.IPV4 else MAX_SCRAPED_IPV6
        most = most if url.scheme == "udp" else HTTP_BATCH
        self._queue = ScrapeQueue(due, max(1, min(tracker.batch or most, most) - 1))
        self._has_canary = (tracker.batch or most) > 1
        self._batch: list[int] = []
        self._canary_at = -1
        self._compared: dict[int, int] = {}  # places of the swarms that are compared, by that in the batch
        self._every = -(-len(swarms) // MOST_COMPARED) or 1

    @property
    def batch(self) -> int | None:
        """Return how many info-hashes it takes, where that is known."""
        return self._queue.most + self._has_canary if self._queue.has_shown_most else self.tracker.batch

    @property
    def asked_to(self) -> int:
        """Return the place in the list behind the last swarm that it was asked for."""
        return self.due[self._queue.taken - 1] + 1 if self._queue.taken else 0

    @property
    def wants_more(self) -> bool:
        """Return whether more of its swarms have to be recorded before they are asked for."""
        return self.reserved < len(self.due) and self.reserved - self._queue.taken < 2 * MAX_SCRAPED

    def reserve(self) -> Sequence[int]:
        """Return the places of the swarms that are to be recorded now."""
        start, self.reserved = self.reserved, min(self.reserved + CHUNK, len(self.due))
        return self.due[start : self.reserved]

    def next_batch(self) -> list[InfoHash] | None:
        """Return what to ask for next: empty until more is reserved, None at the end."""
        self._batch = self._queue.next_batch(self.reserved - self._queue.taken)
        if not self._batch:
            return None if self._queue.is_empty else []
        swarms = self._swarms
        asked = [swarms[place] for place in self._batch]
        self._canary_at = self._random.randrange(len(asked) + 1) if self._has_canary else -1
        if self._has_canary:
            asked.insert(self._canary_at, InfoHash(self._random.randbytes(ID_BYTES)))
        every, canary_at = self._every, self._canary_at
        self._compared = {
            at + (0 <= canary_at <= at): place for at, place in enumerate(self._batch) if not place % every
        }
        return asked

    def on_rows(
        self,
        asked: Sequence[InfoHash],
        count: int,
        rows: Sequence[tuple[int, int, int, int]],
        sweep_id: int,
        taken_at: int,
    ) -> list[Sample]:
        """Take in an answer over UDP to the batch, for the first `count` of it, and return its samples."""
        batch, canary_at = self._batch, self._canary_at
        samples: list[Sample] = [
            (sweep_id, asked[at], taken_at, seeds, leechers, downloaded, None)
            for at, seeds, leechers, downloaded in rows
            if at != canary_at
        ]
        self.facts.canary_hits += len(rows) - len(samples)
        self.nonzero += len(samples)
        for at, seeds, leechers, downloaded in [row for row in rows if row[0] in self._compared]:
            self.facts.counts[self._compared[at]] = seeds, leechers, downloaded
        answered = count - (0 <= canary_at < count)
        self.asked += answered
        self.listed += answered
        if count < len(asked):
            self._has_canary = self._has_canary and count > 1
            self._queue.cut(batch, answered, max(1, count - 1))
        return samples

    def on_answer(self, answer: ScrapeAnswer, asked: Sequence[InfoHash], take: Callable[..., None]) -> None:
        """Take in an answer over HTTP to the batch."""
        listed = set[int]()
        canary = asked[self._canary_at] if self._canary_at >= 0 else None
        for info_hash, counts in answer.counts.items():
            has_some = counts.seeds or counts.leechers or counts.downloaded
            if info_hash == canary:
                self.facts.canary_hits += bool(has_some)
        for place in self._batch:
            found = answer.counts.get(self._swarms[place])
            if found is None:
                continue
            listed.add(place)
            if found.seeds or found.leechers or found.downloaded:
                take(self._swarms[place], found.seeds, found.leechers, found.downloaded, found.downloaders)
                self.nonzero += 1
                if not place % self._every:
                    self.facts.counts[place] = found.seeds, found.leechers, found.downloaded
        self.listed += len(listed)
        self.facts.has_utf8_keys |= answer.has_utf8_keys
        self.warning = answer.warning or self.warning
        self.pause = max(answer.min_interval or 0, self.pause or 0) or None
        before, batch = self._queue.most, list[int | None](self._batch)
        if canary is not None:
            batch.insert(self._canary_at, None)
        self._queue.take(batch, listed)
        if self._queue.most != before:
            # What is made up takes one of the places.
            self._has_canary = self._queue.most > 1
            self._queue.most = max(1, self._queue.most - 1)
        self.asked = self._queue.taken

    def on_refused(self, error: TrackerError) -> bool:
        """Take in an error in place of an answer over HTTP; return whether to go on."""
        if says_too_many(error) and self._queue.halve(self._batch):
            return True
        if says_too_many(error) and self._canary_at >= 0:
            self._has_canary = False
            self._queue.put_back(self._batch)
            return True
        self.error = error
        return False

    def outcome(self, answers: int) -> str:
        """Return how the sweep ended at this tracker."""
        if self.error is None:
            return "answered" if self._queue.is_empty else "partial"
        if answers and self.asked:
            return "partial"
        return outcome_of(self.error)

    def row(self, sweep: TrackerSweep) -> TrackerSweep:
        """Return the row of its sweep with what is counted here."""
        return replace(
            sweep,
            asked=self.asked,
            listed=self.listed,
            nonzero=self.nonzero,
            not_due=len(self._swarms) - len(self.due),
            canary_hits=self.facts.canary_hits,
            reason=(self.error.reason if self.error else "") or self.warning or None,
        )


def key_of(url: TrackerUrl, address: Address) -> str:
    """Return what tells a tracker from others: one that two URLs lead to is asked once."""
    return f"{address} {'udp' if url.scheme == 'udp' else url.scrape_path}"


def outcome_of(error: TrackerError) -> str:
    """Return the word of a sweep for an error: `http-404` says which status."""
    if error.outcome is Outcome.HTTP and error.reason.startswith("status "):
        return f"http-{error.reason.removeprefix('status ')}"
    return str(error.outcome)
