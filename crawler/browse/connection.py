"""The connections that Datasette reads through: read-only, and blind to what tells of peers."""

import sqlite3
from pathlib import Path

from crawler.db.connection import open_readable
from crawler.db.schema.columns import TABLES

UNSEEN = frozenset(
    (table.name, column.name)
    for table in TABLES.values()
    for column in table.columns
    if column.privacy == "never"
)
"""Columns that read as NULL in any SQL: filters, journals, endpoints."""


def open_blind(path: Path) -> sqlite3.Connection:
    """Open a crawl database for any thread, read-only, without the columns in `UNSEEN`."""
    connection = open_readable(path, any_thread=True)
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)
    return connection


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _view: str | None
) -> int:
    if action == sqlite3.SQLITE_READ and (first, second) in UNSEEN:
        return sqlite3.SQLITE_IGNORE
    if action == sqlite3.SQLITE_ATTACH:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and first == "query_only":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
