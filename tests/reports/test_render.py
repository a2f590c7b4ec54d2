"""Reports as text, Markdown, CSV and JSON: numbers aligned, and names of strangers harmless."""

import io
import json

import pytest
from rich.console import Console

from crawler.reports import Column, ReportAnswer, render

HOSTILE = "\x1b[31mred|\n[bold]"

REPORT = ReportAnswer(
    "sizes",
    "Sizes",
    "What is seen. What may mislead.",
    (Column("name"), Column("time", "ms"), Column("share", "%"), Column("p_value")),
    (("first", 7, 12.5, 1e-9), (HOSTILE, 1200, None, 0.25)),
)
EMPTY = ReportAnswer("none", "None", "Nothing.", (Column("name"),), ())


def test_plain_text_is_aligned():
    assert render.plain(REPORT).splitlines() == [
        "Sizes",
        "What is seen. What may mislead.",
        "",
        "name                  time (ms)  share (%)  p_value",
        "first                         7       12.5    1e-09",
        r"\x1b[31mred|\n[bold]       1200                0.25",
    ]


def test_markdown_is_a_table():
    """What would end a cell, or make a link, is escaped."""
    assert render.markdown(REPORT).splitlines()[4:] == [
        "| name                      |   time (ms) |   share (%) |   p_value |",
        "|:--------------------------|------------:|------------:|----------:|",
        "| first                     |           7 |        12.5 |     1e-09 |",
        r"| \\x1b\[31mred\|\\n\[bold] |        1200 |             |      0.25 |",
    ]


def test_csv_keeps_numbers_as_they_are():
    hostile = r"\x1b[31mred|\n[bold]"
    assert render.csv_text(REPORT) == f"name,time,share,p_value\nfirst,7,12.5,1e-09\n{hostile},1200,,0.25"


@pytest.mark.parametrize("named", [False, True])
def test_json_is_one_object_a_line(named):
    lines = render.json_lines(REPORT, named=named).splitlines()
    head = {"report": "sizes"} if named else {}
    assert list(map(json.loads, lines)) == [head | record for record in REPORT.records()]


def test_terminal_gets_no_commands_from_the_network():
    written = io.StringIO()
    render.draw(REPORT, Console(file=written, width=100, color_system=None))
    assert "\x1b" not in written.getvalue()
    assert r"\x1b[31mred|\n[bold]" in written.getvalue()
    assert "12.5" in written.getvalue()


@pytest.mark.parametrize(("width", "is_drawn"), [(80, True), (40, False)])
def test_table_wider_than_the_terminal_is_left_to_it(width, is_drawn):
    """Columns folded to a few letters each would be no table; long lines still are one."""
    written = io.StringIO()
    render.draw(REPORT, Console(file=written, width=width, color_system=None))
    assert ("\u2502" in written.getvalue()) == is_drawn
    assert ("\nname                  time (ms)  share (%)  p_value\n" in written.getvalue()) != is_drawn


def test_empty_report_says_so():
    written = io.StringIO()
    render.draw(EMPTY, Console(file=written, width=100))
    assert render.plain(EMPTY) == "None\nNothing.\n\nnothing recorded"
    assert render.markdown(EMPTY) == "## None\n\nNothing.\n\nNothing recorded."
    assert render.csv_text(EMPTY) == "name"
    assert render.json_lines(EMPTY) == ""
    assert written.getvalue().split() == ["None", "Nothing.", "nothing", "recorded"]


def test_emphasis_from_the_network_is_escaped():
    answer = ReportAnswer("names", "*Names*", "Text.", (Column("name"),), (("*loud*",),))
    assert r"| \*loud\* |" in render.markdown(answer)
    assert render.markdown(answer).startswith(r"## \*Names\*")
