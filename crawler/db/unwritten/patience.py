"""How long to wait for a database that cannot be written at the moment.

Another process holds it, for a backup or to write the file again: that ends, and what was measured waits.  A
disk without room is waited for less: it may stay so, and a file elsewhere can take the rows.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from crawler.db.connection import DatabaseBusy, DatabaseError, DatabaseFull

T = TypeVar("T")

TRY = 1.0  # seconds for which one try waits for another process
START = 30.0  # seconds to wait for it at the start and the end of a run, where no rows wait
BUSY = 900.0  # seconds to wait for another process while rows wait
FULL = 30.0  # seconds to wait for room while rows wait
NOTICE = 15.0  # seconds until a user is told

_PAUSES: dict[type[DatabaseError], float] = {DatabaseBusy: 0.05, DatabaseFull: 1.0}
"""Seconds between two tries; what else goes wrong does not pass."""


class Patience:
    """What is left of the time to wait; `now` is in seconds by any clock that does not go back."""

    def __init__(self, now: float, *, busy: float = BUSY, full: float = FULL) -> None:
        self._began_at = now
        self._most = {DatabaseBusy: busy, DatabaseFull: full}
        self._was_told = False

    def pause_after(self, error: DatabaseError, now: float) -> float | None:
        """Return how many seconds to wait until the next try, or None when it is time to give up."""
        has_time = now - self._began_at < self._most.get(type(error), 0.0)
        return _PAUSES[type(error)] if has_time else None

    def is_news(self, now: float) -> bool:
        """Return once, after a while, that a user should hear of it."""
        is_news = not self._was_told and now - self._began_at >= NOTICE
        self._was_told |= is_news
        return is_news


async def patiently(
    attempt: Callable[[], Awaitable[T]],
    patience: Patience,
    say: Callable[[DatabaseError], None] = lambda _: None,
) -> T:
    """Try until it works, with a cancellation only between two tries; raise the error when it is time to.

    `say` is called once with what is waited for, when that takes long.
    """
    while True:
        try:
            return await attempt()
        except DatabaseError as error:
            now = trio.current_time()
            pause = patience.pause_after(error, now)
            if pause is None:
                raise
            if patience.is_news(now):
                say(error)
        await trio.sleep(pause)
