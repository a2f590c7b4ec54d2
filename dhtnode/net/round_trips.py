"""How long to wait for an answer, learnt from round-trip times, and how often to query, from losses.

Past the *stall* a lookup may query another node while the late answer is still welcome; past the
*timeout* the query has failed.  Both follow the recent answers of the whole socket, since what
delays packets is mostly our own line.
"""

from collections import deque
from collections.abc import Iterable
from math import ceil, log

WINDOW = 256  # answers remembered
RECOMPUTE_EVERY = 32  # answers between two looks at the window: sorting costs 10 us
FIRST_LOOKS = (4, 8, 16)  # the first values are guesses: a short-lived program should not live by them

FIRST_STALL = 1.0  # seconds, before anything is known; libtorrent's short timeout
FIRST_TIMEOUT = 5.0
MIN_STALL, MAX_STALL = 0.1, 2.0
MIN_TIMEOUT, MAX_TIMEOUT = 1.5, 10.0  # the upper bound is that of mldht and jech/dht

MISSED = 0.0005  # how likely a node that is there may be missed: one of 8, in one of 250 lookups
MEMORY = 400.0  # queries: what came before counts for less and less
# As if we had seen so much: at first, nodes are queried twice.
QUERIES_BEFORE, LOST_BEFORE = 20.0, 0.4


class RetryPolicy:
    """How often to query before a timeout means that no node is there, learnt from losses.

    Nodes that have just answered are there: if they do not answer again, packets got lost.
    """

    def __init__(self, most: int) -> None:
        """Start with a guess; a node is never queried more than `most` times."""
        self._most = most
        self._queries, self._lost = QUERIES_BEFORE, LOST_BEFORE

    @property
    def attempts(self) -> int:
        """Return after how many queries a node that is there is missed in one of some 2000 cases."""
        return min(self._most, max(1, ceil(log(MISSED) / log(self._lost / self._queries))))

    def add(self, queries: int, lost: int) -> None:
        """Record how often nodes that are there were queried, and how often in vain."""
        self._queries += queries
        self._lost += lost
        if self._queries > MEMORY:
            self._lost *= MEMORY / self._queries
            self._queries = MEMORY


class RoundTripTimes:
    """Recent round-trip times, and the two limits derived from them."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._since = 0
        self.stall = FIRST_STALL
        self.timeout = FIRST_TIMEOUT

    def add(self, rtt: float) -> None:
        """Record one answered query, in seconds; amortised cost below a microsecond."""
        # No query waits for longer than this: such an answer has waited for us.
        if rtt > MAX_TIMEOUT:
            return
        self._window.append(rtt)
        self._since += 1
        if self._since >= RECOMPUTE_EVERY or len(self._window) in FIRST_LOOKS:
            self._recompute()

    def add_all(self, rtts: Iterable[float]) -> None:
        """Record queries that were answered at one time, in seconds; the limits follow after all of them."""
        counted, before = [rtt for rtt in rtts if rtt <= MAX_TIMEOUT], len(self._window)
        self._window.extend(counted)
        self._since += len(counted)
        if self._since >= RECOMPUTE_EVERY or any(before < look <= len(self._window) for look in FIRST_LOOKS):
            self._recompute()

    def quantiles(self) -> dict[str, float]:
        """Return the median and the 90th percentile (`p90`) of recent answers, in seconds, if there are any.

        Sorts the window: some 10 us.
        """
        ordered = sorted(self._window)
        shares = {"median": 0.5, "p90": 0.9} if ordered else {}
        return {name: ordered[int(share * len(ordered))] for name, share in shares.items()}

    def _recompute(self) -> None:
        if self._since >= RECOMPUTE_EVERY:
            self._since = 0
        ordered = sorted(self._window)
        last = len(ordered) - 1
        p10, p90, p99 = (ordered[min(last, int(share * len(ordered)))] for share in (0.10, 0.90, 0.99))
        # As mldht: the 90th percentile alone is too tight on a quiet line.
        self.stall = min(MAX_STALL, max(MIN_STALL, p10 + 0.1, p90))
        self.timeout = min(MAX_TIMEOUT, max(MIN_TIMEOUT, 3 * p99))
