"""What makes the answers of a visit suspect, to the number."""

import pytest

from crawler.core.visit import OpenVisit, VisitMark
from dhtnode import Address

NODE_ID = b"n" * 20


def visit():
    return OpenVisit(NODE_ID + bytes([192, 0, 2, 1, 0, 99]), Address("192.0.2.1", 99))


@pytest.mark.parametrize(
    ("total", "usable", "marks"),
    [
        (8, 8, ()),
        (8, 4, ()),
        (8, 3, ("unusable-contacts",)),
        (64, 64, ()),
        (65, 65, ("oversized",)),
        (65, 10, ("oversized", "unusable-contacts")),
    ],
)
def test_answers_with_too_many_contacts_or_mostly_unusable_ones_are_marked(total, usable, marks):
    looked_at = visit()
    looked_at.check_count(total, usable)
    assert (looked_at.sorted_marks, looked_at.unusable) == (marks, total - usable)


@pytest.mark.parametrize(("shared", "is_marked"), [(5, False), (6, True)])
def test_contact_closer_to_the_target_than_chance_allows_is_marked(shared, is_marked):
    """Of another node: under its own endpoint a node may well return itself."""
    looked_at = visit()
    close = looked_at.target[:shared] + bytes(20 - shared)
    looked_at.check_distances(looked_at.target, [(close, looked_at.endpoint)])
    assert looked_at.sorted_marks == ()
    looked_at.check_distances(looked_at.target, [(close, looked_at.endpoint - 1)])
    assert looked_at.sorted_marks == (("impossibly-close",) if is_marked else ())


def test_every_mark_says_what_it_means():
    assert {mark.value for mark in VisitMark} == {
        "flood",
        "oversized",
        "unusable-contacts",
        "impossibly-close",
        "invented-contacts",
    }
    assert all(len(mark.meaning) > 20 for mark in VisitMark)
    assert "64 contacts" in VisitMark.OVERSIZED.meaning
