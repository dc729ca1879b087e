"""Combine the slices of good and total into ratios."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from airflow_slo_provider.core.timestamps import format_utc
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.queries import compute_measurement
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Points, Value
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, contradicts_itself
from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric


def compute_slices(request: MeasureRequest, series: Mapping[str, Points | None], times: EvaluationTimes, query: str) -> Slices:
    """Measure every slice separately.

    A slice whose total is missing or 0, or whose raw ratio is missing or NaN, is None: it holds no data and does not affect
    other slices. A slice whose count is NaN although there were events is an error: ``missing-slices`` does not apply to it.

    :param request: the indicator and its span
    :param series: points by role; keyed by the end of each slice
    :param times: the ends of the slices
    :param query: text of the queries, for messages
    :raises NoData: when no slice has a total, so that even "missing slices are good" cannot make it a pass
    :raises InvalidMeasurement: when a slice is infinite, negative or NaN although there were events, or has more good events
        than events
    """
    assert times.step is not None
    leading = "raw" if "raw" in series else "total"
    leading_points = series[leading]
    if not leading_points:
        raise NoData(f"the query for the {leading} returns nothing in any slice of the span", reason="empty", query=query)
    step = times.step // timedelta(milliseconds=1)
    first, last = to_milliseconds(times.start), to_milliseconds(times.end)
    columns = [points or {} for points in series.values()]
    known: dict[tuple[Value | None, ...], Measurement | None] = {}
    measurements: list[Measurement | None] = []
    for time in range(first, last + 1, step):
        values = tuple([column.get(time) for column in columns])
        if values not in known:  # cached: most slices of a service are alike
            try:
                known[values] = _compute_slice(request, dict(zip(series, values, strict=True)), leading, query)
            except InvalidMeasurement as error:
                raise _slice_error(error, times.end - timedelta(milliseconds=last - time), query) from None
        measurements.append(known[values])
    metric = request.indicator.metric
    hidden = leading == "total" and isinstance(metric, RatioMetric) and read_metric(metric).queries["total"].may_hide_series
    seen = max((time for time, value in leading_points.items() if time <= last and not (hidden and value == 0)), default=None)
    last_seen = None if seen is None else times.end - timedelta(milliseconds=last - seen)
    return Slices(times.start - times.step, times.step, tuple(measurements), query, last_seen)


def _slice_error(error: InvalidMeasurement, end: datetime, query: str) -> InvalidMeasurement:
    """Return the error of a slice with its time. A slice that contradicts itself is part of the SLO's window, as an error."""
    message = f"{error.message} (in the time slice that ends at {format_utc(end)})"
    if contradicts_itself(error):
        message += "; events that end in a later slice than they start in need wider slices, or budgetingMethod Occurrences"
    return InvalidMeasurement(message, reason=error.reason, query=query)


def _compute_slice(request: MeasureRequest, values: Mapping[str, Value | None], leading: str, query: str) -> Measurement | None:
    whole = values[leading]
    # A raw ratio is 0/0 when there are no events; a count is NaN only when it is wrong.
    if whole is None or whole == (0 if leading == "total" else "NaN"):
        return None
    found = compute_measurement(request, values, query)
    # Without the query text: Slices holds it once instead of 43,200 times.
    return Measurement(found.ratio, found.good, found.total)
