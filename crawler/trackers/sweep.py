"""A sweep: every swarm of a list at every tracker that is due, and what that came to, in the database.

Before requests leave it is written which swarms they are about, and a pause that a tracker asks for is
written when it is heard: so no end of the process has a tracker asked too soon.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

import trio

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import KnownTracker, SweepBatch, TrackerSweep, TrackerTurn
from crawler.db.writer import Writer
from crawler.trackers.asked import AskedTracker, not_asked, pause_of
from crawler.trackers.due_swarms import DueSwarms, list_of, turns_of
from crawler.trackers.known_urls import NEVER, Wanted
from crawler.trackers.marks import MOST_COMPARED, marks_of
from crawler.trackers.place import MOST_PAUSE, TrackerPlace, key_of
from crawler.trackers.tally import SweepTally
from dhtnode import Family, InfoHash
from dhtnode.addresses import WILDCARDS, Address, Scope
from dhtnode.errors import CannotListen
from dhtnode.net import open_udp_socket
from dhtnode.nurseries import open_service_nursery
from dhtnode.tracker_client import SweepPace, Trackers, TrackersMissing, scrape_batch, scrape_over_udp
from dhtnode.trackers import Outcome, TrackerError, TrackerUrl, UdpScrapes

AT_ONCE = 16  # names that are resolved
FLUSH_PERIOD = 1.0  # seconds
FLUSHED_SAMPLES = 4000

Found = dict[str, tuple[TrackerUrl, Sequence[Address]] | TrackerError]
"""Where trackers are, by the URLs that were given, or why they are not asked."""


class TrackerSweeper:
    """What asks trackers about swarms and records it in a run."""

    def __init__(
        self,
        client: Trackers,
        writer: Writer,
        run_id: int,
        pace: SweepPace,
        random: Random,
        *,
        on_sweep: Callable[[TrackerSweep], None] = lambda _: None,
        excludes: Callable[[Address], bool] = lambda _: False,
        wall_clock: Callable[[], float] = time.time,
        asks_again: bool = False,
        anonymizes: bool = False,
    ) -> None:
        """Ask at a pace; `on_sweep` gets the row of each tracker at the end.

        With `asks_again`, trackers are asked too that said never.
        """
        self.tally = SweepTally()
        self._client = client
        self._writer = writer
        self._run_id = run_id
        self._pace = pace
        self._random = random
        self._on_sweep = on_sweep
        self._excludes = excludes
        self._wall_clock = wall_clock
        self._asks_again = asks_again
        self._anonymizes = anonymizes
        self._swarms = list_of(())
        self._asked: list[AskedTracker] = []
        self._others: list[TrackerSweep] = []
        self._samples: list[tuple[int, bytes, int, int, int, int | None, int | None]] = []
        self._taken_at = 0

    async def sweep(self, wanted: Sequence[Wanted], info_hashes: Sequence[InfoHash]) -> list[TrackerSweep]:
        """Ask each tracker for each swarm that is due there, and return the rows of the sweeps, marked.

        Leaving early writes all that was heard, as the end does.
        """
        private = await self._writer.call(lambda store: store.metadata.private(info_hashes))
        self._swarms = list_of(each for each in info_hashes if each not in private)
        self.tally.swarms, self.tally.private = len(self._swarms.info_hashes), len(private)
        self.tally.trackers = len(wanted)
        try:
            await self._begin(wanted)
            async with open_service_nursery() as flushing:
                flushing.start_soon(self._flush_often)
                async with trio.open_nursery() as nursery:
                    for family in Family:
                        nursery.start_soon(self._ask_over_udp, family)
                    for each in self._asked:
                        if not each.is_udp:
                            nursery.start_soon(self._ask_over_http, each)
        finally:
            with trio.CancelScope(shield=True):
                await self._end()
        return [*(each.row for each in self._asked), *self._others]

    async def _begin(self, wanted: Sequence[Wanted]) -> None:
        """Find where the trackers are, and begin a row for each place, and for each that is not asked."""
        new = [each.first_seen(self._now()) for each in wanted]
        known = await self._writer.call(lambda store: store.trackers.meet(new))
        now = self._wall_clock()
        earlier = await self._writer.call(lambda store: list(store.trackers.turns(utc_text(now))))
        due, found, limiter = (
            DueSwarms(self._swarms.info_hashes, earlier, now),
            Found(),
            trio.CapacityLimiter(AT_ONCE),
        )
        async with trio.open_nursery() as nursery:
            for each in wanted:
                nursery.start_soon(self._find, each, known[str(each.url)], limiter, found)
        asked = dict[str, AskedTracker]()
        others = list[TrackerSweep]()
        for each in wanted:
            row, where = TrackerSweep(0, str(each.url), None, None, self._now()), found[str(each.url)]
            if isinstance(where, TrackerError):
                others.append(not_asked(row, where))
                continue
            url, addresses = where
            for address in addresses:
                here, key = replace(row, family=int(address.family), host=address.host), key_of(url, address)
                if key in asked:
                    same = f"the same place as {asked[key].row.url}"
                    others.append(not_asked(here, TrackerError(Outcome.LATER, same)))
                    continue
                turn = row.url if self._anonymizes else key
                swarms, due_here = self._swarms.info_hashes, due.of(turn)
                if swarms and not due_here:
                    none = TrackerError(Outcome.LATER, "asked for all swarms less than 30 minutes ago")
                    others.append(replace(not_asked(here, none), not_due=len(swarms)))
                    continue
                place = TrackerPlace(known[row.url], url, address, swarms, due_here, self._random)
                asked[key] = AskedTracker(place, here, each.is_typed, turn)
        await self._begin_rows(list(asked.values()), others)

    async def _begin_rows(self, asked: list[AskedTracker], others: list[TrackerSweep]) -> None:
        rows = [*(each.row for each in asked), *others]
        written = await self._writer.call(lambda store: store.trackers.begin(self._run_id, rows))
        for each, row in zip(asked, written, strict=False):
            each.row = row
        self._asked, self._others = asked, written[len(asked) :]
        self.tally.ended += len({row.url for row in self._others} - {each.row.url for each in asked})

    async def _find(
        self, wanted: Wanted, tracker: KnownTracker, limiter: trio.CapacityLimiter, found: Found
    ) -> None:
        """Find where a tracker may be asked now."""
        url, pause = str(wanted.url), tracker.not_before or ""
        if pause == NEVER and not self._asks_again:
            found[url] = TrackerError(Outcome.NEVER, "it asked not to be asked again")
        elif self._now() < pause < NEVER:
            found[url] = TrackerError(Outcome.LATER, f"not before {pause}")
        else:
            try:
                async with limiter:
                    here, addresses = await self._client.find(wanted.url, is_typed=wanted.is_typed)
                left = [address for address in addresses if not self._excludes(address)]
                found[url] = (here, left) if left else TrackerError(Outcome.LATER, "its address is excluded")
            except TrackerError as error:
                found[url] = error
                await self._pause(tracker, pause_of(error))

    async def _ask_over_udp(self, family: Family) -> None:
        here = [each for each in self._asked if each.is_udp and each.place.address.family is family]
        if not here:
            return
        for each in here:
            each.scrapes = UdpScrapes(
                each.place.address, each.place.next_batch, partial(self._on_rows, each), self._random
            )
        wildcard = next(host for host in WILDCARDS if Address(host, 0).family is family)
        try:
            socket = open_udp_socket(Address(wildcard, 0), Scope.PUBLIC)
        except CannotListen as error:
            for each in here:
                await self._finish(each, TrackerError(Outcome.UNREACHABLE, str(error)))
            return
        before_turn = partial(self._before_turn, list(here))
        try:
            scrapes = [each.scrapes for each in here if each.scrapes]
            await scrape_over_udp(socket, scrapes, self._pace, before_turn)
        finally:
            socket.close()
        await before_turn()

    async def _before_turn(self, here: list[AskedTracker]) -> None:
        """End what is done, write what has been heard if it is much, and reserve what is asked for next."""
        self._taken_at = int(1000 * self._wall_clock())
        for each in [each for each in here if each.scrapes and each.scrapes.is_done]:
            here.remove(each)
            await self._finish(each, each.scrapes.error if each.scrapes else None)
        await self._reserve([each for each in here if each.place.wants_more])
        if len(self._samples) >= FLUSHED_SAMPLES:
            self._flush()
        await self._writer.wait_for_capacity()

    async def _reserve(self, some: Sequence[AskedTracker]) -> None:
        """Record which swarms trackers are about to be asked for."""
        if not some:
            return
        now, turns = self._now(), list[TrackerTurn]()
        for each in some:
            each.reserved_at, each.reserved_from = now, each.place.reserved
            turns += turns_of(each.turn, each.place.reserve(), now)
        await self._writer.call_at_once(lambda store: store.trackers.take_turns(self._swarms, turns))

    async def _ask_over_http(self, asked: AskedTracker) -> None:
        place, error = asked.place, None
        try:
            self._client.prepare_http()
        except TrackersMissing as missing:
            await self._finish(asked, TrackerError(Outcome.UNREACHABLE, str(missing)))
            return
        while error is None:
            await self._reserve([asked] if place.wants_more else [])
            await self._writer.wait_for_capacity()
            batch = place.next_batch()
            if batch is None:
                break
            try:
                heard = await scrape_batch(
                    self._client, place.url, place.address, batch, is_typed=asked.is_typed
                )
            except TrackerError as caught:
                asked.requests += caught.outcome is not Outcome.NO_SCRAPE
                asked.errors += caught.outcome is not Outcome.SILENT
                error = None if place.on_refused(caught) else caught
                continue
            asked.requests += 1
            asked.answers += 1
            asked.rtt_sum += heard.seconds
            asked.bytes_sent += heard.sent
            asked.bytes_received += heard.received
            self._taken_at = int(1000 * self._wall_clock())
            place.on_answer(heard.answer, batch, partial(self._take, asked.row.id))
            await self._keep_pause(place)
        await self._finish(asked, error)

    async def _keep_pause(self, place: TrackerPlace) -> None:
        """Wait as long as a tracker asks for between two requests, or write when the next sweep may be."""
        pause = place.pause or 0
        if pause > MOST_PAUSE:
            await self._pause(place.tracker, pause)
        else:
            await trio.sleep(pause)

    def _on_rows(
        self,
        asked: AskedTracker,
        batch: Sequence[InfoHash],
        count: int,
        rows: Sequence[tuple[int, int, int, int]],
    ) -> None:
        self._samples += asked.place.on_rows(batch, count, rows, asked.row.id, self._taken_at)

    def _take(
        self,
        sweep_id: int,
        info_hash: bytes,
        seeds: int,
        leechers: int,
        downloaded: int | None,
        downloaders: int | None,
    ) -> None:
        self._samples.append((sweep_id, info_hash, self._taken_at, seeds, leechers, downloaded, downloaders))

    async def _finish(self, asked: AskedTracker, error: TrackerError | None) -> None:
        """End the sweep of one tracker, and write what was learned of it."""
        asked.end(error, self._wall_clock())
        self.tally.ended += 1
        self.tally.answered += bool(asked.row.answers)
        learned = asked.learned(self._wall_clock())
        await self._writer.call_at_once(lambda store: store.trackers.update([learned]))

    async def _pause(self, tracker: KnownTracker, seconds: float) -> None:
        """Write at once when a tracker may be asked again."""
        if seconds:
            later = replace(tracker, not_before=utc_text(self._wall_clock() + seconds))
            await self._writer.call_at_once(lambda store: store.trackers.update([later]))

    async def _flush_often(self) -> None:
        while True:
            await trio.sleep(FLUSH_PERIOD)
            self._flush()

    def _flush(self) -> None:
        """Hand what has been heard to the writer, with the sweeps as they stand."""
        samples, self._samples = self._samples, []
        self._writer.put_nowait(SweepBatch([each.as_it_stands() for each in self._asked], samples))
        self.tally.samples += len(samples)
        self.tally.told = sum(each.place.listed for each in self._asked)

    def _now(self) -> str:
        return utc_text(self._wall_clock())

    async def _end(self) -> None:
        """Write all that was heard, and what makes it suspect; what was not asked after all is due.

        What the writer has is not waited for: it may have been cancelled, and writes that when it is closed.
        """
        for each in self._asked:
            if not each.row.outcome:
                await self._finish(each, each.scrapes.error if each.scrapes else None)
        high = await self._dht_high()
        marks = marks_of([each.place.facts for each in self._asked], high)
        for each, words in zip(self._asked, marks, strict=True):
            each.row = replace(each.row, marks=tuple(map(str, words)))
        self._flush()
        turns = [
            turn._replace(last=max(turn.first, min(turn.last, each.place.asked_to)))
            for each in self._asked
            if each.reserved_at
            for turn in turns_of(
                each.turn, each.place.due[each.reserved_from : each.place.reserved], each.reserved_at
            )
        ]
        if turns:
            await self._writer.call_at_once(lambda store: store.trackers.take_turns(self._swarms, turns))
        await self._write_marks()
        for row in (*(each.row for each in self._asked), *self._others):
            self._on_sweep(row)

    async def _write_marks(self) -> None:
        """Write the marks of trackers that have answered, those at all addresses together."""
        marks: dict[str, set[str]] = {}
        for each in self._asked:
            if each.row.answers:
                marks.setdefault(each.row.url, set()).update(each.row.marks)
        if marks:
            await self._writer.call_at_once(lambda store: store.trackers.mark(marks))

    async def _dht_high(self) -> dict[int, float]:
        """Return how large the DHT says that swarms are at most, by place, of those compared."""
        step = -(-len(self._swarms.info_hashes) // MOST_COMPARED) or 1
        compared = {self._swarms.info_hashes[at]: at for at in range(0, len(self._swarms.info_hashes), step)}
        high = await self._writer.call_at_once(lambda store: store.trackers.dht_high(compared))
        return {compared[info_hash]: most for info_hash, most in high.items()}
