"""The loop that all crawls share: it sends what a crawl decides, and tells the crawl the outcome.

A crawl decides and does no I/O, so that it can be tested without a network or a clock.  `drive`
attaches it to a client for as long as it runs: nothing happens to a client before, and a second
crawl on the same client is an error.

A turn of the loop has phases: receive many datagrams, handle many results, choose many queries, send
many.  Each costs less for one node than it would alone.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeVar

import trio

from crawler.settings import CrawlSettings
from dhtnode import Family, NodeId, NoNetwork, QueryError, Scope
from dhtnode.krpc import Method, Response
from dhtnode.net import BulkClient, Ended, Outgoing, QueryTemplate

logger = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0  # seconds between two looks for queries when nothing happens
FULL_PAUSE = 0.05  # seconds until fewer queries may be awaited, because some are late by then
FEW_AT_ONCE = 64  # answers
# Seconds at least that hosts which were sent enough are waited for when all else is done.
LEAST_TAIL = 20.0
SENT_AT_ONCE = 256  # queries; then answers are looked for, before they fill the kernel's buffer

Tag = TypeVar("Tag")


class ClientFacts(Protocol):
    """What a crawl may use of the client that will send its queries."""

    family: Family
    scope: Scope
    unexpected: Counter[tuple[str, int]]

    def template(self, method: Callable[[NodeId], Method], /) -> QueryTemplate:
        """Prepare a kind of query."""


class BatchCrawl(ABC, Generic[Tag]):
    """What is queried over one client, many queries at once, and what follows from the results.

    `patience` is how many seconds an answer may wait for others.  One that `needs_network` is not to go
    on without, as if all its nodes were gone.
    """

    patience = 0.0
    needs_network = True

    @abstractmethod
    def next_queries(self, now: float, most: int) -> tuple[list[Outgoing[Tag]], float | None]:
        """Return up to `most` queries to send now; if fewer, in how many seconds there may be more, or None.

        None means that only the results of the queries under way can lead to more.
        """

    @abstractmethod
    def on_end(self, tag: Tag, result: Response | QueryError, took: float, now: float) -> None:
        """Handle the result of a query, which took so many seconds."""

    @abstractmethod
    def on_stuck(self, tag: Tag, now: float) -> None:
        """Take a query back that could not leave now, but may later."""

    @abstractmethod
    def on_not_sent(self, tag: Tag, now: float) -> None:
        """Handle a query that could not leave, and never will."""

    def on_error(self, tag: Tag) -> None:  # optional
        """Give up a query on whose result an exception was raised."""

    def on_idle(self) -> bool:
        """Return whether there is more to query after all, now that nothing is under way."""
        return False

    def has_more(self) -> bool:  # optional
        """Return whether there is more to query than hosts that were sent enough.

        When there is not, the crawl goes on for as long again at most: a host could answer on many ports.
        """
        return True

    def flush(self, now: float) -> None:  # optional
        """Write what is complete or old by `now`; all there is when that is infinity."""


class Crawl(BatchCrawl[Tag]):
    """A crawl that names its queries one by one."""

    @abstractmethod
    def next_query(self, now: float) -> Outgoing[Tag] | float | None:
        """Return a query to send now, or how many seconds there will be none, or None.

        None means that only the results of the queries under way can lead to more.
        """

    def next_queries(self, now: float, most: int) -> tuple[list[Outgoing[Tag]], float | None]:
        """Return what `next_query` does, up to `most` times."""
        queries: list[Outgoing[Tag]] = []
        while len(queries) < most:
            query = self.next_query(now)
            if not isinstance(query, tuple):
                return queries, query
            queries.append(query)
        return queries, 0.0


async def drive(
    client: BulkClient[Any],
    crawl: BatchCrawl[Tag],
    settings: CrawlSettings,
    before_turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    others: Sequence[BulkClient[Any]] = (),
) -> None:
    """Run a crawl over a client until nothing is left to query and nothing is under way.

    `before_turn` is awaited before each turn of the loop, and may wait for capacity to write.
    Leaving early forgets the queries under way.  The end depends on the client's own count of them:
    a result on which the crawl failed cannot keep it from ending.
    Raises `NoNetwork` when the network has been lost for long, for this client and for all `others`, and
    the crawl needs it; and `RuntimeError` while another crawl runs over the client.
    """
    with client.attached(lambda results, now: _deliver(client, crawl, results, now)):
        try:
            pause: float | None = 0.0
            began_at = last_more = trio.current_time()
            while pause is not None or crawl.on_idle():
                await _wait_for_turn(client, crawl, before_turn)
                now = trio.current_time()
                crawl.flush(now)
                if crawl.has_more():
                    last_more = now
                elif now - last_more > max(LEAST_TAIL, last_more - began_at):
                    for _, _, _, tag in client.take_held():
                        crawl.on_not_sent(tag, now)
                pause = _send_due(client, crawl, settings, now, others)
                if pause is None and client.in_flight:
                    pause = LONGEST_SLEEP
                if pause is not None:
                    await client.wait(now + min(pause, LONGEST_SLEEP))
                    # A turn costs more than an answer: let some more come.
                    if client.receive() < FEW_AT_ONCE and crawl.patience:
                        await trio.sleep(crawl.patience)
        finally:
            crawl.flush(inf)


async def _wait_for_turn(
    client: BulkClient[Any], crawl: BatchCrawl[Tag], before_turn: Callable[[], Awaitable[None]]
) -> None:
    """Await the next turn; where that takes long, take answers in meanwhile, which would count as lost."""
    while True:
        with trio.move_on_after(LONGEST_SLEEP) as limit:
            await before_turn()
        if not limit.cancelled_caught:
            return
        while client.receive() >= FEW_AT_ONCE:
            await trio.lowlevel.checkpoint()
        crawl.flush(trio.current_time())


def _send_due(
    client: BulkClient[Any],
    crawl: BatchCrawl[Tag],
    settings: CrawlSettings,
    now: float,
    others: Sequence[BulkClient[Any]],
) -> float | None:
    """Send what may leave now; return the seconds until more may, or None as `next_queries` does."""
    slots = min(settings.max_in_flight - client.in_flight, client.free_slots(settings.max_awaited))
    if slots <= 0:
        return FULL_PAUSE
    most = min(slots, SENT_AT_ONCE)
    queries, pause = crawl.next_queries(now, most)
    unsent = client.send_batch(queries, now)
    if client.is_cut_off and crawl.needs_network and not any(each.in_flight for each in others):
        raise NoNetwork(f"IPv{client.family}: the network is gone; go on when it is back")
    for position in unsent.never:
        crawl.on_not_sent(queries[position][3], now)
    # What is taken back is put first, so the last of them goes first.
    for position in reversed(unsent.later):
        crawl.on_stuck(queries[position][3], now)
    if client.is_stuck:
        # The client itself knows how long to wait.
        return LONGEST_SLEEP
    if len(queries) == most < slots:
        return 0.0
    return FULL_PAUSE if len(queries) == most else pause


def _deliver(
    client: BulkClient[Any], crawl: BatchCrawl[Tag], results: Sequence[Ended[Tag]], now: float
) -> None:
    """Have a crawl handle results; a bug in it costs results, not the crawl."""
    for tag, result, took, size in results:
        client.answer_bytes = size
        try:
            crawl.on_end(tag, result, took, now)
        except Exception:
            logger.exception("failed on the result of a query")
            client.events["internal errors"] += 1
            crawl.on_error(tag)
