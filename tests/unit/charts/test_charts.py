"""Charts: coordinates, axis labels, escaping."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jinja2 import Environment

from airflow_slo_provider.charts import bars, report_page, time_series
from airflow_slo_provider.charts.axes import Scale, nice_ticks
from airflow_slo_provider.charts.intervals import Interval, intervals
from airflow_slo_provider.charts.markup import Html, join, tag, text
from airflow_slo_provider.charts.plot import Plot
from airflow_slo_provider.charts.time_series import Level, Line, Mark
from airflow_slo_provider.core.timestamps import slices

T0 = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = '"/><script>alert(1)</script>'


def _svg(drawn: Html) -> ET.Element:
    return ET.fromstring(str(drawn))


def test_chart_line_points_follow_values() -> None:
    drawn = time_series.chart("x", [Line("l", [(T0, 0.0), (T0 + HOUR, 0.5), (T0 + 2 * HOUR, 1.0)])], start=T0, end=T0 + 2 * HOUR)
    (line,) = _svg(drawn).findall("polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert [x for x, _ in points] == pytest.approx([52, 380, 708], abs=0.1)
    assert points[0][1] > points[1][1] > points[2][1]
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.11)


def test_chart_gap_interrupts_line_and_single_point_is_a_dot() -> None:
    points = [(T0, 1.0), (T0 + HOUR, 1.0), (T0 + 2 * HOUR, None), (T0 + 3 * HOUR, 2.0)]
    svg = _svg(time_series.chart("x", [Line("l", points)], start=T0, end=T0 + 4 * HOUR))
    assert len(svg.findall("polyline")) == 1
    assert len(svg.findall("circle")) == 1


@pytest.mark.parametrize("values", [[], [None], [0.0], [5.0, 5.0], [1e-300, 1e300], [-1e9, 1e9], [1e15 + 0.1]])
def test_chart_extreme_or_missing_values_are_drawn(values: list[float | None]) -> None:
    points = [(T0 + n * HOUR, value) for n, value in enumerate(values)]
    drawn = time_series.chart(
        "x", [Line("l", points)], start=T0, end=T0 + 5 * HOUR, levels=[Level("t", 1.0)] if len(values) < 3 else []
    )
    assert not re.search(r"nan|inf", str(drawn))
    assert len(str(drawn)) < 30_000


def test_chart_marks_outside_time_axis_are_left_out() -> None:
    marks = [Mark(T0 - HOUR, 1), Mark(T0 + HOUR, 2), Mark(T0 + 9 * HOUR, 3)]
    svg = _svg(
        time_series.chart("x", [Line("l", [(T0, 1.0)])], start=T0, end=T0 + 5 * HOUR, levels=[Level("target", 7.0)], marks=marks)
    )
    assert [line.get("class") for line in svg.findall("line") if "event" in line.get("class", "")] == ["event mark"]
    assert {"target", "2"} <= {text.text for text in svg.findall("text")}


def _plot() -> Plot:
    plot = Plot(HOSTILE, (0, 1), (-2, 2), HOSTILE, HOSTILE)
    plot.line(HOSTILE, [(0, 0), (1, 1)])
    plot.dots(HOSTILE, [(0.5, 0.5)], 2)
    plot.level(HOSTILE, 1, HOSTILE)
    plot.event(HOSTILE, 1, HOSTILE)
    return plot


def test_tag_escapes_text_and_keeps_markup() -> None:
    made = tag("p", "a < b", tag("b", "c & d"), title='"', class_=None, data_x=1.25)
    assert made == '<p title="&quot;" data-x="1.2">a &lt; b<b>c &amp; d</b></p>'
    assert text(made) is made
    assert join([made, "<"], " & ") == made + " &amp; &lt;"
    assert text(made + "") == text(str(made)) != made, "a concatenation is plain text"
    assert Environment(autoescape=True).from_string("{{ made }}").render(made=made) == made


def test_scale_clamps_values_outside() -> None:
    down = Scale(0, 10, 100, 0)
    assert [down(value) for value in (-5, 0, 2.5, 10, float("inf"))] == [100, 100, 75, 0, 0]
    assert Scale(3, 3, 0, 100)(3) == 0


def test_plot_labels_are_round_numbers_within_range() -> None:
    names = [
        label.text
        for label in _svg(Plot("p", (0.13, 0.87), (0, 1)).draw()).findall("text")
        if label.get("class") == "axis middle"
    ]
    assert names == ["0.2", "0.4", "0.6", "0.8"]


def test_box_rows_boxes_are_adjacent_on_one_axis() -> None:
    drawn = bars.box_rows(
        "x", [bars.BoxRow("a", [bars.Box(0, 3, "k", "t"), bars.Box(3, 1, "k", "t")], "4"), bars.BoxRow("b", [], "0")]
    )
    first, second = (box.attrib for box in _svg(drawn).iter("rect"))
    assert float(first["x"]) + float(first["width"]) == pytest.approx(float(second["x"]), abs=0.11)
    assert float(first["width"]) == pytest.approx(3 * float(second["width"]), abs=0.2)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: time_series.chart(
            HOSTILE, [Line(HOSTILE, [(T0, 1.0)])], start=T0, end=T0 + HOUR, levels=[Level(HOSTILE, 1.0, HOSTILE)]
        ),
        lambda: intervals(HOSTILE, [Interval(HOSTILE, 1.0, 0.5, 2.0, HOSTILE)], marks={1.0: HOSTILE}),
        lambda: time_series.sparkline([(0.0, 1.0), (1.0, 0.5)], HOSTILE),
        lambda: time_series.legend([Line(HOSTILE, [])]),
        lambda: bars.bar(0.5, HOSTILE),
        lambda: bars.paired_bars(HOSTILE, [HOSTILE, "b"], [0.5, 0.5], [1.0, 0.0]),
        lambda: bars.box_rows(HOSTILE, [bars.BoxRow(HOSTILE, [bars.Box(0, 9, HOSTILE, HOSTILE, HOSTILE)], HOSTILE)]),
        lambda: _plot().draw(kind=HOSTILE, name=HOSTILE),
        lambda: report_page.badge(HOSTILE),
    ],
)
def test_charts_hostile_text_is_escaped(draw: Any) -> None:
    drawn = draw()
    root = _svg(drawn)
    assert "script" not in {element.tag for element in root.iter()}
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on") or key == "style"]


def test_bar_width_is_clamped_to_rail() -> None:
    for share in (-3.0, 0.0, 0.4, 1.0, 7.0):
        width = float(_svg(bars.bar(share, "good")).findall("rect")[1].get("width", ""))
        assert width == pytest.approx(100 * min(max(share, 0), 1))
    assert bars.bar(None, "good") == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.12, 1), (0.9989, 1.0), (0, 14.4), (3, 1234567)])
def test_nice_ticks_cover_range_in_round_steps(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 3 <= len(ticks) <= 9
    step = ticks[1] - ticks[0]
    assert f"{step:e}"[0] in "125" or f"{step:.1e}"[0] in "125"


def test_slices_cover_period_without_gaps() -> None:
    cut = slices(T0, T0 + 7 * HOUR, 3)
    assert cut[0][0] == T0
    assert cut[-1][1] > T0 + 7 * HOUR
    assert [end for _, end in cut[:-1]] == [start for start, _ in cut[1:]]
