"""Plots as SVG text, with nothing fetched from anywhere: points with intervals, lines, and bars.

Every mark has a `<title>`, which browsers show when the pointer rests on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from crawler.browse.scales import Kind, Scale, Tick, number_text, scale_of

WIDTH, HEIGHT = 860, 380  # pixels
LEFT, RIGHT, TOP, BOTTOM = 86, 20, 16, 58  # around the area that is drawn in
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # told apart by most eyes
BAR, GAP = 18, 8  # pixels
LABELS = 190  # pixels for the names of bars


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis, with the unit in its name; `places` are texts for the values 1, 2, 3 and so on."""

    name: str
    kind: Kind = "linear"
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval, if it has one; `text` is shown under the pointer.

    One that is `is_at_least` is a lower bound: it is drawn as an arrow upwards.
    """

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None
    is_at_least: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour; `joined` ones have a line through them."""

    name: str
    points: Sequence[Point]
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A value of zero or more; `part` is the share of it that is drawn in another colour."""

    name: str
    value: float
    text: str
    part: float = 0.0


def draw_points(title: str, x: Axis, y: Axis, series: Sequence[Series], *, zero: bool = True) -> str:
    """Return a plot of points; with `zero`, a linear `y` axis begins there."""
    points = [point for each in series for point in each.points]
    if x.places:
        across = Scale("linear", 0.5, len(x.places) + 0.5, LEFT, WIDTH - RIGHT)
    else:
        across = scale_of(x.kind, [point.x for point in points], LEFT, WIDTH - RIGHT)
    values = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    up = scale_of(y.kind, values, HEIGHT - BOTTOM, TOP, zero=zero)
    ticks = [Tick(float(place), name) for place, name in enumerate(x.places, start=1)] or across.ticks()
    parts = [
        *_grid(across, up, ticks),
        *_names(x.name, y.name),
        *_legend([each.name for each in series], HEIGHT),
    ]
    for number, each in enumerate(series):
        parts.extend(_series(each, COLOURS[number % len(COLOURS)], across, up))
    return _svg(title, HEIGHT, parts)


def draw_bars(title: str, unit: str, bars: Sequence[Bar], *, parts: tuple[str, str] | None = None) -> str:
    """Return a plot of horizontal bars, in their order; `parts` names what the two colours stand for."""
    height = TOP + len(bars) * (BAR + GAP) + BOTTOM
    across = scale_of("linear", [bar.value for bar in bars], LABELS, WIDTH - RIGHT - 60, zero=True)
    drawn = []
    for tick in across.ticks():
        at = f"{across.place(tick.value):.1f}"
        drawn.append(_line(at, TOP, at, height - BOTTOM, "grid"))
        drawn.append(_text(at, height - BOTTOM + 18, tick.text, "middle"))
    for number, bar in enumerate(bars):
        drawn.extend(_bar(bar, TOP + number * (BAR + GAP) + GAP / 2, across))
    drawn.append(_text((LABELS + WIDTH) / 2, height - 14, unit, "middle"))
    return _svg(title, height, [*drawn, *_legend(list(parts or ()), height)])


def _bar(bar: Bar, top: float, across: Scale) -> Iterator[str]:
    width = across.place(bar.value) - LABELS
    middle = top + BAR / 2 + 4
    yield "<g>" + _title(bar.text)
    yield _rectangle(LABELS, top, width, COLOURS[0])
    if bar.part:
        yield _rectangle(LABELS, top, width * bar.part, COLOURS[1])
    yield _text(LABELS - 8, middle, bar.name, "end")
    yield _text(LABELS + width + 6, middle, number_text(bar.value), "start") + "</g>"


def _series(series: Series, colour: str, across: Scale, up: Scale) -> Iterator[str]:
    if series.joined and len(series.points) > 1:
        path = " ".join(f"{across.place(point.x):.1f},{up.place(point.y):.1f}" for point in series.points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    radius = 4 if len(series.points) <= 200 else 2
    for point in series.points:
        at, top = f"{across.place(point.x):.1f}", f"{up.place(point.y):.1f}"
        yield "<g>" + _title(point.text)
        if point.low is not None and point.high is not None:
            low, high = f"{up.place(point.low):.1f}", f"{up.place(point.high):.1f}"
            yield f'<line x1="{at}" y1="{low}" x2="{at}" y2="{high}" stroke="{colour}" class="interval"/>'
        if point.is_at_least:
            x, y, size = float(at), float(top), 2 * radius
            path = f"M{x - radius:.1f},{y:.1f}h{size}l{-radius},{-2 * size}z"
            yield f'<path d="{path}" fill="none" stroke="{colour}" class="bound"/></g>'
        else:
            yield f'<circle cx="{at}" cy="{top}" r="{radius}" fill="{colour}"/></g>'


def _grid(across: Scale, up: Scale, ticks: Sequence[Tick]) -> Iterator[str]:
    for tick in ticks:
        at = f"{across.place(tick.value):.1f}"
        yield _line(at, up.end, at, up.start, "grid")
        yield _text(at, up.start + 18, tick.text, "middle")
    for tick in up.ticks():
        at = f"{up.place(tick.value):.1f}"
        yield _line(across.start, at, across.end, at, "grid")
        yield _text(across.start - 8, float(at) + 4, tick.text, "end")
    yield _line(across.start, up.start, across.end, up.start, "axis")
    yield _line(across.start, up.start, across.start, up.end, "axis")


def _names(x: str, y: str) -> Iterator[str]:
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x, "middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})"'
    yield f"<text {turned}>{escape(y)}</text>"


def _legend(names: Sequence[str], height: float) -> Iterator[str]:
    """Yield the names of colours, in the lower right corner, where there is more than one."""
    right = WIDTH - RIGHT
    for number, name in reversed(list(enumerate(names if len(names) > 1 else ()))):
        yield _text(right, height - 14, name, "end")
        right -= 7 * len(name) + 10  # about the width of the text
        yield f'<circle cx="{right}" cy="{height - 18}" r="5" fill="{COLOURS[number % len(COLOURS)]}"/>'
        right -= 18


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img"'
        f' aria-label="{escape(title)}">{_title(title)}{"".join(parts)}</svg>'
    )


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _line(x1: float | str, y1: float | str, x2: float | str, y2: float | str, kind: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>'


def _rectangle(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{BAR}" fill="{colour}"/>'


def _text(x: float | str, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
