"""Write what follows from the code: docs/reference/commands.md and docs/reference/tables.md.

    python docs/generate.py

`tests/docs/test_docs.py` fails when a file is not what this program would write.
"""

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from crawler.cli.main import main as dhtcrawl
from crawler.core.visit import VisitMark
from crawler.db.schema.columns import TABLES, ColumnText, TableText
from dhtnode.cli.main import main as dhtnode
from dhtnode.swarm import METHODS, Mark

FOLDER = Path(__file__).resolve().parent / "reference"
REFERENCE = FOLDER / "commands.md"
TABLE_REFERENCE = FOLDER / "tables.md"

HELP = ["-h", "--help"]

HEAD = """\
# All commands and options

Written by `python docs/generate.py` from the commands themselves; `COMMAND --help` prints the same.
"""

TABLE_HEAD = """\
# All tables and columns

Written by `python docs/generate.py` from the descriptions that exports carry with them.

A *time* is text in UTC, `2025-06-01T12:00:00.000Z`; a *flag* is 0 or 1.
*json* is an object as text; *bytes* are a blob.
The last column says what becomes of a value in an export:
it *never* leaves the machine, or is changed by `--anonymize`.
No column of any table holds the address of a peer.
"""

LEAVING = {
    "": "",
    "never": "never",
    "host": "/24 or /48",
    "id": "pseudonym",
    "port": "left out",
    "version": "if 10 nodes have it",
    "client": "if 10 nodes have it",
    "subject": "/24, /48 or pseudonym",
    "tracker": "/24 or /48 for an address in it",
}
"""What an export does with a column, by the mark in its description."""


def reference() -> str:
    """Return the whole document about commands."""
    parts = [HEAD]
    for group in (dhtnode, dhtcrawl):
        parts.extend(section(group, str(group.name), level=2))
        for name in sorted(group.commands):
            parts.extend(section(group.commands[name], f"{group.name} {name}", level=3))
    return "\n".join(parts)


def section(command: click.Command, name: str, *, level: int) -> Iterator[str]:
    """Yield the paragraphs about one command."""
    context = click.Context(command, info_name=name, help_option_names=HELP)  # as every command inherits
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"{'#' * level} {name}\n\n    {usage}\n"
    yield f"{cleandoc(command.help or '')}\n"
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [option.get_help_record(context) for option in options]
    yield "\n".join(f"- `{record[0]}`: {record[1]}" for record in records if record) + "\n"


def table_reference() -> str:
    """Return the whole document about tables and views, in the order of their descriptions."""
    marks = [(mark.value, f"The node {mark.meaning}.") for mark in Mark]
    methods = [
        (name, f"{method.meaning[0].upper()}{method.meaning[1:]}.") for name, method in METHODS.items()
    ]
    sections = [*map(table_section, TABLES.values())]
    visit_marks = [(mark.value, f"The node {mark.meaning}.") for mark in VisitMark]
    sections += [words_section("Marks of visits and node_samples", visit_marks)]
    sections += [words_section("Marks of scrape_replies", marks)]
    sections += [words_section("Methods of swarm_samples and swarm_estimates", methods)]
    return "\n".join([TABLE_HEAD, *sections])


def words_section(title: str, words: list[tuple[str, str]]) -> str:
    """Return the section about the words that a column holds."""
    rows = "\n".join(f"| `{word}` | {meaning} |" for word, meaning in words)
    return f"## {title}\n\n| word | meaning |\n|---|---|\n{rows}\n"


def table_section(table: TableText) -> str:
    """Return the section about one table or view."""
    notes = [table.meaning]
    if not table.exported:
        notes.append("Not exported.")
    if table.groups:
        notes.append("Of an anonymized export, rows about fewer than 10 are left out.")
    rows = "\n".join(map(column_row, table.columns))
    head = "| column | kind | meaning | export |\n|---|---|---|---|"
    return f"## {table.name}\n\n{' '.join(notes)}\n\n{head}\n{rows}\n"


def column_row(column: ColumnText) -> str:
    """Return the row about one column."""
    kind = f"{column.kind}, {column.unit}" if column.unit else column.kind
    meaning = column.meaning.replace("|", "\\|")
    return f"| `{column.name}` | {kind} | {meaning} | {LEAVING[column.privacy]} |"


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
    TABLE_REFERENCE.write_text(table_reference(), encoding="utf-8")
