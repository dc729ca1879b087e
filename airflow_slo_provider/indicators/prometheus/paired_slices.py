"""Combine the slices of good and total into ratios."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.queries import hides_absence, judge
from airflow_slo_provider.indicators.prometheus.query_batches import Points, Value, When
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.model import RatioMetric

_Values = tuple[Value | None, ...]


def judge_slices(request: MeasureRequest, series: Mapping[str, Points | None], when: When, query: str) -> Slices:
    """Measure every slice separately.

    A slice whose total is missing or 0, or whose raw ratio is missing or NaN, is None: it holds no data and does not affect
    other slices. A slice whose count is NaN although there were events is an error: ``missing-slices`` does not apply to it.

    :param request: the indicator and its span
    :param series: points by role; keyed by the end of each slice
    :param when: the ends of the slices
    :param query: text of the queries, for messages
    :raises NoData: when no slice has a total, so that even "missing slices are good" cannot make it a pass
    :raises InvalidMeasurement: when a slice is infinite, negative or NaN although there were events, or has more good events
        than events
    """
    assert when.step is not None
    leading = "raw" if "raw" in series else "total"
    if not series[leading]:
        raise NoData(f"the query for the {leading} answers nothing in any slice of the span", reason="empty", query=query)
    roles = tuple(series)
    step = when.step // timedelta(milliseconds=1)
    first, last = to_milliseconds(when.start), to_milliseconds(when.end)
    columns = [series[role] or {} for role in roles]
    known: dict[_Values, Measurement | None] = {}
    values: list[Measurement | None] = []
    for moment in range(first, last + 1, step):
        found = tuple([column.get(moment) for column in columns])
        if found not in known:  # cached: most slices of a service are alike
            known[found] = _judge_slice(request, dict(zip(roles, found, strict=True)), leading, query)
        values.append(known[found])
    hidden = leading == "total" and hides_absence(_total(request))  # a 0 may mean that there is no series
    points = columns[roles.index(leading)].items()
    seen = max((moment for moment, value in points if moment <= last and not (hidden and value == 0)), default=None)
    last_seen = None if seen is None else when.end - timedelta(milliseconds=last - seen)
    return Slices(when.start - when.step, when.step, tuple(values), query, last_seen)


def _total(request: MeasureRequest) -> str:
    metric = request.indicator.metric
    return metric.total.query if isinstance(metric, RatioMetric) and metric.total is not None else ""


def _judge_slice(request: MeasureRequest, values: Mapping[str, Value | None], leading: str, query: str) -> Measurement | None:
    whole = values[leading]
    # A raw ratio is 0/0 when there are no events; a count is NaN only when it is wrong.
    if whole is None or whole == (0 if leading == "total" else "NaN"):
        return None
    found = judge(request, values, query)
    # Without the query text: Slices holds it once instead of 43,200 times.
    return Measurement(found.ratio, found.good, found.total)
