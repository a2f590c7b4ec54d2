"""Scrapes of an HTTP tracker at one address, as a sweep sends them: one batch, or all that it has."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from dhtnode.addresses import Address
from dhtnode.ids import InfoHash
from dhtnode.tracker_client.client import Trackers
from dhtnode.trackers.full_scrape import MAX_FULL_BYTES, FullEntry, FullScrapeReader
from dhtnode.trackers.http_messages import MAX_SCRAPE_BYTES, read_scrape, scrape_target
from dhtnode.trackers.messages import ScrapeAnswer
from dhtnode.trackers.urls import TrackerUrl

FULL_TIMEOUT = 900.0
"""Seconds for an answer with all that a tracker has."""


class HttpScrape(NamedTuple):
    """An answer over HTTP; of what was sent, path and query count, and of what came, the unpacked body."""

    answer: ScrapeAnswer
    sent: int
    received: int
    seconds: float


async def scrape_batch(
    trackers: Trackers, url: TrackerUrl, address: Address, info_hashes: Sequence[InfoHash], *, is_typed: bool
) -> HttpScrape:
    """Ask a tracker at an address that `find` gave for some swarms, in one request; raises `TrackerError`."""
    target = scrape_target(url, info_hashes)
    body, seconds = await trackers.fetch(url, target, address, MAX_SCRAPE_BYTES, is_typed)
    return HttpScrape(read_scrape(body, info_hashes), len(target), len(body), seconds)


async def scrape_all(
    trackers: Trackers,
    url: TrackerUrl,
    address: Address,
    take: Callable[[list[FullEntry]], Awaitable[None]],
    *,
    is_typed: bool,
) -> None:
    """Ask a tracker for all that it has; `take` is awaited with its swarms, some at a time.

    Raises `TrackerError`.  Memory does not grow with what comes.
    """
    target = scrape_target(url, ())
    reader = FullScrapeReader()

    async def read(part: bytes) -> None:
        await take(reader.feed(part))

    await trackers.stream(url, target, address, MAX_FULL_BYTES, is_typed, read, FULL_TIMEOUT)
    await take(reader.close())
