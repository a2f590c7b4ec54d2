"""The watched swarms in the database: which there are, which are due, and how they were measured last.

The list lies here and nowhere else.  A lease on a swarm is written to its row before anything is
sent, so that neither the run after `kill -9` nor a second process measures too soon.  The pace is
read from the last leases, so that all of them together keep to one budget.
"""

from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import TypeAlias

from crawler.db.connection import GuardedConnection, Row
from crawler.db.records.records import epoch_seconds, utc_text
from crawler.db.records.watched_swarms import (
    DISCOVERED,
    HOUR,
    LEASE_LIFETIME,
    Changes,
    Lease,
    LeaseResult,
    Leases,
    MeasuredSize,
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
    """The swarms that `dhtcrawl watch` measures; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._db = connection

    def replace_list(self, listed: Iterable[tuple[bytes, str]], now: float, begin: Begin) -> Changes:
        """Watch the swarms listed, each with its source, and of those listed before, no others.

        What was removed keeps its row, and continues from there when it is listed again.
        """
        execute, now_text = self._db.execute, utc_text(now)
        self._make_listed(listed)
        with self._db.transaction():
            removed = execute(_REMOVE_UNLISTED, (now_text, DISCOVERED)).rowcount
            returned = execute(_COUNT_RETURNING).fetchone()[0]
            execute(_RETURN)
            new = execute(_LIST_NEW).fetchall()
            left_out = self._add(new, now, begin)
            execute("DROP TABLE temp.listed")
        return Changes(returned + len(new) - left_out, removed, left_out)

    def discover(self, count: int, now: float, begin: Begin, random: Random) -> Changes:
        """Watch `count` of the swarms in the samples of nodes, those first that are watched already."""
        with self._db.transaction():
            (watched,) = self._db.execute(_COUNT_DISCOVERED, (DISCOVERED,)).fetchone()
            if watched > count:
                values = (utc_text(now), DISCOVERED, watched - count)
                return Changes(0, self._db.execute(_REMOVE_DISCOVERED, values).rowcount)
            found = self._draw(count - watched, random)
            left_out = self._add([(info_hash, DISCOVERED) for info_hash in found], now, begin)
        return Changes(len(found) - left_out, 0, left_out)

    def remove_private(self, now: float) -> int:
        """Remove the swarms whose torrent is known to be private by now, and return how many."""
        with self._db.transaction():
            return self._db.execute(_REMOVE_PRIVATE, (utc_text(now),)).rowcount

    def watched(self) -> Watched:
        """Return the number of watched swarms and their demand; some 0.2 us each."""
        with self._db.reported():
            swarms, demand = self._db.execute(_WATCHED, (HOUR,)).fetchone()
        return Watched(swarms, demand or 0.0)

    def forget_future(self, now: float) -> None:
        """Make swarms due that were measured in the future: the clock had run ahead."""
        with self._db.transaction():
            values = (utc_text(now), utc_text(now + HOUR))
            self._db.execute(_FORGET_FUTURE, values)

    def lease(self, now: float, due_by: float, most: int, free_at: FreeAt) -> Leases:
        """Take leases on the swarms due the longest, up to `most`, if a batch may begin now."""
        execute = self._db.execute
        with self._db.transaction():
            last = execute(_LAST_BATCH, (utc_text(now + HOUR),)).fetchone()
            if last is not None:
                free = free_at(epoch_seconds(last[0]), last[1])
                if free > now:
                    return Leases([], self._due_at(), free)
            rows = self._db.select(_DUE, utc_text(due_by), most)
            if not rows:
                return Leases([], self._due_at())
            times = (utc_text(now), utc_text(now + LEASE_LIFETIME))
            self._db.executemany(_LEASE, [(*times, row["info_hash"]) for row in rows])
        return Leases([_lease_of(row) for row in rows])

    def finish(self, results: Iterable[LeaseResult]) -> None:
        """Record how leases ended."""
        with self._db.transaction():
            self._db.executemany(_FINISH, map(_values_of, results))

    def _make_listed(self, listed: Iterable[tuple[bytes, str]]) -> None:
        """Make a temporary table of a list, in its order, before other processes are kept from writing."""
        rows = sorted((info_hash.hex(), source) for info_hash, source in listed)
        with self._db.reported():
            self._db.execute("DROP TABLE IF EXISTS temp.listed")
            self._db.execute(_MAKE_LISTED)
            self._db.execute("BEGIN")
            try:
                self._db.executemany("INSERT OR IGNORE INTO temp.listed VALUES (?, ?)", rows)
            finally:
                self._db.execute("COMMIT")

    def _due_at(self) -> float | None:
        row = self._db.execute(_NEXT).fetchone()
        return None if row is None else epoch_seconds(row[0])

    def _add(self, new: list[tuple[str, str]], now: float, begin: Begin) -> int:
        """Add rows that are not there, within the capacity; return how many were left out."""
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
        """Draw swarms that nodes have returned and that are not watched, from all of the id space."""
        execute = self._db.execute
        some = execute(_LIST_SHOWN, (DISCOVERED, 2 * count)).fetchall()
        if len(some) < 2 * count:
            return [row[0] for row in random.sample(some, min(count, len(some)))]
        found: dict[str, None] = {}
        # There are many, so that few are drawn twice.
        for _ in range(8 * count):
            row = execute(_SHOWN_FROM, (DISCOVERED, random.randbytes(20).hex())).fetchone()
            if row is not None:
                found[row[0]] = None
            if len(found) == count:
                break
        return list(found)


def _lease_of(row: Row) -> Lease:
    peers, low, high = row["peers"], row["peers_low"], row["peers_high"]
    state = WatchState(
        interval=row["interval"],
        measured_at=None if row["measured_at"] is None else epoch_seconds(row["measured_at"]),
        size=None
        if peers is None
        else MeasuredSize(peers, peers if low is None else low, inf if high is None else high),
        empties=row["empties"],
        failures=row["failures"],
    )
    return Lease(InfoHash(bytes.fromhex(row["info_hash"])), state)


def _values_of(result: LeaseResult) -> dict[str, object]:
    state, size = result.state, result.state.size
    return {
        "info_hash": result.info_hash.hex(),
        "next_at": utc_text(result.next_at),
        "interval": state.interval,
        "measured_at": None if state.measured_at is None else utc_text(state.measured_at),
        "peers": size and size.peers,
        "peers_low": size and size.low,
        "peers_high": size and (None if size.high == inf else size.high),
        "empties": state.empties,
        "failures": state.failures,
        "failure": result.failure,
    }


# The plus keeps SQLite from the index of what is due: all rows are looked at, in the order of the table.
_MAKE_LISTED = "CREATE TEMP TABLE listed (info_hash TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID"
_REMOVE_UNLISTED = """
UPDATE watched_swarms SET removed_at = ?
WHERE +removed_at IS NULL AND source <> ? AND info_hash NOT IN (SELECT info_hash FROM temp.listed)
"""
_COUNT_RETURNING = """
SELECT count(*) FROM temp.listed JOIN watched_swarms USING (info_hash) WHERE removed_at IS NOT NULL
"""
_RETURN = """
UPDATE watched_swarms
SET removed_at = NULL,
    source = (SELECT source FROM temp.listed AS listed WHERE listed.info_hash = watched_swarms.info_hash)
WHERE info_hash IN (
    SELECT listed.info_hash FROM temp.listed AS listed CROSS JOIN watched_swarms AS known USING (info_hash)
    WHERE known.removed_at IS NOT NULL OR known.source <> listed.source
)
"""
_LIST_NEW = """
SELECT info_hash, source FROM temp.listed AS listed
WHERE NOT EXISTS (SELECT 1 FROM watched_swarms WHERE watched_swarms.info_hash = listed.info_hash)
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
_REMOVE_PRIVATE = """
UPDATE watched_swarms SET removed_at = ?
WHERE +removed_at IS NULL AND info_hash IN (SELECT info_hash FROM torrents WHERE is_private)
"""
_NOT_WATCHED = """
SELECT info_hash FROM swarms
WHERE source = ?
    AND NOT EXISTS (
        SELECT 1 FROM torrents WHERE torrents.info_hash = swarms.info_hash AND is_private
    )
    AND NOT EXISTS (
        SELECT 1 FROM watched_swarms WHERE watched_swarms.info_hash = swarms.info_hash AND removed_at IS NULL
    )
"""
_LIST_SHOWN = f"{_NOT_WATCHED} LIMIT ?"
_SHOWN_FROM = f"{_NOT_WATCHED} AND info_hash >= ? ORDER BY info_hash LIMIT 1"
_WATCHED = "SELECT count(*), sum(? / interval) FROM watched_swarms WHERE +removed_at IS NULL"
_FORGET_FUTURE = "UPDATE watched_swarms SET next_at = ?, tried_at = NULL WHERE tried_at > ?"
_LAST_BATCH = """
SELECT tried_at, count(*) FROM watched_swarms
WHERE tried_at = (SELECT max(tried_at) FROM watched_swarms WHERE tried_at < ?)
GROUP BY tried_at
"""
_DUE = """
SELECT * FROM watched_swarms
WHERE removed_at IS NULL AND next_at <= ? AND NOT EXISTS (
    SELECT 1 FROM torrents WHERE torrents.info_hash = watched_swarms.info_hash AND is_private
)
ORDER BY next_at
LIMIT ?
"""
_LEASE = "UPDATE watched_swarms SET tried_at = ?, next_at = ? WHERE info_hash = ?"
_NEXT = """
SELECT next_at FROM watched_swarms
WHERE removed_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM torrents WHERE torrents.info_hash = watched_swarms.info_hash AND is_private
)
ORDER BY next_at
LIMIT 1
"""
_FINISH = """
UPDATE watched_swarms SET
    next_at = :next_at, interval = :interval, measured_at = :measured_at,
    peers = :peers, peers_low = :peers_low, peers_high = :peers_high,
    empties = :empties, failures = :failures, failure = :failure
WHERE info_hash = :info_hash
"""
