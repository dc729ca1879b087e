"""Measurements of SQL indicators on SQLite, for every shape of result."""

from __future__ import annotations

import sqlite3
from datetime import timedelta, timezone
from fractions import Fraction as F

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from airflow_slo_provider.indicators.sql.source import SQLSource
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource, Measurement
from tests.unit.indicators.sql_builders import (
    BOUNDS,
    DAY,
    LATENCIES,
    MINUTE,
    ONE_ROW,
    PER_MINUTE,
    T0,
    bad_ratio,
    limit,
    measure,
    ratio,
    raw,
    request_of,
    threshold,
)


def test_one_row_of_good_and_total_is_measured(sql: SQLSource) -> None:
    protocol: IndicatorSource = sql
    assert protocol.measure([request_of(ratio(ONE_ROW))]) == [Measurement(F(9, 10), F(54), F(60), ONE_ROW)]


def test_measure_excludes_the_end_of_the_window(sql: SQLSource) -> None:
    assert measure(sql, request_of(ratio(ONE_ROW), T0 + MINUTE, T0 + 11 * MINUTE)) == Measurement(F(9, 10), F(9), F(10), ONE_ROW)
    assert (
        measure(sql, request_of(ratio(ONE_ROW), T0 + timedelta(microseconds=1), T0 + MINUTE + timedelta(microseconds=1))).total
        == 1
    )
    aware = T0.astimezone(timezone(timedelta(hours=-5)))
    assert measure(sql, request_of(ratio(ONE_ROW), aware, aware + MINUTE)).total == 1


@pytest.mark.parametrize("order", ["SUM(ok) AS GOOD, COUNT(*) AS Total", "COUNT(*) AS total, SUM(ok) AS good"])
def test_columns_are_matched_by_name_in_any_order_and_case(sql: SQLSource, order: str) -> None:
    assert measure(sql, request_of(ratio(f"SELECT {order} FROM requests WHERE {BOUNDS}"))).ratio == F(9, 10)


def test_one_row_of_bad_and_total_is_measured(sql: SQLSource) -> None:
    query = f"SELECT SUM(NOT ok) AS bad, COUNT(*) AS total FROM requests WHERE {BOUNDS}"
    assert measure(sql, request_of(bad_ratio(query))) == Measurement(F(9, 10), F(54), F(60), query)


@pytest.mark.parametrize("alias", ["", " AS good", " AS n"])
def test_separate_queries_of_good_and_total_are_measured(sql: SQLSource, alias: str) -> None:
    good = f"SELECT COUNT(*){alias} FROM requests WHERE ok AND {BOUNDS}"
    total = f"SELECT COUNT(*) FROM requests WHERE {BOUNDS}"
    measured = measure(sql, request_of(ratio(good, total)))
    assert (measured.good, measured.total) == (54, 60)
    assert measured.query == f"{good}; {total}"


def test_separate_queries_of_bad_and_total_are_measured(sql: SQLSource) -> None:
    bad = f"SELECT COUNT(*) AS bad FROM requests WHERE NOT ok AND {BOUNDS}"
    assert measure(sql, request_of(bad_ratio(bad, f"SELECT COUNT(*) AS total FROM requests WHERE {BOUNDS}"))).good == 54


def test_raw_ratio_is_measured(sql: SQLSource) -> None:
    query = f"SELECT AVG(ok) FROM requests WHERE {BOUNDS}"
    assert measure(sql, request_of(raw(query))) == Measurement(F(9, 10), query=query)
    assert measure(sql, request_of(raw(query, "failure"))).ratio == F(1, 10)
    with pytest.raises(NoData):
        measure(sql, request_of(raw(query), T0 + DAY, T0 + 2 * DAY))
    with pytest.raises(InvalidMeasurement, match=r"a ratio must lie in \[0, 1\]"):
        measure(sql, request_of(raw(f"SELECT COUNT(*) FROM requests WHERE {BOUNDS}")))
    with pytest.raises(QueryError, match="a raw ratio needs one row with one column"):
        measure(sql, request_of(raw(ONE_ROW)))


def test_timed_rows_are_added_up(sql: SQLSource) -> None:
    assert measure(sql, request_of(ratio(PER_MINUTE))) == Measurement(F(9, 10), F(54), F(60), PER_MINUTE)


def test_row_with_the_start_of_its_bucket_is_counted(sql: SQLSource) -> None:
    query = PER_MINUTE.replace("%H:%M:00Z", "%H:00:00Z")
    measured = measure(sql, request_of(ratio(query), T0 + 20 * MINUTE, T0 + 40 * MINUTE))
    assert (measured.good, measured.total) == (18, 20)


@pytest.mark.parametrize(("op", "good"), [("lt", 30), ("lte", 31), ("gt", 29), ("gte", 30)])
def test_threshold_metric_counts_points(sql: SQLSource, op: str, good: int) -> None:
    assert measure(sql, request_of(threshold(LATENCIES), **limit(op, "0.30"))) == Measurement(
        F(good, 60), F(good), F(60), LATENCIES
    )


def test_threshold_metric_without_timed_rows_is_refused(sql: SQLSource) -> None:
    with pytest.raises(QueryError, match="a threshold metric needs rows with timestamp and value, the columns are good, total"):
        measure(sql, request_of(threshold(ONE_ROW), **limit("lt", "1")))
    with pytest.raises(QueryError, match="the columns are timestamp, good, total"):
        measure(sql, request_of(threshold(PER_MINUTE), **limit("lt", "1")))
    with pytest.raises(InvalidMeasurement, match="needs an objective with op"):
        measure(sql, request_of(threshold(LATENCIES)))
    with pytest.raises(NoData, match="no points"):
        measure(sql, request_of(threshold(LATENCIES), T0 + DAY, T0 + 2 * DAY, **limit("lt", "1")))


def test_null_points_are_ignored(database: sqlite3.Connection, sql: SQLSource) -> None:
    database.execute("UPDATE requests SET latency = NULL WHERE NOT ok")
    database.commit()
    assert measure(sql, request_of(threshold(LATENCIES), **limit("lt", "0.30"))).total == 54


@pytest.mark.parametrize("column", ["bad", "good"])
def test_null_count_in_a_row_with_events_is_refused(sql: SQLSource, column: str) -> None:
    """An outer join that found nothing to join would make an outage look like an hour without a failure."""
    rows = "SELECT ts || 'Z' AS timestamp, CASE WHEN ok THEN {} END AS {}, 1 AS total FROM requests WHERE {}"
    query = rows.format(0 if column == "bad" else 1, column, BOUNDS)
    indicator = bad_ratio(query) if column == "bad" else ratio(query)
    with pytest.raises(InvalidMeasurement, match=f"{column} is NULL in the row of .*; write COALESCE"):
        measure(sql, request_of(indicator))
    (found,) = sql.slices([request_of(indicator)], MINUTE)
    assert isinstance(found, InvalidMeasurement)
    alone = f"SELECT ts || 'Z' AS timestamp, CASE WHEN ok THEN 0 END AS {column} FROM requests WHERE {BOUNDS}"
    total = f"SELECT COUNT(*) AS total FROM requests WHERE {BOUNDS}"
    with pytest.raises(InvalidMeasurement, match="is NULL in the row"):
        measure(sql, request_of(bad_ratio(alone, total) if column == "bad" else ratio(alone, total)))
    without = query.replace("1 AS total", "CASE WHEN ok THEN 1 END AS total")
    measured = measure(sql, request_of(bad_ratio(without) if column == "bad" else ratio(without)))
    assert (measured.ratio, measured.total) == (1, 54), "rows without events say nothing"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(150, 100), (50, 100)], "more good than total"),
        ([(-50, 100), (50, 100)], "a negative good"),
        ([(0, -100), (50, 300)], "more good than total"),
    ],
)
def test_contradictory_row_is_refused_despite_a_valid_sum(sql: SQLSource, rows: list[tuple[int, int]], why: str) -> None:
    shown = [
        f"SELECT '{(T0 + (place + 1) * MINUTE).isoformat()}' AS timestamp, {good} AS good, {total} AS total"
        for place, (good, total) in enumerate(rows)
    ]
    query = f"SELECT * FROM ({' UNION ALL '.join(shown)}) AS found WHERE :date_from < :date_to"
    with pytest.raises(InvalidMeasurement, match=why):
        measure(sql, request_of(ratio(query)))


def test_separate_queries_may_count_a_request_in_different_rows(sql: SQLSource) -> None:
    """Of one that began before the minute and ended in it, one query says the one and the other the other."""

    def listed(column: str, numbers: dict[int, int]) -> str:
        rows = [f"SELECT '{(T0 + minute * MINUTE).isoformat()}' AS timestamp, {n} AS {column}" for minute, n in numbers.items()]
        return f"SELECT * FROM ({' UNION ALL '.join(rows)}) AS found WHERE :date_from < :date_to"

    assert measure(sql, request_of(ratio(listed("good", {1: 90, 2: 105}), listed("total", {1: 100, 2: 100})))).ratio == F(
        195, 200
    )
    with pytest.raises(InvalidMeasurement, match="more good events than events"):
        measure(sql, request_of(ratio(listed("good", {1: 96, 2: 105}), listed("total", {1: 100, 2: 100}))))
