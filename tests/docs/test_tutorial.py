"""docs/tutorial/first_crawl.md, executed: every command runs as it stands, in order, in one place.

What is printed must look like what the page shows, first lines compared with all numbers left out.
"""

import re
import shlex
import signal
import socket
import sys
from pathlib import Path

import pytest

from crawler.cli.main import main
from tests.commands import Running, run_command

ROOT = Path(__file__).resolve().parents[2]
PORT = 7881  # in the text; the commands run with another, which is free


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.bind(("", 0))
        return tried.getsockname()[1]


TEXT = (ROOT / "docs" / "tutorial" / "first_crawl.md").read_text(encoding="utf-8")
PAGE = re.sub(rf"\b{PORT}\b", str(free_port()), TEXT)
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [
    part for block in BLOCKS for part in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
NETWORK, *COMMANDS = SHOWN
SERVING = "dhtcrawl browse"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is there on Linux only"),
]


def without_numbers(text):
    """Return the first line of a text with hex ids, numbers and times made the same."""
    line = text.lstrip("\n").partition("\n")[0]
    return re.sub(r"[\d.:TZ-]*\d[\d.:TZ-]*", "0", re.sub(r"\b[0-9a-f]{40}\b", "0", line)).rstrip()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Run the network of the page in a place of its own, where the commands are typed."""
    folder = tmp_path_factory.mktemp("tutorial")
    command, shown = NETWORK
    with Running(*shlex.split(command), cwd=folder) as network:
        printed = [network.read_line() for _ in shown.splitlines()]
        assert printed == shown.splitlines()
        yield folder


def typed(command, folder):
    """Run a line as a shell would, with its redirection."""
    line, _, target = command.partition(" > ")
    ended = run_command(*shlex.split(line), cwd=folder)
    if target:
        (folder / target).write_text(ended.stdout, encoding="utf-8")
    return ended, "" if target else ended.stdout


def test_page_begins_with_the_network():
    begin = f"$ dhtcrawl synthetic --nodes 400 --loss 0.01 --swarms 100 --seed 7 --port {PORT} "
    assert TEXT.index(begin) < TEXT.index("$ dhtcrawl census ")
    assert len(COMMANDS) == PAGE.count("\n$ ") - 1 > 8


@pytest.fixture(scope="module")
def ended(place):
    """Run all commands of the page in order; the value is what each left behind."""
    return [(command, shown, *typed(command, place)) for command, shown in COMMANDS if SERVING not in command]


def test_every_command_ends_well(ended):
    assert [(command, each.status, each.stderr) for command, _, each, _ in ended if each.status] == []


def test_what_is_printed_looks_as_on_the_page(ended):
    for command, shown, each, stdout in ended:
        printed = each.stderr.splitlines()[-1] if " scrape " in command else stdout
        assert without_numbers(printed) == without_numbers(shown), command


def test_explained_number_is_found_again(ended):
    (explained,) = [stdout for command, _, _, stdout in ended if " explain " in command]
    assert explained.endswith("Computed again from these rows it is the same.\n")
    assert PAGE.count("Computed again from these rows it is the same.") == 1


def test_nearly_all_intervals_hold_the_truth(ended):
    """Of 100 swarms, in the last table that the page shows."""
    (table,) = [stdout for command, _, _, stdout in ended if "--attach" in command]
    swarms, held = map(int, table.split()[-2:])
    assert swarms == 100
    assert held >= 90


def test_indented_commands_exist(place, ended):
    lines = re.findall(r"^    (dhtcrawl .*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        assert typed(line, place)[0].status == 0


@pytest.mark.skipif("browse" not in main.commands, reason="this version has no pages to browse")
def test_browser_is_told_where_to_go(place, ended):
    ((command, shown),) = [each for each in COMMANDS if SERVING in each[0]]
    with Running(*shlex.split(command), "--port", "0", cwd=place) as served:
        assert without_numbers(served.read_line()) == without_numbers(shown)
        served.signal(signal.SIGINT)
        served.wait()
