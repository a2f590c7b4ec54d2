"""How our plots look: one width, one set of colours, and axes that say what they show.

The only module that imports matplotlib, which comes with `pip install dhtnode[notebooks]`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

WIDTH = 8.0  # inches, that of a notebook
HEIGHT = 4.0
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GREY = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    "#666666",
)
"""The colours of Okabe and Ito (2008), told apart by people who see red and green alike."""

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GREY)

Corner: TypeAlias = Literal["", "best", "upper left", "upper right", "lower left", "lower right"]

plt.rcParams["date.converter"] = "concise"
plt.rcParams["savefig.dpi"] = plt.rcParams["figure.dpi"] = 100


def panels(count: int = 1, height: float = HEIGHT) -> list[Axes]:
    """Return axes side by side, as wide together as a notebook; `height` is in inches."""
    _, grid = plt.subplots(1, count, figsize=(WIDTH, height), layout="constrained", squeeze=False)
    for axes in grid[0]:
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return list(grid[0])


def label(axes: Axes, title: str, x: str, y: str, *, log: str = "", legend: Corner = "") -> None:
    """Name the axes, with units; `log` names those that are logarithmic, `legend` where its box goes."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    if legend:
        axes.legend(loc=legend, frameon=False, fontsize=9)


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
