"""Write the queries of an indicator, and compute a measurement from their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from airflow_slo_provider.indicators.prometheus.answers import format_time
from airflow_slo_provider.indicators.prometheus.merged_queries import duration, format_count, mergeable
from airflow_slo_provider.indicators.prometheus.query_batches import Points, Query, Rows, Value
from airflow_slo_provider.indicators.span_slices import check_threshold
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, format_number
from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.lost_events import LostEvents, lost_events, lost_points
from airflow_slo_provider.slo.promql.query_roles import QueryReading, Reading, read_metric
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from airflow_slo_provider.slo.promql.result_labels import check_grouping
from airflow_slo_provider.slo.promql.selectors import recognise
from airflow_slo_provider.slo.promql.text import OPERATORS, quote, with_window
from airflow_slo_provider.slo.promql.threshold_queries import check_threshold_query, refuse_made_up
from airflow_slo_provider.slo.promql.window_ranges import fill_window

#: Two sums of the same float64 numbers in a different order may differ by this share; more is a contradiction.
_ROUNDING = Fraction(1, 10**12)


def milliseconds(length: timedelta) -> int:
    """Convert a timedelta to whole milliseconds, rounded down."""
    return length // timedelta(milliseconds=1)


def write_queries(request: MeasureRequest, window: int, *, source: str) -> dict[str, Query]:
    """Write the queries of one indicator over one window.

    :param request: the indicator and its span
    :param window: length of the window in milliseconds
    :param source: the server, for messages
    :return: queries by role: ``good`` or ``bad``, and ``total``; or ``raw``
    :raises QueryError: reason ``window_missing``
    :raises InvalidMeasurement: when a threshold metric's objective has no threshold
    """
    metric = request.indicator.metric
    if request.group:
        check_labels(metric, tuple(request.group), source)
    if isinstance(metric, ThresholdMetric):
        check_value(metric.source.query, source, partial(check_threshold_query, operator=request.op))
        return _threshold_queries(metric, request, window)
    reading = read_ratio_metric(metric, source)
    return {role: _write_query(query, window, in_events=reading.counts) for role, query in reading.queries.items()}


def write_lost_events(request: MeasureRequest, window: int, *, source: str) -> tuple[tuple[Query, LostEvents], ...]:
    """Write the queries that have a value where events of a window are lost.

    :param request: the indicator and its span
    :param window: length of the window in milliseconds
    :param source: the server, for messages
    """
    metric = request.indicator.metric
    if isinstance(metric, ThresholdMetric):
        points, step = points_query(metric, request, window)
        return tuple((Query(item.query), item) for item in lost_points(points, f"[{window - 1}ms:{duration(step)}]"))
    found = lost_events(read_ratio_metric(metric, source), tuple(request.group))
    return tuple((Query(fill_window(item.query, timedelta(milliseconds=window))), item) for item in found)


def read_ratio_metric(metric: RatioMetric, source: str) -> Reading:
    """Read the queries of a ratio metric.

    :param metric: the metric
    :param source: the server, for messages
    :raises QueryError: when its ratio is not proven to be a share of events; the reason is that of the refusal
    """
    try:
        return read_metric(metric)
    except RefusedQuery as error:
        shown = "; ".join(f"{role}: {' '.join(query.query.split())}" for role, query in metric.by_role.items())
        raise QueryError(str(error), reason=error.reason, query=shown, source=source) from None


def check_labels(metric: RatioMetric | ThresholdMetric, labels: Sequence[str], source: str) -> None:
    """Refuse queries that are not divided by the labels of a group.

    :param metric: the metric
    :param labels: the labels
    :param source: the server, for messages
    :raises QueryError: reason ``wrong_grouping``
    """
    try:
        check_grouping(metric, labels)
    except RefusedQuery as error:
        raise QueryError(str(error), reason=error.reason, query=metric.sources[0].query, source=source) from None


def check_value(text: str, source: str, check: Callable[[str], object] = refuse_made_up) -> None:
    """Refuse the query of a value that may be a constant where nothing is measured.

    :param text: PromQL
    :param source: the server, for messages
    :param check: the check; that of threshold metrics refuses also what removes points
    :raises QueryError: with the reason of the refusal
    """
    try:
        check(text)
    except RefusedQuery as error:
        raise QueryError(str(error), reason=error.reason, query=text, source=source) from None


def _write_query(query: QueryReading, window: int, *, in_events: bool) -> Query:
    """Write one query over a window.

    :param in_events: whether to convert its unit to events
    """
    count = recognise(query.text) if in_events else None
    if count is not None:
        return Query(format_count(count.function, count.selector, window, count.by), count if mergeable(count) else None)
    filled = fill_window(query.text, timedelta(milliseconds=window))
    if in_events and query.per_second:
        return Query(f"(\n{filled}\n) * {_decimal(Fraction(window, 1000))}")
    return Query(filled)


def _threshold_queries(metric: ThresholdMetric, request: MeasureRequest, window: int) -> dict[str, Query]:
    """Write the queries that count a threshold metric's points.

    The points are those of an absolute grid of ``resolution``. A subquery includes its start in Prometheus 2 and not in 3; one
    millisecond less makes it hold exactly the grid points in (start, end] in both. NaN is not a point: the total leaves it out,
    and in the comparison it is 0.
    """
    op, value = check_threshold(request.op, request.value, query=metric.source.query)
    query, step = points_query(metric, request, window)
    span = f"[{window - 1}ms:{duration(step)}]"
    holds = f"((\n{query}\n) {OPERATORS[op]} bool {_decimal(value)})"
    return {"good": Query(f"sum_over_time({holds}{span})"), "total": Query(f"count_over_time(((\n{query}\n) >= -Inf){span})")}


def points_query(metric: ThresholdMetric, request: MeasureRequest, window: int) -> tuple[str, int]:
    """Return a threshold metric's query with its window filled in, and the distance of its points in milliseconds."""
    step = min(milliseconds(request.resolution), window)
    return with_window(metric.source.query, duration(step)), step


def _decimal(value: Fraction) -> str:
    """Format a number so that the server reads the nearest float64."""
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def one_series(rows: Rows, query: Query) -> Points | None:
    """Return the only series of an answer, or None if there is none.

    :raises QueryError: reason ``several_series``
    """
    if len(rows) > 1:
        shown = " and ".join(_format_series(labels) for labels, _ in rows[:2])
        raise QueryError(
            f"{len(rows)} series where one is expected, e.g. {shown}; put sum(...) around the query or pin the labels",
            reason="several_series", query=query.text, http_status=200,
        )  # fmt: skip
    return rows[0][1] if rows else None


def _format_series(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f"{name}={quote(text)}" for name, text in sorted(labels.items()) if name != "__name__")
    return f"{labels.get('__name__', '')}{{{pairs}}}"


def format_queries(queries: Mapping[str, Query], at: datetime) -> str:
    """Return the queries and their time as text."""
    texts = (f"{role}: {' '.join(query.text.split())}" for role, query in queries.items())
    return "; ".join([*texts, f"time: {format_time(at)}"])


def compute_measurement(request: MeasureRequest, values: Mapping[str, Value | None], query: str) -> Measurement:
    """Compute a measurement from the values of one window.

    A missing ``good`` or ``bad`` counts as 0 here; the caller decides before whether a missing ``bad`` may.

    :param request: the indicator and its span
    :param values: by role; None if the series is missing
    :param query: text of the queries, for messages
    :raises NoData: reason ``empty`` if the total is missing or may be, ``no_events`` if it is 0 or a raw ratio is 0/0
    :raises InvalidMeasurement: for NaN, infinities, negative counts and more good events than events
    """
    if "raw" in values:
        return _measure_raw_ratio(request, values["raw"], query)
    total = values["total"]
    if total is None:
        raise NoData("the query for the total returns nothing: no such series in the window", reason="empty", query=query)
    events = _count(total, "total", query)
    role = "good" if "good" in values else "bad"
    if events == 0 and values[role] == "NaN":  # a share of nothing, times 0
        raise NoData("the total is 0: no events in the window", reason="no_events", query=query)
    part = _count(values[role] or 0, role, query)
    if events < part <= events * (1 + _ROUNDING):
        part = events
    if role == "bad" and part > events:
        raise InvalidMeasurement(
            f"more bad events than events: bad {format_number(part)}, total {format_number(events)}; "
            "check that both queries select the same events",
            reason="bad_exceeds_total", query=query,
        )  # fmt: skip
    if part < 0:
        raise InvalidMeasurement(f"negative count: {role} {format_number(part)}, total {format_number(events)}", query=query)
    found = Measurement.of_counts(part if role == "good" else events - part, events, query=query)
    metric = request.indicator.metric
    if isinstance(metric, RatioMetric) and not read_metric(metric).counts:
        found = Measurement.of_ratio(found.ratio, query=query)
    if role == "good" and values[role] is None:
        found = replace(found, note="the query for good returns nothing: no such series in the window; check it for a typo")
    return found


def _measure_raw_ratio(request: MeasureRequest, value: Value | None, query: str) -> Measurement:
    if value is None:
        raise NoData("the query for the ratio returns nothing: no such series in the window", reason="empty", query=query)
    if value == "NaN":
        raise NoData("the ratio is 0/0 (NaN): no events in the window", reason="no_events", query=query)
    ratio = _count(value, "ratio", query)
    if -_ROUNDING <= ratio <= 1 + _ROUNDING:
        ratio = min(max(ratio, Fraction(0)), Fraction(1))
    metric = request.indicator.metric
    failure = isinstance(metric, RatioMetric) and metric.raw_type == "failure"
    return Measurement.of_ratio(1 - ratio if failure else ratio, query=query)


def _count(value: Value, role: str, query: str) -> Fraction:
    if isinstance(value, str):
        raise InvalidMeasurement(f"{role} is {value}, not a number", reason="not_a_number", query=query)
    return Fraction(value)
