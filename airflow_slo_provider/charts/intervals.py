"""Draw estimates with their confidence intervals, one below the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_slo_provider.charts import svg
from airflow_slo_provider.charts.axes import Scale, nice_ticks, number_labels
from airflow_slo_provider.charts.markup import Html

_WIDTH, _LEFT, _TOP, _BOTTOM, _STEP = 720, 220, 14, 26, 24


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval: one row of :func:`intervals`."""

    label: str
    value: float
    low: float | None
    high: float | None
    tone: str = "mark"


def intervals(label: str, rows: Sequence[Interval], *, marks: Mapping[float, str]) -> Html:
    """Draw each estimate as a dot with its interval.

    :param label: description of the chart for screen readers
    :param marks: values of vertical lines with their names, e.g. a target
    :param rows: the estimates
    """
    edges = [edge for row in rows for edge in (row.value, row.low, row.high) if edge is not None and math.isfinite(edge)]
    if not edges:
        return Html()
    edges += marks
    ticks = nice_ticks(min(edges), max(edges))
    low, high = min(ticks[0], *edges), max(ticks[-1], *edges)
    if high <= low:
        low, high = low - 1, high + 1
    x = Scale(low, high, _LEFT, _WIDTH - 22)
    bottom = _TOP + _STEP * len(rows)
    parts = []
    for tick, name in number_labels(ticks):
        parts.append(svg.line("grid", x(tick), _TOP - 4, x(tick), bottom))
        parts.append(svg.label("axis middle", x(tick), bottom + 18, name))
    for value, name in marks.items():
        parts.append(svg.line("level bad", x(value), _TOP - 8, x(value), bottom))
        parts.append(svg.label("note middle bad", x(value), _TOP - 3, name))
    for number, row in enumerate(rows):
        y = _TOP + _STEP * (number + 0.5)
        parts.append(svg.label("axis start", 4, y + 4, svg.shorten(row.label, 32)))
        if row.low is not None and row.high is not None:
            parts.append(svg.line(f"whisker {row.tone}", x(row.low), y, x(row.high), y))
            parts += [svg.line(f"whisker {row.tone}", x(edge), y - 4, x(edge), y + 4) for edge in (row.low, row.high)]
        parts.append(svg.dot(f"dot {row.tone}", x(row.value), y, 4))
    return svg.picture(label, (_WIDTH, bottom + _BOTTOM), parts)
