"""What a report is: a question to a database with its SQL and prose, and the answer to it."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import TypeAlias

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = tuple[Cell, ...]

LIMIT = 20  # rows, unless another number is given
NEWEST = 200_000  # rows of a run under way that are counted: a second or two
LAST = 1_000_000  # the place of a report that gives none


class NoAnswer(Exception):
    """The reason, in one line, why a report has no answer: there is no such run, or no such swarm."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer; `unit` is that of its numbers, empty for counts and texts."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """The answer of a report; `name` is that of the report.

    `text` explains in a sentence or two what is seen and what may mislead.
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def records(self) -> list[dict[str, Cell]]:
        """Return the rows as dictionaries, as pandas takes them."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Report:
    """A question to a crawl database, asked by a command, by a program or in the browser.

    `sql` is the whole of it: its column names are those of the answer, `:run` is the number of a run or
    NULL, `:limit` the most rows.  In the browser a parameter may be an empty text, which counts as NULL.
    """

    name: str
    about: str
    """A line for `dhtcrawl report --list`."""

    question: str
    """The heading in the browser."""

    title: str
    """The heading elsewhere."""

    text: str
    sql: str
    units: Mapping[str, str] = field(default_factory=dict)
    """By the names of columns."""

    needs: str = ""
    """The parameter of the SQL, if any, without which there is no answer."""

    only_browsed: frozenset[str] = frozenset({"run_id"})
    """Columns that are in the browser only: elsewhere the title has them."""

    page: str = ""
    """The name in addresses of the browser, if another than `name`: no table may have it."""

    place: int = LAST
    """The place in lists of reports, and among those of one place that of the name."""

    summary_place: int = 0
    """The place in the summary, 0 for none."""

    run_of: str = ""
    """A table: the answer is about one run, by default the newest that has rows in it."""

    under_way: str = ""
    """What to select from in place of `run_of` for a run `?1` under way; `?2` bounds its rows."""

    complete: Callable[[sqlite3.Connection, Row], Row] | None = None
    """Fills in each row what no single query gives in time."""

    @property
    def page_name(self) -> str:
        """Return the name in addresses of the browser."""
        return self.page or self.name.replace("-", "_")

    def answer(
        self, db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT, **values: str
    ) -> ReportAnswer:
        """Return the answer from a connection as `open_reading` gives it.

        `run` is the number of a run, None for the newest that has an answer, or for all where they are
        shown side by side; `limit` bounds the rows; `values` has what the report needs.  Raises `NoAnswer`.
        """
        return self.ask(db, run, limit, values)[0]

    def ask(
        self, db: sqlite3.Connection, run: int | None, limit: int, values: Mapping[str, str]
    ) -> tuple[ReportAnswer, list[dict[str, Cell]]]:
        """Return the answer, and its rows with all that the browser shows."""
        check_run(db, run)
        sql, note = self.sql, ""
        if self.run_of:
            run = run or _newest(db, self.run_of)
        if self.under_way:
            run = run or _newest(db, "(SELECT id AS run_id FROM runs)")
            if run is not None and not select(db, "SELECT 1 FROM run_costs WHERE run_id = :run", run=run)[1]:
                live = self.under_way.replace("?1", ":run").replace("?2", ":newest")
                sql = sql.replace(self.run_of, f"({live})")
                note = f", under way: the newest {NEWEST} rows"
        names, rows = select(db, sql, run=run, limit=limit, newest=NEWEST, **values)
        records = [dict(zip(names, row, strict=True)) for row in rows]
        if self.complete is not None:
            rows = tuple(self.complete(db, row) for row in rows)
        shown = [place for place, name in enumerate(names) if name not in self.only_browsed]
        columns = tuple(Column(names[place], self.units.get(names[place], "")) for place in shown)
        rows = tuple(tuple(row[place] for place in shown) for row in rows)
        return ReportAnswer(self.name, f"{self.title}{of_run(run)}{note}", self.text, columns, rows), records


def select(db: sqlite3.Connection, sql: str, **values: object) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Return the names of the columns and the rows of a query; what is not finite becomes None."""
    cursor = db.execute(sql, values)
    names = tuple(column[0] for column in cursor.description)
    return names, tuple(
        tuple(None if isinstance(value, float) and isinf(value) else value for value in row) for row in cursor
    )


def check_run(db: sqlite3.Connection, run: int | None) -> None:
    """Raise `NoAnswer` if there is no run of this number."""
    if run is not None and not select(db, "SELECT 1 FROM runs WHERE id = :run", run=run)[1]:
        raise NoAnswer(f"there is no run {run}")


def of_run(run: int | None) -> str:
    """Return the end of a title."""
    return "" if run is None else f", run {run}"


def one_run(table: str) -> str:
    """Return the condition for rows of run `:run`, by default of the newest that has rows in a table."""
    newest = f"(SELECT max(run_id) FROM {table})"
    return f"run_id = coalesce(nullif(:run, ''), {newest})"


def any_run(column: str = "run_id") -> str:
    """Return the condition for rows of run `:run`, or for all rows without one."""
    return f"(nullif(:run, '') IS NULL OR {column} = CAST(:run AS INTEGER))"


def whole(names: str, table: str = "") -> str:
    """Return columns as whole numbers under their own names; what is not finite becomes NULL."""
    return ", ".join(
        f"iif({table}{name} < 1e15, CAST(round({table}{name}) AS INTEGER), NULL) AS {name}"
        for name in names.split()
    )


def _newest(db: sqlite3.Connection, table: str) -> int | None:
    found = db.execute(f"SELECT max(run_id) FROM {table}").fetchone()[0]
    return None if found is None else int(found)
