"""The latency SLO of docs/documents.md on a real server: the statements about buckets and new series are true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.slo import load
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from tests.docs.pages import DOCS, blocks_of
from tests.services.prometheus_server import running_prometheus

END = datetime(2026, 11, 1, tzinfo=UTC)
MINUTES = 120


def histogram() -> Iterator[str]:
    """Two hours of 50 requests a minute, 49 within 250 ms. A process with 1,000 requests was first scraped ten minutes ago."""
    yield "# TYPE request_duration_seconds histogram\n"
    for pod, first, value in (("old", MINUTES, lambda ago, each: each * (MINUTES - ago)), ("new", 10, lambda ago, each: 1000)):
        for name, each in (('bucket{le="0.25",', 49), ('bucket{le="+Inf",', 50), ("count{", 50)):
            for ago in range(first, -1, -1):
                yield f'request_duration_seconds_{name}pod="{pod}"}} {value(ago, each)} {int(END.timestamp()) - ago * 60}\n'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), blocks=histogram()) as address:
        yield address


def measured(url: str, old: str = "", new: str = "") -> SLOReport:
    """Measure the SLO of the page over an hour, with a replaced text."""
    text = "---\n".join(one.text for one in blocks_of(DOCS / "documents.md") if one.language == "yaml")
    assert old in text
    catalog = load(text.replace("duration: 30d", "duration: 1h").replace(old, new))
    catalog = replace(catalog, slos=tuple(slo for slo in catalog.slos if slo.name == "checkout-latency"))
    (report,) = PrometheusEvaluator(catalog, url).evaluate(END)
    return report


def test_latency_slo_ignores_the_first_value_of_a_series(url: str) -> None:
    report = measured(url)
    assert (report.status, report.sli) == (Status.HEALTHY, Fraction(49, 50))
    assert 'good: sum(increase(request_duration_seconds_bucket{le="0.25"}[1h]))' in report.query
    assert "total: sum(increase(request_duration_seconds_count[1h]))" in report.query
    assert report.total == 60 * 50, "the 1,000 that the new process had when it was first seen are in no count"


def test_latency_bound_without_a_bucket_counts_no_good_events(url: str) -> None:
    report = measured(url, 'le="0.25"', 'le="0.3"')
    assert (report.status, report.sli) == (Status.EXHAUSTED, 0)
