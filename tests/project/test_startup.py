"""The modules that a start imports, seen in processes of its own, and the public names of `dhtnode`.

How long it takes is measured by `python -m benchmarks.startup`.
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
from crawler.cli.main import main as dhtcrawl
from dhtnode.cli import LazyGroup
from dhtnode.cli.main import main as dhtnode_command

ROOT = Path(__file__).resolve().parents[2]

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
VALUES = {
    "dhtnode",
    *(f"dhtnode.{name}" for name in ("addresses", "errors", "escaping", "ids", "lazy_names", "magnet")),
}
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
    return {name for name in modules if name.split(".")[0] in {"dhtnode", "crawler"}}


def foreign(modules):
    return {name.split(".")[0] for name in modules - ours(modules)} - sys.stdlib_module_names


def test_import_of_the_package_loads_no_module_of_it():
    modules = loaded("import dhtnode; dhtnode.__version__; dir(dhtnode)")
    assert ours(modules) == {"dhtnode", "dhtnode.lazy_names"}
    assert (foreign(modules), modules & HEAVY) == (set(), set())


def test_name_loads_what_it_needs_and_no_more():
    modules = loaded("from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash")
    assert (ours(modules), foreign(modules), modules & HEAVY) == (VALUES, set(), set())


def test_what_is_loaded_is_seen():
    modules = loaded("from dhtnode import open_node")
    assert "trio" in foreign(modules)
    assert {"dhtnode.api.open_node", "dhtnode.net.udp"} <= ours(modules)
    assert "socket" in modules & HEAVY


@pytest.mark.parametrize(
    ("module", "command_lines", "status"),
    [
        ("dhtnode.cli.main", [["--help"]], 0),
        ("dhtnode.cli.main", [["--version"]], 0),
        ("dhtnode.cli.main", [[name, "--help"] for name in dhtnode_command.commands], 0),
        (
            "dhtnode.cli.main",
            [
                ["scape"],
                ["scrape", "xyz"],
                ["ping", ":1"],
                ["testnet", "--swarm", "x"],
                ["run", "--port", "x"],
            ],
            2,
        ),
        ("crawler.cli.main", [["--help"]], 0),
        ("crawler.cli.main", [["--version"]], 0),
        ("crawler.cli.main", [[name, "--help"] for name in dhtcrawl.commands], 0),
        ("crawler.cli.main", [["scape"], ["scrape", "--db", "x.db", "xyz"], ["scrape", "--db", "x.db"]], 2),
    ],
)
def test_command_line_is_read_without_what_the_work_needs(module, command_lines, status):
    modules = loaded(COMMAND.format(module=module, command_lines=command_lines, status=status))
    assert (foreign(modules), modules & HEAVY) == ({"click"}, set())


def table():
    tree = ast.parse((ROOT / "dhtnode" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [(alias.name, f"dhtnode.{node.module}") for node in imports for alias in node.names]


def test_names_are_those_of_the_stub():
    assert sorted([*dict(table()), "__version__"]) == sorted(dhtnode.__all__)
    assert len(dict(table())) == len(table())


def test_each_name_is_that_of_its_module():
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


@pytest.mark.slow
def test_any_name_may_be_the_first():
    """No module needs another one to be imported before it; a fork each, so that all are new."""
    assert "trio" in loaded(FIRST.format(names=[name for name, _ in table()]))


def test_all_names_are_listed_before_they_are_imported():
    code = "import dhtnode; assert set(dhtnode.__all__) <= set(dir(dhtnode)); exec('from dhtnode import *')"
    assert ours(loaded(code)) >= {module for _, module in table()}


def test_unknown_name_fails_as_in_any_module():
    with pytest.raises(AttributeError, match="open_nodes"):
        dhtnode.open_nodes  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'open_nodes'"):
        exec("from dhtnode import open_nodes")  # noqa: S102


def test_interrupt_before_the_work_begins_is_one_line(capsys):

    @click.group("program", cls=LazyGroup)
    def program():
        pass

    @program.command()
    def work():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        program.main(["work"])
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "program: interrupted\n")
