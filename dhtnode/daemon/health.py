"""What an operator should know: the network joined, lost and back, an address that changed.

Pure: it gets the statistics of the node every few seconds, with the time, and returns lines for the
log.  Missing answers count only while we send queries: a node without queries has lost nothing.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dhtnode.addresses import Address
from dhtnode.api.results import NodeStatistics
from dhtnode.ids import NodeId
from dhtnode.node.statistics import SocketStatistics

LOOK_EVERY = 5.0  # seconds between two calls of `observe`
RECENT_LOOKS = 61  # the last five minutes
LOST_AFTER = 8  # queries in a row without an answer: as many as a bucket has nodes

Level = Literal["info", "warning"]


class Line(NamedTuple):
    """One line for the log."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class RecentCounts:
    """Counts of our queries and their ends in the last `seconds`, five minutes at most."""

    seconds: float
    queries_sent: int
    answers: int
    timeouts: int
    queries_received: int


class HealthMonitor:
    """A comparison of each look at a node with those before."""

    def __init__(self) -> None:
        self._sockets: dict[Address, _SocketHealth] = {}

    def observe(self, statistics: NodeStatistics, now: float) -> list[Line]:
        """Return what is worth a line since the last look."""
        lines: list[Line] = []
        sockets = Counter(one.family for one in statistics.sockets)
        for one in statistics.sockets:
            health = self._sockets.setdefault(one.address, _SocketHealth())
            where = f"IPv{int(one.family)}" if sockets[one.family] == 1 else str(one.address)
            lines += [Line(level, f"{where}: {text}") for level, text in health.observe(one, now)]
        return lines

    def recent(self, address: Address) -> RecentCounts | None:
        """Return the counts of the last minutes at one of our addresses; None before there are two looks."""
        health = self._sockets.get(address)
        return None if health is None else health.recent()


class _SocketHealth:
    def __init__(self) -> None:
        self._looks: deque[tuple[float, Counter[str]]] = deque(maxlen=RECENT_LOOKS)
        self._answering: bool | None = None
        self._unanswered = 0
        self._external: Address | None = None
        self._node_id: NodeId | None = None

    def observe(self, one: SocketStatistics, now: float) -> list[Line]:
        before = self._looks[-1][1] if self._looks else Counter[str]()
        counts = Counter(one.counts)
        self._looks.append((now, counts))
        return self._about_answers(counts - before, one) + self._about_us(one)

    def _about_answers(self, new: Counter[str], one: SocketStatistics) -> list[Line]:
        # A lookup queries a node that is gone again and again: one of these timeouts counts.
        timeouts = new["timeouts"] - new["timeouts while others answer"]
        failed = timeouts + new["not sent: send failed"]
        if new["answers"] or new["errors received"]:
            self._unanswered = 0
            if self._answering is not True:
                self._answering, before = True, self._answering
                return [_joined(one, is_back=before is False)]
            return []
        self._unanswered += failed
        if self._unanswered < LOST_AFTER or self._answering is False:
            return []
        self._answering, before = False, self._answering
        return [_lost(self._unanswered, was_joined=before is True)]

    def _about_us(self, one: SocketStatistics) -> list[Line]:
        lines: list[Line] = []
        external = one.external_address
        if external is not None and external != self._external:
            lines.append(_seen_elsewhere(self._external, external))
            self._external = external
        if self._node_id is not None and self._node_id != one.node_id:
            lines.append(Line("info", f"our id is now {one.node_id.hex()}"))
        self._node_id = one.node_id
        return lines

    def recent(self) -> RecentCounts | None:
        if len(self._looks) < 2:
            return None
        (then, before), (now, counts) = self._looks[0], self._looks[-1]
        new = counts - before
        return RecentCounts(
            now - then, new["queries sent"], new["answers"], new["timeouts"], new["queries received"]
        )


def _joined(one: SocketStatistics, *, is_back: bool) -> Line:
    table = f"{one.good_nodes} good nodes in the table"
    if is_back:
        return Line("warning", f"nodes answer again; {table}")
    return Line("info", f"joined the network; {table}")


def _lost(queries: int, *, was_joined: bool) -> Line:
    if was_joined:
        return Line(
            "warning", f"no answer to the last {queries} queries: is the network down, or UDP blocked?"
        )
    return Line(
        "warning",
        f"no node answered the first {queries} queries: is there a network, may UDP leave and come back,"
        " and are the nodes given by --bootstrap alive?",
    )


def _seen_elsewhere(known: Address | None, external: Address) -> Line:
    """Return the line about a new external address."""
    shown = str(external) if external.port else f"{external.host}, at ports that differ"
    if known is None:
        return Line("info", f"others see us at {shown}")
    # A router that changes its ports only is nothing to act on.
    if known.host == external.host:
        return Line("info", f"others see us at {shown} now")
    return Line("warning", f"our external address changed from {known.host} to {external.host}")
