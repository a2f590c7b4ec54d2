"""How often one host of trackers is asked, whatever its port, and whichever URLs lead there."""

import trio

from dhtnode.addresses import Scope, scope_of
from dhtnode.net.outgoing import THIS_PROGRAM, OutgoingBound
from dhtnode.token_bucket import TokenBucket

RATE, BURST = 0.8, 2.0
"""Packets or connections a second to one host, and at once."""

CONNECTION_PACKETS = 9
"""Packets that a connection counts for, to a host that is perhaps no tracker: what it sends at most."""

MAX_HOSTS = 10_000
"""Hosts that are kept; beyond, the one used longest ago is dropped, if it owes no pause."""


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
        while not self._admits(host, packets):  # noqa: ASYNC110  the bound has turns, and no event
            await trio.sleep(self._outgoing.seconds_left())

    def _admits(self, host: str, packets: int) -> bool:
        if packets == 1:
            return self._outgoing.admit(host)
        return self._outgoing.admit_connection(host, packets)

    def _bucket(self, host: str) -> TokenBucket:
        now = trio.current_time()
        bucket = self._buckets.pop(host, None) or TokenBucket(RATE, BURST, now)
        self._buckets[host] = bucket
        if len(self._buckets) > MAX_HOSTS:
            oldest = next(iter(self._buckets))
            if not self._buckets[oldest].wait_time(now):
                del self._buckets[oldest]
        return bucket
