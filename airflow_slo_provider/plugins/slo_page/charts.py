"""Charts as SVG, drawn on the server: no script, nothing to load. Every chart has its numbers in a table beside it.

Colours come from classes, never from ``style`` attributes: the content-security policy forbids those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from markupsafe import Markup

_WIDTH, _HEIGHT = 720.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 14.0, 26.0

Points = Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    :param label: its name
    :param points: instant and value; None interrupts it
    """

    label: str
    points: Points


@dataclass(frozen=True)
class Level:
    """A horizontal line: a target or a threshold."""

    label: str
    value: float
    tone: str = "bad"


@dataclass(frozen=True)
class Mark:
    """Something that happened: a vertical line with its number.

    :param number: how the list below the chart calls it
    """

    at: datetime
    number: int
    tone: str = "mark"


def bar(share: float | None, tone: str) -> Markup:
    """What is left of a budget, as a bar. The number stands beside it, so the bar itself is decoration."""
    if share is None:
        return Markup("")
    width = 100 * min(max(share, 0.0), 1.0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="rail" width="100" height="8"/><rect class="fill {}" width="{:.1f}" height="8"/></svg>'
    ).format(tone, width)


def sparkline(points: Sequence[tuple[float, float]], label: str) -> Markup:
    """A small line.

    :param points: position within the window (0 to 1) and value; the height shows 0 to 1, and what lies outside at its edge
    :param label: what it says, for people who do not see it
    """
    if len(points) < 2:
        return Markup('<span class="quiet" title="{}">–</span>').format(label)
    path = " ".join(f"{100 * x:.1f},{22 - 20 * min(max(y, 0.0), 1.0):.1f}" for x, y in points)
    return Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label="{}" focusable="false">'
        '<line class="grid" x1="0" x2="100" y1="22" y2="22"/><polyline class="line-0" points="{}"/></svg>'
    ).format(label, path)


def chart(
    label: str,
    lines: Sequence[Line],
    *,
    start: datetime,
    end: datetime,
    unit: str = "",
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    floor: float | None = None,
    ceiling: float | None = None,
) -> Markup:
    """Values over time.

    :param label: what the chart shows, for people who do not see it
    :param unit: ``percent`` shows shares as per cent
    :param floor: the lowest value the axis must reach
    :param ceiling: the highest
    """
    values = [y for line in lines for _, y in line.points if y is not None] + [level.value for level in levels]
    values += [edge for edge in (floor, ceiling) if edge is not None]
    if not any(y is not None for line in lines for _, y in line.points):
        return Markup('<p class="quiet">Nothing was measured in this time.</p>')
    low, high = min(values), max(values)
    if high - low < 1e-12:
        pad = abs(high) * 0.05 or 1.0
        low, high = low - pad, high + pad
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    span = max((end - start).total_seconds(), 1.0)

    def x(at: datetime) -> float:
        share = min(max((at - start).total_seconds() / span, 0.0), 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [Markup('<svg class="chart" viewBox="0 0 720 240" role="img" aria-label="{}" focusable="false">').format(label)]
    for tick in ticks:
        parts.append(_line("grid", _LEFT, y(tick), _WIDTH - _RIGHT, y(tick)))
        parts.append(_text("axis end", _LEFT - 6, y(tick) + 4, _shown(tick, unit, ticks)))
    for at, said in time_ticks(start, end):
        parts.append(_text("axis middle", x(at), _HEIGHT - 8, said))
    for level in levels:
        parts.append(_line(f"level {level.tone}", _LEFT, y(level.value), _WIDTH - _RIGHT, y(level.value)))
        parts.append(_text(f"note end {level.tone}", _WIDTH - _RIGHT - 2, y(level.value) - 4, level.label))
    for mark in marks:
        if start <= mark.at <= end:
            parts.append(_line(f"event {mark.tone}", x(mark.at), _TOP, x(mark.at), _HEIGHT - _BOTTOM))
            parts.append(_text(f"note middle {mark.tone}", x(mark.at), _TOP - 3, str(mark.number)))
    for number, line in enumerate(lines):
        for piece in _pieces(line.points):
            coordinates = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in piece)
            if len(piece) == 1:
                at, value = piece[0]
                parts.append(
                    Markup('<circle class="dot line-{}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(number % 6, x(at), y(value))
                )
            else:
                parts.append(Markup('<polyline class="line-{}" points="{}"/>').format(number % 6, coordinates))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def legend(lines: Iterable[Line]) -> Markup:
    """The names of a chart's lines, each with a piece of it: the lines differ in their dashes, not only in colour."""
    key = Markup('<svg class="key" viewBox="0 0 28 8" aria-hidden="true"><polyline class="line-{}" points="0,4 28,4"/></svg>')
    items = [Markup("<li>{} {}</li>").format(key.format(number % 6), line.label) for number, line in enumerate(lines)]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, one row of :func:`intervals`."""

    label: str
    value: float
    low: float | None
    high: float | None
    tone: str = "mark"


def intervals(label: str, rows: Sequence[Interval], *, target: float | None = None) -> Markup:
    """Estimates below each other, each a dot with its interval, and the target as a line through all."""
    edges = [e for row in rows for e in (row.value, row.low, row.high) if e is not None]
    if not edges:
        return Markup("")
    edges += [] if target is None else [target]
    ticks = nice_ticks(min(edges), max(edges))
    low, high = min(ticks[0], *edges), max(ticks[-1], *edges)
    if high <= low:
        low, high = low - 1, high + 1
    step, left = 24.0, 220.0
    height = _TOP + step * len(rows) + _BOTTOM

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDTH - left - _RIGHT - 10)

    parts = [
        Markup('<svg class="chart" viewBox="0 0 720 {:.0f}" role="img" aria-label="{}" focusable="false">').format(height, label)
    ]
    for tick in ticks:
        parts.append(_line("grid", x(tick), _TOP - 4, x(tick), height - _BOTTOM))
        parts.append(_text("axis middle", x(tick), height - 8, f"{tick:.6g}"))
    if target is not None:
        parts.append(_line("level bad", x(target), _TOP - 8, x(target), height - _BOTTOM))
        parts.append(_text("note middle bad", x(target), _TOP - 3, "target"))
    for number, row in enumerate(rows):
        y = _TOP + step * (number + 0.5)
        parts.append(_text("axis start", 4, y + 4, row.label if len(row.label) <= 32 else row.label[:31] + "…"))
        if row.low is not None and row.high is not None:
            parts.append(_line(f"whisker {row.tone}", x(row.low), y, x(row.high), y))
            parts += [_line(f"whisker {row.tone}", x(edge), y - 4, x(edge), y + 4) for edge in (row.low, row.high)]
        parts.append(Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(row.tone, x(row.value), y))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover a range: steps of 1, 2 or 5 times a power of ten."""
    import math

    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def time_ticks(start: datetime, end: datetime, count: int = 6) -> list[tuple[datetime, str]]:
    """Round instants within a span, in UTC, with their names."""
    span = end - start
    steps = [timedelta(minutes=n) for n in (1, 5, 15, 30)] + [timedelta(hours=n) for n in (1, 3, 6, 12)]
    steps += [timedelta(days=n) for n in (1, 2, 5, 7, 14, 30, 61, 91, 182, 365)]
    step = next((one for one in steps if span / one <= count), steps[-1])
    form = "%H:%M" if step < timedelta(hours=12) else "%d %b %H:%M" if step < timedelta(days=1) else "%d %b"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + ((start - epoch) // step + 1) * step
    found = []
    while at < end:
        # A name at the very edge would be cut off.
        if 0.03 < (at - start) / span < 0.97:
            found.append((at, at.astimezone(UTC).strftime(form)))
        at += step
    return found


def slices(start: datetime, end: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """Cut a span of time into equal parts; the last one holds its own end."""
    step = (end - start) / count
    edges = [start + number * step for number in range(count)] + [end + timedelta(microseconds=1)]
    return list(pairwise(edges))


def _pieces(points: Points) -> list[list[tuple[datetime, float]]]:
    pieces: list[list[tuple[datetime, float]]] = [[]]
    for at, value in points:
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((at, value))
    return [piece for piece in pieces if piece]


def _shown(tick: float, unit: str, ticks: Sequence[float]) -> str:
    if unit == "percent":
        digits = 0 if len(ticks) < 2 or abs(ticks[1] - ticks[0]) >= 0.01 else 2
        return f"{tick * 100:.{digits}f} %"
    return f"{tick:,.6g}"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(kind: str, x: float, y: float, said: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, said)
