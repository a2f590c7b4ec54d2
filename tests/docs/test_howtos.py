"""The pages that say how: their command lines are understood, and their programs run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from crawler.cli.main import main as dhtcrawl
from dhtnode.cli.main import main as dhtnode
from tests.commands import running_testnet, swarm_option
from tests.docs.test_readme import ON_OUR_NETWORK

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "docs" / "howto").glob("*.md"))
PAGES = {name: (ROOT / "docs" / "howto" / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
PROGRAMS = {"dhtnode": dhtnode, "dhtcrawl": dhtcrawl}
LINE = re.compile(r"^(?:    .*?|ExecStart=.*?)\b(?<!-)((?:dhtnode|dhtcrawl) [a-z].*)$", re.MULTILINE)
LINES = [(name, line) for name, page in PAGES.items() for line in LINE.findall(page)]
LIBRARY = re.findall(r"^```python\n(.*?)^```$", PAGES["use_the_library"], re.MULTILINE | re.DOTALL)
HELP = ["-h", "--help"]  # as the programs set them: click remembers those it was first asked with
INFO_HASH = "5d41402abc4b2a76b9719d911017c592aabbccdd"


def test_pages_show_command_lines():
    shown = {name for name, _ in LINES}
    assert shown == set(NAMES) - {"use_the_library"}
    assert len(LINES) >= 10
    assert len(LIBRARY) == 4


@pytest.mark.parametrize(("page", "line"), LINES)
def test_command_line_is_understood(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, name, *words = shlex.split(line.replace("INFOHASH", INFO_HASH), comments=True)
    files = [word for word in words if re.fullmatch(r"[\w-]+\.(?:db|txt)", word)]
    for file in files:
        Path(file).touch()
    words = [word if not word.startswith(("/", "$")) else "there" for word in words]
    Path("there").touch()
    command = PROGRAMS[program].commands[name]
    with command.make_context(
        name, words, parent=click.Context(PROGRAMS[program], help_option_names=HELP)
    ) as context:
        assert context.params


@pytest.fixture(scope="module")
def bootstrap():
    with running_testnet(20, *swarm_option()) as network:
        yield network.bootstrap


CRAWL_ON_OUR_NETWORK = """
import crawler
crawler.CrawlOptions = functools.partial(crawler.CrawlOptions, bootstrap=bootstrap)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(LIBRARY)))
def test_program_runs(bootstrap, number, tmp_path):
    program = ON_OUR_NETWORK + CRAWL_ON_OUR_NETWORK + LIBRARY[number]
    command = [sys.executable, "-W", "error", "-c", program, *bootstrap]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=environment
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bool(ended.stdout) == (number != 2)
