"""How far work has come, told on stderr."""

import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import trio

from crawler.core.progress import shown_progress, timed

PRINTS = """
import trio
from crawler.core.progress import shown_progress
from dhtnode.cli.streams import print_lines
from dhtnode.lines import say

async def main():
    async with shown_progress(lambda: "still [b]working[/b] " + "on it " * 20, shows=True):
        for number in range(3):
            await trio.sleep(0.3)
            print_lines(f"result {number} " + "x" * 100)
        say("a warning")
        await trio.sleep(0.3)

trio.run(main)
"""


def seen_on_terminal(columns: int, stdout: int | None = None) -> str:
    """Return what a program that prints while it shows progress writes to a terminal."""
    here, there = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the end, when the program has gone
            while part := os.read(here, 4096):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    command = [sys.executable, "-c", PRINTS]
    subprocess.run(command, stdout=stdout or there, stderr=there, env=environment, check=True)
    os.close(there)
    reader.join()
    os.close(here)
    return b"".join(parts).decode()


@pytest.mark.parametrize("columns", [40, 200])
def test_results_are_lines_of_their_own_above_the_progress_of_a_terminal(columns):
    screen = seen_on_terminal(columns)
    assert "still [b]working[/b] on it" in screen
    for number in range(3):
        # Whatever stood there is erased, the line is whole, and nothing goes up into it afterwards.
        before, after = screen.split(f"result {number} " + "x" * 100 + "\r\n")
        assert before.endswith("\x1b[2K")
        assert after.startswith(("\x1b[?25l", "result", "a warning"))
    assert "a warning\r\n" in screen


def test_results_that_go_to_a_file_are_there_and_not_on_the_terminal(tmp_path):
    path = tmp_path / "results"
    with path.open("w") as file:
        screen = seen_on_terminal(80, file.fileno())
    assert path.read_text().split() == [word for n in range(3) for word in ("result", str(n), "x" * 100)]
    assert "result" not in screen
    assert "a warning" in screen


async def test_work_without_counts_is_shown_with_its_time(autojump_clock, capsys):
    async with shown_progress(timed("counting"), shows=True):
        await trio.sleep(25)
    async with shown_progress(timed("hiding"), shows=False):
        await trio.sleep(25)
    assert capsys.readouterr() == ("", "counting, 10 s so far\ncounting, 20 s so far\n")
