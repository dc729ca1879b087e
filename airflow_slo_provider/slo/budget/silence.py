"""Measure how long an SLO has had no events, so that a log that has stopped does not look like a service without failures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices
from airflow_slo_provider.slo.budget.measurement_requests import CURRENT, Answers, Part


def silence_of(part: Part, answers: Answers) -> timedelta | None:
    """Return the minimum time without an event at the end of the window.

    Exact if the source reports the time of its newest event; otherwise the longest measured window without events.

    :return: the time; None if there was an event in the last hour, or it is unknown
    """
    whole = answers.whole
    if isinstance(whole, Slices):
        found = _trailing(whole)
    elif isinstance(whole, Measurement) and whole.newest is not None:
        found = part.span.end - whole.newest
    else:
        asked: Mapping[timedelta, Measurement | MeasurementError] = answers.windows
        empty = [window for window, answer in asked.items() if isinstance(answer, NoData)]
        limit = part.slo.options.max_silence
        found = max(
            [*empty, *([limit] if limit is not None and isinstance(answers.lately, NoData) else [])], default=timedelta(0)
        )
    return found if found >= CURRENT else None


def require_events(part: Part, answers: Answers) -> None:
    """Refuse to evaluate an SLO that has had no event for longer than its ``max_silence``.

    :raises NoData: reason ``silent``, when there was no event for that long
    :raises MeasurementError: when the events could not be measured
    """
    limit, lately = part.slo.options.max_silence, answers.lately
    if limit is None or isinstance(lately, Measurement):
        return
    allowed = format_seconds(int(limit.total_seconds()))
    if isinstance(lately, MeasurementError) and not isinstance(lately, NoData):
        raise lately
    whole = answers.whole
    newest = whole.newest if isinstance(whole, Measurement) else None
    known = silence_of(part, answers) or limit
    length = format_seconds(int(known.total_seconds()))
    if newest is not None:
        said = f"no event since {newest:%Y-%m-%d %H:%M} UTC: silent for {length}"
    else:
        said = f"no event in the last {length}"
    query, source = (lately.query, lately.source) if lately is not None else (None, None)
    raise NoData(
        f"{said}, and airflow-slo/max-silence allows {allowed} at most; see whether the log is still written",
        reason="silent", query=query, source=source,
    )  # fmt: skip


def _trailing(slices: Slices) -> timedelta:
    count = 0
    for value in reversed(slices.values):
        if value is not None:
            break
        count += 1
    return slices.width * count
