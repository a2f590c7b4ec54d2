"""The watched swarms in the database: which there are, whose turn it is, what came of it.

The list lies here and nowhere else.  A turn is claimed in the row of the swarm before anything is
sent, so that neither the run after `kill -9` nor a second process measures too soon, and the pace is
read from the last claims, so that all of them together keep to one budget.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import TypeAlias

from crawler.db.connection import GuardedConnection
from crawler.db.records.records import epoch_seconds, utc_text
from crawler.db.records.watched_swarms import (
    CLAIM_LIFETIME,
    DISCOVERED,
    HOUR,
    Changes,
    Lease,
    Leases,
    MeasuredSize,
    Settled,
    Watched,
    WatchState,
)
from crawler.settings import MOST_WATCHED
from dhtnode import InfoHash

Begin: TypeAlias = Callable[[int], tuple[float, Iterable[float]]]
"""Returns, for a number of new swarms, the interval they begin with and when to measure each."""

FreeAt: TypeAlias = Callable[[float, int], float]
"""Returns when the next batch may begin, after one that began at a time and had so many measurements."""


class WatchRows:
    """Read and write what is about watched swarms; part of a `Store`, whose connection it uses."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._db = connection

    def name(self, named: Iterable[tuple[bytes, str]], now: float, begin: Begin) -> Changes:
        """Watch the swarms named, each with its source, and of those named before, no others.

        What was removed keeps its row, and goes on from there when it is named again.
        """
        execute, now_text = self._db.execute, utc_text(now)
        self._make_named(named)
        with self._db.transaction():
            removed = execute(_REMOVE_UNNAMED, (now_text, DISCOVERED)).rowcount
            returned = execute(_COUNT_RETURNING).fetchone()[0]
            execute(_RETURN)
            new = execute(_LIST_NEW).fetchall()
            left_out = self._add(new, now, begin)
            execute("DROP TABLE temp.named")
        return Changes(returned + len(new) - left_out, removed, left_out)

    def discover(self, count: int, now: float, begin: Begin, random: Random) -> Changes:
        """Watch `count` of the swarms that nodes have shown, those first that are watched already."""
        with self._db.transaction():
            (watched,) = self._db.execute(_COUNT_DISCOVERED, (DISCOVERED,)).fetchone()
            if watched > count:
                values = (utc_text(now), DISCOVERED, watched - count)
                return Changes(0, self._db.execute(_REMOVE_DISCOVERED, values).rowcount)
            found = self._draw(count - watched, random)
            left_out = self._add([(info_hash, DISCOVERED) for info_hash in found], now, begin)
        return Changes(len(found) - left_out, 0, left_out)

    def leave_private(self, now: float) -> int:
        """Watch no more the swarms whose torrent is known to be private by now, and return how many."""
        with self._db.transaction():
            return self._db.execute(_REMOVE_PRIVATE, (utc_text(now),)).rowcount

    def watched(self) -> Watched:
        """Count the watched swarms and what they ask for; some 0.2 us each."""
        with self._db.reported():
            row = self._db.execute(_WATCHED, (HOUR,)).fetchone()
        return Watched(row[0], row[1] or 0.0)

    def forget_future(self, now: float) -> None:
        """Let swarms be due that were measured in the future: the clock had run ahead."""
        with self._db.transaction():
            values = (utc_text(now), utc_text(now + HOUR))
            self._db.execute(_FORGET_FUTURE, values)

    def claim(self, now: float, due_by: float, most: int, free_at: FreeAt) -> Leases:
        """Take the turns that have been due the longest, as many as `most`, if a batch may begin now."""
        execute = self._db.execute
        with self._db.transaction():
            last = execute(_LAST_BATCH, (utc_text(now + HOUR),)).fetchone()
            if last is not None:
                free = free_at(epoch_seconds(last[0]), last[1])
                if free > now:
                    return Leases([], self._due_at(), free)
            rows = execute(_DUE, (utc_text(due_by), most)).fetchall()
            if not rows:
                return Leases([], self._due_at())
            claim = (utc_text(now), utc_text(now + CLAIM_LIFETIME))
            self._db.executemany(_CLAIM, [(*claim, row[0]) for row in rows])
        return Leases([_turn(*row) for row in rows])

    def settle(self, settled: Iterable[Settled]) -> None:
        """Write down what came of turns."""
        with self._db.transaction():
            self._db.executemany(_SETTLE, map(_settled_row, settled))

    def _make_named(self, named: Iterable[tuple[bytes, str]]) -> None:
        """Make a temporary table of a list, in its order, before anybody is kept from writing."""
        rows = sorted((info_hash.hex(), source) for info_hash, source in named)
        with self._db.reported():
            self._db.execute("DROP TABLE IF EXISTS temp.named")
            self._db.execute(_MAKE_NAMED)
            self._db.execute("BEGIN")
            try:
                self._db.executemany("INSERT OR IGNORE INTO temp.named VALUES (?, ?)", rows)
            finally:
                self._db.execute("COMMIT")

    def _due_at(self) -> float | None:
        row = self._db.execute(_NEXT).fetchone()
        return None if row is None else epoch_seconds(row[0])

    def _add(self, new: list[tuple[str, str]], now: float, begin: Begin) -> int:
        """Add rows that are not there, as far as there is room; return how many there was none for."""
        (watched,) = self._db.execute(_COUNT).fetchone()
        kept = new[: max(0, MOST_WATCHED - watched)]
        interval, times = begin(len(kept))
        now_text = utc_text(now)
        self._db.executemany(
            _INSERT,
            (
                (info_hash, source, now_text, utc_text(time), interval)
                for (info_hash, source), time in zip(kept, times, strict=True)
            ),
        )
        return len(new) - len(kept)

    def _draw(self, count: int, random: Random) -> list[str]:
        """Draw swarms that nodes have shown and nobody watches, from all of the id space."""
        execute = self._db.execute
        some = execute(_LIST_SHOWN, (DISCOVERED, 2 * count)).fetchall()
        if len(some) < 2 * count:
            return [row[0] for row in random.sample(some, min(count, len(some)))]
        found: dict[str, None] = {}
        for _ in range(8 * count):  # of many, so that few are drawn twice
            row = execute(_SHOWN_FROM, (DISCOVERED, random.randbytes(20).hex())).fetchone()
            if row is not None:
                found[row[0]] = None
            if len(found) == count:
                break
        return list(found)


def _turn(
    info_hash: str,
    interval: float,
    measured_at: str | None,
    peers: float | None,
    low: float | None,
    high: float | None,
    empties: int,
    failures: int,
) -> Lease:
    size = None
    if peers is not None:
        size = MeasuredSize(peers, peers if low is None else low, peers if high is None else high)
    at = None if measured_at is None else epoch_seconds(measured_at)
    return Lease(InfoHash(bytes.fromhex(info_hash)), WatchState(interval, at, size, empties, failures))


def _settled_row(settled: Settled) -> tuple[object, ...]:
    course, size = settled.course, settled.course.size
    return (
        utc_text(settled.next_at),
        course.interval,
        None if course.measured_at is None else utc_text(course.measured_at),
        *((None, None, None) if size is None else (size.peers, size.low, size.high)),
        course.empties,
        course.failures,
        settled.failure,
        settled.info_hash.hex(),
    )


# The plus keeps SQLite from the index of what is due: all rows are looked at, in the order of the table.
_MAKE_NAMED = "CREATE TEMP TABLE named (info_hash TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID"
_REMOVE_UNNAMED = """
UPDATE watched_swarms SET removed_at = ?
WHERE +removed_at IS NULL AND source <> ? AND info_hash NOT IN (SELECT info_hash FROM temp.named)
"""
_COUNT_RETURNING = """
SELECT count(*) FROM temp.named JOIN watched_swarms USING (info_hash) WHERE removed_at IS NOT NULL
"""
_RETURN = """
UPDATE watched_swarms
SET removed_at = NULL,
    source = (SELECT source FROM temp.named AS named WHERE named.info_hash = watched_swarms.info_hash)
WHERE info_hash IN (
    SELECT named.info_hash FROM temp.named AS named CROSS JOIN watched_swarms AS known USING (info_hash)
    WHERE known.removed_at IS NOT NULL OR known.source <> named.source
)
"""
_LIST_NEW = """
SELECT info_hash, source FROM temp.named AS named
WHERE NOT EXISTS (SELECT 1 FROM watched_swarms WHERE watched_swarms.info_hash = named.info_hash)
"""
# What was discovered and then removed may come back.
_INSERT = """
INSERT INTO watched_swarms (info_hash, source, since, next_at, interval) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (info_hash) DO UPDATE SET removed_at = NULL, source = excluded.source
"""
_COUNT = "SELECT count(*) FROM watched_swarms WHERE removed_at IS NULL"
_COUNT_DISCOVERED = f"{_COUNT} AND source = ?"
_REMOVE_DISCOVERED = """
UPDATE watched_swarms SET removed_at = ? WHERE info_hash IN (
    SELECT info_hash FROM watched_swarms WHERE removed_at IS NULL AND source = ?
    ORDER BY since DESC, info_hash LIMIT ?
)
"""
_IS_PRIVATE = "EXISTS (SELECT 1 FROM torrents WHERE torrents.info_hash = {}.info_hash AND is_private)"
_OF_WATCHED = _IS_PRIVATE.format("watched_swarms")
_REMOVE_PRIVATE = f"UPDATE watched_swarms SET removed_at = ? WHERE +removed_at IS NULL AND {_OF_WATCHED}"  # noqa: S608
_NOT_WATCHED = f"""
SELECT info_hash FROM swarms
WHERE source = ? AND NOT {_IS_PRIVATE.format("swarms")} AND NOT EXISTS (
    SELECT 1 FROM watched_swarms WHERE watched_swarms.info_hash = swarms.info_hash AND removed_at IS NULL
)
"""  # noqa: S608  # our own words
_LIST_SHOWN = f"{_NOT_WATCHED} LIMIT ?"
_SHOWN_FROM = f"{_NOT_WATCHED} AND info_hash >= ? ORDER BY info_hash LIMIT 1"
_WATCHED = "SELECT count(*), sum(? / interval) FROM watched_swarms WHERE +removed_at IS NULL"
_FORGET_FUTURE = "UPDATE watched_swarms SET next_at = ?, tried_at = NULL WHERE tried_at > ?"
_LAST_BATCH = """
SELECT tried_at, count(*) FROM watched_swarms
WHERE tried_at = (SELECT max(tried_at) FROM watched_swarms WHERE tried_at < ?)
GROUP BY tried_at
"""
_DUE = f"""
SELECT info_hash, interval, measured_at, peers, peers_low, peers_high, empties, failures
FROM watched_swarms
WHERE removed_at IS NULL AND next_at <= ? AND NOT {_OF_WATCHED}
ORDER BY next_at
LIMIT ?
"""  # noqa: S608  # our own words
_CLAIM = "UPDATE watched_swarms SET tried_at = ?, next_at = ? WHERE info_hash = ?"
_NEXT = f"""
SELECT next_at FROM watched_swarms WHERE removed_at IS NULL AND NOT {_OF_WATCHED} ORDER BY next_at LIMIT 1
"""  # noqa: S608  # our own words
_SETTLE = """
UPDATE watched_swarms
SET next_at = ?, interval = ?, measured_at = ?, peers = ?, peers_low = ?, peers_high = ?,
    empties = ?, failures = ?, failure = ?
WHERE info_hash = ?
"""
