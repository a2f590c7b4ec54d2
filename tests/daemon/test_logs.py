"""Where log lines go, in a logging module that is put back as it was."""

import logging

import pytest

from dhtnode.logs import LogFileError, direct_log

pytestmark = pytest.mark.usefixtures("root_logger")


def test_lines_go_to_the_file_that_has_the_name_now(tmp_path):
    log = tmp_path / "log"
    direct_log(str(log), "info")
    logging.getLogger("x").info("first")
    log.rename(tmp_path / "log.1")
    logging.getLogger("x").info("second")
    direct_log(str(log), "info")
    logging.getLogger("x").info("third")
    assert [line.split()[-1] for line in (tmp_path / "log.1").read_text().splitlines()] == ["first", "second"]
    assert log.read_text().endswith("INFO x: third\n")


def test_file_is_appended_to(tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    direct_log(str(log), "warning")
    logging.getLogger("x").info("not this")
    logging.getLogger("x").warning("this")
    assert log.read_text().startswith("before\n")
    assert log.read_text().count("this") == 1


def test_without_a_file_lines_go_to_stderr(capsys):
    direct_log(None, "debug")
    logging.getLogger("x").debug("here")
    assert capsys.readouterr().err.endswith("DEBUG x: here\n")


def test_file_that_cannot_be_opened_changes_nothing(tmp_path):
    log = tmp_path / "log"
    direct_log(str(log), "info")
    closed_at_exit = [each() for each in logging._handlerList]
    with pytest.raises(LogFileError, match="cannot open the log"):
        direct_log(str(tmp_path / "missing" / "log"), "info")
    assert [each() for each in logging._handlerList] == closed_at_exit
    logging.getLogger("x").info("still here")
    assert "still here" in log.read_text()
