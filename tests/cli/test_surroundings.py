"""Every command of both programs in hostile surroundings: a status and one line, no traceback, no hang."""

import io
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

from crawler.cli.main import main as dhtcrawl
from dhtnode import files, lines
from dhtnode.cli import console, streams
from dhtnode.cli.main import main as dhtnode
from tests.commands import SWARM
from tests.small_database import make_database

NOWHERE = ["--bootstrap", "127.0.0.1:1", "--timeout", "0.02"]
CRAWL = ["--db", "new.db", *NOWHERE]

WORDS = {
    "dhtnode": {
        "announce": [SWARM, "--port", "1", *NOWHERE],
        "config": ["--show"],
        "find-node": [SWARM, *NOWHERE],
        "gateway": [
            *(
                "--listen",
                "127.0.0.1:0",
                "--no-default-bootstrap",
                "--udp",
                "127.0.0.1:0",
                "--timeout",
                "0.02",
            )
        ],
        "get": [SWARM, *NOWHERE],
        "get-peers": [SWARM, *NOWHERE],
        "ping": ["127.0.0.1:1", "--timeout", "0.02"],
        "put": ["x", *NOWHERE],
        "run": ["--listen", "127.0.0.1:0", "--no-default-bootstrap", "--timeout", "0.02"],
        "sample": ["127.0.0.1:1", "--timeout", "0.02"],
        "scrape": [SWARM, *NOWHERE],
        "status": ["--status-socket", "missing.sock"],
        "testnet": ["--nodes", "2", "--timeout", "0.02"],
        "local-tracker": ["--external", "127.0.0.1", "--name-server", "127.0.0.1:1", "--timeout", "0.1"],
        "trackers": [SWARM, "--tracker", "udp://127.0.0.1:1", "--timeout", "0.02"],
    },
    "dhtcrawl": {
        "browse": ["--db", "missing.db"],
        "census": CRAWL,
        "demo": ["--db", "missing/small.db", "--timeout", "0.02"],
        "example": ["--db", "small.db"],
        "explain": ["--db", "small.db", "1"],
        "export": ["--db", "small.db", "--csv", "out"],
        "merge": ["--into", "merged.db", "small.db"],
        "metadata": [SWARM, *CRAWL],
        "purge": ["--db", "small.db", "--older", "1"],
        "report": ["--db", "small.db"],
        "sample": CRAWL,
        "scrape": [SWARM, *CRAWL],
        "synthetic": ["--nodes", "2", "--timeout", "0.02"],
        "torrent": [SWARM],
        "trackers": ["--db", "small.db", "--tracker", "udp://127.0.0.1:1", "--timeout", "0.02"],
        "watch": [SWARM, "--once", *CRAWL],
    },
}
"""What each command is called with: it does its work, or finds no node, and needs no network."""

GROUPS = {"dhtnode": dhtnode, "dhtcrawl": dhtcrawl}
COMMANDS = [(program, name) for program, commands in WORDS.items() for name in commands]
FILES = [
    (program, name, parameter.opts[-1] if isinstance(parameter, click.Option) else "")
    for program, name in COMMANDS
    for parameter in GROUPS[program].commands[name].params
    # A demonstration opens its database when its network is up, after seconds.
    if isinstance(parameter.type, (click.Path, console.ListFile)) and name != "demo"
] + [("dhtnode", "get-peers", "")]
"""The options and arguments that name a file."""


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text):
        raise OSError(28, "No space left on device")


STREAMS = {
    "stdout closed": {"stdout": lambda: None},
    "stdout full": {"stdout": Full},
    "stderr closed": {"stderr": lambda: None},
    "stderr full": {"stderr": Full},
    "all closed": {"stdin": lambda: None, "stdout": lambda: None, "stderr": lambda: None},
    "cp1252": {"stdout": lambda: io.TextIOWrapper(io.BytesIO(), encoding="cp1252")},
    "gbk": {"stdout": lambda: io.TextIOWrapper(io.BytesIO(), encoding="gbk")},
}

PATHS = {
    "long name": lambda _: "x" * 5000,
    "long path": lambda _: "d/" * 5000,
    "endless": lambda _: "/dev/zero",
    "directory": lambda folder: str(folder),
    "fifo": lambda folder: make_fifo(folder / "fifo"),
}


def make_fifo(path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(path)
    return str(path)


@pytest.fixture(scope="module")
def small_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.db"
    make_database(path)
    return path


@pytest.fixture(autouse=True)
def folder(small_database, tmp_path, monkeypatch):
    """Work in a folder with a database; give back what a command changes of this process."""
    (tmp_path / "small.db").write_bytes(small_database.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lines, "_stderr", lines._Stderr())
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    logger = logging.getLogger()
    kept, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield tmp_path
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = kept
    logger.setLevel(level)
    streams.failures.clear()


def run(program, *words):
    """Run a command in this process, and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        GROUPS[program].main(list(words), prog_name=program)
    return int(ended.value.code or 0)


def test_every_command_is_tried():
    assert {program: set(group.commands) for program, group in GROUPS.items()} == {
        program: set(commands) for program, commands in WORDS.items()
    }


@pytest.mark.parametrize("streams_are", STREAMS)
@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_streams_end_no_command(monkeypatch, capfd, program, name, streams_are):
    """What a command records or serves, it does all the same."""
    for stream, make in STREAMS[streams_are].items():
        monkeypatch.setattr(sys, stream, make())
    assert run(program, name, *WORDS[program][name]) in (0, 1, 2)
    assert run(program, name, "--help") == ("stdout full" in streams_are)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(("program", "name", "option"), FILES)
def test_path_that_will_not_do_is_one_line(capfd, folder, program, name, option, kind):
    path = PATHS[kind](folder)
    status = run(program, name, *WORDS[program][name], *([option] if option else []), path)
    told = capfd.readouterr().err
    assert status in (0, 1, 2)
    assert "Traceback" not in told
    assert told.count("\n") <= 1
    with suppress(OSError):
        assert status == 0 or told
