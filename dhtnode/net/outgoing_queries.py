"""The queries of a crawl before they leave: their kinds, and those that wait for their hosts."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Generic, TypeAlias, TypeVar

from dhtnode.addresses import Address
from dhtnode.net.held import LOOK_PERIOD
from dhtnode.net.outgoing import OutgoingBound

Tag = TypeVar("Tag")

Outgoing: TypeAlias = tuple["QueryTemplate", bytes, Address, Tag]
"""A query to be sent: its kind, its target, where it goes, and what its owner knows it by."""


class QueryTemplate:
    """One kind of query with a target, written but for the target; `size` is that of the whole datagram."""

    __slots__ = ("after", "before", "size")

    def __init__(self, before: bytes, after: bytes, size: int) -> None:
        self.before = before
        self.after = after
        self.size = size


class HeldOutgoing(Generic[Tag]):
    """The queries of one crawl whose hosts have been sent enough; some may leave at `release_at`.

    Those to a host that has answered lately wait as long as need be.  Any other may be no node: it is
    waited for as long as for an answer to what it has been sent.
    """

    def __init__(self, outgoing: OutgoingBound) -> None:
        self.release_at = inf
        self._outgoing = outgoing
        # And since when they wait while nothing comes from the host.
        self._queries: list[tuple[Outgoing[Tag], float]] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._queries)

    def choose(self, queries: Sequence[Outgoing[Tag]], now: float) -> list[int]:
        """Count what may leave now, and keep the rest; return the positions of what was kept."""
        refused = self._outgoing.refuse([address.host for _, _, address, _ in queries])
        self.keep([queries[at] for at in refused], now, LOOK_PERIOD)
        return refused

    def keep(self, queries: Iterable[Outgoing[Tag]], now: float, pause: float) -> None:
        """Keep queries for so many seconds at least."""
        before = len(self._queries)
        self._queries += [(query, now) for query in queries]
        if len(self._queries) > before:
            self.release_at = min(self.release_at, now + pause)

    def take(self, now: float, patience: float) -> tuple[list[Outgoing[Tag]], list[Outgoing[Tag]]]:
        """Return what may leave now, which counts as sent, and what has waited for too long in vain."""
        waiting, self._queries, self.release_at = self._queries, [], inf
        leaving, given_up = [], []
        refused = set(self._outgoing.refuse([query[2].host for query, _ in waiting]))
        for at, (query, since) in enumerate(waiting):
            if at not in refused:
                leaving.append(query)
            elif self._outgoing.has_heard(query[2].host):
                self._queries.append((query, now))
            elif now - since >= patience:
                given_up.append(query)
            else:
                self._queries.append((query, since))
        if self._queries:
            self.release_at = now + LOOK_PERIOD
        return leaving, given_up

    def take_all(self) -> list[Outgoing[Tag]]:
        """Return all of them, which then do not wait any more."""
        queries = [query for query, _ in self._queries]
        self.clear()
        return queries

    def clear(self) -> None:
        """Give all of them up."""
        self._queries, self.release_at = [], inf
