"""Merge crawl databases: the observations of several machines in one file, with the origin of each run.

One transaction takes all sources, or nothing; a process that is killed leaves the target as it was.  Rows are
written as they are read.  Any order of sources, and any number of merges, ends with the same rows,
but for the numbers of runs and samples.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.leases.locks import MERGE, FileLocks
from crawler.db.merge import combined_measurements
from crawler.db.merge.rules import (
    Table,
    WholeTable,
    delete_of_runs,
    insert_into,
    join_into,
    joined,
    of_runs,
    select_joined,
    select_of_runs,
    shared,
    tables_of,
)
from crawler.db.merge.source import MergeSource, open_source
from crawler.db.schema import OF_RUN, SHOWN_AS
from dhtnode.arguments import check_whole, path_of, several

MOST_SECONDS = 2**31  # of a window
WINDOW = 600  # seconds; a peer stays in the stores for 45 minutes, and few come or go in 10

_RUNS = """
SELECT
    runs.id, coalesce(vantage, (SELECT identity FROM vantages WHERE is_here)), coalesce(number, runs.id),
    started_at, pid, command, status, finished_at
FROM runs LEFT JOIN merged_runs ON merged_runs.run_id = runs.id
ORDER BY 2, 3, started_at
"""

_OBSERVATIONS = f"""
SELECT (SELECT count(*) FROM visit_rows {OF_RUN})
    + (SELECT count(*) FROM node_sample_rows WHERE run_id = ?1)
    + (SELECT count(*) FROM swarm_samples WHERE run_id = ?1)
    + (SELECT count(*) FROM tracker_sweeps CROSS JOIN tracker_sample_rows ON sweep_id = id WHERE run_id = ?1)
"""


class RunKey(NamedTuple):
    """What tells a run from all others: where it was made, its number there, and what is not equal by chance.

    A copied database keeps the identity of the original.
    """

    vantage: str
    number: int
    started_at: str
    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class KnownRun:
    """The number of a run in one database, and how far it is there."""

    id: int
    status: str
    finished_at: str | None

    def progress(self, connection: sqlite3.Connection) -> tuple[bool, int, bool, str]:
        """Return what grows with a run; of two states of it the larger is the later one."""
        (observations,) = connection.execute(_OBSERVATIONS, (self.id,)).fetchone()
        return self.status == "finished", observations, self.status != "running", self.finished_at or ""


@dataclass(frozen=True, slots=True)
class MergedSource:
    """What one source brought: runs that are new, that grew since they were last merged, and known ones.

    `rows` are those that came with the runs, by table.
    """

    path: Path
    identity: str
    new_runs: int
    renewed_runs: int
    known_runs: int
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge did; `combined` is how many combined samples were computed."""

    sources: tuple[MergedSource, ...]
    combined: int


def merge(into: Path, sources: Sequence[Path], window: int = WINDOW) -> MergeResult:
    """Merge databases into one, which is made if it is not there.

    `window` is in seconds.  Some 25 us for each visit with its node and 1 ms for each combined sample;
    memory does not grow with the databases.  Raises `DatabaseError`, and leaves the target as it was, when
    a database is missing, damaged, of another program or version, or in use where it is written.
    """
    into = path_of("into", into)
    sources = [path_of("a source", each) for each in several("sources", sources)]
    check_whole("window", window, 0, MOST_SECONDS)
    with ExitStack() as stack:
        locks = stack.enter_context(closing(FileLocks(str(into))))
        if not locks.hold(MERGE):
            raise DatabaseError(f"{into}: another merge into it is under way")
        existed = into.exists()
        opened = []
        for path in sources:
            if existed and path.exists() and path.samefile(into):
                raise DatabaseError(f"{path}: is the database to merge into")
            opened.append(stack.enter_context(open_source(path)))
        # The same numbers in the target, whatever the order of the arguments.
        opened.sort(key=lambda source: (source.identity, str(source.path)))
        if not existed:
            stack.enter_context(_removed_on_failure(into, locks))
        store = stack.enter_context(CrawlDatabase.open(into))
        try:
            with store.merging() as connection:
                connection.execute("PRAGMA defer_foreign_keys = ON")  # rows come table by table
                taken = tuple(_take(connection, source) for source in opened)
                combined = combined_measurements.bring_up_to_date(connection, window)
        # Rows were deleted or added by hand.
        except sqlite3.IntegrityError as error:
            named = ", ".join(str(source.path) for source in opened)
            raise DatabaseError(f"{named}: rows contradict each other ({error})") from error
    return MergeResult(taken, combined)


@contextmanager
def _removed_on_failure(path: Path, locks: FileLocks) -> Iterator[None]:
    """Delete a database that was made here, where the merge fails, unless a run has begun in it."""
    try:
        yield
    # Whatever it was, an interrupt too, must not leave half a database.
    except BaseException:
        if locks.is_alone():
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        raise


def _take(connection: sqlite3.Connection, source: MergeSource) -> MergedSource:
    """Take over all of a source that is new; in a transaction."""
    tables = shared(tables_of(connection), source.tables)
    runs = _map_runs(connection, source, tables["runs"])
    if runs["renewed"]:
        for table in reversed(of_runs(tables, WholeTable.LEFT_BEHIND)):
            connection.execute(delete_of_runs(table, tables))
    for table, rule in joined(tables):
        connection.executemany(join_into(table, rule), source.rows(select_joined(table)))
    rows = _copy_rows(connection, source, tables) if runs["new"] + runs["renewed"] else {}
    return MergedSource(source.path, source.identity, runs["new"], runs["renewed"], runs["known"], rows)


def _map_runs(connection: sqlite3.Connection, source: MergeSource, table: Table) -> Counter[str]:
    """Enter the runs of a source, list them in its `temp.run_map`, and count them by their fate.

    Those that are known and have grown since then are listed in `temp.renewed` of the target.
    """
    _make_temporary(source.connection, "run_map", "old INTEGER PRIMARY KEY, new INTEGER, is_taken INTEGER")
    _make_temporary(connection, "renewed", "id INTEGER PRIMARY KEY")
    known = dict(_runs_of(connection.execute(_RUNS)))
    counts: Counter[str] = Counter()
    for key, run in list(_runs_of(source.rows(_RUNS))):
        there = known.get(key)
        if there is None:
            fate, number = "new", _add_run(connection, key, source, table, run.id)
        elif there.status != "finished" and run.progress(source.connection) > there.progress(connection):
            fate, number = "renewed", there.id
            _renew_run(connection, number, source, table, run.id)
        else:
            fate, number = "known", there.id
        counts[fate] += 1
        values = (run.id, number, fate != "known")
        source.connection.execute("INSERT INTO temp.run_map VALUES (?, ?, ?)", values)
    return counts


def _make_temporary(connection: sqlite3.Connection, name: str, columns: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    connection.execute(f"CREATE TEMP TABLE {name} ({columns})")


def _runs_of(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[RunKey, KnownRun]]:
    for number, *key, status, finished_at in rows:
        yield RunKey(*key), KnownRun(number, status, finished_at)


def _add_run(
    connection: sqlite3.Connection, key: RunKey, source: MergeSource, table: Table, number: int
) -> int:
    """Enter a run with where it is from, and return its number here."""
    columns, values = _run_values(source, table, number)
    sql = insert_into(replace(table, columns=tuple(columns)))
    added = connection.execute(sql, values).lastrowid or 0
    connection.execute("INSERT OR IGNORE INTO vantages (identity, is_here) VALUES (?, 0)", (key.vantage,))
    connection.execute("INSERT INTO merged_runs VALUES (?, ?, ?)", (added, key.vantage, key.number))
    return added


def _renew_run(
    connection: sqlite3.Connection, number: int, source: MergeSource, table: Table, theirs: int
) -> None:
    """Bring the row of a run up to date, and list it among those whose rows are to be taken again."""
    columns, values = _run_values(source, table, theirs)
    changes = ", ".join(f"{column} = ?" for column in columns)
    connection.execute(f"UPDATE runs SET {changes} WHERE id = ?", (*values, number))
    connection.execute("INSERT INTO temp.renewed VALUES (?)", (number,))


def _run_values(source: MergeSource, table: Table, number: int) -> tuple[list[str], tuple[object, ...]]:
    """Return the columns of a run but for its number, and what they hold."""
    columns = [column for column in table.columns if column != "id"]
    sql = f"SELECT {', '.join(columns)} FROM runs WHERE id = ?"
    (values,) = source.rows(sql, (number,))
    return columns, values


def _copy_rows(
    connection: sqlite3.Connection, source: MergeSource, tables: Mapping[str, Table]
) -> dict[str, int]:
    """Copy what belongs to the runs taken, under new numbers, and return the number of rows by table."""
    added = {}
    for name, table in tables.items():
        if table.is_numbered:
            (most,) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {name}").fetchone()
            added[name] = most
    return {
        SHOWN_AS.get(table.name, table.name): connection.executemany(
            insert_into(table), source.rows(select_of_runs(table, tables), added)
        ).rowcount
        for table in of_runs(tables)
    }
