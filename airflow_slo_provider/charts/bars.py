"""Draw bars: a single share, two paired distributions, and rows of boxes along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_slo_provider.charts import svg
from airflow_slo_provider.charts.axes import Scale
from airflow_slo_provider.charts.markup import Html, tag

_WIDTH, _LEFT, _RIGHT, _STEP, _BOX = 980, 190, 90, 23, 18


def bar(share: float | None, tone: str) -> Html:
    """Draw the remaining budget as a bar. It is decorative: the number is shown beside it."""
    if share is None:
        return Html()
    shapes = svg.box("rail", 0, 0, 100, 8), svg.box(f"fill {tone}", 0, 0, Scale(0, 1, 0, 100)(share), 8)
    hidden = {"aria_hidden": "true", "focusable": "false"}
    return tag("svg", *shapes, class_="bar", viewBox="0 0 100 8", preserveAspectRatio="none", **hidden)


def paired_bars(
    label: str, names: Sequence[str], before: Sequence[float], after: Sequence[float], *, width: int = 240, height: int = 56
) -> Html:
    """Draw two distributions side by side; hovering over a bar shows the shares.

    :param label: description of the chart for screen readers
    :param names: names of the bars
    :param before: shares that are drawn as outlines
    :param after: shares that are drawn filled
    :param width: width of the picture in pixels
    :param height: height of the picture in pixels
    """
    up = Scale(0, max(*before, *after) or 1.0, 0, height - 2)
    step = width / len(names)
    bars = []
    for number, (name, *shares) in enumerate(zip(names, before, after, strict=True)):
        old, new = (
            svg.box(kind, number * step + 0.5, height - up(share), max(step - 1, 1), up(share))
            for kind, share in zip(("outline", "fill"), shares, strict=True)
        )
        bars.append(tag("g", tag("title", f"{name}: {shares[0]:.2%} → {shares[1]:.2%}"), new, old))
    return svg.picture(label, (width, height), bars, kind="histogram", width=width, height=height)


@dataclass(frozen=True)
class Box:
    """A box in a row.

    :param start: where it begins on the axis
    :param length: its length on the axis
    :param kind: CSS class
    :param title: text that is shown on hover
    :param name: text in the box, if it fits
    """

    start: float
    length: float
    kind: str
    title: str
    name: str = ""


@dataclass(frozen=True)
class BoxRow:
    """A row of boxes, with a name before and a note after them."""

    name: str
    boxes: Sequence[Box]
    note: str
    depth: int = 0


def box_rows(label: str, drawn: Sequence[BoxRow]) -> Html:
    """Draw rows of boxes along one axis that begins at 0.

    :param label: description of the chart for screen readers
    :param drawn: the rows
    """
    x = Scale(0, max((box.start + box.length for row in drawn for box in row.boxes), default=0.0), _LEFT, _WIDTH - _RIGHT)
    parts = []
    for number, row in enumerate(drawn):
        top, depth, end = 4 + _STEP * number, min(row.depth, 8), float(_LEFT)
        parts.append(svg.label("axis", 8 + 12 * depth, top + 14, svg.shorten(row.name, 24 - depth)))
        for box in row.boxes:
            left, end = x(box.start), x(box.start + box.length)
            width = max(1.5, end - left)
            room = int(width / 7)
            name = svg.label("inside", left + 5, top + 13, svg.shorten(box.name, room)) if box.name and room > 5 else ""
            parts.append(tag("g", tag("title", box.title), svg.box(box.kind, left, top, width, _BOX), name))
        parts.append(svg.label("note", end + 6, top + 14, row.note))
    return svg.picture(label, (_WIDTH, 4 + _STEP * len(drawn)), parts)
