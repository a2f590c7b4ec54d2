"""What a report answers: a title, what it says and what may mislead, columns with units, rows."""

import sqlite3
from dataclasses import dataclass
from math import isinf
from typing import Protocol, TypeAlias

Value: TypeAlias = str | int | float | None

LIMIT = 20  # rows, unless another number is asked for


class NoAnswer(Exception):
    """Say in one line why a question has no answer: there is no such run, or no such swarm."""


@dataclass(frozen=True, slots=True)
class Column:
    """Name a column; `unit` is that of its numbers, empty for counts and texts."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Hold the answer to a question.

    `text` says in a sentence or two what is seen and what may mislead; `name` is that of the question.
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def records(self) -> list[dict[str, Value]]:
        """Return the rows as dictionaries, as pandas takes them."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


class Ask(Protocol):
    """Answer a question from a connection as `open_reading` gives it.

    `run` is the number of a run, None for the newest that has an answer, or for all where they are
    shown side by side; `limit` bounds the rows.  Raises `NoAnswer`.
    """

    def __call__(self, db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
        """Return the answer."""


def columns(text: str) -> tuple[Column, ...]:
    """Read columns from words; a unit follows its name after a colon."""
    return tuple(Column(*word.split(":")) for word in text.split())


def select(db: sqlite3.Connection, sql: str, *values: object) -> tuple[tuple[Value, ...], ...]:
    """Return the rows of a query; what is not finite becomes None."""
    return tuple(tuple(map(_finite, row)) for row in db.execute(sql, values))


def chosen_run(db: sqlite3.Connection, run: int | None, of: str) -> int | None:
    """Return the run to report on: the one asked for, or the newest with rows in a table; None for none."""
    if run is None:
        found = db.execute(f"SELECT max(run_id) FROM {of}").fetchone()[0]  # noqa: S608  # our own names
        return None if found is None else int(found)
    check_run(db, run)
    return run


def check_run(db: sqlite3.Connection, run: int | None) -> None:
    """Raise `NoAnswer` if there is no run of this number."""
    if run is not None and db.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is None:
        raise NoAnswer(f"there is no run {run}")


def of_run(run: int | None) -> str:
    """Return the end of a title."""
    return "" if run is None else f", run {run}"


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and isinf(value) else value
