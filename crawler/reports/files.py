"""Files that tables are exported to: CSV, plain or compressed, and Parquet."""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from crawler.db.schema.columns import ColumnText
from dhtnode.escaping import escaped

Rows: TypeAlias = Sequence[Sequence[Any]]
Write: TypeAlias = Callable[[Rows], None]

_FORMULAS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # the latter in their wide forms


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file: the end of its name, and what opens one for writing."""

    suffix: str
    open: Callable[[Path, Sequence[ColumnText]], AbstractContextManager[Write]]


class NoParquet(Exception):
    """The library that writes Parquet is missing."""


@contextmanager
def _csv_file(path: Path, columns: Sequence[ColumnText]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _csv_writer(file, columns)


@contextmanager
def _gzip_file(path: Path, columns: Sequence[ColumnText]) -> Iterator[Write]:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        yield _csv_writer(file, columns)


def _csv_writer(file: Any, columns: Sequence[ColumnText]) -> Write:
    """Write the line of names, and return what writes rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in columns])

    def write(rows: Rows) -> None:
        writer.writerows(map(csv_cell, row) for row in rows)

    return write


def csv_cell(value: Any) -> Any:
    """Return a value as a field of CSV: bytes in hex, a text in one line that no spreadsheet takes to run.

    A text that begins as a formula gets an apostrophe before it.
    """
    if isinstance(value, str) and value:
        text = escaped(value)
        return f"'{text}" if text.lstrip()[:1] in _FORMULAS else text
    return value.hex() if isinstance(value, bytes) else value


CSV = Form("csv", _csv_file)
CSV_GZIP = Form("csv.gz", _gzip_file)


def parquet() -> Form:
    """Return the form of Parquet files; times, flags and bytes have types of their own in them.

    Raises `NoParquet`.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise NoParquet("Parquet needs pyarrow: pip install 'dhtnode[parquet]'") from error

    kinds = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
        "bytes": pa.binary(),
    }
    # What Arrow makes of our values by itself before it casts them.
    read_as = {"time": pa.string(), "flag": pa.int64()}

    @contextmanager
    def open_file(path: Path, columns: Sequence[ColumnText]) -> Iterator[Write]:
        schema = pa.schema([(column.name, kinds.get(column.kind, pa.string())) for column in columns])

        def array(values: Sequence[Any], column: ColumnText) -> Any:
            kind = kinds.get(column.kind, pa.string())
            return pa.array(values, read_as.get(column.kind, kind)).cast(kind)

        with ParquetWriter(path, schema, compression="zstd") as writer:

            def write(rows: Rows) -> None:
                arrays = list(map(array, zip(*rows, strict=True), columns))
                writer.write_batch(pa.record_batch(arrays, schema=schema))

            yield write

    return Form("parquet", open_file)
