"""Which span of time a window means: rolling, calendar, months, clocks that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.slo.budget.windows import add_months, nominal_length, span_at
from airflow_slo_provider.slo.model import TimeWindow


def rolling(duration: str) -> TimeWindow:
    return TimeWindow(parse_duration(duration))


def calendar(duration: str, start: str, zone: str = "UTC") -> TimeWindow:
    return TimeWindow(parse_duration(duration), False, datetime.fromisoformat(start), zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_rolling_window_ends_at_given_time() -> None:
    span = span_at(rolling("30d"), datetime.fromisoformat("2026-03-31T12:00:00+02:00"))
    assert (span.start, span.end, span.whole_end) == (utc("2026-03-01T10:00"), utc("2026-03-31T10:00"), utc("2026-03-31T10:00"))
    assert (span.length, span.elapsed, span.projection) == (timedelta(days=30), timedelta(days=30), 1)


@pytest.mark.parametrize(
    ("window", "at", "start", "whole_end"),
    [
        # weeks from the start, not from Monday
        (calendar("1w", "2022-01-01 12:00:00"), "2022-01-09T00:00", "2022-01-08T12:00", "2022-01-15T12:00"),
        # months by calendar; the day is clamped, and comes back afterwards
        (calendar("1M", "2026-01-31"), "2026-02-10T00:00", "2026-01-31T00:00", "2026-02-28T00:00"),
        (calendar("1M", "2026-01-31"), "2026-03-10T00:00", "2026-02-28T00:00", "2026-03-31T00:00"),
        (calendar("1M", "2028-01-31"), "2028-02-29T12:00", "2028-02-29T00:00", "2028-03-31T00:00"),
        (calendar("1M", "2026-01-31"), "2026-04-30T12:00", "2026-04-30T00:00", "2026-05-31T00:00"),
        (calendar("1Q", "2026-01-01"), "2026-05-15T00:00", "2026-04-01T00:00", "2026-07-01T00:00"),
        (calendar("1Y", "2024-02-29"), "2025-03-01T00:00", "2025-02-28T00:00", "2026-02-28T00:00"),
        (calendar("1Y", "2024-02-29"), "2028-03-01T00:00", "2028-02-29T00:00", "2029-02-28T00:00"),
        (calendar("2M", "2025-12-15"), "2026-03-01T00:00", "2026-02-15T00:00", "2026-04-15T00:00"),
        # Berlin: midnight is 23:00 UTC in winter and 22:00 in summer
        (calendar("1M", "2026-01-01", "Europe/Berlin"), "2026-03-15T00:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        (calendar("1d", "2026-01-01", "Europe/Berlin"), "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        (calendar("1d", "2026-01-01", "Europe/Berlin"), "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        # hours are exact hours, whatever the clocks do
        (calendar("1h", "2026-01-01", "Europe/Berlin"), "2026-03-29T01:30", "2026-03-29T01:00", "2026-03-29T02:00"),
        # a boundary that clocks skip: 02:30 does not exist that day, and means half an hour after the change
        (calendar("1d", "2026-03-01 02:30:00", "Europe/Berlin"), "2026-03-29T12:00", "2026-03-29T01:30", "2026-03-30T00:30"),
        # half hours
        (calendar("1d", "2026-01-01", "Asia/Kolkata"), "2026-06-01T00:00", "2026-05-31T18:30", "2026-06-01T18:30"),
    ],
)  # fmt: skip
def test_calendar_window_contains_given_time(window: TimeWindow, at: str, start: str, whole_end: str) -> None:
    span = span_at(window, utc(at))
    assert (span.start, span.end, span.whole_end) == (utc(start), utc(at), utc(whole_end))


def test_calendar_day_at_clock_change_has_23_or_25_hours() -> None:
    window = calendar("1d", "2026-01-01", "Europe/Berlin")
    assert span_at(window, utc("2026-03-29T12:00")).length == timedelta(hours=23)
    assert span_at(window, utc("2026-10-25T12:00")).length == timedelta(hours=25)


def test_calendar_window_at_boundary_is_the_ended_window() -> None:
    window = calendar("1d", "2026-01-01")
    at = utc("2026-01-03T00:00")
    assert (span_at(window, at).start, span_at(window, at).elapsed) == (utc("2026-01-02T00:00"), timedelta(days=1))
    later = at + timedelta(microseconds=1)
    assert (span_at(window, later).start, span_at(window, later).elapsed) == (at, timedelta(microseconds=1))
    assert span_at(window, later).projection == 86400 * 10**6


def test_span_projection_is_exact() -> None:
    span = span_at(calendar("1w", "2026-01-01"), utc("2026-01-04T00:00"))
    assert span.projection == Fraction(7, 3)


@pytest.mark.parametrize("at", ["2025-12-31T23:59", "2026-01-01T00:00", "1999-01-01T00:00"])
def test_span_at_before_first_window_raises_value_error(at: str) -> None:
    with pytest.raises(ValueError, match="is before the first calendar window, which starts 2026-01-01 00:00:00 UTC"):
        span_at(calendar("1M", "2026-01-01"), utc(at))


def test_span_at_naive_timestamp_raises_value_error() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        span_at(rolling("1d"), datetime(2026, 1, 1))


def test_span_at_without_calendar_start_raises_value_error() -> None:
    with pytest.raises(ValueError, match="needs a start and a time zone"):
        span_at(TimeWindow(parse_duration("1d"), rolling=False), utc("2026-01-01"))


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("1w", 7), ("1M", 30), ("2M", 60), ("1Q", 91), ("5M", 151), ("1Y", 365)])
def test_nominal_length_of_calendar_duration_is_fixed(text: str, days: int) -> None:
    assert nominal_length(rolling(text)) == timedelta(days=days)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata"]


@settings(max_examples=300, deadline=None)
@given(
    duration=st.sampled_from(["1h", "7h", "1d", "1w", "30d", "1M", "2M", "1Q", "1Y"]),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2020, 1, 1)),
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(2025, 1, 3), datetime(2040, 1, 1)),
)
def test_calendar_windows_contain_their_time_without_gaps(duration: str, start: datetime, zone: str, at: datetime) -> None:
    window = TimeWindow(parse_duration(duration), False, start.replace(microsecond=0), zone)
    span = span_at(window, at.replace(tzinfo=UTC))
    assert span.start < span.end <= span.whole_end
    assert span_at(window, span.start).whole_end == span.start
    assert span_at(window, span.whole_end).start == span.start
    assert span.projection >= 1


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), st.integers(-600, 600))
def test_add_months_keeps_or_clamps_day(start: datetime, months: int) -> None:
    found = add_months(start, months)
    assert (found.year * 12 + found.month) - (start.year * 12 + start.month) == months
    assert found.day == start.day or (found.day < start.day and (found + timedelta(days=1)).day == 1)
    assert found.time() == start.time()
