"""Scale values to coordinates, and choose round ticks for numbers and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Scale:
    """Map values to coordinates.

    :param low: the smallest value
    :param high: the largest value; values outside are drawn at the edge
    :param first: coordinate of the smallest value
    :param last: coordinate of the largest value
    """

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.first + min(max(share, 0.0), 1.0) * (self.last - self.first)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that cover a range: steps of 1, 2 or 5 times a power of ten."""
    if not 0 < high - low < math.inf:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def time_ticks(start: datetime, end: datetime, count: int = 6) -> list[tuple[datetime, str]]:
    """Return round UTC times within a span, with their labels."""
    span = end - start
    steps = [timedelta(minutes=n) for n in (1, 5, 15, 30)] + [timedelta(hours=n) for n in (1, 3, 6, 12)]
    steps += [timedelta(days=n) for n in (1, 2, 5, 7, 14, 30, 61, 91, 182, 365)]
    step = next((step for step in steps if span / step <= count), steps[-1])
    time_format = "%H:%M" if step < timedelta(hours=12) else "%d %b %H:%M" if step < timedelta(days=1) else "%d %b"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = epoch + ((start - epoch) // step + 1) * step
    times = [first + number * step for number in range(math.ceil((end - first) / step))]
    # A label at the very edge would be clipped.
    return [(at, at.astimezone(UTC).strftime(time_format)) for at in times if 0.03 < (at - start) / span < 0.97]


def number_labels(ticks: Sequence[float], unit: str = "") -> list[tuple[float, str]]:
    """Return ticks with their labels.

    :param unit: ``percent`` formats shares as percentages
    :param ticks: the values
    """
    if unit != "percent":
        return [(tick, f"{tick:,.6g}") for tick in ticks]
    digits = 0 if len(ticks) < 2 or abs(ticks[1] - ticks[0]) >= 0.01 else 2
    return [(tick, f"{tick * 100:.{digits}f} %") for tick in ticks]
