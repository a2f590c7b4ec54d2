"""Runs in the database: when each began and ended, and how an interrupted one is resumed."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping

from crawler.db import infohash_samples, rollups
from crawler.db.connection import DatabaseError, GuardedConnection, Row
from crawler.db.insert import Insert
from crawler.db.leases.leases import RunLeases
from crawler.db.records.records import Journal, Run, RunStatus
from crawler.db.run_nodes import count_nodes, forget_counts
from dhtnode import Family


class RunRows:
    """The runs of the crawler; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, leases: RunLeases) -> None:
        self._db = connection
        self._leases = leases

    def begin(self, command: str, settings: Mapping[str, object], version: str, now_text: str) -> int:
        """Add a run of this process and return its number.

        Runs left `running` by a process that is gone become `interrupted`.  Raises `DatabaseError`.
        """
        with self._db.transaction():
            self.mark_interrupted()
            return self._begin(command, settings, version, now_text)

    def resume(self, command: str, settings: Mapping[str, object]) -> Run | None:
        """Let the last run of a command go on in this process, and return it, or None where there is none.

        It goes on if it was interrupted, had these settings and left a journal.  What a run has drawn for
        itself, as the `prefix` of a zone, need not be among the settings.
        """
        with self._db.transaction():
            self.mark_interrupted()
            return self._resume(command, settings)

    def resume_or_begin(
        self,
        command: str,
        settings: Mapping[str, object],
        drawn: Mapping[str, object],
        version: str,
        now_text: str,
        *,
        is_shared: bool,
    ) -> tuple[Run | None, int]:
        """Let the last run go on like `resume`, or begin one, with what is drawn beside its settings.

        Returns the run that goes on, and the number of either.  Unless it `is_shared` work, raises
        `DatabaseError` while such a run is under way: two would do the same twice.
        """
        with self._db.transaction():
            self.mark_interrupted()
            if not is_shared:
                self._refuse_second(command, settings)
            run = self._resume(command, settings)
            return run, run.id if run else self._begin(command, {**settings, **drawn}, version, now_text)

    def renew(self, run_id: int) -> None:
        """Show that this process is there.  Raises `DatabaseError`, also when its run was taken over."""
        with self._db.transaction():
            self._leases.renew(run_id)

    def note(self, run_id: int, name: str, value: object) -> None:
        """Keep a value with the settings of a run, for the process that resumes it; in terms of JSON."""
        with self._db.transaction():
            for run in self._db.select("SELECT settings FROM runs WHERE id = ?", run_id):
                settings = json.dumps(json.loads(run["settings"]) | {name: value})
                self._db.execute("UPDATE runs SET settings = ? WHERE id = ?", (settings, run_id))

    def finish(self, run_id: int, status: RunStatus, now_text: str) -> None:
        """Record how and when a run ended."""
        with self._db.transaction():
            self._leases.renew(run_id)
            # The journal first, whose place in the file the nodes can take.
            if status is RunStatus.FINISHED:
                self._db.execute("DELETE FROM crawl_journal WHERE run_id = ?", (run_id,))
            _aggregate(self._db.connection, run_id)
            self._db.execute(
                "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?", (status, now_text, run_id)
            )
            self._leases.forget(run_id)
        self._leases.end(run_id)

    def write_journal(self, run_id: int, journal: Journal) -> None:
        """Add a journal; the caller has a transaction open."""
        _INSERT_JOURNAL.one(self._db.connection, journal, run_id)

    def journals(self, run_id: int) -> Iterator[Journal]:
        """Yield the journals of a run, the first one first."""
        with self._db.reported():
            for family, *changes in self._db.execute(_JOURNALS, (run_id,)):
                yield Journal(Family(family), *changes)

    def count_journals(self, run_id: int) -> int:
        """Return how many journals a run has."""
        row = self._db.first("SELECT count(*) FROM crawl_journal WHERE run_id = ?", run_id)
        return 0 if row is None else int(row[0])

    def count_again(self, run_id: int) -> None:
        """Count what a run amounts to again, if it has ended: rows were added; in an open transaction."""
        if self._db.first("SELECT 1 FROM runs WHERE id = ? AND status <> 'running'", run_id):
            _aggregate(self._db.connection, run_id)

    def all(self) -> list[Run]:
        """Return all runs, the oldest first."""
        return [_run_of(row) for row in self._db.select("SELECT * FROM runs ORDER BY id")]

    def refuse_while_running(self) -> None:
        """Raise `DatabaseError` while a process is writing a run; the caller has a transaction open."""
        self.mark_interrupted()
        for row in self._db.select(RUNS_UNDER_WAY):
            owner = self._leases.describe(row["id"])
            raise DatabaseError(f"{self._db.path}: run {row['id']} is being written to it by {owner}")

    def mark_interrupted(self) -> None:
        """End the runs whose process is gone; the caller has a transaction open."""
        for row in self._db.select(RUNS_UNDER_WAY):
            if not self._leases.is_alive(row["id"]):
                _aggregate(self._db.connection, row["id"])
                self._db.execute("UPDATE runs SET status = 'interrupted' WHERE id = ?", (row["id"],))
                self._leases.forget(row["id"])

    def _begin(self, command: str, settings: Mapping[str, object], version: str, now_text: str) -> int:
        values = (command, now_text, RunStatus.RUNNING, version, json.dumps(dict(settings)), os.getpid())
        run_id = int(self._db.execute(_INSERT, values).lastrowid or 0)
        self._leases.take(run_id)
        return run_id

    def _resume(self, command: str, settings: Mapping[str, object]) -> Run | None:
        run = next(self._with_settings(f"{_OURS} ORDER BY id DESC LIMIT 1", command, settings), None)
        if run is None or run.status is not RunStatus.INTERRUPTED or not self._has_journal(run.id):
            return None
        self._leases.take(run.id)
        # Its `pid` stays that of the process that began it: by that a merge knows the run again.
        sql = "UPDATE runs SET status = ?, finished_at = NULL WHERE id = ?"
        self._db.execute(sql, (RunStatus.RUNNING, run.id))
        forget_counts(self._db.connection, run.id)
        rollups.forget_rollups(self._db.connection, run.id)
        return run

    def _refuse_second(self, command: str, settings: Mapping[str, object]) -> None:
        """Raise `DatabaseError` while a run of a command with these settings is under way."""
        for run in self._with_settings(f"{_OURS} AND status = 'running'", command, settings):
            raise DatabaseError(
                f"{self._db.path}: this {command} is under way as run {run.id}, by"
                f" {self._leases.describe(run.id)}; wait for its end, or ask for a new one"
            )

    def _with_settings(self, sql: str, command: str, settings: Mapping[str, object]) -> Iterator[Run]:
        """Yield those runs of a command that had these settings."""
        wanted = json.loads(json.dumps(dict(settings)))
        for run in map(_run_of, self._db.select(sql, command)):
            if run.settings | wanted == run.settings:
                yield run

    def _has_journal(self, run_id: int) -> bool:
        return self._db.first("SELECT 1 FROM crawl_journal WHERE run_id = ? LIMIT 1", run_id) is not None


def _aggregate(connection: sqlite3.Connection, run_id: int) -> None:
    infohash_samples.aggregate(connection)
    count_nodes(connection, run_id)
    rollups.make_rollups(connection, run_id)


def _run_of(row: Row) -> Run:
    parsed = {"status": RunStatus(row["status"]), "settings": json.loads(row["settings"])}
    return Run(**(row | parsed))


_INSERT = """
INSERT INTO runs (command, started_at, status, version, settings, pid) VALUES (?, ?, ?, ?, ?, ?)
"""
_INSERT_JOURNAL = Insert("crawl_journal", Journal)
_JOURNALS = f"SELECT {', '.join(Journal._fields)} FROM crawl_journal WHERE run_id = ? ORDER BY id"

# Runs of other databases are none of ours: their processes are elsewhere, and they left no journal.
_OURS = "SELECT * FROM runs WHERE command = ? AND id NOT IN (SELECT run_id FROM merged_runs)"
RUNS_UNDER_WAY = """
SELECT id, pid FROM runs WHERE status = 'running' AND id NOT IN (SELECT run_id FROM merged_runs)
"""
