"""Runs in the database: when each began and ended, and how an interrupted one is resumed."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping

from crawler.db import infohash_samples, rollups
from crawler.db.connection import DatabaseError, GuardedConnection, Row
from crawler.db.insert import Insert
from crawler.db.records.records import Journal, Run, RunStatus
from crawler.db.run_nodes import count_nodes, forget_counts
from dhtnode import Family


def is_process_running(pid: int) -> bool:
    """Return whether a process of this host has the number `pid`, of whatever owner."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is there, and another user's.
        return True
    return True


class RunRows:
    """The runs of the crawler; part of a `CrawlDatabase`."""

    def __init__(
        self, connection: GuardedConnection, is_running: Callable[[int], bool], *, anonymize: bool
    ) -> None:
        self._db = connection
        self._is_running = is_running
        self._is_anonymized = anonymize

    def begin(self, command: str, settings: Mapping[str, object], version: str, now_text: str) -> int:
        """Add a run of this process and return its number.

        Runs left `running` by a process that no longer exists become `interrupted`.  When another
        process has its number by now, such a run stays `running` for a while longer: better than
        to declare dead what another process is busy with.
        """
        values = (command, now_text, RunStatus.RUNNING, version, json.dumps(dict(settings)), os.getpid())
        with self._db.transaction():
            self.mark_interrupted()
            return int(self._db.execute(_INSERT, values).lastrowid or 0)

    def note(self, run_id: int, name: str, value: object) -> None:
        """Keep a value with the settings of a run, for the process that resumes it; in terms of JSON."""
        with self._db.transaction():
            for run in self._db.select("SELECT settings FROM runs WHERE id = ?", run_id):
                settings = json.dumps(json.loads(run["settings"]) | {name: value})
                self._db.execute("UPDATE runs SET settings = ? WHERE id = ?", (settings, run_id))

    def finish(self, run_id: int, status: RunStatus, now_text: str) -> None:
        """Record how and when a run ended."""
        with self._db.transaction():
            # The journal first, whose place in the file the nodes can take.
            if status is RunStatus.FINISHED:
                self._db.execute("DELETE FROM crawl_journal WHERE run_id = ?", (run_id,))
            _aggregate(self._db.connection, run_id)
            self._db.execute(
                "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?", (status, now_text, run_id)
            )

    def resumable(self, command: str, settings: Mapping[str, object]) -> Run | None:
        """Return the last run of a command, if it was interrupted, had these settings and left a journal.

        What a run has drawn for itself, as the `prefix` of a zone, need not be among the settings.
        """
        with self._db.transaction():
            self.mark_interrupted()
            for run in map(_run_of, self._db.select(_LAST, command)):
                wanted = run.settings | json.loads(json.dumps(dict(settings)))
                if (
                    wanted == run.settings
                    and run.status is RunStatus.INTERRUPTED
                    and self._has_journal(run.id)
                ):
                    return run
        return None

    def resume(self, run_id: int) -> None:
        """Let an interrupted run go on in this process."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE runs SET status = ?, finished_at = NULL, pid = ? WHERE id = ?",
                (RunStatus.RUNNING, os.getpid(), run_id),
            )
            forget_counts(self._db.connection, run_id)
            rollups.forget_rollups(self._db.connection, run_id)

    def write_journal(self, run_id: int, journal: Journal) -> None:
        """Add a journal; the caller has a transaction open."""
        # It holds addresses in full: an anonymized crawl is not resumed.
        if not self._is_anonymized:
            _INSERT_JOURNAL.one(self._db.connection, journal, run_id)

    def journals(self, run_id: int) -> Iterator[Journal]:
        """Yield the journals of a run, the first one first."""
        sql = "SELECT family, contacts, changes FROM crawl_journal WHERE run_id = ? ORDER BY id"
        with self._db.reported():
            for family, contacts, changes in self._db.execute(sql, (run_id,)):
                yield Journal(Family(family), contacts, changes)

    def all(self) -> list[Run]:
        """Return all runs, the oldest first."""
        return [_run_of(row) for row in self._db.select("SELECT * FROM runs ORDER BY id")]

    def refuse_while_running(self) -> None:
        """Raise `DatabaseError` while a process is writing a run; the caller has a transaction open."""
        self.mark_interrupted()
        for row in self._db.select(RUNS_UNDER_WAY):
            raise DatabaseError(f"{self._db.path}: process {row['pid']} is writing run {row['id']} to it")

    def mark_interrupted(self) -> None:
        """End the runs whose process no longer exists; the caller has a transaction open."""
        for row in self._db.select(RUNS_UNDER_WAY):
            if not self._is_running(row["pid"]):
                _aggregate(self._db.connection, row["id"])
                self._db.execute("UPDATE runs SET status = 'interrupted' WHERE id = ?", (row["id"],))

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

# Runs of other databases are none of ours: their processes are elsewhere, and they left no journal.
_LAST = """
SELECT * FROM runs WHERE command = ? AND id NOT IN (SELECT run_id FROM merged_runs) ORDER BY id DESC LIMIT 1
"""
RUNS_UNDER_WAY = """
SELECT id, pid FROM runs WHERE status = 'running' AND id NOT IN (SELECT run_id FROM merged_runs)
"""
