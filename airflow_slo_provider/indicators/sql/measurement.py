"""Compute a measurement from the answers of SQL queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.span_slices import covered, holds
from airflow_slo_provider.indicators.sql.result_rows import COUNTS, Answer, Row, counts, total_of, within
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric


def text_of(answers: Sequence[Answer]) -> str:
    """Return each distinct query once, for the evidence."""
    return "; ".join(dict.fromkeys(answer.query for answer in answers))


def check_shape(metric: RatioMetric | ThresholdMetric, answers: Sequence[Answer]) -> None:
    """Check that the answers fit the metric.

    :param metric: the metric
    :param answers: one answer for each of ``metric.sources``
    :raises QueryError: reason ``wrong_shape``; the message describes the expected shape
    """
    first = answers[0]
    if isinstance(metric, ThresholdMetric):
        if not first.timestamped or first.columns != ("value",):
            raise _wrong("a threshold metric needs rows with timestamp and value", first)
    elif metric.raw is not None:
        if first.timestamped or len(first.columns) != 1:
            raise _wrong("a raw ratio needs one row with one column", first)
    elif metric.total is None or (metric.good is None) == (metric.bad is None):
        raise QueryError("a ratio metric needs total and one of good and bad", reason="bad_query", query=text_of(answers))
    else:
        for answer, wanted in zip(answers, _wanted(metric), strict=True):
            _column(answer, wanted, alone=answers[0] is not answers[1])


def measurement(
    request: MeasureRequest, answers: Sequence[Answer], rows: Sequence[Sequence[Row] | None] | None = None
) -> Measurement:
    """Measure a span.

    :param request: the indicator and its span
    :param answers: one answer for each of the metric's sources, with the right shape
    :param rows: for each answer the rows of the span; selected by their timestamps if not given
    :raises NoData: when there are no events or points
    :raises InvalidMeasurement: when the numbers contradict each other
    """
    metric, query = request.indicator.metric, text_of(answers)
    if rows is None:
        rows = [within(answer, request.start, request.end) if answer.timestamped else None for answer in answers]
    if isinstance(metric, ThresholdMetric):
        return _kept(rows[0] or (), request, query)
    if metric.raw is not None:
        return _raw_ratio(metric, answers[0])
    alone = answers[0] is not answers[1]
    column = _wanted(metric)[0]
    for answer, found in zip(answers, rows, strict=True):
        _refuse_contradictions(answer, found or ())
    names = [_column(answer, wanted, alone=alone) for answer, wanted in zip(answers, _wanted(metric), strict=True)]
    part, total = (_count(answer, found, name) for answer, found, name in zip(answers, rows, names, strict=True))
    _refuse_nulls(answers[0], rows[0], names[0])
    if part is None and rows[0] is not None and not rows[0] and total:
        part = Fraction(0)  # a separate query that lists such events, and there were none
    good, whole = counts(part, total, column=column, query=query)
    return replace(Measurement.of_counts(good, whole, query=query), newest=_newest(rows[1], names[1]))


def _newest(rows: Sequence[Row] | None, column: str) -> datetime | None:
    """Return the time of the newest row with events; for a bucket that is its start."""
    return max((row.at for row in rows or () if row.numbers[column]), default=None)


def _refuse_contradictions(answer: Answer, rows: Sequence[Row]) -> None:
    """Refuse an invalid row before another row compensates for it in the sum.

    :raises InvalidMeasurement: for a negative count, or more good or bad events than events
    """
    for row in rows:
        total = row.numbers.get("total")
        for column, number in row.numbers.items():
            if number is not None and number < 0:
                raise InvalidMeasurement(f"the row of {row.at.isoformat()} has a negative {column}", query=answer.query)
            if number is not None and total is not None and number > total:
                raise InvalidMeasurement(f"the row of {row.at.isoformat()} has more {column} than total", query=answer.query)


def buckets(answer: Answer, request: MeasureRequest, width: timedelta, count: int) -> list[list[Row]]:
    """Sort rows into equal slices of the span; rows after the last whole slice are left out."""
    found: list[list[Row]] = [[] for _ in range(count)]
    for row in within(answer, request.start, request.end, slack=width):
        number = (row.at - request.start) // width
        if number < count:
            found[number].append(row)
    return found


def coverage(request: MeasureRequest, answers: Sequence[Answer]) -> Fraction:
    """Return the share of the span's hundredths that hold events (for a ratio: any event) or points.

    :raises MeasurementError: reason ``coverage_unknown``, for an aggregate, which has no timestamps
    """
    whole = answers[-1]
    if not whole.timestamped:
        raise MeasurementError(
            "the query returns no timestamps, so it is not known how much of the window holds data; add a column named timestamp",
            reason="coverage_unknown",
            query=whole.query,
        )
    metric = request.indicator.metric
    rows = within(whole, request.start, request.end)
    if isinstance(metric, ThresholdMetric):
        held = (row.at for row in rows if row.numbers["value"] is not None)
    else:
        column = _column(whole, "total", alone=answers[0] is not answers[-1])
        held = (row.at for row in rows if row.numbers[column])
    return covered(held, request.start, request.end)


def _wrong(message: str, answer: Answer) -> QueryError:
    columns = (*(("timestamp",) if answer.timestamped else ()), *answer.columns)
    return QueryError(f"{message}, the columns are {', '.join(columns)}", reason="wrong_shape", query=answer.query)


def _wanted(metric: RatioMetric) -> tuple[str, str]:
    return ("good" if metric.good is not None else "bad", "total")


def _column(answer: Answer, wanted: str, *, alone: bool) -> str:
    """Return the column of a count: the one with that name, or the only column of a separate query."""
    if wanted in answer.columns:
        return wanted
    if alone and len(answer.columns) == 1 and answer.columns[0] not in COUNTS:
        return answer.columns[0]
    raise _wrong(f"no column {wanted} (alias it: SELECT ... AS {wanted})", answer)


def _count(answer: Answer, rows: Sequence[Row] | None, column: str) -> Fraction | None:
    if rows is not None:
        return total_of(rows, column)
    return None if answer.numbers is None else answer.numbers[column]


def _refuse_nulls(answer: Answer, rows: Sequence[Row] | None, column: str) -> None:
    """Refuse a row of events without a number of good or bad events: NULL is not zero.

    :raises InvalidMeasurement: reason ``null_count``
    """
    for row in rows or ():
        if row.numbers[column] is None and row.numbers.get("total", Fraction(1)):
            raise InvalidMeasurement(
                f"{column} is NULL in the row of {row.at.isoformat()}; write COALESCE({column}, 0) if that means none",
                reason="null_count",
                query=answer.query,
            )


def _raw_ratio(metric: RatioMetric, answer: Answer) -> Measurement:
    ratio = next(iter((answer.numbers or {}).values()), None)
    if ratio is None:
        raise NoData("the ratio is NULL", reason="no_events", query=answer.query)
    measured = Measurement.of_ratio(ratio, query=answer.query)
    return Measurement.of_ratio(1 - ratio, query=answer.query) if metric.raw_type == "failure" else measured


def _kept(rows: Sequence[Row], request: MeasureRequest, query: str) -> Measurement:
    """Count the points for which ``value op threshold`` holds; a NULL value is not a point."""
    values = [value for row in rows if (value := row.numbers["value"]) is not None]
    if not values:
        raise NoData("no points in the window", reason="no_points", query=query)
    good = sum(holds(value, request.op, request.value) for value in values)
    newest = max(row.at for row in rows if row.numbers["value"] is not None)
    return replace(Measurement.of_counts(Fraction(good), Fraction(len(values)), query=query), newest=newest)
