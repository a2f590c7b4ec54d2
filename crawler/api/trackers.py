"""Sweeps of trackers: what they say of swarms, beside the DHT."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crawler.core.exclusion import Exclusion
from crawler.core.progress import shown_progress
from crawler.core.session import new_random, open_recording
from crawler.db.records.records import utc_text
from crawler.db.records.trackers import GIVEN, LISTED, OF_TORRENT, TrackerSweep
from crawler.db.writer import Writer
from crawler.settings import CrawlOptions
from crawler.trackers.full import scrape_fully
from crawler.trackers.known_urls import choose, left_out_lines
from crawler.trackers.sweep import TrackerSweeper
from crawler.trackers.tally import SweepTally
from dhtnode import InfoHash
from dhtnode.addresses import Address, pack_host
from dhtnode.arguments import check_positive, several, swarms_of
from dhtnode.errors import InvalidArgument
from dhtnode.tracker_client import SweepPace, open_trackers
from dhtnode.trackers import parse_tracker_url

MOST_RATE = 1.0
"""Requests per second to one host of trackers."""


@dataclass(frozen=True, slots=True)
class SweepResults:
    """The rows of a sweep, one for each tracker and address, and its counts."""

    sweeps: Sequence[TrackerSweep]
    tally: SweepTally


async def sweep_trackers(
    info_hashes: Iterable[InfoHash] | str,
    db: str | Path | CrawlOptions,
    *,
    trackers: Sequence[str] = (),
    listed: Sequence[str] = (),
    of_torrents: Sequence[str] = (),
    full: Sequence[str] = (),
    discovered: int = 0,
    takes_hints: bool = False,
    rate: float = 1.0,
    asks_again: bool = False,
    on_sweep: Callable[[TrackerSweep], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> SweepResults:
    """Ask every tracker for every swarm that is due there, record what it says, and return the rows.

    `info_hashes` may be `known`, `watched` or `discovered` for swarms of the database; of the last, so many.
    Asked are the `trackers` given, those of a list and of torrents, and those that the database knows; with
    `takes_hints`, also those that only peers have named (BEP 28).  Each
    of `full` is asked for all that it has, once in six hours.  A host gets `rate` requests a second; 0 lifts
    that on loopback.  Swarms of torrents known to be private are left out, and URLs that look as if they had
    the key of a user.  `on_sweep` gets each row at the end.

    Raises `DatabaseError`, and `ValueError` when a line of the exclusion is wrong.  That one tracker fails
    is a row like others.
    """
    options = CrawlOptions.of(db)
    _check_rate(rate)
    wanted = info_hashes if isinstance(info_hashes, str) else swarms_of("info_hashes", info_hashes)
    named = {
        GIVEN: several("trackers", trackers),
        LISTED: several("listed", listed),
        OF_TORRENT: several("of_torrents", of_torrents),
    }
    urls = [parse_tracker_url(text) for text in several("full", full)]
    exclusion, pace = Exclusion.read(options.exclude), SweepPace(rate)
    settings = {"rate": rate, "swarms": wanted if isinstance(wanted, str) else len(wanted), "full": len(urls)}
    async with (
        open_recording(options, "trackers", settings) as (run_id, writer),
        open_trackers(sweep_pace=pace) as client,
    ):
        sweeper = TrackerSweeper(
            *(client, writer, run_id, pace, new_random()),
            on_sweep=on_sweep,
            excludes=lambda address: is_excluded(exclusion, address),
            asks_again=asks_again,
            anonymizes=options.anonymize,
        )
        swarms = await _swarms_of(writer, wanted, discovered)
        known = await writer.call(lambda store: store.trackers.known())
        chosen, sweeper.tally.left_out = choose(known, named, takes_hints=takes_hints)
        async with shown_progress(sweeper.tally.__str__, shows=options.shows_progress):
            rows = await sweeper.sweep(chosen, swarms) if swarms else []
            await _measure(writer, run_id, rows)
            for url in urls:
                rows.append(await scrape_fully(client, writer, run_id, url))
                on_sweep(rows[-1])
        for line in _remarks(sweeper.tally):
            say(line)
    return SweepResults(rows, sweeper.tally)


def _check_rate(rate: float) -> None:
    check_positive("rate", rate, or_zero=True)
    if rate > MOST_RATE:
        raise InvalidArgument(f"rate is at most {MOST_RATE:g}, not {rate:g}")


async def _swarms_of(writer: Writer, wanted: str | Sequence[InfoHash], discovered: int) -> Sequence[InfoHash]:
    if not isinstance(wanted, str):
        return wanted
    count = discovered if wanted == "discovered" else None
    return await writer.call(
        lambda store: store.trackers.swarms(watched=wanted == "watched", discovered=count)
    )


async def _measure(writer: Writer, run_id: int, rows: Sequence[TrackerSweep]) -> None:
    """Record what all trackers together say of each swarm."""
    numbers, now = [row.id for row in rows], utc_text(time.time())
    await writer.call(lambda store: store.trackers.measure(run_id, numbers, now))


def is_excluded(exclusion: Exclusion, address: Address) -> bool:
    """Return whether a tracker is at an address that is to be left alone."""
    endpoint = int.from_bytes(pack_host(address.host), "big") << 16 | address.port
    return exclusion.excludes(b"", endpoint, address.family)


def _remarks(tally: SweepTally) -> Iterable[str]:
    if tally.private:
        yield f"{tally.private} swarms are private and left alone"
    yield from left_out_lines(tally.left_out)
