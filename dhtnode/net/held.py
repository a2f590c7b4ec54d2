"""Queries that wait because their hosts have been sent enough."""

from collections.abc import Iterable
from math import inf

from dhtnode.net.outgoing import MOST_KNOWN, MOST_UNHEARD, OutgoingBound
from dhtnode.net.transactions import Pending

MAX_HELD = 1000
PATIENCE = 2.0  # seconds for a host to answer that has not yet: about as long as a stall
LOOK_PERIOD = 0.2  # seconds until the next look whether it has


class HeldQueries:
    """The queries of one socket until they may leave, some of them at `release_at`.

    Those to a node that has answered wait as long as need be.  Any other host may be one that strangers
    name, so queries to it wait only for the answer to one of those before: then more may leave.
    """

    def __init__(self, outgoing: OutgoingBound, *, serves: bool) -> None:
        """Begin with none; a node that `serves` others runs for long, and sends silent hosts some more."""
        self.release_at = inf
        self._outgoing = outgoing
        self._most_unheard = MOST_KNOWN if serves else MOST_UNHEARD
        self._given: frozenset[str] = frozenset()
        self._queries: dict[bytes, tuple[Pending, bytes]] = {}  # with their datagrams

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._queries)

    def admits(self, pending: Pending) -> bool:
        """Count a query as sent and return True, or return False when its host has been sent enough."""
        is_known = pending.sent_at < pending.source.proven_until or pending.address.host in self._given
        most_unheard = MOST_KNOWN if is_known else self._most_unheard
        return self._outgoing.admit(pending.address.host, most_unheard)

    def expect_losses(self, attempts: int) -> None:
        """Send hosts that are silent so many packets, within the bounds, because some get lost."""
        self._most_unheard = min(MOST_KNOWN, max(self._most_unheard, attempts))

    def trust(self, hosts: Iterable[str]) -> None:
        """Send these hosts, and no others, as much while they are silent as if they had answered before.

        They are those that the user has named to join through; one lost packet is not to be the end of it.
        """
        self._given = frozenset(hosts)

    def hear(self, host: str) -> None:
        """Record that an answer has come from a host."""
        self._outgoing.hear((host,))

    def keep(self, pending: Pending, data: bytes) -> bool:
        """Keep a query, and return True; return False when too many are kept."""
        if len(self._queries) >= MAX_HELD:
            return False
        self._queries[pending.transaction_id] = pending, data
        is_proven = pending.sent_at < pending.source.proven_until
        pause = self._outgoing.seconds_left() if is_proven else LOOK_PERIOD
        self.release_at = min(self.release_at, pending.sent_at + pause)
        return True

    def forget(self, pending: Pending) -> None:
        """Give a query up; nothing happens when it is not kept."""
        self._queries.pop(pending.transaction_id, None)

    def take(self, now: float) -> list[tuple[Pending, bytes | None]]:
        """Return the queries that may leave now, with their datagrams, and without those that never will."""
        taken: list[tuple[Pending, bytes | None]] = []
        pause = self._outgoing.seconds_left()
        for pending, data in list(self._queries.values()):
            if self.admits(pending):
                pending.sent_at = now
                taken.append((pending, data))
            elif now < pending.source.proven_until:
                continue
            elif now - pending.sent_at >= PATIENCE:
                taken.append((pending, None))
            else:
                pause = min(pause, LOOK_PERIOD)
        for pending, _ in taken:
            self.forget(pending)
        self.release_at = now + pause if self._queries else inf
        return taken
