"""Format durations for readers."""

from __future__ import annotations

from datetime import timedelta

_SIZES = (86_400, 3_600, 60, 1)


def format_duration(duration: timedelta, *, most: int = 2, compact: bool = False) -> str:
    """Format a duration with its largest units, truncated and not rounded: ``1 h 23 min``, ``2 d``, ``0.5 s``.

    :param most: the maximum number of units
    :param compact: write ``1h 23m``, for tables
    :param duration: the duration; may be negative
    """
    units, gap = (("d", "h", "m", "s"), "") if compact else (("d", "h", "min", "s"), " ")
    microseconds = duration // timedelta(microseconds=1)
    sign, microseconds = ("-" if microseconds < 0 else ""), abs(microseconds)
    seconds = microseconds // 1_000_000
    if seconds < 10 and microseconds % 1_000_000:
        return f"{sign}{microseconds // 1000 / 1000:g}{gap}s"
    parts: list[tuple[int, str]] = []
    for size, unit in zip(_SIZES, units, strict=True):
        number, seconds = divmod(seconds, size)
        if number or parts or unit == "s":
            parts.append((number, f"{number}{gap}{unit}"))
    return sign + " ".join(text for index, (number, text) in enumerate(parts[:most]) if number or not index)
