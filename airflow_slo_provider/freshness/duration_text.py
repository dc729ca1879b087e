"""Durations as people read them."""

from __future__ import annotations

from datetime import timedelta


def in_words(duration: timedelta) -> str:
    """Write a duration with its two largest units, cut and not rounded: ``1 h 23 min``, ``2 d``, ``0.5 s``."""
    microseconds = duration // timedelta(microseconds=1)
    sign, microseconds = ("-" if microseconds < 0 else ""), abs(microseconds)
    seconds = microseconds // 1_000_000
    if seconds < 10 and microseconds % 1_000_000:
        return f"{sign}{microseconds // 1000 / 1000:g} s"
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    shown = [f"{number} {unit}" for place, (number, unit) in enumerate(parts[first : first + 2]) if number or not place]
    return sign + " ".join(shown)
