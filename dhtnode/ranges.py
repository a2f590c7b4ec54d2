"""Ranges of settings, as annotations of the fields of a dataclass."""

from math import inf
from typing import NamedTuple, get_args

MOST = 1e12
"""Of anything that is counted, allowed or waited for; beyond, sums and products are no numbers any more."""


class Range(NamedTuple):
    """The least and the greatest value of a setting; with `is_open`, it is above the least."""

    low: float
    high: float = inf
    is_open: bool = False


def range_of(kind: type, field: str) -> tuple[type, Range]:
    """Return type and range of a field that has one; of `int | None` the type is `int`."""
    plain, limits = get_args(kind.__annotations__[field])
    return (get_args(plain) or (plain,))[0], limits


def check_ranges(settings: object) -> None:
    """Raise `ValueError` when a field is out of its range; None is in every range."""
    kind = type(settings)
    for name in [name for name, hint in kind.__annotations__.items() if hasattr(hint, "__metadata__")]:
        (low, high, is_open), value = range_of(kind, name)[1], getattr(settings, name)
        high = min(high, MOST)
        if value is not None and not (low < value if is_open else low <= value) & (value <= high):
            raise ValueError(f"{name}: {value} is not in {low}..{high:g}")
