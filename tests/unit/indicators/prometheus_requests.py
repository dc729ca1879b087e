"""Builders of indicators and requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.slo.budget.indicator_source import MeasureRequest
from airflow_slo_provider.slo.model import Indicator, MetricSource, RatioMetric, ThresholdMetric


def query(text: str) -> MetricSource:
    return MetricSource("Prometheus", None, text)


def ratio(*, counter: bool = True, raw_type: str | None = None, **queries: str) -> Indicator:
    """Make a ratio indicator of ``good=``, ``bad=``, ``total=`` or ``raw=``."""
    metric = RatioMetric(counter=counter, raw_type=raw_type, **{role: query(text) for role, text in queries.items()})
    return Indicator("indicator", metric)


def availability(
    service: str, *, metric: str = "http_requests_total", bad: bool = False, function: str = "increase"
) -> Indicator:
    """Make the usual indicator: requests without a 5xx code, over all requests of a service."""
    pin = f'service="{service}"'
    part = f'{pin},code{"=~" if bad else "!~"}"5.."'
    return ratio(
        **{"bad" if bad else "good": f"sum({function}({metric}{{{part}}}[{{{{.window}}}}]))"},
        total=f"sum({function}({metric}{{{pin}}}[{{{{.window}}}}]))",
    )


def threshold(text: str) -> Indicator:
    return Indicator("indicator", ThresholdMetric(query(text)))


def request_over(
    indicator: Indicator,
    end: datetime,
    window: timedelta,
    op: str | None = None,
    value: Fraction | None = None,
    resolution: timedelta = timedelta(minutes=1),
) -> MeasureRequest:
    return MeasureRequest(indicator, end - window, end, op, value, resolution)
