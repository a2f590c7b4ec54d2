"""Records into tables: each field goes to the column of its name."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from crawler.db.records.records import prefix_text

VALUES_AT_ONCE = 999  # what SQLite takes in one statement at least
ROWS_AT_ONCE = 50

_EXPRESSIONS = {
    "node_id": "record.node_id.hex()",
    "info_hash": "record.info_hash.hex()",
    "version": "None if record.version is None else record.version.hex()",
    "address": "host_text(record.address)",
    "port": "record.address.port",
    # SQLite takes 2 us longer over the member itself.
    "outcome": "record.outcome.value",
    "marks": "' '.join(record.marks)",
    "details": "dumps(dict(record.details))",
    "clients": "dumps(record.clients)",
}
"""The values of columns that are not the field of that name as it is."""


class Insert:
    """The statement that writes records of one class into one table.

    The columns are those `given` with each call, then the fields of the class but for those `without`, then
    the `computed` properties of it.  An `address` fills two columns, the other one being `port`; with
    `anonymize`, the first is a prefix.
    """

    def __init__(
        self,
        table: str,
        record: type,
        given: Sequence[str] = ("run_id",),
        *,
        computed: Sequence[str] = (),
        without: Sequence[str] = (),
        anonymize: bool = False,
        on_conflict: str = "",
    ) -> None:
        names = [*_fields(record), *computed]
        if "address" in names:
            names.append("port")
        names = [name for name in names if name not in without]
        expressions = _EXPRESSIONS | ({} if anonymize else {"address": "record.address.host"})
        values = [*given, *(expressions.get(name, f"record.{name}") for name in names)]
        # Compiled once, as `namedtuple` does: a look-up and a call for each field would cost more than a row.
        code = f"lambda {', '.join(('record', *given))}: ({', '.join(values)},)"
        self.values: Callable[..., tuple[object, ...]] = eval(  # noqa: S307  # our own names
            code, {"dumps": json.dumps, "host_text": prefix_text}
        )
        """Returns the values of a row for a record and what is given."""

        self._columns = (*given, *names)
        self._table = table
        self._on_conflict = on_conflict
        self._statement = lru_cache(ROWS_AT_ONCE)(self._make_statement)

    def one(self, connection: sqlite3.Connection, record: object, *given: object) -> int:
        """Write a record and return the number of its row."""
        return int(connection.execute(self._statement(1), self.values(record, *given)).lastrowid or 0)

    def many(self, connection: sqlite3.Connection, records: Sequence[object], *given: object) -> None:
        """Write records that have the same given values."""
        self.rows(connection, [self.values(record, *given) for record in records])

    def rows(self, connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Write rows that `values` has returned."""
        # Each statement gives way to the other threads: one for every row would cost more than the row.
        at_once = min(ROWS_AT_ONCE, VALUES_AT_ONCE // len(self._columns))
        for at in range(0, len(rows), at_once):
            some = rows[at : at + at_once]
            connection.execute(self._statement(len(some)), list(chain.from_iterable(some)))

    def _make_statement(self, rows: int) -> str:
        marks = ", ".join([f"({', '.join('?' * len(self._columns))})"] * rows)
        return f"INSERT INTO {self._table} ({', '.join(self._columns)}) VALUES {marks} {self._on_conflict}"  # noqa: S608


def _fields(record: Any) -> Sequence[str]:
    return [field.name for field in fields(record)] if is_dataclass(record) else record._fields
