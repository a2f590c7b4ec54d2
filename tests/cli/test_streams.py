"""Standard streams that are closed, full, or in another encoding; and lines that no reader takes."""

import io
import os
import sys
from pathlib import Path

import click
import pytest

from dhtnode import lines
from dhtnode.cli import LazyGroup, console, streams
from dhtnode.logs import direct_log

FORGED = "no\n2026-11-30 00:00:00 CRITICAL dhtnode: forged\x1b[2J"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


class Raising(click.Command):
    """A command that ends with one error."""

    def __init__(self, name, error):
        super().__init__(name, callback=self.fail)
        self.error = error

    def fail(self):
        raise self.error


@pytest.fixture(autouse=True)
def all_is_well(monkeypatch):
    """Begin without lines that were lost before, and leave none."""
    monkeypatch.setattr(lines, "_stderr", lines._Stderr())
    yield
    streams.failures.clear()


@pytest.fixture
def unread():
    """Return a pipe to write into, whose other end is open and never read, and is full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as stream:
        while True:
            try:
                os.write(writing, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(writing, True)
        yield reading, stream


def run(*commands, words):
    group = LazyGroup("program", places={})
    for command in commands:
        group.add_command(command)
    with pytest.raises(SystemExit) as ended:
        group.main(words)
    return int(ended.value.code or 0)


def emitting(*texts):
    return click.Command("emit", callback=lambda: [console.emit(False, {}, text) for text in texts])


def test_result_is_one_line(capsys):
    console.emit(False, {}, FORGED, "second")
    assert capsys.readouterr().out == ("no\\n2026-11-30 00:00:00 CRITICAL dhtnode: forged\\x1b[2J\nsecond\n")


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii", "utf-8"])
def test_no_terminal_refuses_a_character(monkeypatch, encoding):
    """What it does not have is escaped."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert run(emitting("\u4e2d \u0141 \u2665 \xe9"), words=["emit"]) == 0
    shown = written.getvalue().decode(encoding)
    assert shown == "\u4e2d \u0141 \u2665 \xe9\n".encode(encoding, "backslashreplace").decode(encoding)


def test_full_disk_is_told_once_and_the_work_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert run(emitting("first", "second"), words=["emit"]) == 1
    assert capsys.readouterr().err == "cannot print: No space left on device\n"


def test_help_on_a_full_disk_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert run(words=["--help"]) == 1
    assert capsys.readouterr().err == "program: No space left on device\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(24, "Too many open files"), "Too many open files"),
        (OSError(36, "File name too long", "a.db"), "File name too long: a.db"),
        (MemoryError(), "there is not enough memory"),
        (
            ExceptionGroup("", [ExceptionGroup("", [OSError(24, "Too many open files")]), MemoryError()]),
            "Too many open files; there is not enough memory",
        ),
        (RuntimeError("can't start new thread"), "the system lets us start no thread"),
        (
            ImportError("libx.so: failed to map segment from shared object"),
            "there is not enough memory to load what this needs",
        ),
        (click.ClickException(FORGED), r"no\n2026-11-30 00:00:00 CRITICAL dhtnode: forged\x1b[2J"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, error, line):
    assert run(Raising("fail", error), words=["fail"]) == 1
    assert capsys.readouterr() == ("", f"program: {line}\n")


@pytest.mark.parametrize("among", [(), (MemoryError(),)])
def test_mistake_of_ours_shows_where_it_is(among):
    mistake = ZeroDivisionError()
    error = ExceptionGroup("", [mistake, *among]) if among else mistake
    with pytest.raises(type(error)):
        run(Raising("fail", error), words=["fail"])


def test_line_that_has_no_room_is_left_out_and_counted(monkeypatch, unread):
    reading, stream = unread
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(lines, "PATIENCE", 0)
    lines.say("lost")
    lines.say("lost too")
    os.set_blocking(reading, False)
    while len(os.read(reading, 1 << 20)) == 1 << 20:
        pass
    lines.say("here \x1b[2J", "and here")
    assert os.read(reading, 4096).decode() == ("2 lines could not be written here\nhere \\x1b[2J\nand here\n")


@pytest.mark.parametrize("stderr", [None, Full()])
def test_stderr_that_takes_nothing_stops_nothing(monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    lines.say("lost")


@pytest.mark.parametrize("is_file", [True, False])
def test_no_record_passes_for_another(tmp_path, capsys, root_logger, is_file):
    """A text of strangers stays in its line, and lines of a traceback begin with blanks."""
    direct_log(str(tmp_path / "log") if is_file else None, "info")
    root_logger.info("it said %s", FORGED)
    try:
        int(FORGED)
    except ValueError:
        root_logger.exception("failed")
    written = (tmp_path / "log").read_text() if is_file else capsys.readouterr().err
    first, second, *others = written.splitlines()
    assert first.endswith(r"INFO root: it said no\n2026-11-30 00:00:00 CRITICAL dhtnode: forged\x1b[2J")
    assert second.endswith("ERROR root: failed")
    assert [line for line in others if not line.startswith("  ")] == []
    assert "\x1b" not in written


def test_log_on_a_full_disk_costs_records_and_says_so(capsys, root_logger):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    direct_log("/dev/full", "info")
    for number in range(3):
        root_logger.info("record %d", number)
    assert capsys.readouterr().err == (
        "cannot write the log /dev/full: No space left on device; records are lost until it can be\n"
    )


def test_log_says_how_many_records_it_lost(tmp_path, monkeypatch, capsys, root_logger):
    direct_log(str(tmp_path / "log"), "info")
    with monkeypatch.context() as full:

        def refuse(_fd, _data):
            raise OSError(28, "No space left on device")

        full.setattr(os, "write", refuse)
        root_logger.info("lost")
        root_logger.info("lost")
    root_logger.info("kept")
    told, kept = (tmp_path / "log").read_text().splitlines()
    assert told == "2 records could not be written here"
    assert kept.endswith("INFO root: kept")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_log_into_a_fifo_without_a_reader_is_refused(tmp_path):
    os.mkfifo(tmp_path / "log")
    with pytest.raises(Exception, match="cannot open the log"):
        direct_log(str(tmp_path / "log"), "info")
