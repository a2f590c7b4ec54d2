"""Write docs/commands.md, the reference of all commands and options, from the commands themselves.

    python docs/generate.py

`tests/test_docs.py` fails when the file is not what this program would write.
"""

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from crawler.cli import main as dhtcrawl
from dhtnode.cli import main as dhtnode

REFERENCE = Path(__file__).resolve().parent / "commands.md"

HELP = ["-h", "--help"]

HEAD = """\
# All commands and options

Written by `python docs/generate.py` from the commands themselves; `COMMAND --help` prints the same.
"""


def reference() -> str:
    """Return the whole document."""
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


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
