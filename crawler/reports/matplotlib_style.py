"""How our plots look: one width, one set of colours, and axes that say what they show.

The only module that imports matplotlib, which comes with `pip install dhtnode[notebooks]`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

WIDTH = 8.0  # inches, that of a notebook
HEIGHT = 4.0
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GREY = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    "#666666",
)
"""The colours of Okabe and Ito (2008), told apart by people who see red and green alike."""

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GREY)

Corner: TypeAlias = Literal["", "best", "upper left", "upper right", "lower left", "lower right", "center"]

plt.rcParams["savefig.dpi"] = plt.rcParams["figure.dpi"] = 100


def panels(count: int = 1, height: float = HEIGHT) -> list[Axes]:
    """Return axes side by side, as wide together as a notebook; `height` is in inches."""
    _, grid = plt.subplots(1, count, figsize=(WIDTH, height), layout="constrained", squeeze=False)
    for axes in grid[0]:
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return list(grid[0])


def label(
    axes: Axes, title: str, x: str, y: str, *, log: str = "", whole: str = "", legend: Corner = ""
) -> None:
    """Name the axes, with units, when all is drawn.

    `log` names those that are logarithmic, `whole` those with whole numbers only; `legend` says where its
    box goes.
    """
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if name in whole:
            axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if name in log:
            axes.set(**{f"{name}scale": "log"})
            _write_plain_numbers(axis)
    if legend:
        axes.legend(loc=legend, frameon=False, fontsize=9)


def _write_plain_numbers(axis: Axis) -> None:
    """Write 0.5 and 20 instead of powers of ten, where an axis has few of them."""
    low, high = axis.get_view_interval()
    if high / low < 10_000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def time_axis(axes: Axes, ticks: int = 5) -> None:
    """Write at most so many times, UTC, on the x axis."""
    locator = AutoDateLocator(minticks=3, maxticks=ticks)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def intervals(
    axes: Axes,
    x: Sequence[Any],
    estimates: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    colour: str = BLUE,
    name: str = "",
    marker: str = "o",
) -> None:
    """Draw estimates with the ends of their intervals."""
    below = [max(0.0, estimate - end) for estimate, end in zip(estimates, low, strict=True)]
    above = [max(0.0, end - estimate) for estimate, end in zip(estimates, high, strict=True)]
    axes.errorbar(
        x,
        estimates,
        yerr=[below, above],
        color=colour,
        label=name or None,
        fmt=marker,
        markersize=4,
        capsize=2,
        linewidth=1.2,
    )


def shares_above(axes: Axes, values: Iterable[float], *, colour: str = BLUE, name: str = "") -> None:
    """Draw for each value the share of values that are larger (CCDF); infinite ones only count."""
    ordered = sorted(values)
    finite = [value for value in ordered if value < float("inf")]
    shares = [1 - place / len(ordered) for place in range(1, len(finite) + 1)]
    axes.step(finite, shares, where="post", color=colour, label=name or None)


def shares_below(axes: Axes, values: Iterable[float], *, colour: str = BLUE, name: str = "") -> None:
    """Draw for each value the share of values up to it (CDF)."""
    ordered = sorted(values)
    shares = [place / len(ordered) for place in range(1, len(ordered) + 1)]
    axes.step(ordered, shares, where="post", color=colour, label=name or None)


def times(epoch_seconds: Iterable[float]) -> list[datetime]:
    """Return times, UTC, as the axes take them."""
    return [datetime.fromtimestamp(each, UTC) for each in epoch_seconds]
