"""How often one host of trackers is asked, whatever its port, and whichever URLs lead there."""

import trio

from dhtnode.addresses import Scope, scope_of
from dhtnode.net.outgoing import THIS_PROGRAM, OutgoingBound
from dhtnode.token_bucket import TokenBucket

RATE, BURST = 0.8, 2.0
"""Packets or connections a second to one host, and at once."""

MOST_RATE = 1.0
"""Requests a second of a sweep to one host: ten packets in ten seconds."""

CONNECTION_PACKETS = 9
"""Packets that a connection counts for, to a host that is perhaps no tracker: what it sends at most."""

MAX_HOSTS = 10_000
"""Hosts that are kept; beyond, the one used longest ago is dropped, if it owes no pause."""


class SweepPace:
    """The pace of a sweep over many trackers, all at one host together: one request after the other.

    A host gets `rate` packets or connections a second, one at most, which is ten in ten seconds.  A
    scrape leaves at once after the connect that it was waited for, else its id may be over: the time before
    and after makes up for that.  What leaves toward a host that has not answered as a tracker is counted in
    the bound of this program, which lets fewer leave because it forgets in turns.  With a rate of 0, hosts
    on loopback have none, and others the usual one.
    """

    def __init__(self, rate: float, outgoing: OutgoingBound = THIS_PROGRAM) -> None:
        """Start with no host."""
        self._pause = 1.0 / min(rate or MOST_RATE, MOST_RATE)
        self._spares_loopback = not rate
        self._outgoing = outgoing
        self._ready_at: dict[str, float] = {}
        self._answered: set[str] = set()

    def ready_at(self, host: str, now: float, packets: int = 1, *, is_pair: bool = False) -> float:
        """Return when a request to a host may leave: `now` if it may, which counts it in the bound.

        A pair is a packet that another one will follow at once.
        """
        at = self._ready_at.get(host, now)
        if is_pair and host in self._ready_at:
            at += self._pause
        if at > now or host in self._answered or scope_of(host) is Scope.LOOPBACK:
            return max(at, now)
        if _admits(self._outgoing, host, packets):
            return now
        return now + self._outgoing.seconds_left()

    def sent(self, host: str, now: float) -> None:
        """Count a request."""
        if not (self._spares_loopback and scope_of(host) is Scope.LOOPBACK):
            self._ready_at[host] = max(self._ready_at.get(host, now), now) + self._pause

    def hear(self, host: str, *, over_http: bool = False) -> None:  # noqa: ARG002
        """Record that a host has answered as a tracker does."""
        self._outgoing.hear([host])
        self._answered.add(host)

    def miss(self, host: str) -> None:
        """Record that a host has left a request without an answer."""
        self._answered.discard(host)

    async def wait_to_connect(self, host: str) -> None:
        """Wait until a request over HTTP may leave toward a host, and count it."""
        await trio.lowlevel.checkpoint()
        ready = self.ready_at(host, trio.current_time(), CONNECTION_PACKETS)
        while ready > trio.current_time():
            await trio.sleep_until(ready)
            # Another tracker of the host may have been faster.
            ready = self.ready_at(host, trio.current_time(), CONNECTION_PACKETS)
        self.sent(host, trio.current_time())


class HostPace:
    """A pace for each host, within the bound of all that this program sends; hosts on loopback have none."""

    def __init__(self, outgoing: OutgoingBound = THIS_PROGRAM) -> None:
        """Start with no host."""
        self._outgoing = outgoing
        self._buckets: dict[str, TokenBucket] = {}
        self._answered: dict[str, None] = {}

    async def wait_to_send(self, host: str) -> None:
        """Wait until a packet may leave toward a host, and count it."""
        await self._wait(host, 1)

    async def wait_to_connect(self, host: str) -> None:
        """Wait until a connection to a host may be opened, and count it."""
        await self._wait(host, 1 if host in self._answered else CONNECTION_PACKETS)

    def hear(self, host: str, *, over_http: bool = False) -> None:
        """Record that a host has answered; over HTTP, it is one that wants our connections."""
        self._outgoing.hear([host])
        if over_http and len(self._answered) < MAX_HOSTS:
            self._answered[host] = None

    async def _wait(self, host: str, packets: int) -> None:
        if scope_of(host) is Scope.LOOPBACK:
            await trio.lowlevel.checkpoint()
            return
        bucket = self._bucket(host)
        pause = bucket.wait_time(trio.current_time())
        # Spent before the wait: the next one waits for this one, too.
        bucket.spend(trio.current_time())
        await trio.sleep(pause)
        while not _admits(self._outgoing, host, packets):  # noqa: ASYNC110  the bound has turns, and no event
            await trio.sleep(self._outgoing.seconds_left())

    def _bucket(self, host: str) -> TokenBucket:
        now = trio.current_time()
        bucket = self._buckets.pop(host, None) or TokenBucket(RATE, BURST, now)
        self._buckets[host] = bucket
        if len(self._buckets) > MAX_HOSTS:
            oldest = next(iter(self._buckets))
            if not self._buckets[oldest].wait_time(now):
                del self._buckets[oldest]
        return bucket


def _admits(outgoing: OutgoingBound, host: str, packets: int) -> bool:
    return outgoing.admit(host) if packets == 1 else outgoing.admit_connection(host, packets)
