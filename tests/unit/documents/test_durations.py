from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.documents.durations import Duration, as_duration, format_seconds, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "months"),
    [
        ("1s", 1, 0),
        ("1m", 60, 0),
        ("90m", 5400, 0),
        ("1h", 3600, 0),
        ("30d", 2592000, 0),
        ("4w", 2419200, 0),
        ("1M", 0, 1),
        ("1Q", 0, 3),
        ("2Y", 0, 24),
        (" 5m ", 300, 0),
    ],
)
def test_parse_duration_reads_every_unit(text: str, seconds: int, months: int) -> None:
    duration = parse_duration(text)
    assert (duration.seconds, duration.months, str(duration)) == (seconds, months, text.strip())
    assert duration.is_calendar == bool(months)


def test_parse_duration_distinguishes_minute_and_month() -> None:
    assert parse_duration("1m").timedelta == timedelta(minutes=1)
    with pytest.raises(ValueError, match="1M is a calendar duration: its length depends on the month it starts in"):
        _ = parse_duration("1M").timedelta


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "05m", "-1h", "+1h", "1.5h", "1 h", "1h30m", "1D", "1H", "1y", "1ms",
     "٣d", "1234567890s", "P1D", "1m\n2m"],
)  # fmt: skip
def test_parse_duration_of_invalid_text_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize("value", [None, 5, 5.0, b"5m"])
def test_parse_duration_of_other_type_raises_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        as_duration(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=1500), timedelta(microseconds=1)])
def test_as_duration_of_fractional_seconds_raises_value_error(length: timedelta) -> None:
    with pytest.raises(ValueError, match="is not a positive whole number of seconds"):
        as_duration(length)


def test_as_duration_accepts_every_form() -> None:
    expected = Duration("30d", seconds=2592000)
    assert as_duration("30d") == as_duration(timedelta(days=30)) == as_duration(expected) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (60, "1m"), (90, "90s"), (21600, "6h"), (604800, "7d"), (86401, "86401s"), (0, "0s")]
)
def test_format_seconds_uses_largest_unit(seconds: int, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.integers(1, 10**9 - 1))
def test_format_seconds_round_trips(seconds: int) -> None:
    assert parse_duration(format_seconds(seconds)).seconds == seconds
    assert as_duration(timedelta(seconds=seconds)).timedelta == timedelta(seconds=seconds)


@given(st.text(max_size=12))
def test_parse_duration_of_any_text_parses_or_raises_value_error(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert (duration.seconds > 0) != (duration.months > 0)
    assert duration.text == text.strip()


@pytest.mark.parametrize("text", ["0m", "00m", "0", "0s"])
def test_parse_duration_of_zero_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write more than 0, or remove it for none"):
        parse_duration(text)
