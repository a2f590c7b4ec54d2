"""Tables and views of a crawl database as files, with a schema file that says what they hold.

Raw filters, the journal, and what else could tell of peers never leave; node addresses may be left out.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crawler.db.schema.columns import TABLES, ColumnText, TableText
from crawler.private_files import make_private
from crawler.reports import anonymize
from crawler.reports.files import Form
from crawler.reports.report import check_run
from dhtnode import __version__

ROWS_AT_ONCE = 20_000  # held in memory: some 20 MB
SCHEMA_FILE = "schema.json"


class ExportError(Exception):
    """The reason, in one line, why a file cannot be written."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written: its name, the table in it, and how many rows it has."""

    file: str
    table: str
    rows: int


def export_tables(
    db: sqlite3.Connection, folder: Path, form: Form, *, run: int | None = None, key: bytes | None = None
) -> Iterator[Exported]:
    """Write every table and view into a folder, which is made if it is not there; yield each when done.

    With `run`, only rows of that run, and no table whose rows belong to none.  With `key`, a secret, rows
    are changed as `anonymous` says.  `db` is from `open_reading`; some 10 us for each row.  Raises `NoAnswer`
    for an unknown run, and `ExportError` before anything is written if one of the files is there already, or
    when a file cannot be written: that one is left out then.
    """
    check_run(db, run)
    tables = [table for table in TABLES.values() if table.exported and (run is None or _of_run(table))]
    files = {table.name: f"{table.name}.{form.suffix}" for table in tables}
    if key is not None:
        anonymize.add_functions(db, key)
    done = []
    with _own_folder(folder):
        _check_files(folder, [*files.values(), SCHEMA_FILE])
        for table in tables:
            cursor = db.execute(_select(table, run=run, is_anonymous=key is not None), _values(run))
            rows = _write(folder / files[table.name], form, exported_columns(table), cursor)
            done.append(Exported(files[table.name], table.name, rows))
            yield done[-1]
        # The last file of a whole export: without it, a folder is of one that was cut off.
        _write_schema(folder / SCHEMA_FILE, done, run=run, is_anonymous=key is not None)


def exported_columns(table: TableText) -> list[ColumnText]:
    """Return the columns of a table that may leave this machine."""
    return [column for column in table.columns if column.privacy != "never"]


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is not there, and keep other exports out of it for the length of the block."""
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ExportError(f"{folder}: {error.strerror}") from error
    try:
        _lock(opened, folder)
        yield
    finally:
        os.close(opened)


def _lock(opened: int, folder: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExportError(f"{folder}: another export is writing to it") from error
    except OSError:
        # A file system that locks no folders.
        return


def _check_files(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise ExportError(f"{folder / name}: is there already, and is not overwritten")


def _of_run(table: TableText) -> str:
    """Return the condition for rows of run `?1`, empty for a table whose rows belong to none."""
    names = {column.name for column in table.columns}
    if table.name == "runs":
        return "id = ?1"
    if "run_id" in names:
        return "run_id = ?1"
    if "sample_id" in names:
        return "sample_id IN (SELECT id FROM swarm_samples WHERE run_id = ?1)"
    return ""


def _select(table: TableText, *, run: int | None, is_anonymous: bool) -> str:
    columns = exported_columns(table)
    wanted = [
        anonymize.expression(column, table) if is_anonymous else f'"{column.name}"' for column in columns
    ]
    conditions = [_of_run(table) if run is not None else "", table.groups if is_anonymous else ""]
    where = " AND ".join(f"({condition})" for condition in conditions if condition)
    return f'SELECT {", ".join(wanted)} FROM "{table.name}" WHERE {where or "true"}'


def _values(run: int | None) -> tuple[int, ...]:
    return () if run is None else (run,)


def _write(path: Path, form: Form, columns: Sequence[ColumnText], cursor: sqlite3.Cursor) -> int:
    """Write rows to a file, and return how many."""
    count = 0
    with _renamed_when_whole(path) as part, form.open(part, columns) as write:
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            write(rows)
            count += len(rows)
    return count


@contextmanager
def _renamed_when_whole(path: Path) -> Iterator[Path]:
    """Give another name for a file, which gets its own when the block has written it."""
    part = path.with_name(f"{path.name}.part")
    make_private(part)
    try:
        yield part
        part.rename(path)
    except (OSError, ValueError) as error:  # the latter for what does not fit the kind of its column
        raise ExportError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _write_schema(path: Path, done: Sequence[Exported], *, run: int | None, is_anonymous: bool) -> None:
    described = {
        "dhtnode": __version__,
        "anonymized": is_anonymous,
        "run": run,
        "files": [
            {
                "file": each.file,
                "table": each.table,
                "meaning": TABLES[each.table].meaning,
                "rows": each.rows,
                "columns": [
                    {
                        "name": column.name,
                        "type": column.kind,
                        "unit": column.unit or None,
                        "meaning": column.meaning,
                    }
                    for column in exported_columns(TABLES[each.table])
                ],
            }
            for each in done
        ],
    }
    with _renamed_when_whole(path) as part:
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
