"""Scales and plots as SVG."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.browse.drawing import HEIGHT, WIDTH, Axis, Bar, Point, Series, draw_bars, draw_points
from crawler.browse.scales import Scale, number_text, scale_of

SVG = "{http://www.w3.org/2000/svg}"
SOME_NUMBERS = st.lists(st.floats(0, 1e12, allow_nan=False), min_size=1, max_size=8)


@given(SOME_NUMBERS, st.sampled_from(["linear", "log"]), st.booleans())
def test_scale_holds_every_value_and_its_ticks(values, kind, zero):
    values = [value if kind == "linear" else 10 ** (value / 1e11) for value in values]
    scale = scale_of(kind, values, 0.0, 100.0, zero=zero)
    ticks = [tick.value for tick in scale.ticks()]
    assert all(0.0 <= scale.place(value) <= 100.0 for value in [*values, *ticks])
    assert [scale.place(value) for value in sorted(values)] == sorted(map(scale.place, values))
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    assert 1 <= len(ticks) <= 12


def test_logarithmic_scale_has_a_round_value_beside_any_number():
    """Between 2 and 5 the step is the largest: 2.5 times."""
    for tenths in range(10, 100):
        scale = scale_of("log", [tenths / 10], 0.0, 1.0)
        assert (scale.low, scale.high) == pytest.approx((tenths / 16, tenths * 0.16))
        assert any(tick.value in (1, 2, 5, 10) for tick in scale.ticks())


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (20, ["01 Jan 00:00:00", "00:00:05", "00:00:10", "00:00:15", "00:00:20"]),
        (86_400, ["01 Jan 00:00", "06:00", "12:00", "18:00", "02 Jan 00:00"]),
        (5 * 86_400, [f"1970-01-0{day}" for day in range(1, 7)]),
    ],
)
def test_times_are_round_and_name_the_day_once(seconds, texts):
    assert [tick.text for tick in Scale("time", 0.0, float(seconds), 0, 1).ticks()] == texts


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (12, "12"), (0.25, "0.25"), (1234, "1,234"), (20_000, "20k"), (3.2e6, "3.2M"), (5e9, "5G")],
)
def test_numbers_are_short(number, text):
    assert number_text(number) == text


def test_interval_is_drawn_from_end_to_end():
    point = Point(1.0, 50.0, "fifty", 10.0, 200.0)
    drawing = ElementTree.fromstring(draw_points("t", Axis("x"), Axis("y", "log"), [Series("s", [point])]))  # noqa: S314
    interval = drawing.find(f".//{SVG}line[@class='interval']")
    circle = drawing.find(f".//{SVG}g/{SVG}circle")
    assert 0 < float(interval.get("y2")) < float(circle.get("cy")) < float(interval.get("y1")) < HEIGHT


def test_text_of_others_is_escaped():
    drawn = draw_bars("<t>", "n", [Bar('<script>"', 3.0, "</title><b>", 0.5)])
    drawing = ElementTree.fromstring(drawn)  # noqa: S314
    assert '<script>"' in [text.text for text in drawing.iter(f"{SVG}text")]
    assert [title.text for title in drawing.iter(f"{SVG}title")] == ["<t>", "</title><b>"]
    assert drawing.find(f".//{SVG}b") is None


def test_marked_part_lies_on_the_bar():
    drawing = ElementTree.fromstring(draw_bars("t", "n", [Bar("a", 8.0, "", 0.25)], parts=("all", "marked")))  # noqa: S314
    whole, part = (float(each.get("width")) for each in drawing.iter(f"{SVG}rect"))
    assert part == pytest.approx(whole / 4, abs=0.1)
    assert whole < WIDTH
