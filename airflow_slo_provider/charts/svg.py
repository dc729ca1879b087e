"""Draw the SVG shapes of charts: no scripts, no fonts, no external files.

Colours come from classes, never from ``style`` attributes: the pages' content-security policy forbids those, and dark mode
needs other colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_slo_provider.charts.markup import Html, join, tag


def picture(label: str, size: tuple[float, float], parts: Iterable[object], *, kind: str = "chart", **attributes: object) -> Html:
    """Build an SVG picture.

    :param label: description of the picture for screen readers
    :param size: width and height
    :param parts: its shapes
    :param kind: its CSS class
    :param attributes: further attributes
    """
    box = f"0 0 {size[0]:g} {size[1]:g}"
    return tag("svg", *parts, class_=kind, viewBox=box, **attributes, role="img", aria_label=label, focusable="false")


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    """Draw a straight line of a CSS class."""
    return tag("line", class_=kind, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))


def label(kind: str, x: float, y: float, text: str) -> Html:
    """Write text at a position."""
    return tag("text", text, class_=kind, x=float(x), y=float(y))


def curve(kind: str, points: Iterable[tuple[float, float]]) -> Html:
    """Draw a line through points."""
    return tag("polyline", class_=kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def dot(kind: str, x: float, y: float, radius: float) -> Html:
    """Draw a point."""
    return tag("circle", class_=kind, cx=float(x), cy=float(y), r=f"{radius:g}")


def box(kind: str, x: float, y: float, width: float, height: float) -> Html:
    """Draw a filled rectangle."""
    return tag("rect", class_=kind, x=float(x), y=float(y), width=float(width), height=float(height))


def legend(names: Mapping[str, str], *, boxes: bool = False) -> Html:
    """List the names in a chart with their colours.

    :param names: each name with its CSS class
    :param boxes: draw a box beside each name instead of a line
    """
    items = []
    for name, kind in names.items():
        key = box(kind, 0, 0, 28, 8) if boxes else curve(kind, [(0, 4), (28, 4)])
        items.append(tag("li", tag("svg", key, class_="key", viewBox="0 0 28 8", aria_hidden="true"), " ", name))
    return tag("ul", *items, class_="legend")


def figure(caption: str, drawn: Html, *below: Html) -> Html:
    """Put a picture under its caption."""
    return tag("figure", tag("figcaption", caption), drawn, join(below))


def shorten(text: str, most: int) -> str:
    """Shorten a text to ``most`` characters."""
    return text if len(text) <= most else text[: max(1, most - 1)] + "…"
