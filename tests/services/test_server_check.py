"""``airflow slo validate --against``: the queries of documents on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from airflow_slo_provider.cli.server_check import ServerReport, check_on_server
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo import load
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.services.prometheus_forms import END, forms_url
from tests.unit.slo.documents import SERVICE_TEXT, changed, joined, ratio_document

__all__ = ["forms_url"]

TOTAL = "sum(increase(http_requests_total[{{.window}}]))"


@pytest.fixture
def source(forms_url: str) -> Iterator[PrometheusSource]:
    client = PrometheusClient(forms_url)
    yield PrometheusSource(client)
    client.close()


def check(source: PrometheusSource, *texts: str) -> ServerReport:
    """Check documents whose window of 30 days is made one of an hour."""
    return check_on_server(load(joined(*texts).replace("30d", "1h")), source, END)


def check_queries(source: PrometheusSource, **queries: str) -> ServerReport:
    return check(source, ratio_document(queries))


def test_queries_with_series_have_no_errors(source: PrometheusSource) -> None:
    report = check_queries(source, bad='sum(increase(http_requests_total{code="500"}[{{.window}}]))', total=TOTAL)
    assert (report.errors, report.warnings) == ([], [])
    measured, bad, total = report.lines
    assert re.fullmatch(r"checkout: measured over 1h in \d+\.\d\d s: SLI \d\d\.\d+ %", measured)
    assert bad == 'checkout: bad selects 5 series of http_requests_total{code="500"}'
    assert total == "checkout: total selects 16 series of http_requests_total"


@pytest.mark.parametrize(
    ("queries", "selector"),
    [
        ({"good": TOTAL.replace("http", "htp"), "total": TOTAL}, "htp_requests_total"),
        ({"bad": TOTAL.replace("http", "htp"), "total": TOTAL}, "htp_requests_total"),
        ({"bad": "sum(increase(http_requests_total{status='500'}[{{.window}}]))", "total": TOTAL}, '{status="500"}'),
        ({"good": TOTAL, "total": TOTAL.replace("http", "htp")}, "htp_requests_total"),
        ({"raw": "sum(rate(nope_total[{{.window}}])) / sum(rate(http_requests_total[{{.window}}]))"}, "nope_total"),
        ({"bad": "sum(slo:errors:rate{{.window}})", "total": "sum(slo:requests:rate{{.window}})"}, "slo:errors:rate1h"),
    ],
)
def test_metric_without_series_is_an_error(source: PrometheusSource, queries: dict[str, str], selector: str) -> None:
    report = check_queries(source, **queries)
    missing = [str(error) for error in report.errors if "the server has no series of" in error.message]
    assert any(selector in error and "in 1h; check its name and labels" in error for error in missing)
    assert all(re.match(r"<text>:[78]: SLO/checkout spec\.indicator\.spec\.ratioMetric\.", error) for error in missing)


def test_failure_that_has_not_happened_is_a_warning(source: PrometheusSource) -> None:
    """The metric has the label: the gate counts no failures."""
    report = check_queries(source, bad='sum(increase(http_requests_total{code="503"}[{{.window}}]))', total=TOTAL)
    assert report.errors == []
    (warning,) = report.warnings
    assert warning.message == 'the server has no series of http_requests_total{code="503"} in 1h; that counts as 0'


def test_spelling_that_another_one_replaces_is_a_warning(source: PrometheusSource) -> None:
    either = "sum(increase(http_requests_total[{{.window}}]) or increase(http_requests[{{.window}}]))"
    good = either.replace("[", '{code!="500"}[')
    report = check_queries(source, good=good, total=either)
    assert report.errors == []
    assert [warning.message for warning in report.warnings] == [
        f"the server has no series of http_requests{matchers} in 1h; that counts as 0" for matchers in ('{code!="500"}', "")
    ]


def test_series_that_ended_in_the_window_are_counted(source: PrometheusSource) -> None:
    text = ratio_document({"good": "sum(increase(failures_total[{{.window}}]))", "total": TOTAL}).replace("30d", "3h")
    report = check_on_server(load(text), source, END)
    assert any(line.endswith("good selects 1 series of failures_total") for line in report.lines)


def test_several_series_are_an_error(source: PrometheusSource) -> None:
    query = "sum by (code) (increase(http_requests_total[{{.window}}]))"
    report = check_queries(source, good=query.replace("_total", '_total{code!="500"}'), total=query)
    assert any("series where one is expected" in error.message for error in report.errors)


def test_lost_events_are_an_error_of_the_document(source: PrometheusSource) -> None:
    both = " or ".join(f'sum(increase(http_requests_total{{code="{code}"}}[{{{{.window}}}}]))' for code in (500, 404))
    report = check_queries(source, bad=both, total=TOTAL.replace("rate", "increase"))
    assert any("both sides of `or` have series in the window" in error.message for error in report.errors)


def test_objective_of_which_most_events_are_bad_is_a_warning(source: PrometheusSource) -> None:
    report = check_queries(source, bad=TOTAL.replace("total[", 'total{code!="404"}['), total=TOTAL)
    assert any("of all events are bad; are good and bad exchanged?" in warning.message for warning in report.warnings)


def test_objectives_with_the_same_queries_are_checked_once(source: PrometheusSource) -> None:
    text = ratio_document({"bad": TOTAL.replace("http", "htp"), "total": TOTAL})
    report = check(source, changed(text, "    - target: 0.999\n", "    - target: 0.999\n    - target: 0.9\n"))
    assert [line.partition(":")[0] for line in report.lines] == ["checkout[1]"] * 3
    assert len(report.errors) == 2, "the measurement, and the metric"


def test_query_that_cannot_be_parsed_is_measured(source: PrometheusSource) -> None:
    bad = 'sum(increase(http_requests_total{code="500"}[{{.window}}]))' + " + 0" * 1001
    report = check(
        source, ratio_document({"bad": bad, "total": TOTAL.replace("rate", "increase")}, annotation="airflow-slo/counts: events")
    )
    assert report.errors == []
    assert any("bad cannot be parsed, so its metrics are not checked" in line for line in report.lines)


def test_threshold_and_other_sources(source: PrometheusSource) -> None:
    sql = "SELECT good, total FROM t WHERE ts >= :date_from AND ts < :date_to"
    other = ratio_document({"good": sql, "total": sql}, kind="SQL", name="other").removesuffix(SERVICE_TEXT).removesuffix("---\n")
    text = ratio_document({"bad": TOTAL, "total": TOTAL})
    start, end = text.index("  indicator:"), text.index("  timeWindow:")
    value = "{spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: 'latency{service=\"a\"}'}}}}}"
    text = f"{text[:start]}  indicator: {value}\n{text[end:]}"
    report = check(source, changed(text, "target: 0.999", "target: 0.9\n      op: lt\n      value: 0.5"), other)
    assert report.errors == []
    assert len(report.lines) == 2
    assert report.lines[1] == 'checkout: value selects 1 series of latency{service="a"}'


@pytest.mark.parametrize("mode", ["503", "html", "401", "warnings"])
def test_fault_of_the_server_is_raised(mode: str) -> None:
    with FaultyPrometheus(mode) as server:
        client = PrometheusClient(server.url, retries=0)
        with pytest.raises(QueryError):
            check_queries(PrometheusSource(client), bad=TOTAL.replace("http", "https"), total=TOTAL)
        client.close()


def test_each_group_is_measured(source: PrometheusSource) -> None:
    good = TOTAL.replace("sum", "sum by (code) ").replace("total[", 'total{code=~".+"}[')
    text = ratio_document({"good": good, "total": TOTAL.replace("sum", "sum by (code) ")})
    text = text.replace("metadata:", "metadata:\n  annotations: {airflow-slo/group-by: code}", 1)
    report = check(source, text)
    assert report.errors == []
    count = re.fullmatch(r"checkout: (\d) values of code", report.lines[0])
    assert count
    measured = [re.match(r'checkout\{code="\d+"\}: measured over 1h in', line) for line in report.lines[1:]]
    assert sum(map(bool, measured)) == int(count[1]) > 1
    (error,) = check(source, text.replace("code}", 'code, airflow-slo/expected-groups: "200, 299"}')).errors
    assert 'code="299": the query for the total returns nothing' in error.message
