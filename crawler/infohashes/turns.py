"""When nodes are queried for samples: turns are claimed in the database, round after round.

One task claims turns while another sends and receives: answers do not wait for the database.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, TypeAlias

import trio

from crawler.core.query_loop import LONGEST_SLEEP, drive
from crawler.db.writer import Writer
from crawler.infohashes.sampler import Sampler, Turn
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.net import BulkClient

LONGEST_WAIT = 60.0  # seconds between two looks at the wall clock while no node is due
_MOST_DUE = 1000  # nodes of a further round that wait in memory

OnRound: TypeAlias = Callable[[Family, int, float], Awaitable[None]]
"""Called when a round begins: with its number, and when by the wall clock."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How often nodes are queried: in so many rounds, or for so many seconds whenever they are due."""

    rounds: int = 1
    seconds: float | None = None

    @property
    def queries_again(self) -> bool:
        """Return whether a node may be queried more than once."""
        return self.rounds > 1 or self.seconds is not None


class Turns:
    """The turns of one family."""

    def __init__(
        self,
        client: BulkClient[Any],
        sampler: Sampler,
        writer: Writer,
        settings: CrawlSettings,
        zone: Zone,
        wall_clock: Callable[[], float],
        *,
        plan: Plan,
        on_round: OnRound,
    ) -> None:
        """Prepare the turns of a sampler; the client is used while `run` runs."""
        self.family = client.family
        self.sampler = sampler
        self.round = 1
        self._client = client
        self._writer = writer
        self._settings = settings
        self._zone = zone
        self._wall_clock = wall_clock
        self._plan = plan
        self._on_round = on_round
        self._queried_before = -inf  # a node last queried before this wall-clock time belongs to the round
        self._stops_at = inf
        self._changed = trio.Event()
        sampler.on_all_sent = self._note_change

    def resume_round(self, number: int, since: float) -> None:
        """Continue with a round that began at a time on the wall clock."""
        self.round, self._queried_before = number, since

    async def run(self, *, follows_contacts: bool) -> None:
        """Sample all nodes that are known or become known, in all rounds of the plan.

        Leaving it early forgets the queries under way: their nodes get no row and keep their claims.
        """
        self.sampler.follows_contacts = follows_contacts
        if self._plan.seconds is not None:
            self._stops_at = trio.current_time() + self._plan.seconds
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive, self._client, self.sampler, self._settings, self._before_turn)
            await self._claim_all()
            self.sampler.is_complete = True
            self._client.wake()

    async def _before_turn(self) -> None:
        self._note_change()
        await trio.lowlevel.checkpoint()

    def _note_change(self) -> None:
        self._changed.set()

    async def _claim_all(self) -> None:
        """Claim turns as nodes come due; return when all rounds are over."""
        sampler, client = self.sampler, self._client
        while True:
            await self._writer.wait_for_capacity()
            now = trio.current_time()
            is_busy = sampler.has_claimed or client.in_flight > 0
            if now >= self._stops_at and not is_busy:
                return
            pause = LONGEST_SLEEP
            if now < self._stops_at and not sampler.has_claimed:
                slots = client.free_slots(self._settings.max_awaited)
                slots = min(slots, self._settings.max_in_flight - client.in_flight)
                turns, pause = sampler.take_turns(now, slots)
                if turns:
                    wall = self._wall_clock()
                    sampler.use_turns(turns, await self._claim(turns, wall), wall)
                    client.wake()
                    continue
            if is_busy or sampler.has_turns:
                self._changed = trio.Event()
                with trio.move_on_after(min(pause, LONGEST_SLEEP)):
                    await self._changed.wait()
            elif not (sampler.frontier.requeue_unresponsive() or await self._next_round()):
                return

    async def _claim(self, turns: Sequence[Turn], wall: float) -> list[bool]:
        claims = [turn for turn, _, _ in turns]
        return await self._writer.call_at_once(lambda store: store.samples.lease(claims, wall))

    async def _next_round(self) -> bool:
        """Add nodes whose time has come, or wait for one; return False when none is left."""
        if not self._plan.queries_again:
            return False
        if self._plan.seconds is not None:
            self._queried_before = inf
        elif self.round == 1:
            await self._begin_round()
        self.sampler.flush(inf)  # what the last answers said has to count
        wall, before = self._wall_clock(), min(self._queried_before, self._wall_clock())
        family, zone = self.family, self._zone
        due = await self._writer.call(lambda store: store.samples.due(family, zone, wall, before, _MOST_DUE))
        self.sampler.add_again(due)
        if due:
            return True
        next_at = await self._writer.call(lambda store: store.samples.next_due(family, zone, before))
        if next_at is None:
            if self.round < self._plan.rounds:
                await self._begin_round()
                return True
            return False
        # The clock on the wall may be set: look at it once a minute.
        left = datetime.fromisoformat(next_at).timestamp() - self._wall_clock()
        left = min(left, self._stops_at - trio.current_time(), LONGEST_WAIT)
        await trio.sleep(max(left, 0.001))
        return True

    async def _begin_round(self) -> None:
        self.round += 1
        self._queried_before = self._wall_clock()
        await self._on_round(self.family, self.round, self._queried_before)
