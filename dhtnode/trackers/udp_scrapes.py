"""One UDP tracker that is asked for many swarms: what it is sent, what becomes of its answers (BEP 15)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from dhtnode.addresses import Address
from dhtnode.ids import InfoHash
from dhtnode.trackers.messages import Outcome, TrackerError
from dhtnode.trackers.udp_packets import (
    CONNECTION_SECONDS,
    Action,
    is_about_connection,
    pack_connect,
    pack_scrape,
    read_connect,
    read_error,
    read_rows,
)

PATIENCE = (5.0, 15.0)
"""Seconds that each packet of a request is waited for; then the tracker is silent."""

LEFT_ALONE = 600
"""Seconds that a tracker is left alone which refuses connection ids that it has just given."""

_MARGIN = 1.0  # seconds: a packet takes its time, and a clock may be fast

Rows = Sequence[tuple[int, int, int, int]]
"""Swarms that have any number but 0, by place in the batch, with seeds, leechers and downloads."""


class UdpScrapes:
    """The conversation with one UDP tracker at one address, one packet at a time.

    `next_batch` returns the info-hashes to ask for next: empty if there are none now, None if that was all.
    `on_rows` gets a batch with how many it was answered for, and its rows.
    """

    def __init__(
        self,
        address: Address,
        next_batch: Callable[[], Sequence[InfoHash] | None],
        on_rows: Callable[[Sequence[InfoHash], int, Rows], None],
        random: Random,
    ) -> None:
        self.address = address
        self.error: TrackerError | None = None
        """Why it has come to an end before all was asked."""

        self.is_done = False
        self.requests = self.answers = self.errors = self.bytes_sent = self.bytes_received = 0
        self.rtt_sum = 0.0
        self.answered_at: float | None = None
        self.deadline: float | None = None
        """When the answer to the packet under way is late, None while there is none."""

        self._next_batch = next_batch
        self._on_rows = on_rows
        self._random = random
        self._batch: Sequence[InfoHash] = ()
        self._connection = 0
        self._expires_at = -1.0
        self._transaction = -1
        self._awaited = Action.CONNECT
        self._sent_at = 0.0
        self._tries = 0
        self._is_renewed = False
        self._may_follow = False

    @property
    def may_follow(self) -> bool:
        """Return whether the next packet follows a connect that was just answered, without a pause."""
        return self._may_follow

    def needs_connection(self, now: float) -> bool:
        """Return whether the next packet is a connect, which a scrape follows."""
        return now >= self._expires_at

    def next_packet(self, now: float) -> bytes | None:
        """Return the packet to send now, or None: there is nothing to ask now, or no more."""
        if self.is_done:
            return None
        if not self._batch:
            batch = self._next_batch()
            if not batch:
                self.is_done = batch is None
                return None
            self._batch = batch
        self._transaction = self._random.getrandbits(32)
        if self.needs_connection(now):
            self._awaited, packet = Action.CONNECT, pack_connect(self._transaction)
        else:
            self._awaited = Action.SCRAPE
            packet = pack_scrape(self._connection, self._transaction, self._batch)
        self._sent_at, self.deadline = now, now + PATIENCE[self._tries]
        self._may_follow = False
        self.requests += 1
        self.bytes_sent += len(packet)
        return packet

    def on_packet(self, packet: bytes, now: float) -> bool:
        """Take in a packet from the address; return False for one that answers nothing under way."""
        if (
            self.deadline is None
            or len(packet) < 8
            or int.from_bytes(packet[4:8], "big") != self._transaction
            or int.from_bytes(packet[:4], "big") not in (self._awaited, Action.ERROR)
        ):
            return False
        self.deadline, self._tries = None, 0
        self.answers += 1
        self.answered_at = now
        self.bytes_received += len(packet)
        self.rtt_sum += now - self._sent_at
        try:
            self._read(packet, now)
        except TrackerError as error:
            self.errors += 1
            self._on_error(error)
        return True

    def on_late(self) -> None:
        """Take in that the answer has not come: the packet is repeated once, then the tracker is silent."""
        self.deadline = None
        self._tries += 1
        if self._tries == len(PATIENCE):
            self.end(TrackerError(Outcome.SILENT))

    def end(self, error: TrackerError | None = None) -> None:
        """Ask for nothing more."""
        self.error, self.is_done, self.deadline = error, True, None

    def unanswered(self) -> Sequence[InfoHash]:
        """Return the batch that is without an answer."""
        return self._batch

    def _read(self, packet: bytes, now: float) -> None:
        if packet[:4] == _ERROR:
            raise read_error(packet)
        if self._awaited is Action.CONNECT:
            self._connection = read_connect(packet)
            # From when it was asked for: it may have been long under way.
            self._expires_at = self._sent_at + CONNECTION_SECONDS - _MARGIN
            self._may_follow = now < self._expires_at
            return
        count, rows = read_rows(packet, len(self._batch))
        if not count:
            raise TrackerError(Outcome.NO_SCRAPE, "answers without counts")
        batch, self._batch, self._is_renewed = self._batch, (), False
        self._on_rows(batch, count, rows)

    def _on_error(self, error: TrackerError) -> None:
        if self._awaited is Action.SCRAPE and is_about_connection(error):
            self._expires_at = -1.0
            if self._is_renewed:
                self.end(TrackerError(Outcome.REFUSED, error.reason, LEFT_ALONE))
            self._is_renewed = True
        else:
            self.end(error)


_ERROR = Action.ERROR.to_bytes(4, "big")
