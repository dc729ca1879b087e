"""Numbers, columns and timestamps of a SQL result: which are read and which are refused."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction as F
from typing import Any

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.sql.source import SQLSource
from tests.unit.indicators.sql_builders import (
    BOUNDS,
    DAY,
    HOUR,
    MINUTE,
    ONE_ROW,
    PER_MINUTE,
    T0,
    FixedRunner,
    measure,
    measure_rows,
    ratio,
    request_of,
)


@pytest.mark.parametrize(
    ("good", "total", "expected"),
    [
        (9, 10, F(9, 10)),
        (Decimal("0.3"), Decimal("0.9"), F(1, 3)),
        (0.3, 0.9, F(1, 3)),
        ("9", 10, F(9, 10)),
        (10**20 - 1, 10**20, F(10**20 - 1, 10**20)),
        (0, 7, F(0)),
    ],
)
def test_numbers_are_exact(good: Any, total: Any, expected: F) -> None:
    assert measure_rows((good, total)).ratio == expected


@pytest.mark.parametrize("row", [(None, None), (None, 0), (0, None), (0, 0)])
def test_zero_or_null_counts_are_no_data(row: tuple[Any, Any]) -> None:
    with pytest.raises(NoData) as caught:
        measure_rows(row)
    assert caught.value.query == ONE_ROW


def test_result_without_rows_is_no_data() -> None:
    with pytest.raises(NoData):
        measure_rows()
    with pytest.raises(NoData):
        measure_rows(columns="timestamp good total")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((None, 100), r"good is NULL while total is 100; write COALESCE\(SUM\(...\), 0\)"),
        ((5, None), "total is NULL while good is 5"),
        ((float("nan"), 10), "column good is NaN, not a finite number"),
        ((Decimal("NaN"), 10), "column good is NaN"),
        ((1, float("inf")), "column total is Infinity"),
        (("many", 10), "column good is 'many', not a number"),
        ((True, 10), "column good is True, not a number"),
        ((11, 10), "more good events than events"),
        ((5, 0), "more good events than events"),
        ((-1, 10), "negative count"),
    ],
)
def test_invalid_numbers_are_refused(row: tuple[Any, Any], message: str) -> None:
    with pytest.raises(InvalidMeasurement, match=message) as caught:
        measure_rows(row)
    assert caught.value.query == ONE_ROW
    assert caught.value.source == "x"


def test_null_good_with_events_is_an_error_and_not_no_data(sql: SQLSource) -> None:
    good = f"SELECT SUM(ok) AS good FROM requests WHERE latency > 9 AND {BOUNDS}"  # NULL: nothing was good
    with pytest.raises(InvalidMeasurement, match="good is NULL while total is 60"):
        measure(sql, request_of(ratio(good, f"SELECT COUNT(*) AS total FROM requests WHERE {BOUNDS}")))
    listed = PER_MINUTE.replace("WHERE", "WHERE latency > 9 AND")
    assert measure(sql, request_of(ratio(listed, PER_MINUTE + " "))).ratio == 0


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ("ok n", [(1, 2)], "the columns are ok, n; alias them: SELECT ... AS good, ... AS total"),
        ("good bad total", [(1, 2, 3)], "the columns are good, bad, total"),
        ("good good", [(1, 2)], "two columns have the same name"),
        ("good total", [(1, 2), (1, 2)], "2 rows where one is expected; aggregate them, or add a column named timestamp"),
        ("good", [(1,)], r"no column total \(alias it: SELECT ... AS total\), the columns are good"),
        ("bad total", [(1, 2)], r"no column good .*the columns are bad, total"),
        ("n", [(1,)], "no column good"),
        ("timestamp", [(1,)], "the columns are timestamp"),
        ("timestamp good bad", [(1, 1, 1)], "the columns are timestamp, good, bad"),
        ("timestamp value total", [(1, 1, 1)], "the columns are timestamp, value, total"),
        ("timestamp value", [(T0, 1)], "no column good .* the columns are timestamp, value"),
    ],
)
def test_wrong_shape_error_describes_the_expected_shape(columns: str, rows: list[tuple[Any, ...]], message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        measure_rows(*rows, columns=columns)
    assert (caught.value.reason, caught.value.transient, caught.value.query) == ("wrong_shape", False, ONE_ROW)


@pytest.mark.parametrize(
    "stamp",
    [
        T0 + MINUTE,
        (T0 + MINUTE).astimezone(timezone(timedelta(hours=9))),
        (T0 + MINUTE).isoformat(),
        "2026-11-01T00:01:00Z",
        "2026-11-01 02:01:00+02:00",
        int((T0 + MINUTE).timestamp()),
        (T0 + MINUTE).timestamp(),
        Decimal(int((T0 + MINUTE).timestamp())),
    ],
)
def test_timestamp_forms_are_read(stamp: Any) -> None:
    request = request_of(ratio(ONE_ROW))
    (found,) = SQLSource(FixedRunner(["timestamp", "good", "total"], (stamp, 1, 2)), name="x").slices([request], MINUTE)
    assert not isinstance(found, MeasurementError)
    assert [number for number, value in enumerate(found.values) if value] == [1]


@pytest.mark.parametrize(
    ("stamp", "message"),
    [
        (datetime(2026, 11, 1), "2026-11-01 00:00:00 has no time zone; convert it in the query, or declare it"),
        ("2026-11-01 00:00:00", "has no time zone"),
        ("1793491260", "'1793491260' is neither ISO 8601 with an offset"),
        ("yesterday", "'yesterday' is neither ISO 8601 with an offset"),
        (None, "a row has NULL"),
        (float("nan"), "nan is not a timestamp"),
        (10**30, "is not a timestamp"),
        (True, "True is not a timestamp"),
        ("9999-12-31T23:00:00-12:00", "9999-12-31 23:00:00-12:00 is beyond the years 1 to 9999"),
        (-(10**11), "is not a timestamp"),
    ],
)
def test_ambiguous_timestamps_are_refused(stamp: Any, message: str) -> None:
    with pytest.raises(InvalidMeasurement, match=f"column timestamp: .*{message}") as caught:
        measure_rows((stamp, 1, 2), columns="timestamp good total")
    assert (caught.value.reason, caught.value.query) == ("bad_timestamp", ONE_ROW)


def test_naive_timestamps_use_the_declared_zone() -> None:
    def bucket(stamp: Any, zone: str) -> list[int]:
        source = SQLSource(FixedRunner(["timestamp", "good", "total"], (stamp, 1, 2)), name="x")
        (found,) = source.slices([request_of(ratio(ONE_ROW, timeZone=zone), T0, T0 + DAY)], HOUR)
        assert not isinstance(found, MeasurementError), found
        return [number for number, value in enumerate(found.values) if value]

    assert bucket("2026-11-01 03:00:00", "UTC") == [3]
    assert bucket(datetime(2026, 11, 1, 3), "Europe/Berlin") == [2]
    assert bucket("2026-11-01T03:00:00Z", "Europe/Berlin") == [3]


def test_local_time_that_does_not_exist_is_refused() -> None:
    source = SQLSource(FixedRunner(["timestamp", "good", "total"], ("2026-03-29 02:30:00", 1, 2)), name="x")
    (found,) = source.slices([request_of(ratio(ONE_ROW, timeZone="Europe/Berlin"), T0, T0 + DAY)], HOUR)
    assert isinstance(found, InvalidMeasurement)
    assert "does not exist in Europe/Berlin" in str(found)
    with pytest.raises(QueryError, match="timeZone 'Mars/Base' is not an IANA time zone"):
        measure(SQLSource(FixedRunner([]), name="x"), request_of(ratio(ONE_ROW, timeZone="Mars/Base")))


@pytest.mark.parametrize("stamp", [T0 + HOUR + timedelta(seconds=1), T0 - DAY, T0 - 30 * DAY])
def test_rows_outside_the_window_are_refused(stamp: datetime) -> None:
    with pytest.raises(InvalidMeasurement, match="lies outside of 2026-11-01T00:00:00") as caught:
        measure_rows((stamp, 1, 2), columns="timestamp good total")
    assert caught.value.reason == "outside_window"


def test_row_at_the_end_is_not_counted() -> None:
    assert measure_rows((T0, 1, 2), (T0 + HOUR, 5, 5), columns="timestamp good total").total == 2


@pytest.mark.parametrize(
    ("form", "dialect", "start", "end"),
    [
        (None, None, T0, T0 + HOUR),
        (None, "postgresql", T0, T0 + HOUR),
        (None, "sqlite", "2026-11-01 00:00:00", "2026-11-01 01:00:00"),
        ("timestamp", "sqlite", T0, T0 + HOUR),
        ("iso", None, "2026-11-01 00:00:00", "2026-11-01 01:00:00"),
        ("epoch", "postgresql", 1793491200, 1793494800),
    ],
)
def test_bounds_have_the_declared_time_format(form: str | None, dialect: str | None, start: Any, end: Any) -> None:
    runner = FixedRunner(["good", "total"], (1, 2))
    spec = {} if form is None else {"timeFormat": form}
    moment = T0.astimezone(timezone(timedelta(hours=3)))
    runner.dialect = dialect
    measure(SQLSource(runner, name="x"), request_of(ratio(ONE_ROW, **spec), moment, moment + HOUR))
    assert runner.calls == [(ONE_ROW, {"date_from": start, "date_to": end})]
    assert type(runner.calls[0][1]["date_from"]) is type(start)


def test_bounds_keep_fractions_of_a_second() -> None:
    runner = FixedRunner(["good", "total"], (1, 2))
    source = SQLSource(runner, name="x")
    half = T0 + timedelta(milliseconds=500)
    source.measure([request_of(ratio(ONE_ROW, timeFormat="iso"), half), request_of(ratio(ONE_ROW, timeFormat="epoch"), half)])
    assert [parameters["date_from"] for _, parameters in runner.calls] == ["2026-11-01 00:00:00.5", 1793491200.5]
    with pytest.raises(QueryError, match="timeFormat 'unix' is none of timestamp, iso, epoch"):
        measure(source, request_of(ratio(ONE_ROW, timeFormat="unix")))


@pytest.mark.parametrize("suffix", ["", ".000000", "+00:00", ".0"])
def test_iso_bounds_sort_correctly_against_any_precision(database: sqlite3.Connection, sql: SQLSource, suffix: str) -> None:
    database.execute("UPDATE requests SET ts = ts || ?", (suffix,))
    database.commit()
    assert measure(sql, request_of(ratio(ONE_ROW), T0, T0 + 10 * MINUTE)).total == 10
    assert measure(sql, request_of(ratio(ONE_ROW), T0 + 10 * MINUTE, T0 + 20 * MINUTE)).total == 10
