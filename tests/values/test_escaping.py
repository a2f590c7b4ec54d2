"""Text of strangers: one line, in which a terminal finds no commands and a reader no forged line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address
from dhtnode.errors import QueryRefused
from dhtnode.escaping import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text", "plain text"),
        (r"C:\new", r"C:\new"),
        ("na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \u4e2d\u3000\u6587", "na\xefve \u4e2d\u3000\u6587"),
        ("\N{GRINNING FACE}\N{ZERO WIDTH JOINER}x", "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}x"),
        ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
        ("one\r\ntwo\x85three\u2028four", r"one\r\ntwo\x85three\u2028four"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\N{RIGHT-TO-LEFT OVERRIDE}exe\N{POP DIRECTIONAL ISOLATE}", r"gpj.\u202eexe\u2069"),
        ("zero\N{ZERO WIDTH SPACE}width\N{ZERO WIDTH NO-BREAK SPACE}", r"zero\u200bwidth\ufeff"),
        ("\udcff\U000e0041", r"\udcff\U000e0041"),
    ],
)
def test_what_does_not_print_is_escaped(text, shown):
    assert escaped(text) == shown


# Any code point: `st.text()` would first spend seconds on its table of them.
@given(st.lists(st.integers(0, 0x10FFFF), max_size=50).map(lambda codes: "".join(map(chr, codes))))
def test_it_is_one_line_that_can_be_written_and_stays_as_it_is(text):
    shown = escaped(text)
    assert shown.splitlines() in ([shown], [])
    assert shown.encode().decode() == shown == escaped(shown)
    joiners = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    assert {unicodedata.category(each) for each in shown if each not in joiners} & {"Cc", "Cf", "Cs"} == set()


def test_error_text_of_a_node_is_one_line_of_ours():
    refused = QueryRefused(Address("8.8.8.8", 1), 201, "no\n2026-11-30 CRITICAL forged\x1b[2J")
    assert str(refused) == r"8.8.8.8:1: error 201: no\n2026-11-30 CRITICAL forged\x1b[2J"
    assert refused.text == "no\n2026-11-30 CRITICAL forged\x1b[2J"
