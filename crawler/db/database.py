"""The crawl database: rows in, rows out, through one SQLite connection.

Synchronous, and it knows tables, not networks.  A worker thread may make the calls, one thread at
a time (see `writer`).  Every write is one transaction: a process that is killed leaves whole
batches behind.  Whatever the file, the disk or another process does to us is a `DatabaseError` that
names the path; any other exception from here is a mistake of ours.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlite_utils import Database

from crawler.db import infohash_samples, rollups, schema
from crawler.db.infohash_samples import SampleRows
from crawler.db.nodes import NodeTable
from crawler.db.purge import Purge
from crawler.db.records.infohash_samples import SampleBatch
from crawler.db.records.records import (
    Answered,
    CrawlBatch,
    Journal,
    Run,
    RunStatus,
    SizeEstimate,
    SwarmMeasurement,
    SybilTestResult,
    Visit,
    epoch_seconds,
    host_text,
    prefix_text,
)
from crawler.db.run_nodes import RunNodes, forget_counts, make_run_nodes
from crawler.db.swarm_measurements import SwarmRows
from crawler.db.torrents import MetadataRows
from crawler.db.watched_swarms import WatchRows
from dhtnode import Address, Family

BUSY_TIMEOUT = 5.0  # seconds to wait for another process that writes
ROWS_AT_ONCE = 50  # visits in one statement, of which SQLite takes 999 values at least
CACHE_KIB = 64 * 1024  # the index of nodes is hit at random, and SQLite's default is 2 MB
CHECKPOINT_PAGES = 8000  # 32 MB of log: a page of that index is copied back once, not every batch

Record: TypeAlias = SwarmMeasurement | Visit | CrawlBatch | SampleBatch
Row: TypeAlias = dict[str, Any]
"""A row by column name; values are what SQLite has: str, int, float, bytes, None."""


class DatabaseError(Exception):
    """Report in one line, with the path, why the database cannot be used or written."""


def is_process_running(pid: int) -> bool:
    """Return whether a process of this host has the number `pid`, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    return True


class CrawlDatabase:
    """Own the connection to one crawl database: made by `CrawlDatabase.open`, ended by `close` or `with`."""

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        *,
        anonymize: bool,
        is_running: Callable[[int], bool],
    ) -> None:
        self.path = path
        self._connection = connection
        self._is_anonymized = anonymize
        self._host_text = prefix_text if anonymize else host_text
        self._is_running = is_running
        self._folded_run: int | None = None  # whose nodes are grouped, with no visit added since
        guard = partial(reported, path)
        self.known = NodeTable(connection, guard, is_running)
        self.swarms = SwarmRows(connection, guard, anonymize=anonymize)
        self.samples = SampleRows(connection, self._transaction, guard, anonymize=anonymize)
        self.watch = WatchRows(connection, self._transaction, guard)
        self.purge = Purge(connection, self._transaction, guard)
        self.metadata = MetadataRows(connection, self._transaction, guard)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        anonymize: bool = False,
        busy_timeout: float = BUSY_TIMEOUT,
        is_running: Callable[[int], bool] = is_process_running,
    ) -> Self:
        """Open a crawl database, creating it or bringing its tables up to date as needed.

        With `anonymize`, node addresses are written as their /24 or /48; rows that are already
        there stay as they are.  Raises `DatabaseError`, and leaves the file untouched, when it is no
        database, not one of ours, or made by a newer version.
        """
        name = str(path)
        if name != ":memory:" and not Path(name).absolute().parent.is_dir():
            raise DatabaseError(f"{name}: the directory does not exist")
        with reported(name):
            # Statements begin no transaction by themselves (`isolation_level`): we do, so that
            # none is ever open by accident.
            connection = sqlite3.connect(
                name, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
            with ExitStack() as unless_ready:
                unless_ready.callback(connection.close)
                _prepare(connection, name)
                unless_ready.pop_all()
        return cls(name, connection, anonymize=anonymize, is_running=is_running)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with reported(self.path):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin_run(self, command: str, settings: Mapping[str, object], version: str, now_text: str) -> int:
        """Add a run of this process and return its number.

        Runs left `running` by a process that no longer exists become `interrupted`.  When another
        process has its number by now, such a run stays `running` for a while longer: better than
        to declare dead what another process is busy with.
        """
        values = (command, now_text, RunStatus.RUNNING, version, json.dumps(dict(settings)), os.getpid())
        with self._transaction():
            self._mark_interrupted()
            return _row_id(self._connection.execute(schema.INSERT_RUN, values))

    def note(self, run_id: int, name: str, value: object) -> None:
        """Keep a value with the settings of a run, for whoever goes on with it; JSON has to know it."""
        with self._transaction():
            for run in self._select("SELECT settings FROM runs WHERE id = ?", (run_id,)):
                settings = json.dumps(json.loads(run["settings"]) | {name: value})
                self._connection.execute("UPDATE runs SET settings = ? WHERE id = ?", (settings, run_id))

    def finish_run(self, run_id: int, status: RunStatus, now_text: str) -> None:
        """Record how and when a run ended."""
        with self._transaction():
            self._fold_visits(run_id)
            rollups.make_rollups(self._connection, run_id)
            if status is RunStatus.FINISHED:
                self._connection.execute("DELETE FROM crawl_journal WHERE run_id = ?", (run_id,))
            self._connection.execute(
                "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?", (status, now_text, run_id)
            )

    def write(self, run_id: int, records: Sequence[Record]) -> None:
        """Write observations of a run in one transaction: all of them, or none and `DatabaseError`.

        Costs some 5 us per visit and 25 per scrape reply, more as the index of nodes grows.
        """
        samples = [record for record in records if isinstance(record, SwarmMeasurement)]
        visits = [record for record in records if isinstance(record, Visit)]
        with self._transaction():
            self.swarms.write(run_id, samples)
            self._write_visits(run_id, visits)
            for record in records:
                if isinstance(record, CrawlBatch):
                    self._write_visits(run_id, record.visits)
                    self._write_journal(run_id, record.journal)
                elif isinstance(record, SampleBatch):
                    self.samples.write(run_id, record.samples)
                    self._write_journal(run_id, record.journal)

    @contextmanager
    def read_run(self, run_id: int) -> Iterator[Callable[[Family], RunNodes]]:
        """Give, for the length of the block, what reads the nodes of a family that a run has visited.

        `nodes` and the counts of the run are brought up to date first; some 10 us for each visit.
        """
        with self._transaction():
            self._fold_visits(run_id)
        with reported(self.path):
            yield lambda family: RunNodes(self._connection, family)

    def write_findings(
        self, run_id: int, sizes: Sequence[SizeEstimate], suspicions: Sequence[SybilTestResult]
    ) -> None:
        """Record what a run has come to, in place of what was recorded for it before."""
        with self._transaction():
            for table in ("size_estimates", "alarms"):
                self._connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608
            self._connection.executemany(
                _INSERT_SIZE, [(run_id, *size[:-1], json.dumps(dict(size.details))) for size in sizes]
            )
            self._connection.executemany(
                _INSERT_ALARM,
                [
                    (run_id, *each[:-1], "suspect" if each.is_suspect else "inconspicuous")
                    for each in suspicions
                ],
            )

    def resumable_run(self, command: str, settings: Mapping[str, object]) -> Run | None:
        """Return the last run of a command, if it was interrupted, had these settings and left a journal.

        What a run has drawn for itself, as the `prefix` of a zone, need not be among the settings.
        """
        with self._transaction():
            self._mark_interrupted()
            found = self._select(schema.LAST_RUN, (command,))
            for run in map(_run_of, found):
                wanted = run.settings | json.loads(json.dumps(dict(settings)))
                is_same = wanted == run.settings and run.status is RunStatus.INTERRUPTED
                if is_same and self._has_journal(run.id):
                    return run
        return None

    def resume_run(self, run_id: int) -> None:
        """Take an interrupted run over: it is running, in this process."""
        with self._transaction():
            self._connection.execute(
                "UPDATE runs SET status = ?, finished_at = NULL, pid = ? WHERE id = ?",
                (RunStatus.RUNNING, os.getpid(), run_id),
            )
            forget_counts(self._connection, run_id)
            rollups.forget_rollups(self._connection, run_id)
            self._folded_run = None

    def answered(self, run_id: int, family: Family, after_id: int, limit: int) -> list[Answered]:
        """Return nodes that have answered in a run, in that order, from a visit on; not those verified."""
        values = (run_id, after_id, family is Family.IPV6, limit)
        return [
            Answered(
                row["id"],
                bytes.fromhex(row["node_id"]),
                Address(row["address"], row["port"]),
                epoch_seconds(row["taken_at"]),
            )
            for row in self._select(schema.ANSWERED, values)
        ]

    def journals(self, run_id: int) -> Iterator[Journal]:
        """Yield the journals of a run, the first one first."""
        with reported(self.path):
            cursor = self._connection.execute(
                "SELECT family, contacts, changes FROM crawl_journal WHERE run_id = ? ORDER BY id", (run_id,)
            )
            for family, contacts, changes in cursor:
                yield Journal(Family(family), contacts, changes)

    @contextmanager
    def merging(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, for one transaction that adds what other databases hold.

        All rows that were written here are counted before.  Raises `DatabaseError` while a run of this
        database is under way, which could not write for minutes.
        """
        with self._transaction():
            self._mark_interrupted()
            for row in self._select(schema.RUNS_UNDER_WAY):
                raise DatabaseError(f"{self.path}: process {row['pid']} is writing run {row['id']} to it")
            infohash_samples.fold(self._connection)
            self._folded_run = None
            yield self._connection

    def runs(self) -> list[Run]:
        """Return all runs, the oldest first."""
        return [_run_of(row) for row in self.rows("runs")]

    def latest_swarms(self) -> list[Row]:
        """Return the newest sample of every swarm, with the columns of the view of that name."""
        return self.rows("latest_swarms")

    def rows(self, name: str) -> list[Row]:
        """Return all rows of a view or table, held in memory, in its own order.

        Raises `ValueError` when there is none of that name.
        """
        known = self._select("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        if name not in {row["name"] for row in known}:
            raise ValueError(f"{name!r} is neither a table nor a view of {self.path}")
        return self._select(f'SELECT * FROM "{name}"')  # noqa: S608  # a name the database gave us

    def _select(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        with reported(self.path):
            cursor = self._connection.execute(sql, values)
            columns = [column[0] for column in cursor.description]
            return [dict(zip(columns, row, strict=True)) for row in cursor]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        with reported(self.path):
            # IMMEDIATE, or another writer is met half-way, where waiting for it cannot help.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._folded_run = None  # temporary tables are rolled back too
                raise
            finally:
                self._connection.rollback()  # does nothing after a COMMIT

    def _mark_interrupted(self) -> None:
        for row in self._select(schema.RUNS_UNDER_WAY):
            if not self._is_running(row["pid"]):
                self._fold_visits(row["id"])
                rollups.make_rollups(self._connection, row["id"])
                self._connection.execute("UPDATE runs SET status = 'interrupted' WHERE id = ?", (row["id"],))

    def _has_journal(self, run_id: int) -> bool:
        return bool(self._select("SELECT 1 FROM crawl_journal WHERE run_id = ? LIMIT 1", (run_id,)))

    def _fold_visits(self, run_id: int) -> None:
        """Bring `nodes` and the counts of a run up to date with its visits, unless they are."""
        infohash_samples.fold(self._connection)
        if self._folded_run != run_id:
            make_run_nodes(self._connection, run_id)
            self._folded_run = run_id

    def _write_visits(self, run_id: int, visits: Sequence[Visit]) -> None:
        """Add visits; `nodes` learns of them when the run ends: its index is slow to grow at random."""
        host_text = self._host_text
        if visits:
            self._folded_run = None
        rows = [
            (
                run_id,
                visit.node_id.hex(),
                host_text(visit.address),
                visit.address.port,
                visit.taken_at,
                visit.outcome.value,  # SQLite takes 2 us longer over the member itself
                visit.error_code,
                visit.rtt_ms,
                None if visit.version is None else visit.version.hex(),
                visit.conforms,
                visit.contacts,
                visit.unusable,
                visit.new_contacts,
                visit.referrers,
                " ".join(visit.marks),
                visit.is_verification,
            )
            for visit in visits
        ]
        # Each statement gives way to the other threads: one for every row would cost more than the row.
        for at in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[at : at + ROWS_AT_ONCE]
            self._connection.execute(_insert_visits(len(some)), list(chain.from_iterable(some)))

    def _write_journal(self, run_id: int, journal: Journal) -> None:
        # It holds addresses in full: an anonymized crawl is not resumed.
        if not self._is_anonymized:
            self._connection.execute(schema.INSERT_JOURNAL, (run_id, *journal))


_VISIT_COLUMNS = (
    *("run_id", "node_id", "address", "port", "taken_at", "outcome", "error_code", "rtt_ms", "version"),
    *("conforms", "contacts", "unusable", "new_contacts", "referrers", "marks", "is_verification"),
)


def _insert(table: str, *columns: str, rows: int = 1) -> str:
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}"  # noqa: S608  # our own names


@lru_cache(maxsize=ROWS_AT_ONCE)
def _insert_visits(rows: int) -> str:
    return _insert("visits", *_VISIT_COLUMNS, rows=rows)


_INSERT_SIZE = _insert("size_estimates", "run_id", *SizeEstimate._fields)
_INSERT_ALARM = _insert("alarms", "run_id", *SybilTestResult._fields[:-1], "verdict")


def _row_id(cursor: sqlite3.Cursor) -> int:
    return int(cursor.lastrowid or 0)


def _hex_of(version: bytes | None) -> str | None:
    return None if version is None else version.hex()


def _run_of(row: Row) -> Run:
    parsed = {"status": RunStatus(row["status"]), "settings": json.loads(row["settings"])}
    return Run(**(row | parsed))


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Check that the database is ours before anything is changed, then bring it up to date."""
    db = Database(connection, execute_plugins=False)
    if schema.is_of_another_program(db):
        raise DatabaseError(f"{path}: is a database of another program")
    if unknown := schema.unknown_migrations(db):
        raise DatabaseError(f"{path}: was made by a newer version ({', '.join(sorted(unknown))})")
    rollups.add_functions(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # The last batches may be lost with the power, never the database; a killed process loses none.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    schema.bring_up_to_date(db)


_REASONS = {
    sqlite3.SQLITE_PERM: "access was denied",
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_READONLY: "cannot be written, the file or its directory is read-only",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or created",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
}


@contextmanager
def reported(path: str) -> Iterator[None]:
    """Turn what SQLite says about the file into `DatabaseError`, and let mistakes of ours pass."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if reason is None and not isinstance(error, sqlite3.OperationalError):
            raise
        raise DatabaseError(f"{path}: {reason or error}") from error
