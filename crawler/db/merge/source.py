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
from crawler.db.connection import CACHE_KIB, open_readable, reported
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
            (identity,) = connection.execute("SELECT identity FROM vantages WHERE is_here").fetchone()
            tables = tables_of(connection)
        yield MergeSource(path, connection, identity, tables)


def _count_all(copy: sqlite3.Connection) -> None:
    """Count all that a copy holds."""
    copy.execute("BEGIN")
    infohash_samples.aggregate(copy)
    for run_id, _ in copy.execute(RUNS_UNDER_WAY).fetchall():
        count_nodes(copy, run_id)
    copy.execute("COMMIT")
