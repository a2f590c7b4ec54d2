"""Trackers in the database: what is known of each, its sweeps, and which swarms it was asked for lately."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.infohash_samples import SAMPLE_SOURCE
from crawler.db.records.trackers import (
    DISTRUSTED,
    OF_PEER,
    KnownTracker,
    SwarmList,
    SwarmOverlap,
    SweepBatch,
    TrackerMeasurement,
    TrackerSample,
    TrackerSweep,
    TrackerTurn,
)
from dhtnode import InfoHash
from dhtnode.ids import ID_BYTES
from dhtnode.trackers import TrackerUrl

MOST_HINTS = 1000
"""Trackers in a database that only peers have named: anyone can make up as many as they like."""


class TrackerRows:
    """The trackers and their sweeps; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self._hides = anonymize

    def known(self) -> list[KnownTracker]:
        """Return all trackers, in the order of their URLs."""
        rows = self._db.select(f"SELECT {', '.join(_TRACKER_COLUMNS)} FROM trackers ORDER BY url")
        return [KnownTracker(**row | {"marks": tuple((row["marks"] or "").split())}) for row in rows]

    def add(self, trackers: Iterable[KnownTracker]) -> None:
        """Write trackers that are new; of one that is known, nothing changes."""
        with self._db.transaction():
            _ADD_TRACKER.many(self._db.connection, list(trackers))

    def meet(self, trackers: Iterable[KnownTracker]) -> dict[str, KnownTracker]:
        """Write trackers that are new, and return all that are known, by URL."""
        self.add(trackers)
        return {each.url: each for each in self.known()}

    def update(self, trackers: Iterable[KnownTracker]) -> None:
        """Write what has been learned of trackers, but for their marks.

        A pause that was asked for never gets shorter: another process may have heard of a longer one.
        """
        with self._db.transaction():
            _UPDATE_TRACKER.many(self._db.connection, list(trackers))

    def mark(self, marks: Mapping[str, Collection[str]]) -> None:
        """Write what makes the counts of some trackers suspect, by URL."""
        rows = [(" ".join(sorted(words)) or None, url) for url, words in marks.items()]
        with self._db.transaction():
            self._db.executemany("UPDATE trackers SET marks = ? WHERE url = ?", rows)

    def dht_high(self, info_hashes: Iterable[InfoHash]) -> dict[InfoHash, float]:
        """Return the upper end of what the DHT said last of some swarms, where it has one; 10 us each."""
        found = {}
        with self._db.reported():
            for info_hash in info_hashes:
                row = self._db.execute(_DHT_HIGH, (info_hash.hex(),)).fetchone()
                if row is not None and row[0] is not None:
                    found[info_hash] = float(row[0])
        return found

    def private(self) -> set[bytes]:
        """Return the swarms whose torrents are known to be private."""
        rows = self._db.select("SELECT info_hash FROM torrents WHERE is_private")
        return {bytes.fromhex(row["info_hash"]) for row in rows}

    def swarms(self, *, watched: bool = False, discovered: int | None = None) -> list[InfoHash]:
        """Return the swarms that are known, or those on the list of a watch, or some found by samples."""
        if discovered is not None:
            rows = self._db.select(_DISCOVERED, SAMPLE_SOURCE, discovered)
        else:
            rows = self._db.select(_WATCHED_SWARMS if watched else "SELECT info_hash FROM swarms")
        return [InfoHash(bytes.fromhex(row["info_hash"])) for row in rows]

    def begin(self, run_id: int, sweeps: Sequence[TrackerSweep]) -> list[TrackerSweep]:
        """Write sweeps that begin, and return them with their numbers; the trackers are known."""
        with self._db.transaction():
            (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM tracker_sweeps").fetchone()
            begun = [replace(sweep, id=number) for number, sweep in enumerate(sweeps, last + 1)]
            written = [replace(sweep, host=None) for sweep in begun] if self._hides else begun
            _INSERT_SWEEP.many(self._db.connection, written, run_id)
        return begun

    def write(self, run_id: int, batch: SweepBatch) -> None:
        """Write how sweeps stand, and their samples; in an open transaction.

        A swarm has one sample in a sweep, the first.  Some 1.5 us for each.
        """
        _INSERT_SWEEP.many(self._db.connection, batch.sweeps, run_id)
        _INSERT_SAMPLE.rows(self._db.connection, batch.samples)

    def measure(
        self, run_id: int, sweeps: Sequence[int], now: str, asked: Iterable[InfoHash] = ()
    ) -> list[TrackerMeasurement]:
        """Write what the trackers of some sweeps say of each swarm together, and return it.

        A swarm has at least as many peers as the longest list of a tracker that is believed, and at most as
        many as all of them together.  Swarms that were `asked` for and that no tracker listed have none.
        """
        execute = self._db.execute
        with self._db.transaction():
            execute("CREATE TEMP TABLE IF NOT EXISTS asked (info_hash BLOB PRIMARY KEY) WITHOUT ROWID")
            execute("DELETE FROM temp.asked")
            self._db.executemany("INSERT OR IGNORE INTO temp.asked VALUES (?)", [(each,) for each in asked])
            values = {"run": run_id, "sweeps": json.dumps(list(sweeps)), "now": now}
            rows = execute(_COMBINED, values).fetchall()
            self._db.executemany(_SEEN_SWARM, [(row[1], now, now) for row in rows])
            self._db.executemany(_INSERT_MEASUREMENT, rows)
        return [TrackerMeasurement(InfoHash(bytes.fromhex(row[1])), *row[2:]) for row in rows]

    def distrusted(self) -> set[str]:
        """Return the trackers that are left out of what all say together, by their last sweeps."""
        return {row["url"] for row in self._db.select(_DISTRUSTED)}

    def add_overlaps(self, run_id: int, overlaps: Sequence[SwarmOverlap]) -> None:
        """Write overlaps with the newest measurement of their swarm by nodes, in the same run."""
        with self._db.transaction():
            for each in overlaps:
                row = self._db.execute(_NEWEST_OF_RUN, (run_id, each.info_hash.hex())).fetchone()
                if row is not None:
                    _INSERT_OVERLAP.one(self._db.connection, each, run_id, row[0])

    def take_turns(self, swarms: SwarmList, turns: Sequence[TrackerTurn]) -> None:
        """Record which swarms trackers are about to be asked for.

        Forgets those that may be asked for again, and lists that are of no more use.
        """
        now = max(turn.asked_at for turn in turns)
        with self._db.transaction():
            # Joined once: a list may be long, and its parts are many.
            if self._db.first("SELECT 1 FROM tracker_lists WHERE digest = ?", swarms.digest) is None:
                self._db.execute(_ADD_LIST, (swarms.digest, b"".join(swarms.info_hashes), now))
            self._db.executemany(_SET_TURN, [(*turn, swarms.digest) for turn in turns])
            self._db.execute("DELETE FROM tracker_turns WHERE next_at <= ?", (now,))
            self._db.execute(_FORGET_LISTS, (swarms.digest,))

    def turns(self, now: str) -> Iterator[tuple[list[InfoHash], list[TrackerTurn]]]:
        """Yield each list of swarms with the parts of it that some trackers may not be asked for yet."""
        with self._db.reported():
            lists = self._db.execute("SELECT digest, info_hashes FROM tracker_lists").fetchall()
        for digest, joined in lists:
            rows = self._db.select(_TURNS, digest, now)
            swarms = [InfoHash(joined[at : at + ID_BYTES]) for at in range(0, len(joined), ID_BYTES)]
            yield swarms, [TrackerTurn(**row) for row in rows]


def add_hints(connection: GuardedConnection, urls: Sequence[TrackerUrl], now: str) -> int:
    """Write trackers that peers named, and return how many of them are known now; in an open transaction.

    `MOST_HINTS` are kept in all; of one that is known otherwise, nothing changes.
    """
    (count,) = connection.execute("SELECT count(*) FROM trackers WHERE source = ?", (OF_PEER,)).fetchone()
    known = [url for url in urls if connection.first(_IS_KNOWN, str(url)) is not None]
    new = [url for url in urls if url not in known][: max(0, MOST_HINTS - count)]
    rows = [KnownTracker(str(url), url.scheme, url.host, OF_PEER, now) for url in new]
    _ADD_TRACKER.many(connection.connection, rows)
    return len(known) + len(new)


_IS_KNOWN = "SELECT 1 FROM trackers WHERE url = ?"

_DHT_HIGH = """
SELECT peers_high FROM swarm_samples WHERE info_hash = ? AND method <> 'tracker'
ORDER BY taken_at DESC, id DESC LIMIT 1
"""
_WATCHED_SWARMS = "SELECT info_hash FROM watched_swarms WHERE removed_at IS NULL"
_DISCOVERED = "SELECT info_hash FROM swarms WHERE source = ? ORDER BY random() LIMIT ?"

_TRACKER_COLUMNS = KnownTracker.__dataclass_fields__

_ADD_TRACKER = Insert(
    "trackers",
    KnownTracker,
    (),
    as_they_are=("host",),
    # What was a hint is one no more when a user names it.
    on_conflict=f"""
    ON CONFLICT (url) DO UPDATE SET source = excluded.source WHERE source = '{OF_PEER}'
    """,
)

_UPDATE_TRACKER = Insert(
    "trackers",
    KnownTracker,
    (),
    as_they_are=("host",),
    on_conflict="""
    ON CONFLICT (url) DO UPDATE SET
        last_answer = excluded.last_answer, batch = excluded.batch, silences = excluded.silences,
        not_before = coalesce(max(not_before, excluded.not_before), not_before, excluded.not_before),
        full_not_before = coalesce(
            max(full_not_before, excluded.full_not_before), full_not_before, excluded.full_not_before
        )
    """,
)

_CHANGING = (
    *("finished_at", "outcome", "reason", "asked", "listed", "nonzero", "not_due", "requests", "answers"),
    *("errors", "rtt_ms", "canary_hits", "bytes_sent", "bytes_received", "marks"),
)
_INSERT_SWEEP = Insert(
    "tracker_sweeps",
    TrackerSweep,
    as_they_are=("host", "outcome", "rtt_ms"),
    on_conflict="ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _CHANGING),
)

_INSERT_SAMPLE = Insert(
    "tracker_sample_rows", TrackerSample, (), on_conflict="ON CONFLICT (sweep_id, info_hash) DO NOTHING"
)

_ADD_LIST = "INSERT OR IGNORE INTO tracker_lists (digest, info_hashes, made_at) VALUES (?, ?, ?)"

_SET_TURN = """
INSERT INTO tracker_turns (place, first, last, asked_at, next_at, list) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (place, list, first) DO UPDATE SET
    last = excluded.last, asked_at = excluded.asked_at, next_at = excluded.next_at
"""

_FORGET_LISTS = (
    "DELETE FROM tracker_lists WHERE digest <> ? AND digest NOT IN (SELECT list FROM tracker_turns)"
)

_TURNS = "SELECT place, first, last, asked_at, next_at FROM tracker_turns WHERE list = ? AND next_at > ?"

_TELLING = 20  # swarms with peers, from which marks are told
_HAS_MARK = " OR ".join(f"' ' || marks || ' ' LIKE '% {word} %'" for word in DISTRUSTED)

# A sweep of few swarms tells little: then what the one before it told counts.
_IS_DISTRUSTED = f"""EXISTS (
    SELECT 1 FROM tracker_sweeps AS telling
    WHERE telling.url = sweep.url AND telling.family IS sweep.family AND ({_HAS_MARK}) AND telling.id IN (
        sweep.id,
        (SELECT max(id) FROM tracker_sweeps AS earlier
         WHERE earlier.url = sweep.url AND earlier.family IS sweep.family AND earlier.nonzero >= {_TELLING}
            AND earlier.id <= sweep.id)
    )
)"""

_DISTRUSTED = f"""
SELECT DISTINCT url FROM tracker_sweeps AS sweep
WHERE id IN (SELECT max(id) FROM tracker_sweeps GROUP BY url, family) AND {_IS_DISTRUSTED}
"""

# One pass, as there are millions of rows: the longest list is the largest number of which the lower 31 bits
# are its seeds.
_COMBINED = f"""
WITH sweep AS MATERIALIZED (
    SELECT *, {_IS_DISTRUSTED} AS is_distrusted FROM tracker_sweeps AS sweep
    WHERE id IN (SELECT value FROM json_each(:sweeps))
),
said AS (
    SELECT info_hash, taken_at, seeds, leechers
    FROM sweep CROSS JOIN tracker_sample_rows ON sweep_id = sweep.id
    WHERE NOT is_distrusted
    UNION ALL
    SELECT info_hash, NULL, 0, 0 FROM temp.asked
),
combined AS (
    SELECT
        info_hash, max(taken_at) AS taken_at, max((seeds + leechers) << 31 | seeds) AS longest,
        sum(seeds + leechers) AS peers_high, max(seeds) AS seeds_low, sum(seeds) AS seeds_high,
        max(leechers) AS leechers_low, sum(leechers) AS leechers_high
    FROM said GROUP BY info_hash
)
SELECT
    :run, lower(hex(info_hash)),
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', taken_at / 1000.0, 'unixepoch'), :now),
    longest & 2147483647, (longest >> 31) - (longest & 2147483647), longest >> 31,
    peers_high, seeds_low, seeds_high, leechers_low, leechers_high,
    (SELECT count(*) FROM sweep WHERE asked > 0),
    (SELECT count(*) FROM sweep WHERE outcome IN ('answered', 'partial'))
FROM combined
"""

_SEEN_SWARM = """
INSERT INTO swarms (info_hash, first_seen, last_seen, source) VALUES (?, ?, ?, 'given')
ON CONFLICT (info_hash) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)
"""

_INSERT_MEASUREMENT = """
INSERT INTO swarm_samples (
    run_id, info_hash, taken_at, seeds, leechers, peers, peers_low, peers_high, seeds_low, seeds_high,
    leechers_low, leechers_high, nodes_asked, nodes_answered, method, saturated, source
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'tracker', 0, 'tracker')
"""

_NEWEST_OF_RUN = """
SELECT id FROM dht_samples WHERE run_id = ? AND info_hash = ? ORDER BY id DESC LIMIT 1
"""

_INSERT_OVERLAP = Insert("source_overlaps", SwarmOverlap, ("run_id", "sample_id"))
