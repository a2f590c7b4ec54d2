"""Answers of reports as text for a terminal, as plain text, and as Markdown, CSV and JSON.

What the database holds comes from the network, the names of torrents too: what does not print is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from typing import TYPE_CHECKING, Literal

from crawler.reports.files import csv_cell
from crawler.reports.report import Cell, Column, ReportAnswer
from dhtnode.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 110  # characters of prose, where no terminal has another width
NOTHING = "nothing recorded"


def draw(answer: ReportAnswer, console: Console | None = None) -> None:
    """Draw an answer on a terminal; a table that is wider than it is written as `plain` does it."""
    # Imported where they draw: who wants data would wait half as long again for them.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    console.print(Text(escaped(answer.title), style="bold"))
    console.print(Text(answer.text))
    if not answer.rows:
        console.print(Text(NOTHING))
        return
    aligned = _aligned(answer)
    # Between two columns a frame takes one character more than two blanks, and four around them all.
    if max(map(len, aligned.splitlines())) + len(answer.columns) + 3 > console.width:
        console.print()
        console.print(Text(aligned), soft_wrap=True)
        return
    table = Table()
    for column, align in zip(answer.columns, _alignment(answer), strict=True):
        table.add_column(Text(_heading(column)), justify=align)
    for row in _cells(answer):
        table.add_row(*map(Text, row))
    console.print(table)


def plain(answer: ReportAnswer) -> str:
    """Return an answer as aligned text."""
    prose = textwrap.fill(answer.text, WIDTH)
    table = _aligned(answer) if answer.rows else NOTHING
    return f"{escaped(answer.title)}\n{prose}\n\n{table}"


def markdown(answer: ReportAnswer) -> str:
    """Return an answer as a section of Markdown."""
    from tabulate import tabulate

    cells = [[_unmarked(cell) for cell in row] for row in _cells(answer)]
    headings = [_heading(column) for column in answer.columns]
    # Cells are text already: left to itself, tabulate reads numbers and writes them in its own way.
    table = (
        tabulate(cells, headings, "pipe", disable_numparse=True, colalign=_alignment(answer))
        if answer.rows
        else f"{NOTHING.capitalize()}."
    )
    return f"## {_unmarked(escaped(answer.title))}\n\n{answer.text}\n\n{table}"


def _aligned(answer: ReportAnswer) -> str:
    """Return the table as lines, with the names of columns in the first."""
    from tabulate import tabulate

    # As a row like others: as headings they would make each column wider by two.
    lines = [[_heading(column) for column in answer.columns], *_cells(answer)]
    text = tabulate(lines, (), "plain", disable_numparse=True, colalign=_alignment(answer))
    return "\n".join(line.rstrip() for line in text.splitlines())


def csv_text(answer: ReportAnswer) -> str:
    """Return the rows as CSV under a line of names; nothing is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in answer.columns])
    writer.writerows(map(csv_cell, row) for row in answer.rows)
    return text.getvalue().removesuffix("\n")


def json_lines(answer: ReportAnswer, *, named: bool = False) -> str:
    """Return the rows as JSON, one object a line; with `named`, each says which report it belongs to."""
    head = {"report": answer.name} if named else {}
    return "\n".join(json.dumps(head | record) for record in answer.records())


def _cells(answer: ReportAnswer) -> list[list[str]]:
    return [list(map(_cell, row)) for row in answer.rows]


def _heading(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.15g}"
    return escaped(str(value))


def _unmarked(text: str) -> str:
    """Return a text that Markdown shows as it is: no link, no image and no HTML comes of a name."""
    return re.sub(r"[\\|<\[`*]", r"\\\g<0>", text)


def _alignment(answer: ReportAnswer) -> list[Literal["left", "right"]]:
    """Return how to align each column: to the right if it holds numbers only."""
    return [
        "right" if all(isinstance(value, (int, float)) or value is None for value in values) else "left"
        for values in zip(*answer.rows, strict=True)
    ]
