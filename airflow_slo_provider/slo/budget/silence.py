"""Measure how long an SLO has had no events, so that a log that has stopped does not look like a service without failures."""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile

from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices, contradicts_itself
from airflow_slo_provider.slo.budget.measurement_requests import MeasurementPlan, ObjectiveMeasurements
from airflow_slo_provider.slo.policy.error_budget_policy import CURRENT


def measure_silence(plan: MeasurementPlan, measured: ObjectiveMeasurements) -> timedelta | None:
    """Return the minimum time without an event at the end of the window.

    Exact if the source reports the time of its newest event; otherwise the longest measured window without events.

    :return: the time; None if there was an event in the last hour, or it is unknown
    """
    whole = measured.whole
    if isinstance(whole, Slices):
        silence = whole.width * sum(1 for _ in takewhile(lambda value: value is None, reversed(whole.values)))
    elif isinstance(whole, Measurement) and whole.newest is not None:
        silence = plan.span.end - whole.newest
    else:
        answers = [*measured.windows.items(), (plan.slo.options.max_silence, measured.recent)]
        empty = (length for length, answer in answers if length is not None and isinstance(answer, NoData))
        silence = max(empty, default=timedelta(0))
    return silence if silence >= CURRENT else None


def require_events(plan: MeasurementPlan, measured: ObjectiveMeasurements) -> None:
    """Refuse to evaluate an SLO that has had no event for longer than its ``max_silence``.

    :raises NoData: reason ``silent``, when there was no event for that long
    :raises MeasurementError: when the events could not be measured
    """
    limit, recent = plan.slo.options.max_silence, measured.recent
    if limit is None or isinstance(recent, Measurement) or contradicts_itself(recent):  # which it only does if there are events
        return
    if isinstance(recent, MeasurementError) and not isinstance(recent, NoData):
        raise recent
    newest = measured.whole.newest if isinstance(measured.whole, Measurement) else None
    length, allowed = (format_seconds(int(x.total_seconds())) for x in (measure_silence(plan, measured) or limit, limit))
    observed = f"no event since {newest:%Y-%m-%d %H:%M} UTC: silent for {length}" if newest else f"no event in the last {length}"
    message = f"{observed}, and airflow-slo/max-silence allows {allowed} at most; check whether the log is still written"
    query, source = (recent.query, recent.source) if recent is not None else (None, None)
    raise NoData(message, reason="silent", query=query, source=source)
