"""Formatted durations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_slo_provider.core.duration_text import format_duration


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(milliseconds=500), "0.5 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=1, minutes=23, seconds=59), "1 h 23 min"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=2, minutes=5), "2 d"),
        (timedelta(days=400, hours=3), "400 d 3 h"),
        (-timedelta(minutes=3), "-3 min"),
    ],
)
def test_format_duration_two_largest_units(duration: timedelta, words: str) -> None:
    assert format_duration(duration) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (43 * 60 + 12, "43m 12s"), (90061, "1d 1h"), (-3700, "-1h 1m"), (86400 * 30, "30d"), (3601, "1h")],
)
def test_format_duration_compact(seconds: int, words: str) -> None:
    assert format_duration(timedelta(seconds=seconds), compact=True) == words


def test_format_duration_with_one_unit() -> None:
    assert format_duration(timedelta(hours=25, minutes=5), most=1) == "1 d"
