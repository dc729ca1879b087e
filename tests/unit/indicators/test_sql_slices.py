"""Slices and coverage of SQL indicators."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from fractions import Fraction as F

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.sql.source import SQLSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.unit.indicators.sql_builders import (
    BOUNDS,
    DAY,
    HOUR,
    LATENCIES,
    MINUTE,
    ONE_ROW,
    PER_MINUTE,
    T0,
    FixedRunner,
    limit,
    ratio,
    raw,
    request_of,
    threshold,
)


def test_slices_of_timed_rows_use_one_query(database: sqlite3.Connection, sql: SQLSource) -> None:
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    (found,) = sql.slices([request_of(ratio(PER_MINUTE), T0, T0 + 2 * HOUR)], 10 * MINUTE)
    assert not isinstance(found, MeasurementError)
    assert (found.start, found.width, found.query) == (T0, 10 * MINUTE, PER_MINUTE)
    assert found.values == (Measurement(F(9, 10), F(9), F(10), PER_MINUTE),) * 6 + (None,) * 6
    assert sum("FROM requests" in statement for statement in statements) == 1


def test_slices_of_an_aggregate_use_one_query_each(sql: SQLSource) -> None:
    (found,) = sql.slices([request_of(ratio(ONE_ROW), T0, T0 + 2 * HOUR)], 10 * MINUTE)
    assert not isinstance(found, MeasurementError)
    assert found.values == (Measurement(F(9, 10), F(9), F(10), ONE_ROW),) * 6 + (None,) * 6


def test_slices_of_points_and_raw_ratios_are_measured(sql: SQLSource) -> None:
    points, ratios = sql.slices(
        [
            request_of(threshold(LATENCIES), **limit("lt", "0.30")),
            request_of(raw(f"SELECT AVG(ok) FROM requests WHERE {BOUNDS}")),
        ],
        20 * MINUTE,
    )
    assert not isinstance(points, MeasurementError)
    assert not isinstance(ratios, MeasurementError)
    assert [value and value.ratio for value in points.values] == [1, F(1, 2), 0]
    assert [value and value.ratio for value in ratios.values] == [F(9, 10)] * 3


def test_slices_of_separate_queries_are_measured(sql: SQLSource) -> None:
    good = PER_MINUTE.replace("WHERE", "WHERE ok AND").replace(", COUNT(*) AS total", "")
    total = PER_MINUTE.replace("SUM(ok) AS good, ", "")
    (found,) = sql.slices([request_of(ratio(good, total))], MINUTE)
    assert not isinstance(found, MeasurementError)
    assert [value and value.ratio for value in found.values] == [F(n % 10 != 0) for n in range(60)]


def test_partial_slice_at_the_end_is_left_out(sql: SQLSource) -> None:
    (found,) = sql.slices([request_of(ratio(PER_MINUTE), T0, T0 + 25 * MINUTE)], 10 * MINUTE)
    assert not isinstance(found, MeasurementError)
    assert len(found.values) == 2
    (none,) = sql.slices([request_of(ratio(PER_MINUTE), T0, T0 + 5 * MINUTE)], 10 * MINUTE)
    assert isinstance(none, InvalidMeasurement)


def test_too_many_slice_queries_are_refused(sql: SQLSource) -> None:
    (found,) = sql.slices([request_of(ratio(ONE_ROW), T0, T0 + 2 * DAY)], MINUTE)
    assert isinstance(found, QueryError)
    assert found.reason == "too_many_slices"
    assert "2880 queries, one per slice, are more than 2000; return rows with timestamp, good and total" in str(found)
    (enough,) = sql.slices([request_of(ratio(PER_MINUTE), T0, T0 + 2 * DAY)], MINUTE)
    assert not isinstance(enough, MeasurementError)


def test_invalid_slice_fails_the_whole_request() -> None:
    rows = [(T0, 1, 1), (T0 + MINUTE, float("nan"), 1)]
    (found,) = SQLSource(FixedRunner(["timestamp", "good", "total"], *rows), name="x").slices(
        [request_of(ratio(ONE_ROW))], MINUTE
    )
    assert isinstance(found, InvalidMeasurement)


def test_coverage_is_the_share_of_hundredths_with_rows(sql: SQLSource) -> None:
    requests = [
        request_of(ratio(PER_MINUTE), T0, T0 + 4 * HOUR),
        request_of(threshold(LATENCIES), T0, T0 + 100 * MINUTE),
        request_of(ratio(PER_MINUTE), T0 + DAY, T0 + 2 * DAY),
        request_of(ratio(ONE_ROW)),
    ]
    quarter, sixty, nothing, unknown = sql.coverage(requests)
    assert (quarter, sixty, nothing) == (F(1, 4), F(60, 100), 0)
    assert isinstance(unknown, MeasurementError)
    assert unknown.reason == "coverage_unknown"


def test_coverage_ignores_rows_without_events() -> None:
    source = SQLSource(FixedRunner(["timestamp", "good", "total"], *((T0 + n * MINUTE, 0, 0) for n in range(60))), name="x")
    assert source.coverage([request_of(ratio(ONE_ROW))]) == [0]
    zeros = SQLSource(FixedRunner(["timestamp", "value"], *((T0 + n * MINUTE, 0) for n in range(60))), name="x")
    assert zeros.coverage([request_of(threshold(ONE_ROW))]) == [F(60, 100)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3599), st.integers(0, 5), st.integers(0, 5)), max_size=40), st.sampled_from([1, 5, 12, 30])
)
def test_slices_add_up_to_the_measurement(rows: list[tuple[int, int, int]], minutes: int) -> None:
    table = [(T0 + timedelta(seconds=at), good, good + bad) for at, good, bad in rows]
    source = SQLSource(FixedRunner(["timestamp", "good", "total"], *table), name="x")
    (found,), (whole,) = (
        source.slices([request_of(ratio(ONE_ROW))], minutes * MINUTE),
        source.measure([request_of(ratio(ONE_ROW))]),
    )
    assert not isinstance(found, MeasurementError)
    total = sum((value.total or F(0) for value in found.values if value), F(0))
    good = sum((value.good or F(0) for value in found.values if value), F(0))
    if isinstance(whole, NoData):
        assert total == 0
    else:
        assert isinstance(whole, Measurement)
        assert (whole.good, whole.total) == (good, total)
