"""Whether our own network is there, judged by what comes in: pure.

A timeout counts against a node only if something came in while we waited for its answer.  When all
nodes time out at once, our own network is gone.  Nor does a timeout count when we could not listen
ourselves, because the process was suspended or the machine asleep.
"""

from math import inf

from dhtnode.server.sources import Source

COUNTED_IN_A_ROW = 3  # timeouts that count against nodes although nothing came in since they were queried
DEAF_AFTER = 2.0  # seconds in which nothing came in; more than any stall
CUT_OFF_AFTER = 8  # timeouts in a row: as many as a bucket has nodes
KNOWN_FOR = 900.0  # seconds in which a node that times out again tells us nothing new
HUSH = 10.0  # seconds without an answer after which it does: we may know very few nodes


class Reachability:
    """What the answers and timeouts of one socket tell about our own network."""

    def __init__(self) -> None:
        self.answered_at = -inf
        self.received_at = -inf
        self._timeouts = 0  # in a row

    @property
    def is_cut_off(self) -> bool:
        """Return whether so many queries since the last answer have failed that no network is there."""
        return self._timeouts >= CUT_OFF_AFTER

    def would_count(self, queries: int) -> bool:
        """Return whether timeouts of so many more queries count against nodes even if nothing comes in."""
        return self._timeouts + queries <= COUNTED_IN_A_ROW

    def received(self, now: float) -> bool:
        """Record that a datagram came in; return whether none had come for long."""
        was_deaf = now - self.received_at > DEAF_AFTER
        self.received_at = now
        return was_deaf

    def answered(self, source: Source, now: float) -> None:
        """Record an answer to a query of ours."""
        self.answered_at = now
        source.timed_out_at = -inf
        self._timeouts = 0

    def not_sent(self) -> None:
        """Record a query that could not leave: without an interface we know at once that we are cut off."""
        self._timeouts += 1

    def timed_out(self, source: Source, sent_at: float, now: float) -> bool:
        """Record a timeout; return whether it is one more in a row.

        It is not if an answer came since the query was sent.  Lookups end with querying nodes that
        time out again and again: each of them counts once.
        """
        waited = sent_at - self.answered_at
        is_known = now - source.timed_out_at < KNOWN_FOR and waited <= HUSH
        source.timed_out_at = now
        if waited <= 0 or is_known:
            return False
        self._timeouts += 1
        return True

    def counts_against(self, sent_at: float) -> bool:
        """Return whether the timeout of a query sent at a time is a failure of the node queried."""
        return sent_at <= self.received_at or self.would_count(0)
