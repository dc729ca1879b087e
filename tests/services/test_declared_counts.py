"""Counts that are declared and not proven, on a real server: measured, and named as such; without the declaration unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.slo import SLOCatalog, SLOReport, Status, decide, load
from airflow_slo_provider.slo.model import RatioMetric
from tests.services.prometheus_forms import END, forms_url
from tests.unit.slo.documents import ratio_document

__all__ = ["forms_url"]

#: Prometheus accepts the query, and the parser of this provider does not.
UNREADABLE = " + 0" * 1001
TOTAL = 'sum(increase(http_requests_total{service="a"}[{{.window}}]))'
NOTE = "counts declared by the author (airflow-slo/counts), not proven"


def evaluate(url: str, bad: str, *, declared: bool = True) -> tuple[SLOReport, SLOCatalog]:
    queries = {"bad": bad, "total": TOTAL}
    catalog = load(ratio_document(queries, annotation='airflow-slo/counts: "events"').replace("30d", "1h"))
    if not declared:
        (slo,) = catalog
        assert slo.indicator is not None
        assert isinstance(slo.indicator.metric, RatioMetric)
        indicator = replace(slo.indicator, metric=replace(slo.indicator.metric, declares_events=False))
        catalog = replace(catalog, slos=(replace(slo, indicator=indicator),))
    client = PrometheusClient(url)
    (report,) = PrometheusEvaluator(catalog, client).evaluate(END)
    client.close()
    return report, catalog


@pytest.mark.parametrize("code", [200, 404])
def test_declared_counts_are_measured_and_named(forms_url: str, code: int) -> None:
    report, catalog = evaluate(forms_url, TOTAL.replace('"a"', f'"a",code="{code}"') + UNREADABLE)
    assert (report.status, report.good, report.total) == (Status.EXHAUSTED, 60 * (1104 - code), 60 * 1104)
    assert NOTE in report.message
    assert any(NOTE in reason for reason in decide([report], catalog).reasons)


def test_undeclared_counts_are_unknown_with_the_remedy(forms_url: str) -> None:
    report, catalog = evaluate(forms_url, TOTAL + UNREADABLE, declared=False)
    assert report.status is Status.QUERY_ERROR
    assert report.error is not None
    assert report.error.reason == "not_understood"
    assert 'declare that with the annotation airflow-slo/counts: "events"' in report.message
    assert not decide([report], catalog).allowed


def test_declared_failures_without_series_are_no_data(forms_url: str) -> None:
    """Nothing shows which series a query needs that cannot be read."""
    report, _ = evaluate(forms_url, 'sum(increase(http_requests_total{code="503"}[{{.window}}]))' + UNREADABLE)
    assert (report.status, report.error and report.error.reason) == (Status.NO_DATA, "bad_series_missing")
