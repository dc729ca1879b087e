"""An age against its limits, at and around every edge."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider import freshness
from airflow_slo_provider.freshness import Reason, judge
from airflow_slo_provider.results import Verdict

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR, SECOND, TICK = timedelta(hours=1), timedelta(seconds=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("age", "verdict", "reason"),
    [
        (timedelta(0), Verdict.PASS, "fresh"),
        (2 * HOUR, Verdict.PASS, "fresh"),
        (2 * HOUR + TICK, Verdict.WARN, "ageing"),
        (4 * HOUR, Verdict.WARN, "ageing"),
        (4 * HOUR + TICK, Verdict.FAIL, "stale"),
        (timedelta(days=9000), Verdict.FAIL, "stale"),
    ],
)
def test_age_equal_to_limit_is_within_it(age, verdict, reason):
    found = judge(NOW - age, NOW, 4 * HOUR, 2 * HOUR)
    assert (found.age, found.verdict, found.reason) == (age, verdict, reason)
    assert found.fresh == (verdict in (Verdict.PASS, Verdict.WARN))


def test_judge_without_warn_age_never_warns():
    assert judge(NOW - 4 * HOUR, NOW, 4 * HOUR).verdict is Verdict.PASS


def test_unknown_timestamp_is_unknown():
    found = judge(None, NOW, timedelta(days=1000))
    assert (found.age, found.verdict, found.reason, found.fresh) == (None, Verdict.UNKNOWN, Reason.UNKNOWN, False)


@pytest.mark.parametrize("ahead", [timedelta(minutes=1) + TICK, HOUR, timedelta(days=365)])
def test_future_timestamp_fails_with_clock_skew(ahead):
    found = judge(NOW + ahead, NOW, timedelta(days=1000))
    assert (found.age, found.verdict, found.reason, found.fresh) == (-ahead, Verdict.FAIL, "clock_skew", False)


@pytest.mark.parametrize("ahead", [TICK, 30 * SECOND, timedelta(minutes=1)])
def test_future_timestamp_within_tolerance_is_fresh(ahead):
    found = judge(NOW + ahead, NOW, timedelta(0))
    assert (found.age, found.verdict) == (timedelta(0), Verdict.PASS)


def test_tolerance_parameter_is_applied():
    assert judge(NOW + SECOND, NOW, HOUR, tolerance=timedelta(0)).reason is Reason.CLOCK_SKEW
    assert judge(NOW + HOUR, NOW, HOUR, tolerance=HOUR).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "arguments",
    [
        (NOW.replace(tzinfo=None), NOW, HOUR),
        (NOW, NOW.replace(tzinfo=None), HOUR),
        (None, NOW.replace(tzinfo=None), HOUR),
        ("2026-11-24T12:00:00Z", NOW, HOUR),
        (NOW, NOW, -TICK),
        (NOW, NOW, HOUR, -TICK),
        (NOW, NOW, HOUR, HOUR + TICK),
        (NOW, NOW, 3600),
        (NOW, NOW, None),
        (None, NOW, HOUR, 2 * HOUR),
    ],
    ids=repr,
)
def test_invalid_arguments_are_rejected(arguments):
    with pytest.raises(ValueError):
        judge(*arguments)


def test_age_is_computed_in_utc():
    tokyo, berlin = timezone(timedelta(hours=9)), ZoneInfo("Europe/Berlin")
    assert judge((NOW - HOUR).astimezone(tokyo), NOW.astimezone(berlin), HOUR).age == HOUR
    # On the wall, three hours pass from 1:30 to 4:30; the night in October is an hour longer.
    before, after = datetime(2026, 10, 25, 1, 30, tzinfo=berlin), datetime(2026, 10, 25, 4, 30, tzinfo=berlin)
    assert after - before == 3 * HOUR
    assert judge(before, after, 3 * HOUR).age == 4 * HOUR
    assert judge(before, after, 3 * HOUR).verdict is Verdict.FAIL


def test_freshness_is_frozen():
    with pytest.raises(FrozenInstanceError):
        judge(NOW, NOW, HOUR).age = None


moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.timezones())
limits = st.timedeltas(timedelta(0), timedelta(days=4000))


@given(observed=st.none() | moments, now=moments, max_age=limits, share=st.floats(0, 1))
def test_passing_age_is_within_the_limit(observed, now, max_age, share):
    found = judge(observed, now, max_age, max_age * share)
    if found.fresh:
        assert observed is not None
        real = now.astimezone(UTC) - observed.astimezone(UTC)
        assert -freshness.CLOCK_TOLERANCE <= real <= max_age
        assert found.verdict is (Verdict.WARN if found.age > max_age * share else Verdict.PASS)
    elif found.verdict is Verdict.FAIL:
        assert found.age > max_age or found.age < -freshness.CLOCK_TOLERANCE
    else:
        assert observed is None


def test_timestamp_out_of_range_is_rejected():
    with pytest.raises(ValueError, match=r"observed_at .* is beyond the years 1 to 9999"):
        judge(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))), NOW, timedelta(hours=4))
