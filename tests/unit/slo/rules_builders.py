"""SLOs built by hand for the tests of the rule export."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import (
    SLO,
    AlertCondition,
    AlertPolicy,
    BudgetingMethod,
    Indicator,
    MetricSource,
    Objective,
    RatioMetric,
    ThresholdMetric,
    TimeWindow,
)

METRIC = 'http_request_duration_seconds_count{job="myservice"}'
BAD = 'http_request_duration_seconds_count{job="myservice",code=~"(5..|429)"}'
GOOD = 'http_request_duration_seconds_count{job="myservice",code!~"(5..|429)"}'


def prometheus(query: str) -> MetricSource:
    return MetricSource("Prometheus", None, query, {"query": query})


def bad_over_total(bad: str = f"sum({BAD})", total: str = f"sum({METRIC})", *, counter: bool = True) -> RatioMetric:
    return RatioMetric(bad=prometheus(bad), total=prometheus(total), counter=counter)


def good_over_total(good: str = f"sum({GOOD})", total: str = f"sum({METRIC})") -> RatioMetric:
    return RatioMetric(good=prometheus(good), total=prometheus(total), counter=True)


def threshold(query: str) -> ThresholdMetric:
    return ThresholdMetric(prometheus(query))


def slo(
    metric: RatioMetric | ThresholdMetric | None = None,
    *,
    name: str = "requests-availability",
    target: str = "0.999",
    window: str = "30d",
    rolling: bool = True,
    method: BudgetingMethod = BudgetingMethod.OCCURRENCES,
    objective: dict[str, Any] | None = None,
    **fields: Any,
) -> SLO:
    return SLO(
        name=name,
        service=fields.pop("service", "myservice"),
        indicator=Indicator("indicator", metric or bad_over_total()),
        window=TimeWindow(parse_duration(window), rolling=rolling),
        method=method,
        objectives=fields.pop("objectives", (Objective(Fraction(target), **(objective or {})),)),
        **fields,
    )


def condition(name: str = "fast-burn", *, op: str = "gt", threshold: str = "2", lookback: str = "1h") -> AlertCondition:
    after = parse_duration("5m")
    return AlertCondition(name, "page", op, Fraction(threshold), parse_duration(lookback), after, "Somebody should look.")


def policy(*conditions: AlertCondition, breaching: bool = True) -> AlertPolicy:
    return AlertPolicy("high-priority", conditions, alert_when_breaching=breaching)


def catalog(*slos: SLO) -> SLOCatalog:
    return SLOCatalog(slos)
