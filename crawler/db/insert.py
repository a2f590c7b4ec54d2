"""Records into tables: each field goes to the column of its name."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from crawler.db.records.records import OUTCOME_CODES, host_value, text_ms

VALUES_AT_ONCE = 999  # what SQLite takes in one statement at least
ROWS_AT_ONCE = 50

_COLUMNS = {"address": ("host", "port"), "rtt_ms": ("rtt_us",)}
"""The columns of fields that have others than one of their name."""

_EXPRESSIONS = {
    "info_hash": "record.info_hash.hex()",
    "twin": "record.twin.hex()",
    "host": "host_value(record.address)",
    "port": "record.address.port",
    "rtt_us": "None if record.rtt_ms is None else round(1000 * record.rtt_ms)",
    "outcome": "codes[record.outcome]",
    "marks": "' '.join(record.marks) or None",
    "details": "dumps(dict(record.details))",
    "clients": "dumps(record.clients)",
}
"""The values of columns that are not the field of that name as it is."""

_NAMES = {
    "codes": OUTCOME_CODES,
    "dumps": json.dumps,
    "host_value": host_value,
    "ms": lambda text: None if text is None else text_ms(text),
}


class Insert:
    """The statement that writes records of one class into one table.

    The columns are those `given` with each call, then those of the fields of the class but for those
    `without`, then the `computed` properties of it.  The fields in `times` are UTC text, and milliseconds in
    the table.  Columns `as_they_are` hold their field, also where one of that name is made otherwise.
    """

    def __init__(
        self,
        table: str,
        record: type,
        given: Sequence[str] = ("run_id",),
        *,
        computed: Sequence[str] = (),
        without: Sequence[str] = (),
        times: Sequence[str] = (),
        as_they_are: Sequence[str] = (),
        on_conflict: str = "",
    ) -> None:
        fields = [name for name in (*_fields(record), *computed) if name not in without]
        columns = {name: each for name, each in _COLUMNS.items() if name not in as_they_are}
        names = [column for name in fields for column in columns.get(name, (name,))]
        expressions = _EXPRESSIONS | {name: f"ms(record.{name})" for name in times}
        expressions |= {name: f"record.{name}" for name in as_they_are}
        values = [*given, *(expressions.get(name, f"record.{name}") for name in names)]
        # Compiled once, as `namedtuple` does: a look-up and a call for each field would cost more than a row.
        code = f"lambda {', '.join(('record', *given))}: ({', '.join(values)},)"
        self.values: Callable[..., tuple[object, ...]] = eval(code, _NAMES)  # noqa: S307  # our own names
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
        return f"INSERT INTO {self._table} ({', '.join(self._columns)}) VALUES {marks} {self._on_conflict}"


def _fields(record: Any) -> Sequence[str]:
    if not is_dataclass(record):
        return record._fields  # type: ignore[no-any-return]
    return [field.name for field in fields(record) if field.init]
