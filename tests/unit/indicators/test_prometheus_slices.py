"""A NaN count in a slice with events is an error; slices without events, and raw ratios of 0/0, are missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.paired_slices import compute_slices
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Value
from airflow_slo_provider.slo.budget.indicator_source import MeasureRequest
from airflow_slo_provider.slo.model import Indicator, MetricSource, RatioMetric

END, STEP = datetime(2026, 11, 1, tzinfo=UTC), timedelta(minutes=5)
FIRST = to_milliseconds(END - STEP)


def missing(second: dict[str, Value]) -> bool:
    """Whether the second of two slices is missing; the first one is sound."""
    source = MetricSource("Prometheus", None, "increase(q[{{.window}}])")
    if "raw" in second:
        metric = RatioMetric(raw=source, raw_type="success")
    else:
        metric = RatioMetric(total=source, **{role: source for role in second if role != "total"})
    request = MeasureRequest(Indicator("i", metric), END - 2 * STEP, END)
    sound: dict[str, Value] = {role: {"total": 10, "good": 9, "bad": 1, "raw": 1}[role] for role in second}
    series = {role: {FIRST: sound[role], FIRST + 300_000: value} for role, value in second.items()}
    found = compute_slices(request, series, EvaluationTimes(END - STEP, END, STEP), "q")
    assert found.values[0] is not None
    return found.values[1] is None


@pytest.mark.parametrize(
    "counts",
    [{"good": "NaN", "total": 10}, {"bad": "NaN", "total": 10}, {"bad": "NaN", "total": "NaN"}, {"good": 1, "total": "NaN"}],
)
def test_slice_with_events_and_nan_count_is_an_error(counts: dict[str, Value]) -> None:
    with pytest.raises(InvalidMeasurement, match="is NaN, not a number"):
        missing(counts)


@pytest.mark.parametrize("values", [{"good": "NaN", "total": 0}, {"bad": 0, "total": 0}, {"raw": "NaN"}])
def test_slice_without_events_is_missing(values: dict[str, Value]) -> None:
    assert missing(values)
