"""Ranges of settings: both ends belong to one unless it is open, and None is in each."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from dhtnode.ranges import MOST, Range, check_ranges, range_of


@dataclass
class Settings:
    """One field of each sort."""

    count: Annotated[int, Range(1, 3)] = 1
    share: Annotated[float | None, Range(0, 1)] = None
    rate: Annotated[float, Range(0, is_open=True)] = 0.5
    name: str = "any"


@pytest.mark.parametrize(
    "inside", [{"count": 1}, {"count": 3}, {"share": 0.0}, {"share": 1.0}, {"rate": MOST}]
)
def test_values_within_and_at_the_ends_pass(inside):
    check_ranges(Settings(**inside))


@pytest.mark.parametrize(
    ("outside", "reason"),
    [
        ({"count": 0}, "count: 0 is not in 1..3"),
        ({"count": 4}, "count: 4 is not in 1..3"),
        ({"share": 1.01}, "share: 1.01 is not in 0..1"),
        ({"rate": 0.0}, "rate: 0.0 is not in 0..1e\\+12"),
        ({"rate": float("nan")}, "rate: nan is not in"),
        ({"rate": float("inf")}, "rate: inf is not in"),
    ],
)
def test_values_outside_are_refused(outside, reason):
    with pytest.raises(ValueError, match=reason):
        check_ranges(Settings(**outside))


def test_range_has_the_type_without_none():
    assert range_of(Settings, "share") == (float, Range(0, 1))
    assert range_of(Settings, "count") == (int, Range(1, 3))
