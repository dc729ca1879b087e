"""Small plots as SVG: no script, no font, no file beside them, so that a report opens anywhere and for years."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 300, 52, 40, 14, 14
CANDIDATE, CHAMPION, QUIET = "#1f6feb", "#8a6d3b", "#8b949e"


@dataclass
class Plot:
    """Axes, and what is drawn between them.

    :param x: range of the horizontal axis
    :param y: range of the vertical axis
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    _parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies on the page."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    def line(self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> None:
        """Draw a line through points."""
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')

    def dots(self, points: Sequence[tuple[float, float]], colour: str, radius: float = 2.0) -> None:
        """Draw points."""
        self._parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.55"/>'
            for x, y in (self.at(*point) for point in points)
        ]

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Name the colours."""
        for row, (text, colour) in enumerate(entries):
            x, y = WIDTH - RIGHT - 150, HEIGHT - BOTTOM - 16 - 16 * row
            self._parts.append(f'<rect x="{x}" y="{y - 8}" width="10" height="10" fill="{colour}"/>')
            self._parts.append(f'<text x="{x + 15}" y="{y + 1}">{escape(text)}</text>')

    def svg(self) -> str:
        """Return the whole plot."""
        ticks = []
        for value in _ticks(*self.x):
            x, y = self.at(value, self.y[0])
            ticks.append(f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{value:g}</text>')
        for value in _ticks(*self.y):
            x, y = self.at(self.x[0], value)
            ticks.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
            ticks.append(f'<line x1="{x}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        labels = (
            f'<text x="{middle_x}" y="{HEIGHT - 6}" text-anchor="middle">{escape(self.x_label)}</text>'
            f'<text transform="translate(12,{middle_y}) rotate(-90)" text-anchor="middle">{escape(self.y_label)}</text>'
        )
        return _figure(WIDTH, HEIGHT, self.title, labels + "".join(ticks + self._parts))


def intervals(title: str, rows: Sequence[tuple[str, float, float, float, str]], *, marks: Sequence[float] = ()) -> str:
    """Draw values with their intervals, one below the other.

    :param rows: label, value, low, high, colour
    :param marks: vertical lines, e.g. zero and the margin
    """
    numbers = [number for row in rows for number in row[1:4] if math.isfinite(number)] + list(marks)
    least, most = min(numbers), max(numbers)
    pad = 0.06 * ((most - least) or abs(most) or 1.0)
    least, most = least - pad, most + pad
    left, height = 210, 30 + 22 * len(rows)

    def across(value: float) -> float:
        return left + (min(max(value, least), most) - least) / (most - least) * (640 - left - 20)

    parts = [f'<line x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="4" y2="{height - 22}" class="mark"/>' for mark in marks]
    for place, (label, value, low, high, colour) in enumerate(rows):
        y = 16 + 22 * place
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(label[:34])}</text>')
        parts.append(
            f'<line x1="{across(low):.1f}" x2="{across(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<circle cx="{across(value):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    parts += [
        f'<text x="{across(value):.1f}" y="{height - 6}" text-anchor="middle">{value:g}</text>' for value in _ticks(least, most)
    ]
    return _figure(640, height, title, "".join(parts))


def _figure(width: float, height: float, title: str, body: str) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = escape(title, quote=True)
    return f'<figure><figcaption>{label}</figcaption><svg {size} role="img" aria-label="{label}">{body}</svg></figure>'


def _ticks(least: float, most: float) -> list[float]:
    """About five round numbers within a range."""
    span = most - least
    if not (span > 0 and math.isfinite(span)):
        return [least]
    step = 10 ** math.floor(math.log10(span / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first = math.ceil(least / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(most / step + 1e-9) + 1)]
