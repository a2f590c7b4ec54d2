"""How plots are put together: what is drawn where, and what is written on axes."""

import matplotlib as mpl
import pytest

mpl.use("agg")

from crawler.reports import matplotlib_style


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib_style.plt.close("all")


def test_panels_are_as_wide_as_a_notebook_together():
    left, right = matplotlib_style.panels(2, height=3)
    assert left.figure is right.figure
    assert tuple(left.figure.get_size_inches()) == (matplotlib_style.WIDTH, 3)


def test_intervals_reach_from_low_to_high():
    (axes,) = matplotlib_style.panels()
    matplotlib_style.intervals(axes, [1, 2], [10, 20], [7, 21], [15, 30], name="x")
    (container,) = axes.containers
    (bars,) = container[2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[7, 15], [20, 30]]
    assert container.get_label() == "x"


def test_shares_count_what_is_infinite_without_drawing_it():
    """Half of four values are above the second one, whatever the last ones are."""
    left, right = matplotlib_style.panels(2)
    matplotlib_style.shares_above(left, [3, 1, float("inf"), float("inf")])
    matplotlib_style.shares_below(right, [3, 1, 2, 2])
    assert left.lines[0].get_xydata().tolist() == [[1, 0.75], [3, 0.5]]
    assert right.lines[0].get_xydata().tolist() == [[1, 0.25], [2, 0.5], [2, 0.75], [3, 1]]


def test_logarithmic_axes_have_plain_numbers_where_few_do():
    """Twenty is 20 and not a power of ten; over many powers those are left alone."""
    few, many = matplotlib_style.panels(2)
    for axes, top in ((few, 40), (many, 1e9)):
        axes.plot([1, 2], [1, top])
        matplotlib_style.label(axes, "title", "x (s)", "y", log="y")
        axes.figure.canvas.draw()
    texts = [text.get_text() for text in few.get_yticklabels()]
    assert {"1", "2", "5", "10", "20"} <= set(texts)
    assert any("10^" in text.get_text() for text in many.get_yticklabels())
    assert (few.get_xlabel(), few.get_title(loc="left")) == ("x (s)", "title")


def test_whole_numbers_stay_whole():
    (axes,) = matplotlib_style.panels()
    axes.bar([0, 1, 2], [0, 1, 3])
    matplotlib_style.label(axes, "title", "x", "y", whole="xy")
    assert all(tick == int(tick) for tick in [*axes.get_xticks(), *axes.get_yticks()])


def test_times_are_few_and_in_utc():
    (axes,) = matplotlib_style.panels()
    day = matplotlib_style.times([0.0, 43200.0, 86400.0])
    axes.plot(day, [1, 2, 3])
    matplotlib_style.time_axis(axes, ticks=5)
    assert [each.isoformat() for each in day][1] == "1970-01-01T12:00:00+00:00"
    assert 3 <= len(axes.get_xticks()) <= 5
