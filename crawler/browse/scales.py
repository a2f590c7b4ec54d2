"""The scale of an axis: where a value is drawn, and which values are written beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["linear", "log", "time"]

TICKS = 6  # about so many on an axis
LOG_ROOM = 1.6  # its square is more than the step from 2 to 5, so that one round value is always there
STEPS_OF_TIME = (1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400)  # seconds; then whole days


@dataclass(frozen=True, slots=True)
class Tick:
    """A value that is written beside an axis, and its text."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A map from values between `low` and `high` to pixels between `start` and `end`.

    The values of a scale of time are seconds since the epoch, UTC.
    """

    kind: Kind
    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is drawn at the edge."""
        low, high = self._linear(self.low), self._linear(self.high)
        share = (self._linear(min(max(value, self.low), self.high)) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def _linear(self, value: float) -> float:
        return log10(value) if self.kind == "log" else value

    def ticks(self) -> list[Tick]:
        """Return the values to be written beside the axis."""
        if self.kind == "log":
            return list(_powers(self.low, self.high))
        if self.kind == "time":
            return list(_times(self.low, self.high))
        return [Tick(value, number_text(value)) for value in _round_values(self.low, self.high)]


def scale_of(kind: Kind, values: Iterable[float], start: float, end: float, *, zero: bool = False) -> Scale:
    """Return a scale that holds all values, with some room around them; with `zero`, it begins at 0.

    Values that are not positive do not count for a logarithmic one.
    """
    found = [value for value in values if kind != "log" or value > 0]
    low, high = (min(found), max(found)) if found else (1.0, 10.0)
    if kind == "log":
        return Scale(kind, low / LOG_ROOM, high * LOG_ROOM, start, end)
    if zero:
        low = min(low, 0.0)
    room = (high - low) * 0.05 or (1800.0 if kind == "time" else max(abs(high) * 0.1, 1.0))
    return Scale(kind, low if zero and low == 0 else low - room, high + room, start, end)


def number_text(value: float) -> str:
    """Write a number in a few characters: 1200 as 1,200, three million as 3M."""
    for factor, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{letter}"
    if abs(value) >= 10_000 and value % 1000 == 0:
        return f"{value / 1000:.4g}k"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _round_values(low: float, high: float) -> Iterator[float]:
    rough = (high - low) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    for number in range(ceil(low / step), floor(high / step) + 1):
        yield round(number * step, 12)


def _powers(low: float, high: float) -> Iterator[Tick]:
    """Yield powers of ten, each or each second or third; on a short axis twice and five times them too."""
    first, last = floor(log10(low)), ceil(log10(high))
    factors = (1, 2, 5) if last - first <= TICKS // 2 else (1,)
    for power in range(first, last + 1, max(1, ceil((last - first) / TICKS))):
        for value in (factor * 10.0**power for factor in factors):
            if low <= value <= high:
                yield Tick(value, number_text(value))


def _times(low: float, high: float) -> Iterator[Tick]:
    """Yield round times; the date stands with the first of a day."""
    rough = (high - low) / TICKS
    step = next((each for each in STEPS_OF_TIME if each >= rough), 86_400 * ceil(rough / 86_400))
    values = [number * step for number in range(ceil(low / step), floor(high / step) + 1)]
    moments = [datetime.fromtimestamp(value, UTC) for value in values]
    clock = "%H:%M:%S" if step < 60 else "%H:%M"
    days_before = [None, *(moment.date() for moment in moments)]
    for value, moment, before in zip(values, moments, days_before, strict=False):
        is_new = before != moment.date()
        text = moment.strftime("%Y-%m-%d" if step >= 86_400 else f"%d %b {clock}" if is_new else clock)
        yield Tick(float(value), text)
