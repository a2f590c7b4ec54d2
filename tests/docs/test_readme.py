"""README.md, executed: every block of it runs, on a network of ours in place of the live one."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest

import dev
from crawler.cli.main import main as dhtcrawl
from dhtnode.cli.main import main as dhtnode
from tests.commands import Running, run_command, running_testnet, swarm_option
from tests.project.test_rooms import FLOORS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(found["kind"], found["body"]) for found in FENCE.finditer(README)]
PYTHON = [body for kind, body in BLOCKS if kind == "python"]
LINES = [line for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
PROGRAMS = {"dhtnode": dhtnode, "dhtcrawl": dhtcrawl}

ON_OUR_NETWORK = """
import functools, sys
import dhtnode
bootstrap = sys.argv[1:]
dhtnode.find_peers = functools.partial(dhtnode.find_peers, bootstrap=bootstrap)
dhtnode.open_node = functools.partial(dhtnode.open_node, bootstrap=bootstrap)
"""


@pytest.fixture(scope="module")
def network():
    with running_testnet(20, *swarm_option()) as running:
        yield running


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Return the one directory in which the commands of README are typed, one after the other."""
    return tmp_path_factory.mktemp("workplace")


def test_every_block_is_of_a_kind_that_is_executed():
    """A new kind of block needs a test before it is written."""
    assert README.count("```") == 2 * len(BLOCKS)
    assert {kind for kind, _ in BLOCKS} == {"python", "sh", "text"}


def test_tree_is_that_of_the_code():
    """Each package has its line, in the order of the floors of `test_rooms`."""
    (tree,) = [body for kind, body in BLOCKS if kind == "text"]
    for product, lines in re.findall(r"^(\w+)/\n((?: .*\n)+)", tree, re.MULTILINE):
        named = re.findall(r"^  (\w+)/ ", lines, re.MULTILINE)
        floors = [room for floor in FLOORS[product][1:] for room in floor.split()]
        assert sorted(named) == sorted(path.parent.name for path in ROOT.glob(f"{product}/*/__init__.py"))
        assert named == floors


@pytest.fixture(scope="module")
def printed():
    """Run each Python block once as a script in a process of its own, with the live network replaced.

    The nodes that the blocks open leave holes in the network, so it is not the one for the commands.
    """
    with running_testnet(20, *swarm_option()) as network:
        return [
            subprocess.run(
                [sys.executable, "-W", "error", "-c", ON_OUR_NETWORK + block, *network.bootstrap],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            for block in PYTHON
        ]


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block_runs(printed, number):
    assert (printed[number].returncode, printed[number].stderr) == (0, "")


def test_smallest_program_prints_the_peers(printed):
    lines = printed[0].stdout.splitlines()
    assert len(lines) == len(set(lines)) > 50
    assert all(re.fullmatch(r"198\.1[89]\.\d+\.\d+:6881", line) for line in lines)


def test_trio_program_prints_peers_and_the_size(printed):
    *peers, last = printed[1].stdout.splitlines()
    assert len(peers) > 50
    found = re.fullmatch(r"(\d+) peers, between (\d+) and (\d+)", last)
    assert found
    assert int(found[2]) <= 100 <= int(found[3])


def command_of(line):
    """Return the words of a line, which must begin with a program that this test knows."""
    words = shlex.split(line)
    return [Path(words[0]).name, *words[1:]]


def test_shell_lines_are_of_programs_that_are_executed():
    assert {command_of(line)[0] for line in LINES} == {"python3", "dhtnode", "dhtcrawl", "sqlite-utils"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("dht")])
def test_command_line_runs(network, workplace, line):
    words = command_of(line)
    if words[:2] == ["dhtnode", "testnet"]:
        with Running(*words, cwd=workplace) as process:
            assert process.read_line()
            process.close_stdin()
            ended = process.wait()
    else:
        port = network.bootstrap[0].rpartition(":")[2]
        words = [word.replace(":PORT", f":{port}") for word in words]
        ended = run_command(*words, *network.options, cwd=workplace)

    said = re.sub("^looked nodes up for 1 of 1 swarms: .*\n", "", ended.stderr)  # by `dhtcrawl scrape`
    assert (ended.status, said) == (0, "")
    assert ended.stdout


@pytest.mark.parametrize("line", [line for line in LINES if "sqlite-utils" in line])
def test_line_that_looks_into_a_database_runs(network, workplace, line):
    words = command_of(line)
    database = next(word for word in words if word.endswith(".db"))
    made = run_command(*("dhtcrawl", "scrape", "--db", database, "11" * 20), *network.options, cwd=workplace)
    ended = run_command(*words, cwd=workplace)
    assert (made.status, ended.status, ended.stderr) == (0, 0, "")
    assert "11" * 20 in ended.stdout


def test_setup_lines_are_the_commands_of_the_setup_program(monkeypatch):
    called = []
    for name in ("demo", "check"):
        monkeypatch.setattr(dev, name, lambda args, name=name: called.append((name, args)) or 0)
    lines = [line for line in LINES if line.startswith("python3")]
    for line in lines:
        python, program, *arguments = line.split()
        assert (python, program) == ("python3", "dev.py")
        assert dev.main(arguments) == 0
    assert called == [("demo", []), ("check", [])]


def commands():
    return {
        f"{program} {name}": command
        for program, group in PROGRAMS.items()
        for name, command in group.commands.items()
    }


def table_rows():
    """Return the rows of the table of commands: the first cell, and the second."""
    return re.findall(r"^\| `(dht[^`]*)` \| (.*) \|$", README, re.MULTILINE)


def test_table_lists_exactly_the_commands_that_exist():
    """Nothing is promised that is not there, and nothing is kept quiet."""
    listed = [" ".join(cell.split()[:2]) for cell, _ in table_rows()]
    assert sorted(listed) == sorted(commands())


def options_of(command):
    return {
        name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts
    }


@pytest.mark.parametrize(("cell", "description"), table_rows())
def test_options_of_the_table_exist(cell, description):
    command = commands()[" ".join(cell.split()[:2])]
    named = set(re.findall(r"--[a-z-]+", cell + description))
    assert named <= options_of(command)


def test_every_command_takes_the_options_that_all_have():
    others = {
        "dhtcrawl demo": {"--timeout"},
        "dhtcrawl purge": set(),
        "dhtcrawl merge": set(),
        "dhtcrawl example": set(),
        "dhtcrawl synthetic": {"--timeout"},
        "dhtcrawl explain": set(),
        "dhtcrawl report": set(),
        "dhtcrawl export": set(),
        "dhtcrawl browse": set(),
        "dhtnode status": {"--timeout"},
        "dhtnode config": set(),
        "dhtcrawl torrent": {"--timeout"},
        "dhtnode trackers": {"--timeout"},
        "dhtcrawl trackers": {"--timeout"},
    }
    for name, command in commands().items():
        wanted = {"--json"} | others.get(name, {"--timeout", "--bootstrap"})
        assert wanted <= options_of(command), name


def test_options_in_shell_lines_exist():
    for line in LINES:
        words = command_of(line)
        if words[0] in PROGRAMS:
            named = {word for word in words if word.startswith("--")}
            assert named <= options_of(commands()[" ".join(words[:2])]), line


def test_headings_go_down_one_level_at_a_time():
    levels = [len(found) for found in re.findall(r"^(#+) ", FENCE.sub("", README), re.MULTILINE)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
