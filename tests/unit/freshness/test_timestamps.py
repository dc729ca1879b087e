"""Timestamps as sources keep them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from airflow_slo_provider.core.timestamps import read_timestamp, read_zone
from airflow_slo_provider.exceptions import InvalidMeasurement

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00+00:00",
        " 2026-01-31 13:00:00+01:00 ",
        "2026-01-31T12:00:00.000000Z",
        1769860800,
        1769860800.0,
        Decimal("1769860800"),
        "1769860800",
        "1769860800.000",
    ],
)
def test_timestamp_with_zone_is_read(value):
    for zone in (None, UTC, BERLIN):
        found = read_timestamp(value, zone=zone, what="x")
        assert found == NOON
        assert found.tzinfo is UTC


@pytest.mark.parametrize("value", [datetime(2026, 1, 31, 12), "2026-01-31 12:00:00", "2026-01-31T12:00:00", "2026-01-31T12:00"])
def test_naive_timestamp_without_zone_is_rejected(value):
    with pytest.raises(InvalidMeasurement, match="no time zone; set it with timezone=") as caught:
        read_timestamp(value, zone=None, what="x")
    assert caught.value.reason == "no_timezone"
    assert read_timestamp(value, zone=UTC, what="x") == NOON
    assert read_timestamp(value, zone=BERLIN, what="x") == NOON - timedelta(hours=1)


def test_repeated_hour_is_read_as_the_earlier():
    assert read_timestamp("2026-10-25 02:30:00", zone=BERLIN, what="x") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("value", [date(2026, 1, 31), "2026-01-31"])
def test_date_is_read_as_its_start(value):
    assert read_timestamp(value, zone=UTC, what="x") == datetime(2026, 1, 31, tzinfo=UTC)
    with pytest.raises(InvalidMeasurement):
        read_timestamp(value, zone=None, what="x")


@pytest.mark.parametrize(
    "value", ["yesterday", "", "nope", "12:00", float("nan"), float("inf"), True, b"2026", ["2026-01-31"], {}]
)
def test_value_that_is_not_a_timestamp_is_rejected(value):
    with pytest.raises(InvalidMeasurement) as caught:
        read_timestamp(value, zone=UTC, what="column ts")
    assert caught.value.reason == "bad_timestamp"
    assert "column ts" in str(caught.value)


@pytest.mark.parametrize("value", [1769860800000, "1769860800000", 1769860800000000])
def test_milliseconds_are_rejected(value):
    with pytest.raises(InvalidMeasurement, match="milliseconds"):
        read_timestamp(value, zone=None, what="x")


EDGE = timezone(timedelta(hours=-12))


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        (datetime(9999, 12, 31, 23, tzinfo=EDGE), None),
        (datetime(9999, 12, 31, 23), EDGE),
        (date.min, BERLIN),
        (-99_999_999_999, None),
        (10**400, None),
        (Fraction(10**400, 3), None),
        (Decimal("1e500"), None),
        (Decimal("sNaN"), None),
        ("sNaN", None),
    ],
)
def test_timestamp_out_of_range_is_invalid(value, zone):
    with pytest.raises(InvalidMeasurement, match="column ts: ") as caught:
        read_timestamp(value, zone=zone, what="column ts")
    assert (caught.value.reason, caught.value.transient) == ("bad_timestamp", False)


@pytest.mark.parametrize("value", ["2026-03-29 02:30:00", datetime(2026, 3, 29, 2, 30)])
def test_skipped_time_is_rejected(value):
    with pytest.raises(InvalidMeasurement, match="x: 2026-03-29 02:30:00 does not exist in Europe/Berlin") as caught:
        read_timestamp(value, zone=BERLIN, what="x")
    assert caught.value.reason == "bad_timestamp"
    assert read_timestamp("2026-03-29 01:59:59", zone=BERLIN, what="x") == datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    assert read_timestamp("2026-03-29 03:00:00", zone=BERLIN, what="x") == datetime(2026, 3, 29, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [date(2018, 11, 4), "2018-11-04", "2018-11-04 00:00:00"])
def test_date_with_skipped_midnight_is_read(value):
    assert read_timestamp(value, zone=ZoneInfo("America/Sao_Paulo"), what="x") == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_none_is_read_as_none():
    assert read_timestamp(None, zone=None, what="x") is None


def test_eight_digits_are_read_as_seconds():
    # datetime.fromisoformat would take them; as seconds they are old, and never fresher than they should be.
    assert read_timestamp("20260131", zone=UTC, what="x") == datetime.fromtimestamp(20260131, UTC)


def test_zone_name_is_read_or_rejected():
    assert read_zone(None) is None
    assert read_zone("UTC") is UTC
    assert read_zone("Europe/Berlin") == BERLIN
    for wrong in ("Berlin", "CEST", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="IANA"):
            read_zone(wrong)
