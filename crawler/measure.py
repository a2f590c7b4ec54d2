"""Measure many swarms, a few at a time, and hand each sample to the writer.

One lookup and one question to each of the closest nodes per info-hash; what they said goes into the
database beside the estimate.  Addresses of peers are counted here and go no further.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from crawler.records import ScrapeReplyRow, SwarmSample, utc_text
from crawler.writer import Writer
from dhtnode import DhtError, InfoHash, Node, Scrape


@dataclass(slots=True)
class Tally:
    """Count measurements as they end."""

    measured: int = 0
    failed: int = 0


async def measure_swarms(
    node: Node,
    writer: Writer,
    info_hashes: Iterable[InfoHash],
    *,
    at_once: int,
    tally: Tally,
    source: str = "given",
    on_sample: Callable[[Scrape], None] | None = None,
    on_failure: Callable[[InfoHash, DhtError], None] | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> None:
    """Measure each info-hash once; `tally` is kept up to date, the functions are told the outcomes.

    A swarm for which no node answers is a failure and leaves no row.
    """
    places = trio.Semaphore(at_once)

    async def measure(info_hash: InfoHash) -> None:
        try:
            scrape = await node.scrape(info_hash)
        except DhtError as error:
            tally.failed += 1
            if on_failure is not None:
                on_failure(info_hash, error)
        else:
            await writer.put(sample_of(scrape, utc_text(wall_clock()), source))
            tally.measured += 1
            if on_sample is not None:
                on_sample(scrape)
        finally:
            places.release()

    async with trio.open_nursery() as nursery:
        for info_hash in info_hashes:
            await places.acquire()
            nursery.start_soon(measure, info_hash)


def sample_of(scrape: Scrape, taken_at: str, source: str) -> SwarmSample:
    """Return the rows that one measurement makes."""
    estimate = scrape.estimate
    return SwarmSample(
        info_hash=scrape.info_hash,
        taken_at=taken_at,
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=estimate.peers,
        peers_low=estimate.peers_low,
        peers_high=estimate.peers_high,
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_asked=scrape.nodes_asked,
        nodes_answered=scrape.nodes_answered,
        nodes_with_filters=estimate.nodes_with_filters,
        distinct_peers=estimate.distinct_peers,
        bytes_sent=scrape.bytes_sent,
        bytes_received=scrape.bytes_received,
        replies=tuple(
            ScrapeReplyRow(
                node_id=reply.contact.node_id,
                address=reply.contact.address,
                rank=rank,
                seeds_filter=None if reply.seeds_filter is None else reply.seeds_filter.to_bytes(),
                peers_filter=None if reply.peers_filter is None else reply.peers_filter.to_bytes(),
                values_count=len(reply.values),
                version=reply.version,
                rtt_ms=round(1000 * reply.rtt, 3),
            )
            for rank, reply in enumerate(scrape.replies)
        ),
        source=source,
    )
