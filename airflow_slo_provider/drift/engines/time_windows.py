"""Which rows: windows of time, fixed or trailing, as filters."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_slo_provider.drift.engines.sources import Filter

Window = tuple[datetime, datetime]
_WEEK = timedelta(days=7)


def trailing(start: datetime, end: datetime, back: timedelta, *, same_weekday: bool = False) -> list[Window]:
    """Return the windows before one that are its reference.

    :param start: start of the current window
    :param end: its end (exclusive)
    :param back: how far to go back from its start
    :param same_weekday: only whole weeks back, windows as long as the current one; without it everything in between
    :raises ValueError: when that leaves no window
    """
    if same_weekday:
        if end - start > _WEEK:
            raise ValueError("same_weekday needs a current window of a week or less")
        windows = [(start - k * _WEEK, end - k * _WEEK) for k in range(1, back // _WEEK + 1)]
        if not windows:
            raise ValueError(f"same_weekday needs at least a week of reference, not {back}")
        return windows
    if back <= timedelta(0):
        raise ValueError(f"a reference window of {back} holds nothing")
    return [(start - back, start)]


def within(column: str, window: Window, where: Filter | None = None) -> Filter:
    """Return the filter for rows of a window: start included, end not."""
    return [*(where or ()), (column, ">=", window[0]), (column, "<", window[1])]
