"""A crawl database that is merged into another: read as it was at one moment, and never changed.

What cannot be merged as it is, is read from a copy: one of an older version, and one that a process is
writing to or has left without counting its last rows.  The copy is a file that SQLite makes without a
name, so that even a killed process leaves none.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from crawler.db import infohash_samples, schema
from crawler.db.database import BUSY_TIMEOUT, CACHE_KIB, DatabaseError, reported
from crawler.db.merge.rules import Table, tables_of
from crawler.db.records.records import client_name
from crawler.db.run_nodes import make_run_nodes

_IS_UNSETTLED = """
SELECT EXISTS (SELECT 1 FROM runs WHERE status = 'running' AND id NOT IN (SELECT run_id FROM merged_runs))
    OR EXISTS (SELECT 1 FROM node_samples WHERE new IS NULL)
"""


@dataclass(frozen=True, slots=True)
class MergeSource:
    """Hold a database to be merged: where it is, which vantage it is, and its tables by name."""

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

    Costs a copy of the file where it has to be brought up to date.
    """
    name = str(path)
    if not path.is_file():
        raise DatabaseError(f"{name}: is not a file" if path.exists() else f"{name}: does not exist")
    with ExitStack() as stack:
        with reported(name):
            connection = stack.enter_context(closing(_connect_read_only(path)))
            is_old = _check(connection, name)
            if is_old or connection.execute(_IS_UNSETTLED).fetchone()[0]:
                copy = stack.enter_context(closing(sqlite3.connect("", isolation_level=None)))
                connection.backup(copy)
                connection.close()
                connection = copy
                _settle(connection)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("BEGIN")  # from the first query on, all see the same
            (identity,) = connection.execute("SELECT identity FROM vantages WHERE is_here").fetchone()
            tables = tables_of(connection)
        yield MergeSource(path, connection, identity, tables)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    location = path.absolute()
    options = "mode=ro"
    # To read beside a writer SQLite keeps a file next to the database.  Where none can be made there is
    # no writer either.
    if not os.access(location.parent, os.W_OK) and not Path(f"{location}-wal").exists():
        options = "immutable=1"
    return sqlite3.connect(
        f"{location.as_uri()}?{options}", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None
    )


def _check(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether a database is of an older version; raise `DatabaseError` when it is not for us."""
    db = Database(connection, execute_plugins=False)
    if schema.is_of_another_program(db):
        raise DatabaseError(f"{name}: is a database of another program")
    if not db.table_names():
        raise DatabaseError(f"{name}: is empty")
    if unknown := schema.unknown_migrations(db):
        raise DatabaseError(f"{name}: was made by a newer version ({', '.join(sorted(unknown))})")
    return bool(schema.migrations.pending(db))


def _settle(copy: sqlite3.Connection) -> None:
    """Bring a copy to the present version, and count all that it holds."""
    schema.bring_up_to_date(Database(copy, execute_plugins=False))
    client_of: Callable[[str | None], str | None] = lambda version: client_name(  # noqa: E731
        None if version is None else bytes.fromhex(version)
    )
    copy.create_function("client_name", 1, client_of, deterministic=True)
    copy.execute("BEGIN")
    infohash_samples.fold(copy)
    for run_id, _ in copy.execute(schema.RUNS_UNDER_WAY).fetchall():
        make_run_nodes(copy, run_id)
    copy.execute("COMMIT")
