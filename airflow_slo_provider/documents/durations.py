"""Parse durations in OpenSLO's notation: ``5m`` is five minutes, ``1M`` one month.

A fixed duration (s, m, h, d, w) is a number of seconds. A calendar duration (M, Q, Y) has no fixed length and needs a start
date; see :mod:`airflow_slo_provider.slo.budget.windows`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_PATTERN = re.compile(r"([1-9][0-9]{0,8})([smhdwMQY])")


@dataclass(frozen=True)
class Duration:
    """A fixed or calendar duration.

    :param text: as written, e.g. ``30d``
    :param seconds: length in seconds; 0 for a calendar duration
    :param months: number of calendar months; 0 for a fixed duration
    """

    text: str
    seconds: int = 0
    months: int = 0

    @property
    def is_calendar(self) -> bool:
        """Whether the length depends on the start date."""
        return self.months > 0

    @property
    def timedelta(self) -> timedelta:
        """The duration as a timedelta.

        :raises ValueError: for a calendar duration
        """
        if self.is_calendar:
            raise ValueError(f"{self.text} is a calendar duration: its length depends on the month it starts in")
        return timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return self.text


def parse_duration(text: str) -> Duration:
    """Parse a duration such as ``30d``.

    :param text: a positive whole number and one unit: s, m (minutes), h, d, w, M (months), Q (quarters), Y (years)
    :raises ValueError: when the text does not have this form
    """
    written = text.strip() if isinstance(text, str) else ""
    match = _PATTERN.fullmatch(written)
    if re.fullmatch(r"0+[a-zA-Z]?", written):
        raise ValueError(f"{text!r} is not a duration: write more than 0, or remove it for none")
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit (s, m, h, d, w, M for months, Q or Y), e.g. 30d")
    count, unit = int(match[1]), match[2]
    return Duration(written, seconds=count * _SECONDS.get(unit, 0), months=count * _MONTHS.get(unit, 0))


def as_duration(value: str | timedelta | Duration) -> Duration:
    """Convert text, a timedelta or a :class:`Duration` to a :class:`Duration`.

    :param value: text such as ``30d``, a timedelta, or a :class:`Duration`
    :raises ValueError: for text that is not a duration, or a length that is not a positive whole number of seconds
    """
    if isinstance(value, Duration):
        return value
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        if seconds <= 0 or timedelta(seconds=seconds) != value:
            raise ValueError(f"{value} is not a positive whole number of seconds")
        return Duration(format_seconds(seconds), seconds=seconds)
    return parse_duration(value)


def format_seconds(seconds: int) -> str:
    """Format whole seconds with the largest unit that divides them: 21600 -> ``6h``, 604800 -> ``7d``."""
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0 and seconds:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
