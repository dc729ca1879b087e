"""Filters for windows of time, fixed or trailing."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_slo_provider.drift.engines.sources import Filter

Window = tuple[datetime, datetime]
_WEEK = timedelta(days=7)


def reference_windows(start: datetime, end: datetime, back: timedelta, *, same_weekday: bool = False) -> list[Window]:
    """Return the reference windows that precede a window.

    :param start: start of the current window
    :param end: end of the current window (exclusive)
    :param back: length of the reference, back from ``start``
    :param same_weekday: use windows like the current one, whole weeks earlier, instead of the whole span
    :raises ValueError: when there is no such window, or ``same_weekday`` is set for a window of more than a week
    """
    if same_weekday:
        if end - start > _WEEK:
            raise ValueError("same_weekday needs a current window of a week or less")
        windows = [(start - k * _WEEK, end - k * _WEEK) for k in range(1, back // _WEEK + 1)]
        if not windows:
            raise ValueError(f"same_weekday needs at least a week of reference, not {back}")
        return windows
    if back <= timedelta(0):
        raise ValueError(f"reference_window must be positive, not {back}")
    return [(start - back, start)]


def window_filter(column: str, window: Window, where: Filter | None = None) -> Filter:
    """Return the filter for rows of a window: start included, end excluded."""
    return [*(where or ()), (column, ">=", window[0]), (column, "<", window[1])]
