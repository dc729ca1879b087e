"""Compute a measurement from the answers of SQL queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.span_slices import covered_share, holds
from airflow_slo_provider.indicators.sql.result_rows import (
    COUNTS,
    QueryResult,
    TimedRow,
    check_counts,
    rows_in_window,
    sum_column,
)  # fmt: skip
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric


def query_text(results: Sequence[QueryResult]) -> str:
    """Return each distinct query once, for the evidence."""
    return "; ".join(dict.fromkeys(result.query for result in results))


def check_shape(metric: RatioMetric | ThresholdMetric, results: Sequence[QueryResult]) -> None:
    """Check that the results fit the metric.

    :param metric: the metric
    :param results: one result for each of ``metric.sources``
    :raises QueryError: reason ``wrong_shape``; the message describes the expected shape
    """
    first = results[0]
    if isinstance(metric, ThresholdMetric):
        if not first.timestamped or first.columns != ("value",):
            raise _shape_error("a threshold metric needs rows with timestamp and value", first)
    elif metric.raw is not None:
        if first.timestamped or len(first.columns) != 1:
            raise _shape_error("a raw ratio needs one row with one column", first)
    elif metric.total is None or (metric.good is None) == (metric.bad is None):
        raise QueryError("a ratio metric needs total and one of good and bad", reason="bad_query", query=query_text(results))
    else:
        _count_columns(metric, results)


def measurement(
    request: MeasureRequest, results: Sequence[QueryResult], rows: Sequence[Sequence[TimedRow] | None] | None = None
) -> Measurement:
    """Measure a span.

    :param request: the indicator and its span
    :param results: one result for each of the metric's sources, with the right shape
    :param rows: for each result the rows of the span; by default they are selected by their timestamps
    :raises NoData: when there are no events or points
    :raises InvalidMeasurement: when the numbers contradict each other
    """
    metric, query = request.indicator.metric, query_text(results)
    if rows is None:
        rows = [rows_in_window(result, request.start, request.end) if result.timestamped else None for result in results]
    if isinstance(metric, ThresholdMetric):
        return _measure_points(rows[0] or (), request, query)
    if metric.raw is not None:
        return _measure_raw_ratio(metric, results[0])
    for result, selected in zip(results, rows, strict=True):
        _refuse_contradictions(result, selected or ())
    columns = _count_columns(metric, results)
    part, total = (_count(*counted) for counted in zip(results, rows, columns, strict=True))
    _refuse_nulls(results[0], rows[0] or (), columns[0])
    if part is None and rows[0] is not None and not rows[0] and total:
        part = Fraction(0)  # a separate query that lists such events, and there were none
    good, whole = check_counts(part, total, column=_part(metric), query=query)
    # For a bucket the time is its start.
    newest = max((row.at for row in rows[1] or () if row.numbers[columns[1]]), default=None)
    return replace(Measurement.of_counts(good, whole, query=query), newest=newest)


def _refuse_contradictions(result: QueryResult, rows: Sequence[TimedRow]) -> None:
    """Refuse an invalid row before another row compensates for it in the sum.

    :raises InvalidMeasurement: for a negative count, or more good or bad events than events
    """
    for row in rows:
        total = row.numbers.get("total")
        for column, number in row.numbers.items():
            if number is not None and number < 0:
                raise InvalidMeasurement(f"the row of {row.at.isoformat()} has a negative {column}", query=result.query)
            if number is not None and total is not None and number > total:
                raise InvalidMeasurement(f"the row of {row.at.isoformat()} has more {column} than total", query=result.query)


def _refuse_nulls(result: QueryResult, rows: Sequence[TimedRow], column: str) -> None:
    """Refuse a row of events without a number of good or bad events: NULL is not zero.

    :raises InvalidMeasurement: reason ``null_count``
    """
    for row in rows:
        if row.numbers[column] is None and row.numbers.get("total", Fraction(1)):
            message = f"{column} is NULL in the row of {row.at.isoformat()}; write COALESCE({column}, 0) if that means none"
            raise InvalidMeasurement(message, reason="null_count", query=result.query)


def group_by_slice(result: QueryResult, request: MeasureRequest, width: timedelta, count: int) -> list[list[TimedRow]]:
    """Sort rows into equal slices of the span; rows after the last whole slice are left out."""
    slices: list[list[TimedRow]] = [[] for _ in range(count)]
    for row in rows_in_window(result, request.start, request.end, slack=width):
        number = (row.at - request.start) // width
        if number < count:
            slices[number].append(row)
    return slices


def coverage(request: MeasureRequest, results: Sequence[QueryResult]) -> Fraction:
    """Return the share of the span's hundredths that hold events (for a ratio: any event) or points.

    :raises MeasurementError: reason ``coverage_unknown``, for an aggregate, which has no timestamps
    """
    whole, metric = results[-1], request.indicator.metric
    if not whole.timestamped:
        message = "the query returns no timestamps, so the share of the window that holds data is unknown; add a column timestamp"
        raise MeasurementError(message, reason="coverage_unknown", query=whole.query)
    rows = rows_in_window(whole, request.start, request.end)
    if isinstance(metric, ThresholdMetric):
        times = [row.at for row in rows if row.numbers["value"] is not None]
    else:
        column = _count_columns(metric, results)[-1]
        times = [row.at for row in rows if row.numbers[column]]
    return covered_share(times, request.start, request.end)


def _shape_error(message: str, result: QueryResult) -> QueryError:
    columns = (*(("timestamp",) if result.timestamped else ()), *result.columns)
    return QueryError(f"{message}, the columns are {', '.join(columns)}", reason="wrong_shape", query=result.query)


def _part(metric: RatioMetric) -> str:
    return "good" if metric.good is not None else "bad"


def _count_columns(metric: RatioMetric, results: Sequence[QueryResult]) -> list[str]:
    """Return the columns of both counts: those with their names, or the only column of a separate query."""
    columns = []
    for result, wanted in zip(results, (_part(metric), "total"), strict=True):
        separate = results[0] is not results[1] and len(result.columns) == 1 and result.columns[0] not in COUNTS
        if wanted not in result.columns and not separate:
            raise _shape_error(f"no column {wanted} (alias it: SELECT ... AS {wanted})", result)
        columns.append(wanted if wanted in result.columns else result.columns[0])
    return columns


def _count(result: QueryResult, rows: Sequence[TimedRow] | None, column: str) -> Fraction | None:
    if rows is not None:
        return sum_column(rows, column)
    return None if result.numbers is None else result.numbers[column]


def _measure_raw_ratio(metric: RatioMetric, result: QueryResult) -> Measurement:
    ratio = next(iter((result.numbers or {}).values()), None)
    if ratio is None:
        raise NoData("the ratio is NULL", reason="no_events", query=result.query)
    measured = Measurement.of_ratio(ratio, query=result.query)
    return Measurement.of_ratio(1 - ratio, query=result.query) if metric.raw_type == "failure" else measured


def _measure_points(rows: Sequence[TimedRow], request: MeasureRequest, query: str) -> Measurement:
    """Count the points for which ``value op threshold`` holds; a NULL value is not a point."""
    points = [(row.at, value) for row in rows if (value := row.numbers["value"]) is not None]
    if not points:
        raise NoData("no points in the window", reason="no_points", query=query)
    good = sum(holds(value, request.op, request.value) for _, value in points)
    measured = Measurement.of_counts(Fraction(good), Fraction(len(points)), query=query)
    return replace(measured, newest=max(time for time, _ in points))
