"""A crawl database that is merged into another: read as it was at one moment, and never changed.

A database that a process is writing to, or has left without counting its last rows, is read from a copy.  The
copy is a file that SQLite makes without a name, so that even a killed process leaves none.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from crawler.db import infohash_samples
from crawler.db.connection import CACHE_KIB, DatabaseError, open_readable, reported
from crawler.db.merge.rules import Table, tables_of
from crawler.db.run_nodes import count_nodes
from crawler.db.runs import RUNS_UNDER_WAY

_HAS_UNCOUNTED_ROWS = """
SELECT EXISTS (SELECT 1 FROM runs WHERE status = 'running' AND id NOT IN (SELECT run_id FROM merged_runs))
    OR EXISTS (SELECT 1 FROM node_sample_rows WHERE new IS NULL)
"""


@dataclass(frozen=True, slots=True)
class MergeSource:
    """A database to be merged: where it is, which vantage it is, and its tables by name."""

    path: Path
    connection: sqlite3.Connection
    identity: str
    tables: Mapping[str, Table]

    def rows(
        self, sql: str, values: Mapping[str, int] | tuple[object, ...] = ()
    ) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a query as they are read; raises `DatabaseError` where the file is damaged."""
        with reported(str(self.path)):
            yield from self.connection.execute(sql, values)


@contextmanager
def open_source(path: Path) -> Iterator[MergeSource]:
    """Open a database for the length of the block, as it is now; raises `DatabaseError`.

    Costs a copy of the file where its last rows have to be counted.
    """
    name = str(path)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_readable(path)))
        with reported(name):
            if connection.execute(_HAS_UNCOUNTED_ROWS).fetchone()[0]:
                copy = stack.enter_context(closing(sqlite3.connect("", isolation_level=None)))
                connection.backup(copy)
                connection.close()
                connection = copy
                _count_all(connection)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            # From the first query on, all see the same.
            connection.execute("BEGIN")
            identity = _identity_in(name, connection)
            tables = tables_of(connection)
        yield MergeSource(path, connection, identity, tables)


def _identity_in(name: str, connection: sqlite3.Connection) -> str:
    """Return the identity of a vantage; one that has lost it may be merged if all its runs are of others."""
    row = connection.execute("SELECT identity FROM vantages WHERE is_here").fetchone()
    if row is not None:
        return str(row[0])
    if connection.execute("SELECT 1 FROM runs WHERE id NOT IN (SELECT run_id FROM merged_runs)").fetchone():
        raise DatabaseError(f"{name}: it has runs, and no vantage that they are of")
    return ""


def _count_all(copy: sqlite3.Connection) -> None:
    """Count all that a copy holds."""
    copy.execute("BEGIN")
    infohash_samples.aggregate(copy)
    for run_id, _ in copy.execute(RUNS_UNDER_WAY).fetchall():
        count_nodes(copy, run_id)
    copy.execute("COMMIT")
