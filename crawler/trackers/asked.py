"""A tracker that is being asked: its row as it stands, and what is learned of it at its end.  Pure."""

from dataclasses import dataclass, replace

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import KnownTracker, TrackerSweep
from crawler.trackers.known_urls import NEVER
from crawler.trackers.place import TrackerPlace, outcome_of
from dhtnode.trackers import Outcome, TrackerError, UdpScrapes

DAY = 86_400.0
DENIED_PAUSE, SILENT_PAUSE = 7 * DAY, DAY
"""Seconds that a tracker is left alone whose DNS names none, and one that was silent in three sweeps."""

MOST_SILENCES = 3


@dataclass(slots=True)
class AskedTracker:
    """A tracker at one address in a sweep; the counts are those over HTTP, without `scrapes`."""

    place: TrackerPlace
    row: TrackerSweep
    is_typed: bool
    turn: str
    """What stands for it in the turns."""

    scrapes: UdpScrapes | None = None
    requests: int = 0
    answers: int = 0
    errors: int = 0
    rtt_sum: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    reserved_at: str = ""
    """When the last part was reserved, which begins at `reserved_from`."""

    reserved_from: int = 0

    @property
    def is_udp(self) -> bool:
        """Return whether it is asked over UDP."""
        return self.place.url.scheme == "udp"

    def as_it_stands(self) -> TrackerSweep:
        """Return its row with all that is counted so far."""
        if self.row.outcome:
            return self.row
        told = self.scrapes or self
        return replace(
            self.place.row(self.row),
            requests=told.requests,
            answers=told.answers,
            errors=told.errors,
            rtt_ms=round(1000 * told.rtt_sum / told.answers, 3) if told.answers else None,
            bytes_sent=told.bytes_sent,
            bytes_received=told.bytes_received,
        )

    def end(self, error: TrackerError | None, now: float) -> None:
        """Take in that it is asked no more, and why if not all was asked."""
        self.place.error = error
        told = self.as_it_stands()
        self.row = replace(told, outcome=self.place.outcome(told.answers), finished_at=utc_text(now))

    def learned(self, now: float) -> KnownTracker:
        """Return the tracker with what this sweep tells about it."""
        tracker, error = self.place.tracker, self.place.error
        is_silent = self.row.outcome == Outcome.SILENT
        silences = tracker.silences + 1 if is_silent else 0 if self.row.answers else tracker.silences
        pause = SILENT_PAUSE if is_silent and silences >= MOST_SILENCES else pause_of(error)
        until = utc_text(now + pause) if pause else None
        if error is not None and error.outcome is Outcome.NEVER:
            until = NEVER
        return replace(
            tracker,
            last_answer=utc_text(now) if self.row.answers else tracker.last_answer,
            batch=self.place.batch,
            silences=silences,
            not_before=until,
        )


def pause_of(error: TrackerError | None) -> float:
    """Return for how many seconds a tracker is left alone after an error."""
    if error is None:
        return 0.0
    return DENIED_PAUSE if error.outcome is Outcome.DENIED else error.retry_after or 0.0


def not_asked(row: TrackerSweep, error: TrackerError) -> TrackerSweep:
    """Return the row of a tracker that was not connected to."""
    return replace(row, outcome=outcome_of(error), reason=error.reason or None, finished_at=row.started_at)
