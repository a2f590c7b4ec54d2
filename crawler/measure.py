"""Measure many swarms, a few at a time, and hand each sample to the writer.

One lookup and one question to each of the closest nodes per info-hash; what they said goes into the
database beside the estimate.  Addresses of peers are counted here and go no further.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from crawler.evidence_rows import mark_word, reply_row, swarm_sample
from crawler.records import SwarmSample, utc_text
from crawler.writer import Writer
from dhtnode import DhtError, InfoHash, Node, Scrape, evidence_of, left_out

KEY_BYTES = 32  # of what makes the tokens of hosts; it is forgotten when the work is done


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
    key = secrets.token_bytes(KEY_BYTES)

    async def measure(info_hash: InfoHash) -> None:
        try:
            scrape = await node.scrape(info_hash)
        except DhtError as error:
            tally.failed += 1
            if on_failure is not None:
                on_failure(info_hash, error)
        else:
            await writer.put(sample_of(scrape, utc_text(wall_clock()), source, key))
            tally.measured += 1
            if on_sample is not None:
                on_sample(scrape)
        finally:
            places.release()

    async with trio.open_nursery() as nursery:
        for info_hash in info_hashes:
            await places.acquire()
            nursery.start_soon(measure, info_hash)


def sample_of(scrape: Scrape, taken_at: str, source: str, key: bytes) -> SwarmSample:
    """Return the rows that one measurement makes; `key` goes into the tokens that stand for hosts."""
    evidence = evidence_of(scrape.replies, key, left_out(scrape.marks))
    replies = zip(scrape.replies, evidence, scrape.marks, strict=True)
    return swarm_sample(
        scrape.info_hash,
        taken_at,
        scrape.estimate,
        [
            reply_row(reply, kept, rank, marks=tuple(map(mark_word, marks)))
            for rank, (reply, kept, marks) in enumerate(replies)
        ],
        nodes_asked=scrape.nodes_asked,
        bytes_sent=scrape.bytes_sent,
        bytes_received=scrape.bytes_received,
        source=source,
    )
