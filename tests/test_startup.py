"""What a start imports, in processes of its own: nobody waits for what is not used.

How long it takes is for `python -m benchmarks.startup` to say, and nothing that a test may hold.
"""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dhtnode
import dhtnode.ids
from crawler.cli import main as dhtcrawl
from dhtnode.cli import main as dhtnode_command
from dhtnode.console import OneLineGroup

ROOT = Path(__file__).resolve().parent.parent

LOADED = """
import sys
before = set(sys.modules)
{code}
import json
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""
COMMAND = """
from {module} import main
for arguments in {command_lines}:
    try:
        main(arguments)
    except SystemExit as ended:
        assert ended.code == {status}, (arguments, ended.code)
"""
VALUES = {"dhtnode", *(f"dhtnode.{name}" for name in ("addresses", "errors", "ids", "magnet"))}
CONSOLE = {*VALUES, "dhtnode.console"}
OURS = {
    "dhtnode.cli": {
        *CONSOLE,
        *(f"dhtnode.{name}" for name in ("cli", "cli_ask", "cli_daemon", "cli_items", "cli_testnet")),
        *(f"dhtnode.{name}" for name in ("clients", "settings")),
    },
    "crawler.cli": {
        *CONSOLE,
        *("crawler", "crawler.cli", "crawler.settings"),
        *(f"crawler.cli_{name}" for name in ("crawls", "census", "sample", "scrape", "explain", "metadata")),
        *(f"crawler.cli_{name}" for name in ("watch", "purge", "report", "export", "merge", "example")),
        *("crawler.cli_browse", "crawler.cli_synthetic"),
        *(f"crawler.synthetic{name}" for name in ("", ".settings")),
    },
}
"""Our modules that a command line is read with; a new one is worth a thought about what it costs."""

HEAVY = {"asyncio", "multiprocessing", "socket", "sqlite3", "ssl"}
"""Of the standard library, what is slow to import and what only the work needs."""


def loaded(code, status=0):
    """Return the modules that a piece of code loads in a new process; what it prints is lost."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED.format(code=code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def ours(modules):
    """Return those of our two packages."""
    return {name for name in modules if name.split(".")[0] in {"dhtnode", "crawler"}}


def foreign(modules):
    """Return the packages that pip installed, by their first names."""
    return {name.split(".")[0] for name in modules - ours(modules)} - sys.stdlib_module_names


def test_import_of_the_package_loads_no_module_of_it():
    """A name costs something when it is asked for, not before."""
    modules = loaded("import dhtnode; dhtnode.__version__; dir(dhtnode)")

    assert (ours(modules), foreign(modules), modules & HEAVY) == ({"dhtnode"}, set(), set())


def test_name_loads_what_it_needs_and_no_more():
    """Reading info-hashes takes no Trio."""
    modules = loaded("from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash")

    assert (ours(modules), foreign(modules), modules & HEAVY) == (VALUES, set(), set())


def test_what_is_loaded_is_seen():
    """A look that finds nothing would let everything pass."""
    modules = loaded("from dhtnode import open_node")

    assert "trio" in foreign(modules)
    assert {"dhtnode.opening", "dhtnode.udp"} <= ours(modules)
    assert "socket" in modules & HEAVY


@pytest.mark.parametrize(
    ("module", "command_lines", "status"),
    [
        ("dhtnode.cli", [["--help"]], 0),
        ("dhtnode.cli", [["--version"]], 0),
        ("dhtnode.cli", [[name, "--help"] for name in dhtnode_command.commands], 0),
        (
            "dhtnode.cli",
            [
                ["scape"],
                ["scrape", "xyz"],
                ["ping", ":1"],
                ["testnet", "--swarm", "x"],
                ["run", "--port", "x"],
            ],
            2,
        ),
        ("crawler.cli", [["--help"]], 0),
        ("crawler.cli", [["--version"]], 0),
        ("crawler.cli", [[name, "--help"] for name in dhtcrawl.commands], 0),
        ("crawler.cli", [["scape"], ["scrape", "--db", "x.db", "xyz"], ["scrape", "--db", "x.db"]], 2),
    ],
)
def test_command_line_is_read_without_what_the_work_needs(module, command_lines, status):
    """Help, and the word that something is wrong, come before Trio, Rich and the database."""
    modules = loaded(COMMAND.format(module=module, command_lines=command_lines, status=status))

    assert (ours(modules), foreign(modules), modules & HEAVY) == (OURS[module], {"click"}, set())


def names_for_type_checkers():
    """Return the home of each name that `if TYPE_CHECKING` imports into the package, read as text."""
    tree = ast.parse((ROOT / "dhtnode" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    assert all(isinstance(node, ast.ImportFrom) for node in block.body)
    return [(alias.asname or alias.name, node.module) for node in block.body for alias in node.names]


def table():
    """Return the home of each name that the package finds when it runs."""
    return [(name, f"dhtnode.{module}") for module, names in dhtnode._HOMES.items() for name in names]


def test_type_checkers_see_what_is_there():
    """The imports for them, the table, and `__all__` say the same, each name once."""
    assert names_for_type_checkers() == table()
    assert sorted([*dict(table()), "__version__"]) == sorted(dhtnode.__all__)
    assert len(dict(table())) == len(table())


def test_each_name_is_that_of_its_module():
    """It is the same object, and stays where it was found."""
    for name, module in table():
        assert getattr(dhtnode, name) is getattr(importlib.import_module(module), name), name
        assert name in vars(dhtnode)


def test_no_name_is_that_of_a_module():
    """Importing `dhtnode.x` binds `x` in the package, whatever the table says."""
    assert not {path.stem for path in (ROOT / "dhtnode").glob("*.py")} & {name for name, _ in table()}


FIRST = """
import os, sys
import trio
import dhtnode

for name in {names}:
    child = os.fork()
    if not child:
        getattr(dhtnode, name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


def test_any_name_may_be_the_first():
    """No module needs another one to be imported before it; a fork each, so that all are new."""
    assert "trio" in loaded(FIRST.format(names=[names[0] for names in dhtnode._HOMES.values()]))


def test_all_names_are_listed_before_they_are_imported():
    """For whoever completes a name at a prompt, and for `from dhtnode import *`."""
    code = "import dhtnode; assert set(dhtnode.__all__) <= set(dir(dhtnode)); exec('from dhtnode import *')"

    assert ours(loaded(code)) >= {module for _, module in table()}


def test_unknown_name_fails_as_in_any_module():
    """With the same text and the same attributes, and in the same way when it is imported."""
    messages = []
    for module in (dhtnode, dhtnode.ids):
        with pytest.raises(AttributeError) as failed:
            module.open_nodes  # noqa: B018
        assert (failed.value.name, failed.value.obj) == ("open_nodes", module)
        with pytest.raises(ImportError, match="cannot import name 'open_nodes'"):
            exec(f"from {module.__name__} import open_nodes")  # noqa: S102
        messages.append(str(failed.value).replace(module.__name__, "MODULE"))

    assert messages[0] == messages[1]


def test_interrupt_before_the_work_begins_is_one_line(capsys):
    """A command imports first what it needs, and somebody may have lost patience."""

    @click.group("program", cls=OneLineGroup)
    def program():
        pass

    @program.command()
    def work():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        program.main(["work"])

    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "program: interrupted\n")
