"""A crawl database opened to be read, also while a crawl writes to it: by reports, exports, notebooks."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from crawler.db import rollups, schema
from crawler.db.database import DatabaseError, reported

BUSY_TIMEOUT = 5.0  # seconds


@contextmanager
def open_reading(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open a crawl database read-only; all that is read in the block is from one moment.

    The file is never changed.  SQLite may leave two small files beside it, `-shm` and `-wal`, which the
    next writer clears away.  Raises `DatabaseError` when there is no such file, when it is no database or
    another program's, empty, or made by another version.
    """
    name = str(path)
    if not Path(path).is_file():
        raise DatabaseError(f"{name}: there is no such file")
    with reported(name), closing(connect(Path(path))) as connection:
        connection.execute("PRAGMA query_only = ON")
        rollups.add_functions(connection)
        connection.execute("BEGIN")
        _check(connection, name)
        yield connection


def connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """Connect read-only, without a look at what is in the file, for this thread or any.

    In a directory that cannot be written to, the file counts as one that nobody writes to: SQLite's log
    needs files beside the database, even to read it.
    """
    options: dict[str, Any] = {"uri": True, "isolation_level": None, "check_same_thread": not any_thread}
    uri = path.absolute().as_uri() + "?mode=ro"
    connection: sqlite3.Connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT, **options)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(f"{path.name}-wal").exists():
            raise
        connection = sqlite3.connect(f"{uri}&immutable=1", **options)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    db = Database(connection, execute_plugins=False)
    if schema.is_of_another_program(db):
        raise DatabaseError(f"{path}: is a database of another program")
    if not db.table_names():
        raise DatabaseError(f"{path}: is empty, nothing was recorded there")
    if unknown := schema.unknown_migrations(db):
        raise DatabaseError(f"{path}: was made by a newer version ({', '.join(sorted(unknown))})")
    if pending := [migration.name for migration in schema.migrations.pending(db)]:
        raise DatabaseError(
            f"{path}: was made by an older version (it lacks {', '.join(pending)});"
            " any command that records in it brings it up to date"
        )
