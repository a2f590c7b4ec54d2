"""When the next query may go out: in all, to endpoints never queried before, and to one host.

Pure arithmetic: it is told the time, says how long to wait, and never waits itself.
"""

from crawler.settings import CrawlSettings
from dhtnode.krpc import PackedEndpoint
from dhtnode.token_bucket import TokenBucket

SHORTEST_WAIT = 0.001  # seconds; a shorter wait could be rounded away, again and again
MAX_HOSTS = 100_000  # hosts with a bucket of their own; the oldest are forgotten, and full again by then
BACK_OFF = 60.0  # seconds for which a host that has refused is left alone
_PORT_BITS = 16


class Pace:
    """The rates of queries in all, to new endpoints, and to each host."""

    def __init__(self, settings: CrawlSettings, now: float, *, by_endpoint: bool = False) -> None:
        """Start with full buckets; a rate of 0 allows everything at once.

        With `by_endpoint` each port counts as a host, as on loopback, where one address holds all.
        """
        self._settings = settings
        self._bits = 0 if by_endpoint else _PORT_BITS
        self.is_unlimited = settings.rate <= 0
        self._queries = _bucket(settings.rate or 1.0, now)
        self._endpoints = _bucket(settings.new_endpoints_rate, now)
        self._hosts: dict[int, TokenBucket] = {}

    def wait_time(self, now: float) -> float:
        """Return the seconds until a visit to a new endpoint may start; 0.0 when it may now."""
        if self.is_unlimited:
            return 0.0
        return _rounded(max(self._queries.wait_time(now), self._endpoints.wait_time(now)))

    def host_wait_time(self, endpoint: PackedEndpoint, now: float) -> float:
        """Return the seconds until this host may be queried again."""
        return 0.0 if self.is_unlimited else _rounded(self._host(endpoint, now).wait_time(now))

    def start_visit(self, endpoint: PackedEndpoint, now: float) -> None:
        """Count the first query of a visit, and for the host the second one too: it will not wait."""
        if not self.is_unlimited:
            self._endpoints.spend(now)
            self._host(endpoint, now).spend(now)
            self.count_query(endpoint, now)

    def count_second(self, now: float) -> None:
        """Count the second query of a visit: what it overdraws, the next visit waits for."""
        if not self.is_unlimited:
            self._queries.spend(now)

    def count_query(self, endpoint: PackedEndpoint, now: float) -> None:
        """Count a single query."""
        if not self.is_unlimited:
            self._queries.spend(now)
            self._host(endpoint, now).spend(now)

    def back_off(self, endpoint: PackedEndpoint, now: float) -> None:
        """Leave a host alone for a while, because it has refused."""
        if not self.is_unlimited:
            host = self._host(endpoint, now)
            for _ in range(round(BACK_OFF * self._settings.host_rate)):
                host.spend(now)

    def _host(self, endpoint: PackedEndpoint, now: float) -> TokenBucket:
        key = endpoint >> self._bits
        bucket = self._hosts.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._settings.host_rate, self._settings.host_burst, now)
            if len(self._hosts) >= MAX_HOSTS:
                del self._hosts[next(iter(self._hosts))]
        self._hosts[key] = bucket  # at the end: the one used last is forgotten last
        return bucket


def _bucket(rate: float, now: float) -> TokenBucket:
    """Return a bucket that holds a second's worth, so that a loop which sleeps in between keeps the rate."""
    return TokenBucket(rate, max(rate, 1.0), now)


def _rounded(wait: float) -> float:
    return max(wait, SHORTEST_WAIT) if wait > 0 else 0.0
