"""Deleting from the database: raw filters that are old, and what is requested to be deleted.

What a table is about follows from its columns: `info_hash` and `sample_id` lead to a swarm, `node_id` and
`host` to a node, `run_id` to a run.  A table that a later version adds is covered the same way.
"""

from collections import Counter
from contextlib import suppress

from crawler.db.connection import GuardedConnection
from crawler.db.purge.orders import Orders, host_matcher
from crawler.db.records.pseudonyms import Pseudonyms
from crawler.db.records.records import text_ms, utc_text
from crawler.db.schema import OF_RUN, SHOWN_AS
from dhtnode import InfoHash
from dhtnode.ids import ID_BYTES

DAY = 86_400.0  # seconds
FILTER_COLUMNS = ("seeds_filter", "peers_filter", "named_tokens", "named_filter", "unplaced_filter")
"""Columns that hold raw filters, of which a table may have some."""

# Samples whose filters one transaction deletes: other processes want to write too.
SAMPLES_AT_ONCE = 500
_TASK = "filters"


class _Undo(Exception):
    """The end of a transaction whose changes are not kept."""


class Purge:
    """What deletes rows; part of a `CrawlDatabase`.

    Costs a look at each row of the tables in question, except for the filters.
    """

    def __init__(self, connection: GuardedConnection, pseudonyms: Pseudonyms | None = None) -> None:
        self._db = connection
        self._pseudonyms = pseudonyms

    def is_retention_due(self, now: float) -> bool:
        """Return whether old filters have not been looked for within the last day."""
        with self._db.reported():
            row = self._db.execute("SELECT done_at FROM retention WHERE task = ?", (_TASK,)).fetchone()
        return row is None or not utc_text(now - DAY) < row[0] <= utc_text(now)

    def delete_old_filters(self, days: float, now: float) -> int | None:
        """Delete the filters of some more samples older than `days`; return how many, None at the end.

        Continues where the last call stopped, in whatever process.
        """
        execute, cutoff = self._db.execute, utc_text(now - days * DAY)
        with self._db.transaction():
            row = execute("SELECT done_to FROM retention WHERE task = ?", (_TASK,)).fetchone()
            done_to = row[0] if row else 0
            rows = execute(_OLD_SAMPLES, (cutoff, done_to, SAMPLES_AT_ONCE)).fetchall()
            done_to = rows[-1][0] if rows else done_to
            execute(_SET_DONE, (_TASK, done_to, utc_text(now) if not rows else None))
            if not rows:
                return None
            return sum(self._clear(f"IN ({','.join(str(row[0]) for row in rows)})").values())

    def run(self, orders: Orders, now: float, *, dry: bool = False) -> dict[str, int]:
        """Carry orders out, all of them or none, and return how many rows changed, by table.

        With `dry`, nothing is changed, and the numbers are those that would be.  What is deleted is
        overwritten with zeros, where SQLite can; `compact` gets the rest.
        """
        changed: Counter[str] = Counter()
        with self._db.reported():
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.connection.create_function("is_in_network", 1, host_matcher(orders.networks))
        with suppress(_Undo), self._db.transaction():
            self._db.execute("PRAGMA defer_foreign_keys = ON")
            for info_hash in orders.swarms:
                changed.update(self._delete_swarm(info_hash))
            if orders.networks or orders.node_ids:
                changed.update(self._delete_nodes(orders))
            if orders.older is not None:
                changed.update(self._delete_older(utc_text(now - orders.older * DAY)))
            if orders.filters_older is not None:
                self._make("old_samples", _OLDER_SAMPLES, (utc_text(now - orders.filters_older * DAY),))
                changed.update(self._clear("IN temp.old_samples"))
            if dry:
                raise _Undo
        return {SHOWN_AS.get(table, table): count for table, count in changed.items() if count}

    def compact(self) -> bool:
        """Rewrite the file without what was deleted, and empty the log beside it.

        Returns whether the log could be emptied; while another process reads, it cannot.
        """
        with self._db.reported():
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("VACUUM")
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def _clear(self, samples: str) -> Counter[str]:
        """Empty the filter columns of all rows whose sample is one of those."""
        changed: Counter[str] = Counter()
        for table in self._tables():
            columns = self._columns(table)
            key = "id" if table == "swarm_samples" else "sample_id"
            filters = [column for column in FILTER_COLUMNS if column in columns]
            if filters and key in columns:
                emptied = ", ".join(f"{each} = {_NOTHING[columns[each]]}" for each in filters)
                is_full = " OR ".join(f"length({each}) > 0" for each in filters)
                sql = f"UPDATE {table} SET {emptied} WHERE {key} {samples} AND ({is_full})"
                changed[table] += self._db.execute(sql).rowcount
        return changed

    def _delete_swarm(self, info_hash: InfoHash) -> Counter[str]:
        """Delete all rows of a swarm, and its info-hash from what nodes have shown."""
        self._make("chosen", "SELECT ? AS info_hash UNION SELECT ?", (info_hash.hex(), info_hash))
        changed = self._delete_samples("SELECT id FROM swarm_samples WHERE info_hash IN temp.chosen")
        changed += self._delete_swarms()
        rows = self._db.execute(_SHOWING, (info_hash,)).fetchall()
        cut = [(without(samples, info_hash), number) for number, samples in rows]
        cut = [each for each, (_, samples) in zip(cut, rows, strict=True) if each[0] != samples]
        self._db.executemany("UPDATE node_sample_rows SET samples = ? WHERE id = ?", cut)
        changed["node_sample_rows"] += len(cut)
        rows = self._db.execute(_LISTED, (info_hash,)).fetchall()
        # By zeros, so that the others keep their places.
        self._db.executemany(
            "UPDATE tracker_lists SET info_hashes = ? WHERE digest = ?",
            [(replaced(listed, info_hash, bytes(ID_BYTES)), digest) for digest, listed in rows],
        )
        return changed

    def _delete_nodes(self, orders: Orders) -> Counter[str]:
        """Delete all rows of nodes, and all journals, because their endpoints cannot be told apart."""
        changed: Counter[str] = Counter()
        found: list[bytes] = list(orders.node_ids)
        if self._pseudonyms:
            found += map(self._pseudonyms.of_id, orders.node_ids)
        # As text and as bytes: a column has one or the other.
        ids = ", ".join(f"'{node_id.hex()}', x'{node_id.hex()}'" for node_id in found)
        # Counted here: they would go with their sweeps.
        changed += self._delete_by("sweep_id", "IN (SELECT id FROM tracker_sweeps WHERE is_in_network(host))")
        for table in self._tables():
            columns = self._columns(table)
            wanted = [term for column, term in _NODE_TERMS.items() if column in columns]
            if wanted:
                changed[table] += self._delete(table, " OR ".join(wanted).format(ids=ids))
        for table in ("crawl_journal", "census_evidence"):
            changed[table] += self._delete(table, "true")
        return changed

    def _delete_older(self, cutoff: str) -> Counter[str]:
        """Delete the runs that ended before a time, with all they wrote, and what was not seen since."""
        dated = [table for table in self._tables() if {"run_id", "taken_at"} <= self._columns(table).keys()]
        newer = " ".join(map(_no_newer_row, dated))
        values = {"cutoff": cutoff, "ms": text_ms(cutoff)}
        self._make("old_runs", f"{_OLD_RUNS} {newer}", values)
        changed = self._delete_samples("SELECT id FROM swarm_samples WHERE run_id IN temp.old_runs")
        changed["swarms"] += self._db.execute(_FORGET_NAMES).rowcount
        changed += self._delete_by(
            "sweep_id", "IN (SELECT id FROM tracker_sweeps WHERE run_id IN temp.old_runs)"
        )
        changed += self._delete_by("run_id", "IN temp.old_runs")
        changed["runs"] += self._delete("runs", "id IN temp.old_runs")
        for table, sql in _OUTLIVED.items():
            changed[table] += self._db.execute(sql, values).rowcount
        self._make("chosen", _UNSEEN_SWARMS, (cutoff,))
        return changed + self._delete_swarms()

    def _delete_samples(self, samples: str) -> Counter[str]:
        """Delete what belongs to samples, but not the samples, which are deleted by their other columns."""
        self._make("old_samples", samples, ())
        return self._delete_by("sample_id", "IN temp.old_samples")

    def _delete_swarms(self) -> Counter[str]:
        """Delete the rows of the swarms in the temporary table `chosen`."""
        return self._delete_by("info_hash", "IN temp.chosen") + self._delete_by("twin", "IN temp.chosen")

    def _delete_by(self, column: str, condition: str) -> Counter[str]:
        """Delete rows of all tables that have a column."""
        return Counter(
            {
                table: self._delete(table, f"{column} {condition}")
                for table in self._tables()
                if column in self._columns(table)
            }
        )

    def _delete(self, table: str, condition: str) -> int:
        return self._db.execute(f"DELETE FROM {table} WHERE {condition}").rowcount

    def _make(self, name: str, query: str, values: tuple[object, ...] | dict[str, object]) -> None:
        self._db.execute(f"DROP TABLE IF EXISTS temp.{name}")
        self._db.execute(f"CREATE TEMP TABLE {name} AS {query}", values)

    def _tables(self) -> list[str]:
        return [row[0] for row in self._db.execute(_TABLES)]

    def _columns(self, table: str) -> dict[str, bool]:
        """Return the columns of a table, each with whether it must not be NULL."""
        rows = self._db.execute('SELECT name, "notnull" FROM pragma_table_xinfo(?)', (table,))
        return {name: bool(notnull) for name, notnull in rows}


def without(samples: bytes, info_hash: bytes) -> bytes | None:
    """Return info-hashes one after the other without one of them; None when nothing is left."""
    return replaced(samples, info_hash, b"") or None


def replaced(samples: bytes, info_hash: bytes, by: bytes) -> bytes:
    """Return info-hashes one after the other with something else in the place of one of them."""
    each = (samples[at : at + ID_BYTES] for at in range(0, len(samples), ID_BYTES))
    return b"".join(by if other == info_hash else other for other in each)


def _no_newer_row(table: str) -> str:
    of_run = OF_RUN.replace("?1", "runs.id") if table == "visit_rows" else "WHERE run_id = runs.id"
    since = ":ms" if table in SHOWN_AS else ":cutoff"
    return f"AND NOT EXISTS (SELECT 1 FROM {table} {of_run} AND taken_at >= {since})"


# For a column that may be NULL, and one that must not.
_NOTHING = {False: "NULL", True: "x''"}

_NODE_TERMS = {
    "node_id": "node_id IN ({ids})",
    "host": "is_in_network(host)",
    "url": "url IN (SELECT trackers.url FROM trackers WHERE is_in_network(trackers.host))",
    "place": "is_in_network(place)",
    "subject": "is_in_network(subject) OR subject IN ({ids})",
}

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
_OLDER_SAMPLES = "SELECT id FROM swarm_samples WHERE taken_at < ?"
_OLD_SAMPLES = "SELECT id FROM swarm_samples WHERE taken_at < ? AND id > ? ORDER BY id LIMIT ?"
_SET_DONE = """
INSERT INTO retention (task, done_to, done_at) VALUES (?, ?, ?)
ON CONFLICT (task) DO UPDATE SET done_to = excluded.done_to, done_at = coalesce(excluded.done_at, done_at)
"""
_SHOWING = "SELECT id, samples FROM node_sample_rows WHERE instr(samples, ?)"
_LISTED = "SELECT digest, info_hashes FROM tracker_lists WHERE instr(info_hashes, ?)"
_OLD_RUNS = """
SELECT id FROM runs WHERE status <> 'running' AND coalesce(finished_at, started_at) < :cutoff
"""
# A name is known from the torrent, which is deleted with its run.
_FORGET_NAMES = """
UPDATE swarms SET name = NULL
WHERE name IS NOT NULL AND info_hash IN (SELECT info_hash FROM torrents WHERE run_id IN temp.old_runs)
"""
# What belongs to no run is deleted when it is of no further use.
_OUTLIVED = {
    "node_rows": "DELETE FROM node_rows WHERE last_seen < :ms",
    "sample_turns": "DELETE FROM sample_turns WHERE max(asked_at, next_at) < :cutoff",
    "watched_swarms": "DELETE FROM watched_swarms WHERE removed_at < :cutoff",
    "combined_samples": """
        DELETE FROM combined_samples WHERE window_start < :cutoff AND samples <> (
            SELECT count(*) FROM dht_samples AS sample
            WHERE sample.info_hash = combined_samples.info_hash
                AND taken_at >= window_start AND taken_at < window_end
        )
    """,
    "tracker_turns": "DELETE FROM tracker_turns WHERE next_at < :cutoff",
    "tracker_lists": "DELETE FROM tracker_lists WHERE digest NOT IN (SELECT list FROM tracker_turns)",
    # One that asked for a pause is kept until that is over.
    "trackers": """
        DELETE FROM trackers
        WHERE max(first_seen, coalesce(last_answer, ''), coalesce(not_before, '')) < :cutoff
            AND url NOT IN (SELECT url FROM tracker_sweeps)
    """,
    "hybrid_torrents": """
        DELETE FROM hybrid_torrents
        WHERE first_seen < :cutoff AND NOT EXISTS (
            SELECT 1 FROM swarms
            WHERE swarms.info_hash IN (hybrid_torrents.info_hash, twin) AND last_seen >= :cutoff
        )
    """,
    "web_seeds": """
        DELETE FROM web_seeds
        WHERE max(first_seen, coalesce(next_at, ''), coalesce(not_before, '')) < :cutoff
            AND NOT EXISTS (
                SELECT 1 FROM web_seed_checks AS made
                WHERE made.info_hash = web_seeds.info_hash AND made.url_hash = web_seeds.url_hash
            )
    """,
    "vantages": """
        DELETE FROM vantages
        WHERE NOT is_here AND identity NOT IN (SELECT vantage FROM merged_runs)
    """,
}
_UNSEEN_SWARMS = """
SELECT info_hash FROM swarms
WHERE last_seen < ?
    AND NOT EXISTS (SELECT 1 FROM swarm_samples WHERE swarm_samples.info_hash = swarms.info_hash)
    AND NOT EXISTS (SELECT 1 FROM web_seeds WHERE web_seeds.info_hash = swarms.info_hash)
    AND NOT EXISTS (
        SELECT 1 FROM watched_swarms WHERE watched_swarms.info_hash = swarms.info_hash AND removed_at IS NULL
    )
"""
