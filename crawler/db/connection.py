"""Connections to a crawl database: to write it, or to read it while a crawl writes.

Whatever the file, the disk or another process does to us is a `DatabaseError` that names the path; any other
exception of SQLite is a mistake of ours.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from crawler.db.schema import migrations
from dhtnode.arguments import path_of
from dhtnode.files import write_new

BUSY_TIMEOUT = 60.0  # seconds to wait for another process that writes: a purge takes that long
READING_TIMEOUT = 5.0  # to read, only one that lets no other in is in the way
# As much again is taken to sort.  16 MB saved no time with 675,000 visits: most rows come in the order of
# their keys.
CACHE_KIB = 4 * 1024
CHECKPOINT_PAGES = 8000  # 32 MB of log: a page that changes often is copied back once, not every batch
LOG_BYTES = CHECKPOINT_PAGES * 4096  # what is left of the log after a transaction that made it longer
CLOSING_TIMEOUT = 1.0  # seconds to wait for readers until all of the log is in the file


# Without these, which change no value, `sqlite3` looks for a method of every value that is none of int, float
# and str, and fails: in CPython 3.11 that takes longer than all else about a row of a visit.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), dict[None, None]().get)

Row: TypeAlias = dict[str, Any]
"""A row by column name; values are what SQLite has: str, int, float, bytes, None."""


class DatabaseError(Exception):
    """The reason, in one line with the path, why a database cannot be used or written."""


class DatabaseBusy(DatabaseError):
    """The reason why a database cannot be written as long as another process holds it."""


class DatabaseFull(DatabaseError):
    """The reason why a database cannot be written as long as the disk has no room, or fails."""


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


_KINDS = {
    sqlite3.SQLITE_BUSY: DatabaseBusy,
    sqlite3.SQLITE_LOCKED: DatabaseBusy,
    sqlite3.SQLITE_FULL: DatabaseFull,
    # Of a full disk too, where the log or its index cannot grow.
    sqlite3.SQLITE_IOERR: DatabaseFull,
}


@contextmanager
def reported(path: str) -> Iterator[None]:
    """Turn what SQLite says about the file into `DatabaseError`, and let mistakes of ours pass."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        reason = _REASONS.get(code)
        if reason is None and not isinstance(error, sqlite3.OperationalError):
            raise
        raise _KINDS.get(code, DatabaseError)(f"{path}: {reason or error}") from error
    except UnicodeDecodeError as error:  # of a name in the schema; of a value, SQLite tells itself
        raise DatabaseError(f"{path}: is damaged, a text in it is no UTF-8") from error


def rows_of(connection: sqlite3.Connection, sql: str, *values: object) -> list[Row]:
    """Return the rows of a query by column name."""
    cursor = connection.execute(sql, values)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


class GuardedConnection:
    """A connection whose errors name the file, and whose writes are transactions as a whole."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany

    def reported(self) -> AbstractContextManager[None]:
        """Turn what SQLite says about the file within the block into `DatabaseError`."""
        return reported(self.path)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        with reported(self.path):
            # IMMEDIATE, or another writer is met half-way, where waiting for it cannot help.
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            finally:
                # Does nothing after a COMMIT.
                self.connection.rollback()

    def close(self) -> None:
        """Close the connection, with all that was written in the file itself: a copy of it is whole.

        What another connection still reads from the log stays there.  A second call does nothing.
        """
        # Nothing is lost where this fails, or where the connection is closed already.
        with suppress(sqlite3.Error):
            self.execute(f"PRAGMA busy_timeout = {1000 * CLOSING_TIMEOUT:.0f}")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with reported(self.path):
            self.connection.close()

    def select(self, sql: str, *values: object) -> list[Row]:
        """Return the rows of a query."""
        with reported(self.path):
            return rows_of(self.connection, sql, *values)

    def first(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        with reported(self.path):
            row: tuple[Any, ...] | None = self.execute(sql, values).fetchone()
        return row


def open_writable(path: str, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Connect to a database for any thread, and make its tables if there are none.

    Raises `DatabaseError`, and leaves the file untouched, when it is no database, not one of ours, or made by
    another version.
    """
    if path != ":memory:" and not Path(path).absolute().parent.is_dir():
        raise DatabaseError(f"{path}: the directory does not exist")
    with reported(path), ExitStack() as unless_ready:
        # What SQLite puts beside it is as private.  Whatever hinders us, SQLite is going to report.
        with suppress(OSError, ValueError):
            if path != ":memory:" and not Path(path).exists():
                write_new(path, migrations.new_database())
        # Statements begin no transaction by themselves (`isolation_level`): we do, so that none is ever
        # open by accident.
        connection = sqlite3.connect(
            path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        unless_ready.callback(connection.close)
        check_is_ours(connection, path, may_be_new=True)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        # The last batches may be lost with the power, never the database; a killed process loses none.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        migrations.bring_up_to_date(connection)
        unless_ready.pop_all()
    return connection


def open_readable(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """Connect read-only to a database of ours, for this thread or any.

    The file is never changed.  SQLite may leave two small files beside it, `-shm` and `-wal`, which the
    next writer removes.  Raises `DatabaseError` when there is no such file, when it is no database or
    another program's, empty, or made by another version.
    """
    name = str(path)
    if not path.is_file():
        raise DatabaseError(f"{name}: there is no such file")
    with reported(name), ExitStack() as unless_ready:
        connection = _connect_read_only(path, any_thread=any_thread)
        unless_ready.callback(connection.close)
        check_is_ours(connection, name)
        unless_ready.pop_all()
    return connection


@contextmanager
def open_reading(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open a database like `open_readable`; all that is read in the block is from one moment.

    Raises `DatabaseError`, also for what goes wrong in the block.
    """
    path = path_of("path", path)
    with reported(str(path)), closing(open_readable(path)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        yield connection


def _connect_read_only(path: Path, *, any_thread: bool) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + "?mode=ro"
    last_attempt = False
    while True:
        connection = sqlite3.connect(
            uri, uri=True, timeout=READING_TIMEOUT, isolation_level=None, check_same_thread=not any_thread
        )
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            is_in_use = path.with_name(f"{path.name}-wal").exists()
            if last_attempt or is_in_use or not isinstance(error, sqlite3.OperationalError):
                raise
            # To read, SQLite needs files beside the database.  In a directory where it cannot make them there
            # is no writer either.
            uri, last_attempt = f"{uri}&immutable=1", True
        else:
            return connection


def check_is_ours(connection: sqlite3.Connection, path: str, *, may_be_new: bool = False) -> None:
    """Raise `DatabaseError` unless a database has the tables of this version, or none where it may be new.

    One that lacks our latest migrations may be written, which adds them, but not read.
    """
    names = migrations.applied(connection)
    if names is None:
        if not may_be_new:
            raise DatabaseError(f"{path}: is empty, nothing was recorded there")
        return
    if not names:
        raise DatabaseError(f"{path}: is a database of another program")
    if unknown := migrations.unknown(names):
        raise DatabaseError(
            f"{path}: was made by another version, with tables that this one does not know ({unknown[-1]})"
        )
    if not may_be_new and (pending := migrations.pending(names)):
        raise DatabaseError(
            f"{path}: was made by an older version (it lacks {', '.join(pending)});"
            " any command that records in it brings it up to date"
        )
    if not migrations.pending(names) and (strange := migrations.strange(connection)):
        raise DatabaseError(f"{path}: was changed by another program: {strange} is not that of this version")
