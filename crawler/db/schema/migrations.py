"""How a database gets its tables: by migrations, of which one makes all that this version has.

A migration that has been released is never edited: a later one changes what it made.  Which were applied
stands in the table in which `sqlite-utils migrate` has it too; that library itself, which imports pandas
where there is one, takes a second and 60 MB.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from crawler.db.schema import read_sql
from dhtnode.client_names import CLIENT_NAMES

Migration: TypeAlias = Callable[[sqlite3.Connection], None]

SET = "crawler"  # the name of our migrations, among those that other programs may add

_MAKE_TABLE = """
CREATE TABLE IF NOT EXISTS _sqlite_migrations (
    id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT, UNIQUE (migration_set, name)
)
"""

_PARTS = """
SELECT tables.name, columns.name
FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
UNION ALL SELECT name, sql FROM sqlite_master WHERE type = 'view'
"""


def m001_initial(connection: sqlite3.Connection) -> None:
    """Make all tables, indexes and views, and write the names of clients."""
    # `executescript` would commit first, and the tables of a migration that fails would stay.
    for statement in re.split(r"(?<=;)\n", read_sql("schema.sql") + read_sql("views.sql")):
        connection.execute(statement)
    connection.executemany("INSERT INTO client_names (letters, name) VALUES (?, ?)", CLIENT_NAMES.items())


MIGRATIONS: tuple[Migration, ...] = (m001_initial,)
"""The migrations of this version, in their order."""


def applied(connection: sqlite3.Connection) -> list[str] | None:
    """Return the names of our migrations that a database has, in their order; None where it has no tables."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "_sqlite_migrations" not in tables:
        return [] if tables else None
    rows = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (SET,)
    )
    return [name for (name,) in rows]


def pending(names: Iterable[str] | None) -> list[str]:
    """Return the migrations that a database lacks, by the names of those applied."""
    return [migration.__name__ for migration in MIGRATIONS if migration.__name__ not in (names or ())]


def unknown(names: Iterable[str] | None) -> list[str]:
    """Return the migrations of a database that this version does not have."""
    return [name for name in names or () if name not in {migration.__name__ for migration in MIGRATIONS}]


def strange(connection: sqlite3.Connection) -> str | None:
    """Return a table or view that is missing, or is something else, in a database that lacks no migration.

    A view is a program that runs when it is read: one of ours with another text may be made to run for ever.
    Further columns, tables and views are left alone, as nothing here reads them.
    """
    found = _objects(connection)
    return next((name for name, parts in _expected().items() if not parts <= found.get(name, set())), None)


def new_database() -> bytes:
    """Return a database file that has all tables and no rows."""
    with closing(_new_in_memory()) as connection:
        return connection.serialize()


@lru_cache
def _expected() -> dict[str, set[str]]:
    with closing(_new_in_memory()) as connection:
        return _objects(connection)


def _new_in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    bring_up_to_date(connection)
    return connection


def _objects(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the columns of all tables, and the texts of all views, by name."""
    found: dict[str, set[str]] = {}
    for name, part in connection.execute(_PARTS):
        found.setdefault(name, set()).add(part)
    return found


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Apply all pending migrations, or none when one fails; the connection must be in autocommit.

    Of two processes that create a database together the second waits for the first, and then
    finds nothing left to do.
    """
    if not pending(applied(connection)):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        names = pending(applied(connection))
        connection.execute(_MAKE_TABLE)
        for migration in MIGRATIONS:
            if migration.__name__ in names:
                migration(connection)
                row = SET, migration.__name__, str(datetime.now(UTC))
                connection.execute("INSERT INTO _sqlite_migrations VALUES (NULL, ?, ?, ?)", row)
        connection.execute("COMMIT")
    finally:
        # Does nothing after a COMMIT.
        connection.rollback()
