"""Watch swarms for months: measure each when its time has come, and keep the books about it.

What measures is handed in; it records the samples by itself and reports each outcome to `SwarmWatch.took`
or `SwarmWatch.failed`.  Which swarms there are and when each is due lies in the database, so a watch that
is killed loses only what was under way.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import TypeAlias

import trio

from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.records.records import utc_text
from crawler.db.records.watched_swarms import (
    HOUR,
    Changes,
    Lease,
    LeaseResult,
    Leases,
    MeasuredSize,
    WatchState,
)
from crawler.db.writer import RunSync, Writer
from crawler.settings import WatchSettings
from crawler.swarms.schedule import (
    after_failure,
    after_sample,
    first_times,
    free_at,
    largest_batch,
    newcomers_spread,
    next_time,
    stretch,
)
from crawler.swarms.watch_list import Reading, WatchList
from dhtnode import InfoHash

Measure: TypeAlias = Callable[[Sequence[InfoHash]], Awaitable[None]]

POLL = 10.0  # seconds between two looks at the file and, when nothing is due, at the clock on the wall
SHORTEST_REST = 30.0  # seconds to wait once a second batch in a row got no answer at all
LONGEST_REST = 600.0


class SwarmWatch:
    """Measurements of swarms again and again; `run` makes them, `describe` returns how far they are."""

    def __init__(
        self,
        writer: Writer,
        settings: WatchSettings,
        random: Random,
        *,
        named: WatchList | None = None,
        discovered: int = 0,
        say: Callable[[str], None] = lambda _: None,
        on_links: Callable[[Sequence[str]], Awaitable[None]] | None = None,
        wall_clock: Callable[[], float] = time.time,
        run_sync: RunSync = trio.to_thread.run_sync,
        poll: float = POLL,
    ) -> None:
        """Prepare a watch of what is `named`, or with None, of what was watched the last time.

        `say` gets single lines for a user, `on_links` the magnet links of the list that name web seeds, each
        time that it was read.  `run_sync` calls what reads the file.
        """
        self.measured = self.failures = self.swarms = 0
        self._writer = writer
        self._settings = settings
        self._random = random
        self._list = named
        self._discovered = discovered
        self._say = say
        self._on_links = on_links
        self._wall_clock = wall_clock
        self._run_sync = run_sync
        self._poll = poll
        self._demand = 0.0
        self._has_begun = False
        self._once = False
        self._due_at: float | None = None
        self._under_way: dict[InfoHash, WatchState] = {}
        self._results: list[LeaseResult] = []
        self._silent_batches = 0
        self._look_at = 0.0  # by the clock of Trio
        self._count_at = 0.0

    def took(self, info_hash: InfoHash, size: MeasuredSize | None) -> None:
        """Record a measurement; `size` is None when it found nothing out."""
        state = self._under_way.pop(info_hash, None)
        if state is not None:
            self.measured += 1
            self._finish(
                info_hash, state, after_sample(state, size, self._wall_clock(), self._settings), None
            )

    def failed(self, info_hash: InfoHash, reason: str) -> None:
        """Record a measurement that no node answered."""
        state = self._under_way.pop(info_hash, None)
        if state is not None:
            self.failures += 1
            self._finish(info_hash, state, after_failure(state), reason)

    def describe(self) -> str:
        """Return how far the watch is, in one line."""
        left = None if self._due_at is None else self._due_at - self._wall_clock()
        when = (
            "nothing to do"
            if left is None
            else f"next in {left:.0f} s"
            if left > 0
            else f"{-left:.0f} s late"
        )
        under_way = f"{len(self._under_way)} under way" if self._under_way else when
        return f"watch: {self.swarms} swarms, {self.measured} measured, {self.failures} failed, {under_way}"

    async def run(self, measure: Measure, *, once: bool = False) -> None:
        """Measure what is due, for ever, or with `once` until nothing is left that was due at the start.

        Raises `DatabaseError`, and `ValueError` when the file of the list cannot be read at the start.
        """
        self._once = once
        await self._begin()
        began_at = self._wall_clock()
        while True:
            await self._keep_house()
            now = self._wall_clock()
            due_by = began_at if once else now
            found = await self._lease(now, due_by)
            if found.leases:
                await self._measure(found.leases, measure)
                await self._rest(once)
                continue
            self._due_at = found.due_at
            if once and (found.due_at is None or found.due_at > due_by):
                return
            wait = self._poll if found.due_at is None else max(found.due_at, found.free_at) - now
            await trio.sleep(min(max(wait, 0.001), self._poll))

    async def _lease(self, now: float, due_by: float) -> Leases:
        """Take leases on the swarms that may be measured now."""
        budget = self._settings.budget
        most, free = largest_batch(budget), partial(free_at, budget=budget)
        return await self._writer.call_at_once(lambda store: store.watch.lease(now, due_by, most, free))

    async def _begin(self) -> None:
        now = self._wall_clock()
        await self._writer.call_at_once(lambda store: store.watch.forget_future(now))
        if self._list is not None:
            await self._name(await self._run_sync(self._list.read, limiter=None))
            await self._discover()
        self._has_begun = True

    async def _keep_house(self) -> None:
        """Look at the list when it is time to, at the swarms as a whole, and at what is too old."""
        now = trio.current_time()
        if now >= self._look_at:
            self._look_at = now + self._poll
            reading = self._list and await self._run_sync(self._list.read_again, limiter=None)
            if reading:
                await self._name(reading)
        if now >= self._count_at:
            self._count_at = now + HOUR
            if self._list is not None:
                await self._discover()
            await self._leave_private()
            self.swarms, self._demand = await self._writer.call_at_once(lambda store: store.watch.watched())
            await self._delete_old_filters()

    async def _name(self, reading: Reading) -> None:
        """Take over a list that was read."""
        for complaint in reading.complaints:
            self._say(complaint)
        named, now = reading.named, self._wall_clock()
        if named is not None:
            if reading.hybrids:
                hybrids = reading.hybrids
                await self._writer.call_at_once(
                    lambda store: store.metadata.add_hybrids(hybrids, utc_text(now))
                )
            if self._on_links is not None:
                await self._on_links(reading.links)
            self._tell(
                await self._writer.call_at_once(
                    lambda store: store.watch.replace_list(named, now, self._begin_swarms)
                )
            )

    async def _discover(self) -> None:
        """Take in swarms that nodes have shown, as many as are wanted."""

        def discover(store: CrawlDatabase) -> Changes:
            store.samples.aggregate()
            now = self._wall_clock()
            return store.watch.discover(self._discovered, now, self._begin_swarms, self._random)

        self._tell(await self._writer.call_at_once(discover))

    async def _leave_private(self) -> None:
        """Drop the swarms that have turned out to be private; they are not measured before either."""
        now = self._wall_clock()
        left = await self._writer.call_at_once(lambda store: store.watch.remove_private(now))
        if left:
            self._say(f"{left} swarms of private torrents are not watched")

    def _begin_swarms(self, count: int) -> tuple[float, Iterable[float]]:
        now = self._wall_clock()
        if self._once and count <= self._settings.budget // 2:
            return self._settings.shortest, [now] * count  # or they would come with the next call only
        return newcomers_spread(count, self._settings), first_times(count, now, self._settings, self._random)

    def _tell(self, changes: Changes) -> None:
        """Say what changed since the start."""
        if changes.left_out:
            self._say(f"{changes.left_out} swarms are left out: there are too many")
        if self._has_begun and (changes.added or changes.removed):
            self._say(f"the list has changed: {changes.added} added, {changes.removed} removed")
        if changes.added or changes.removed:
            self._count_at = 0.0

    async def _delete_old_filters(self) -> None:
        """Delete raw filters that are too old, once a day."""
        days, now = self._settings.keep_filters, self._wall_clock()
        if not await self._writer.call_at_once(lambda store: store.purge.is_retention_due(now)):
            return
        deleted: int | None = 0
        while deleted is not None:
            deleted = await self._writer.call_at_once(lambda store: store.purge.delete_old_filters(days, now))

    async def _measure(self, leases: Sequence[Lease], measure: Measure) -> None:
        """Measure a batch; when that is cut short, hand back what was under way."""
        self._under_way = {lease.info_hash: lease.state for lease in leases}
        failed_before = self.failures
        try:
            await measure(list(self._under_way))
        # Of any kind, a cancellation too: a lease that is not handed back would last until it runs out.
        except BaseException:
            with trio.CancelScope(shield=True), suppress(DatabaseError):
                await self._hand_back()
            raise
        for info_hash in list(self._under_way):
            self.failed(info_hash, "not measured")
        results, self._results = self._results, []
        # After the samples: a process that is killed in between measures once more, and loses nothing.
        await self._writer.call(lambda store: store.watch.finish(results))
        is_silent = self.failures - failed_before == len(leases)
        self._silent_batches = self._silent_batches + 1 if is_silent else 0

    async def _hand_back(self) -> None:
        """Keep what has ended, and let the rest be due as before."""
        now = self._wall_clock()
        back = [LeaseResult(info_hash, state, now) for info_hash, state in self._under_way.items()]
        results = [*self._results, *back]
        await self._writer.call_at_once(lambda store: store.watch.finish(results))

    async def _rest(self, once: bool) -> None:
        """Wait when whole batches got no answer: then the network is gone, not the swarms."""
        if self._silent_batches < 2 or once:
            return
        rest = min(SHORTEST_REST * 2.0 ** min(self._silent_batches - 2, 30), LONGEST_REST)
        if self._silent_batches == 2:
            self._say("no node answers; trying again every so often")
        await trio.sleep(rest)

    def _finish(
        self, info_hash: InfoHash, before: WatchState, state: WatchState, failure: str | None
    ) -> None:
        self._demand += HOUR / state.interval - HOUR / before.interval
        stretched = stretch(self._demand, self._settings.budget)
        due_at = next_time(state, self._wall_clock(), stretched, self._settings, self._random)
        self._results.append(LeaseResult(info_hash, state, due_at, failure))
