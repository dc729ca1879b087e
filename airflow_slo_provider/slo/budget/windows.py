"""Convert an SLO's time window to a time span at a given time."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.slo.model import TimeWindow


@dataclass(frozen=True)
class WindowSpan:
    """A half-open time span: ``start <= t < end``.

    :param start: start of the window (UTC)
    :param end: end of the measurement (UTC)
    :param whole_end: end of the window (UTC); later than ``end`` while a calendar window has not ended
    """

    start: datetime
    end: datetime
    whole_end: datetime

    @property
    def length(self) -> timedelta:
        """Length of the whole window; an hour more or less if clocks change within it."""
        return self.whole_end - self.start

    @property
    def elapsed(self) -> timedelta:
        """Length of the elapsed part of the window."""
        return self.end - self.start

    @property
    def projection(self) -> Fraction:
        """Ratio of the whole window to its elapsed part."""
        unit = timedelta(microseconds=1)
        return Fraction(self.length // unit, self.elapsed // unit)


def span_at(window: TimeWindow, at: datetime) -> WindowSpan:
    """Return the time span of a window at a given time.

    A rolling window is ``[at - duration, at)``. A calendar window is ``[start + k * duration, start + (k + 1) * duration)``
    for the whole number k whose window contains ``at``, counted on the wall clock of the window's zone: months by calendar,
    with the day clamped to the month's last, daylight-saving changes respected. If ``at`` is exactly a boundary, the
    window that ends there is returned, so that a run at midnight evaluates the previous day.

    :param window: the window
    :param at: the time (aware)
    :raises ValueError: for a naive time, a time before the first calendar window, or a window beyond the years 1 to 9999
    """
    if at.tzinfo is None:
        raise ValueError(f"the timestamp {at} has no time zone")
    try:
        return _span_at(window, at.astimezone(UTC))
    except OverflowError:
        raise ValueError(f"the window of {window.duration} at {at} lies beyond the years 1 to 9999") from None


def _span_at(window: TimeWindow, at: datetime) -> WindowSpan:
    if window.rolling:
        return WindowSpan(at - window.duration.timedelta, at, at)
    if window.start is None or window.zone is None:
        raise ValueError("a calendar window needs a start and a time zone")
    zone = ZoneInfo(window.zone)
    number = _estimate_number(window.duration, window.start, at.astimezone(zone).replace(tzinfo=None))
    while _boundary(window, number, zone) >= at:
        number -= 1
    while _boundary(window, number + 1, zone) < at:
        number += 1
    if number < 0:
        first = f"the first calendar window, which starts {window.start} {window.zone}"
        raise ValueError(f"{at:%Y-%m-%d %H:%M} UTC is before {first}")
    return WindowSpan(_boundary(window, number, zone), at, _boundary(window, number + 1, zone))


def nominal_length(window: TimeWindow | Duration) -> timedelta:
    """Return a fixed length for a window: its own, or 30, 91 or 365 days per month, quarter or year of a calendar duration.

    Burn-rate factors and times need a length that does not change from month to month.

    :param window: an SLO's window, or its duration
    """
    duration = window.duration if isinstance(window, TimeWindow) else window
    if not duration.is_calendar:
        return duration.timedelta
    years, months = divmod(duration.months, 12)
    quarters, months = divmod(months, 3)
    return timedelta(days=365 * years + 91 * quarters + 30 * months)


def _estimate_number(duration: Duration, start: datetime, local: datetime) -> int:
    if duration.is_calendar:
        return ((local.year - start.year) * 12 + local.month - start.month) // duration.months
    return (local - start) // duration.timedelta


def _boundary(window: TimeWindow, number: int, zone: ZoneInfo) -> datetime:
    """Return the start of calendar window ``number`` in UTC. Days and weeks are wall-clock days; hours are exact hours."""
    assert window.start is not None
    duration = window.duration
    if duration.is_calendar:
        local = add_months(window.start, number * duration.months)
    elif duration.seconds % 86400 == 0:
        local = window.start + number * duration.timedelta
    else:
        return window.start.replace(tzinfo=zone).astimezone(UTC) + number * duration.timedelta
    return local.replace(tzinfo=zone).astimezone(UTC)


def add_months(day: datetime, months: int) -> datetime:
    """Add calendar months; the day is clamped to the month's last (31 January + 1 month = 28 or 29 February)."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last))
