"""Draw values over time: line charts, and sparklines for table rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from airflow_slo_provider.charts import svg
from airflow_slo_provider.charts.axes import Scale, nice_ticks, number_labels, time_ticks
from airflow_slo_provider.charts.markup import Html, tag
from airflow_slo_provider.charts.plot import Plot


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    :param label: its name
    :param points: timestamp and value; None interrupts the line
    """

    label: str
    points: Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True)
class Level:
    """A horizontal line: a target or a threshold."""

    label: str
    value: float
    tone: str = "bad"


@dataclass(frozen=True)
class Mark:
    """An event: a vertical line with its number.

    :param number: its number in the list below the chart
    :param at: time of the event
    :param tone: CSS class of the line
    """

    at: datetime
    number: int
    tone: str = "mark"


def chart(
    label: str,
    lines: Sequence[Line],
    *,
    start: datetime,
    end: datetime,
    unit: str = "",
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    edges: Sequence[float] = (),
) -> Html:
    """Draw values over time.

    :param label: description of the chart for screen readers
    :param lines: the lines
    :param start: start of the time axis
    :param end: end of the time axis
    :param unit: ``percent`` formats shares as percentages
    :param levels: horizontal lines, such as targets
    :param marks: vertical lines, such as events
    :param edges: values that the vertical axis must include
    """
    values = [y for line in lines for _, y in line.points if y is not None]
    if not values:
        return tag("p", "Nothing was measured in this time.", class_="quiet")
    values += [*(level.value for level in levels), *edges]
    low, high = min(values), max(values)
    if high - low < 1e-12:
        pad = abs(high) * 0.05 or 1.0
        low, high = low - pad, high + pad
    ticks = nice_ticks(low, high)
    plot = Plot(
        label,
        (0.0, max((end - start).total_seconds(), 1.0)),
        (min(low, ticks[0]), max(high, ticks[-1])),
        x_ticks=[((at - start).total_seconds(), name) for at, name in time_ticks(start, end)],
        y_ticks=number_labels(ticks, unit),
        width=720.0,
        height=240.0,
    )
    for level in levels:
        plot.level(level.tone, level.value, level.label)
    for mark in marks:
        if start <= mark.at <= end:
            plot.event(mark.tone, (mark.at - start).total_seconds(), str(mark.number))
    for line, kind in zip(lines, _kinds(lines), strict=True):
        for known, piece in groupby(line.points, key=lambda point: point[1] is not None):
            if known:
                plot.line(kind, [((at - start).total_seconds(), value) for at, value in piece if value is not None])
    return plot.draw()


def legend(lines: Sequence[Line]) -> Html:
    """List the names of a chart's lines with their colours."""
    return svg.legend(dict(zip((line.label for line in lines), _kinds(lines), strict=True)))


def sparkline(points: Sequence[tuple[float, float]], label: str) -> Html:
    """Draw a sparkline.

    :param points: position within the window (0 to 1) and value; the height covers 0 to 1, values outside are drawn at the edge
    :param label: description of the line for screen readers
    """
    if len(points) < 2:
        return tag("span", "–", class_="quiet", title=label)
    x, y = Scale(0, 1, 0, 100), Scale(0, 1, 22, 2)
    shapes = [svg.line("grid", 0, 22, 100, 22), svg.curve("line-0", [(x(at), y(value)) for at, value in points])]
    return svg.picture(label, (100, 24), shapes, kind="spark", preserveAspectRatio="none")


def _kinds(lines: Sequence[Line]) -> list[str]:
    return [f"line-{number % 6}" for number in range(len(lines))]
