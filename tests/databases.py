"""What a database holds, as any other program reads it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def rows(path: str | Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, values).fetchall()


def records(path: str | Path, query: str) -> list[dict[str, Any]]:
    """Return rows as dictionaries, by the names of the columns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]
