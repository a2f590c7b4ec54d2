"""What every table, view and column of a crawl database holds, in words: for exports, pages and documents.

The words are the comments of schema.sql and views.sql, whose beginnings say how they are written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Literal, TypeAlias, cast, get_args

from crawler.db.schema import read_sql

Kind: TypeAlias = Literal["integer", "number", "text", "time", "flag", "json", "bytes"]
"""What values are; a time is UTC text `YYYY-MM-DDTHH:MM:SS.sssZ`, a flag 0 or 1, json an object as text."""

Privacy: TypeAlias = Literal["", "never", "host", "id", "port", "version", "client", "subject", "tracker"]
"""How a column is treated when it leaves this machine: not exported, or changed by `anonymize`."""

UNITS = ("ms", "s", "h", "d", "B", "nodes", "peers", "peers/h", "peers/d")

_TYPES: dict[Kind, type | UnionType] = {"integer": int, "flag": int, "number": int | float, "bytes": bytes}
"""The types of values that are no text."""

_KINDS: dict[str, Kind] = {"INTEGER": "integer", "REAL": "number", "TEXT": "text", "BLOB": "bytes"}


@dataclass(frozen=True, slots=True)
class ColumnText:
    """The description of a column; `unit` is empty for counts and texts."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    privacy: Privacy


@dataclass(frozen=True, slots=True)
class TableText:
    """The description of a table or view.

    `groups` is a condition in SQL that holds for rows about 10 nodes or more, empty where rows are not about
    groups of nodes.  What is not `exported` is of use to the crawler alone.
    """

    name: str
    meaning: str
    columns: tuple[ColumnText, ...]
    groups: str = ""
    exported: bool = True

    def wrong_column(self, row: Mapping[str, object]) -> str | None:
        """Return the first column of a row whose value is not of its kind, which SQLite lets pass."""
        for column in self.columns:
            value = row.get(column.name)
            if value is not None and not isinstance(value, _TYPES.get(column.kind, str)):
                return column.name
        return None


def read_tables(schema: str, views: str) -> dict[str, TableText]:
    """Read what tables and views hold from the SQL that makes them, laid out as in our files.

    Raises `ValueError` for a word in brackets that means nothing, and for a column without a meaning.
    """
    found = {}
    for head, name, body in _statements("TABLE", r"\(\n(.*?)\n\)", schema):
        declared = re.findall(r"^    (\w+) (INTEGER|REAL|TEXT|BLOB)\b.*? -- (.*)$", body, re.MULTILINE)
        columns = [_column(column, comment, _KINDS[kind]) for column, kind, comment in declared]
        found[name] = _table(name, head, columns)
    hidden = _first_columns(table for table in found.values() if not table.exported)
    first = _first_columns(table for table in found.values() if table.exported)
    for head, name, query in _statements("VIEW", r"AS\n(.*?;)\n", views):
        columns = [
            _column(column, comment) if comment else (hidden | first)[column]
            for column, comment in _selected(query)
        ]
        found[name] = _table(name, head, columns)
        first = _first_columns([found[name]]) | first
    return found


def _first_columns(tables: Iterable[TableText]) -> dict[str, ColumnText]:
    found: dict[str, ColumnText] = {}
    for table in tables:
        found = {column.name: column for column in table.columns} | found
    return found


def _statements(kind: str, body: str, sql: str) -> list[tuple[str, str, str]]:
    return re.findall(rf"((?:--[^\n]*\n)+)CREATE {kind} (\w+) {body}", sql, re.DOTALL)


def _table(name: str, head: str, columns: list[ColumnText]) -> TableText:
    lines = [line.removeprefix("--").strip() for line in head.splitlines()]
    groups = [line.removeprefix("groups: ") for line in lines if line.startswith("groups: ")]
    return TableText(name, lines[0], tuple(columns), "".join(groups), "not exported" not in lines)


def _selected(query: str) -> Iterator[tuple[str, str]]:
    """Yield the columns of a view and the comments behind them: those of the last SELECT, one a line."""
    lines = f"\n{query}".rpartition("\nSELECT\n")[2].partition("\nFROM ")[0].splitlines()
    depth = 0
    for number, line in enumerate(lines, 1):
        code, _, comment = line.partition(" -- ")
        depth += code.count("(") - code.count(")")
        if not depth and (code.rstrip().endswith(",") or number == len(lines)):
            yield re.findall(r"\w+", code)[-1], comment


def _column(name: str, comment: str, kind: Kind | None = None) -> ColumnText:
    words, meaning = re.findall(r"^(?:\[(.*?)\] )?(.*)$", comment)[0]
    unit, privacy = "", ""
    for word in words.split():
        if word in get_args(Kind):
            kind = cast("Kind", word)
        elif word in UNITS:
            unit = word
        elif word[0] == "!" and word[1:] in get_args(Privacy):
            privacy = word[1:]
        else:
            raise ValueError(f"{name}: no kind, unit or mark of a column: {word!r}")
    if kind is None or not meaning:
        raise ValueError(f"{name}: no kind or no meaning: {comment!r}")
    return ColumnText(name, kind, unit, meaning, cast("Privacy", privacy))


TABLES: dict[str, TableText] = read_tables(read_sql("schema.sql"), read_sql("views.sql"))
"""All tables and views but those of SQLite and sqlite-utils, by name."""
