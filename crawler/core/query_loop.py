"""The loop that all crawls share: it sends what a crawl decides, and tells the crawl what came of it.

A crawl decides and does no I/O, so that it can be tested without a network or a clock.  `drive`
attaches it to a client for as long as it runs: nothing happens to a client before, and a second
crawl on the same client is an error.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import trio

from crawler.settings import CrawlSettings
from dhtnode import Address, Family, NodeId, QueryError, Scope
from dhtnode.krpc import Method, Response
from dhtnode.net import BulkClient, QueryTemplate

LONGEST_SLEEP = 1.0  # seconds between two calls of `next_query` when nothing happens
FULL_PAUSE = 0.05  # seconds until fewer queries may be awaited, because some are late by then

Tag = TypeVar("Tag")

Outgoing: TypeAlias = tuple[QueryTemplate, bytes, Address, Tag]
"""A query to be sent: its kind, its target, where it goes, and what the crawl knows it by."""


class ClientFacts(Protocol):
    """What a crawl may use of the client that will send its queries."""

    family: Family
    scope: Scope
    unexpected: Counter[tuple[str, int]]

    def template(self, method: Callable[[NodeId], Method], /) -> QueryTemplate:
        """Prepare a kind of query."""


class Crawl(Generic[Tag]):
    """What is queried over one client, and what follows from the results."""

    def next_query(self, now: float) -> Outgoing[Tag] | float | None:
        """Return a query to send now, or how many seconds there will be none, or None.

        None means that only the results of the queries under way can lead to more.
        """
        raise NotImplementedError

    def on_end(self, tag: Tag, result: Response | QueryError, took: float, now: float) -> None:
        """Handle the result of a query, which took so many seconds."""
        raise NotImplementedError

    def on_stuck(self, tag: Tag, now: float) -> None:
        """Take a query back that could not leave now, but may later."""
        raise NotImplementedError

    def on_not_sent(self, tag: Tag, now: float) -> None:
        """Handle a query that could not leave, and never will."""
        raise NotImplementedError

    def on_error(self, tag: Tag) -> None:
        """Give up a query on whose result `on_end` has raised an exception."""

    def on_idle(self) -> bool:
        """Return whether there is more to query after all, now that nothing is under way."""
        return False

    def flush(self, now: float) -> None:
        """Write what is complete or old by `now`; all there is when that is infinity."""


async def drive(
    client: BulkClient[Any],
    crawl: Crawl[Tag],
    settings: CrawlSettings,
    before_turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> None:
    """Run a crawl over a client until nothing is left to query and nothing is under way.

    `before_turn` is awaited before each turn of the loop, and may wait for capacity to write.
    Leaving early forgets the queries under way.  The end depends on the client's own count of them:
    a result on which the crawl failed cannot keep it from ending.
    Raises `RuntimeError` while another crawl runs over the client.
    """
    with client.attached(crawl.on_end, crawl.on_error):
        try:
            while True:
                await before_turn()
                now = trio.current_time()
                crawl.flush(now)
                pause = _send_due(client, crawl, settings, now)
                if pause is None:
                    if client.in_flight:
                        pause = LONGEST_SLEEP
                    elif crawl.on_idle():
                        continue
                    else:
                        return
                await client.wait(now + min(pause, LONGEST_SLEEP))
                client.receive()
        finally:
            crawl.flush(inf)


def _send_due(
    client: BulkClient[Any], crawl: Crawl[Tag], settings: CrawlSettings, now: float
) -> float | None:
    """Send what may leave now; return the seconds until more may, or None as `next_query` does."""
    send, next_query = client.send, crawl.next_query
    slots = min(settings.max_in_flight - client.in_flight, client.free_slots(settings.max_awaited))
    for _ in range(slots):
        query = next_query(now)
        if not isinstance(query, tuple):
            return query
        if not send(*query, now):
            if client.is_stuck:
                crawl.on_stuck(query[3], now)
                return 0.0
            crawl.on_not_sent(query[3], now)
    return FULL_PAUSE
