"""Reports as text for a terminal, as plain text, and as Markdown, CSV and JSON.

What the database holds may come from anybody, the names of torrents too: what does not print is replaced.
"""

import csv
import io
import json
import re
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crawler.reports import Column, Report, Value

WIDTH = 110  # characters of prose, where no terminal has another width
NOTHING = "nothing recorded"


def draw(report: Report, console: Console) -> None:
    """Draw a report on a terminal; a table that is wider than it is written as `plain` does it."""
    console.print(Text(_printable(report.title), style="bold"))
    console.print(Text(report.text))
    widths = _widths(report)
    if not report.rows:
        console.print(Text(NOTHING))
    elif sum(widths) + 3 * len(widths) + 1 > console.width:  # with a line and two blanks for each
        console.print()
        console.print(Text("\n".join(_aligned(report))), soft_wrap=True)
    else:
        console.print(_table(report))


def _table(report: Report) -> Table:
    table = Table()
    for column, is_right in zip(report.columns, _right(report), strict=True):
        table.add_column(Text(_heading(column)), justify="right" if is_right else "left")
    for row in report.rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def plain(report: Report) -> str:
    """Return a report as aligned text."""
    prose = textwrap.fill(report.text, WIDTH)
    if not report.rows:
        return f"{_printable(report.title)}\n{prose}\n\n{NOTHING}"
    return "\n".join([_printable(report.title), prose, "", *_aligned(report)])


def _aligned(report: Report) -> list[str]:
    """Return the table as lines, with the names of columns in the first."""
    widths, right = _widths(report), _right(report)
    return [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in _lines(report)
    ]


def _lines(report: Report) -> list[list[str]]:
    return [[_heading(column) for column in report.columns], *(list(map(_cell, row)) for row in report.rows)]


def _widths(report: Report) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*_lines(report), strict=True)]


def markdown(report: Report) -> str:
    """Return a report as a section of Markdown."""
    head = f"## {_escaped(_printable(report.title))}\n\n{report.text}\n\n"
    if not report.rows:
        return f"{head}{NOTHING.capitalize()}."
    rule = ["--:" if is_right else "---" for is_right in _right(report)]
    lines = [
        [_heading(column) for column in report.columns],
        rule,
        *([_escaped(_cell(value)) for value in row] for row in report.rows),
    ]
    return head + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_text(report: Report) -> str:
    """Return the rows as CSV under a line of names; nothing is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in report.columns])
    writer.writerows(report.rows)
    return text.getvalue().removesuffix("\n")


def json_lines(report: Report, *, named: bool = False) -> str:
    """Return the rows as JSON, one object a line; with `named`, each says which report it belongs to."""
    head = {"report": report.name} if named else {}
    return "\n".join(json.dumps(head | record) for record in report.records())


def _heading(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.15g}"
    return _printable(str(value))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is: no link, no image and no HTML comes of a name."""
    return re.sub(r"[\\|<\[`*]", r"\\\g<0>", text)


def _right(report: Report) -> Sequence[bool]:
    """Tell for each column whether it holds numbers only."""
    return [
        all(isinstance(value, (int, float)) or value is None for value in values)
        for values in zip(*report.rows, strict=True)
    ] or [False] * len(report.columns)
