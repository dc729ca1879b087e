"""The monitor on a real Prometheus whose thirty days are known: SLI, budget, burn rates and status, against plain addition."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.code_first import SLIDefinition, SLOConfig
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, MetricSource, Objective, RatioMetric, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from tests.services.histories import END, MINUTES, SERVICES, WINDOWS, history
from tests.unit.indicators.prometheus_requests import availability

TARGET = Fraction("0.999")
MONTH = timedelta(days=30)
FACTORS = {("1h", "5m"): Fraction("14.4"), ("6h", "30m"): Fraction(6), ("1d", "2h"): Fraction(3), ("3d", "6h"): Fraction(1)}


def slo(service: str, indicator: Indicator | None = None, **fields: object) -> SLO:
    defaults: dict[str, object] = {
        "method": BudgetingMethod.OCCURRENCES,
        "objectives": (Objective(TARGET),),
        "window": TimeWindow(parse_duration("30d")),
    }
    return SLO(service, service, indicator or availability(service, bad=True), **(defaults | fields))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reports(prometheus_history: str) -> dict[str, SLOReport]:
    catalog = SLOCatalog(tuple(slo(service) for service in SERVICES))
    return {report.name: report for report in PrometheusEvaluator(catalog, prometheus_history).evaluate(END)}


def truth(service: str, window: str) -> Fraction | None:
    """The burn rate of a window; None where nobody called the service."""
    good, total = history(service).truth(WINDOWS[window])
    return Fraction(total - good, total) / (1 - TARGET) if total else None


def expected_status(service: str) -> Status:
    month = truth(service, "30d")
    if month is None:
        return Status.NO_DATA
    if month >= 1:
        return Status.EXHAUSTED
    for (long, short), factor in FACTORS.items():
        pair = truth(service, long), truth(service, short)
        if all(rate is not None and rate > factor for rate in pair):
            return Status.BURNING
    return Status.WARNING if 1 - month < Fraction(1, 4) else Status.HEALTHY


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_expected_report(reports: dict[str, SLOReport], service: str) -> None:
    report = reports[service]
    assert report.status is expected_status(service), report.message
    if service == "quiet":
        return
    exact = service != "restart"  # what a counter lost before it was scraped, no server can tell
    month = truth(service, "30d")
    assert month is not None
    assert report.budget is not None
    for found, known in [(report.budget.consumed, month), (report.remaining, 1 - month)]:
        assert found == known if exact else found == pytest.approx(float(known), abs=0.02)
    for rate in report.burn_rates:
        (name,) = [name for name, window in WINDOWS.items() if window == rate.window]
        known_rate = truth(service, name)
        if exact or known_rate is None:
            assert rate.value == known_rate, (service, name)
        else:
            assert rate.value == pytest.approx(float(known_rate), rel=0.02)


def test_statuses_of_services_differ() -> None:
    assert {expected_status(service) for service in SERVICES} == {
        Status.HEALTHY, Status.WARNING, Status.BURNING, Status.EXHAUSTED, Status.NO_DATA,
    }  # fmt: skip


def test_exactly_spent_budget_is_exhausted(reports: dict[str, SLOReport]) -> None:
    assert (reports["steady"].remaining, reports["steady"].status) == (0, Status.EXHAUSTED)


def test_one_failure_in_ten_requests_burns_a_hundredfold(reports: dict[str, SLOReport]) -> None:
    """SLO-arithmetic's example: 7.2 events a month, 13.9 % used, burn 100 over that hour."""
    report = reports["low_traffic"]
    assert report.budget is not None
    assert report.budget.allowed_events == Fraction("7.2")
    assert report.budget.consumed == Fraction(1) / Fraction("7.2")
    hour = report.burn_rate(timedelta(hours=1))
    assert hour is not None
    assert hour.value == 100


def test_service_without_recent_series_is_no_data(prometheus_history: str) -> None:
    evaluator = PrometheusEvaluator(SLOCatalog((slo("outage"),)), prometheus_history)
    (during,) = evaluator.evaluate(END - timedelta(hours=17))
    assert during.status is Status.NO_DATA
    assert "no measurement in the last 1h" in during.message
    (before,) = evaluator.evaluate(END - timedelta(hours=21))
    assert before.status is Status.HEALTHY


def test_evaluate_at_past_time_uses_window_of_that_time(prometheus_history: str) -> None:
    evaluator = PrometheusEvaluator(SLOCatalog((slo("incident", window=TimeWindow(parse_duration("3d"))),)), prometheus_history)
    for ago in (timedelta(0), timedelta(days=9)):
        (report,) = evaluator.evaluate(END - ago)
        good, total = history("incident").truth(timedelta(days=3), END - ago)
        assert (report.good, report.total) == (good, total)
    assert report.status is Status.EXHAUSTED


@pytest.mark.parametrize("method", [BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES])
def test_ratio_timeslices_weight_nights_like_days(prometheus_history: str, method: BudgetingMethod) -> None:
    objective = Objective(TARGET, time_slice_target=Fraction("0.95"), time_slice_window=parse_duration("1m"))
    one = slo("diurnal", method=method, objectives=(objective,))
    (report,) = PrometheusEvaluator(SLOCatalog((one,)), prometheus_history).evaluate(END)
    past = history("diurnal")
    ratios = [Fraction(past.good[m], past.good[m] + past.bad[m]) for m in range(1, MINUTES + 1)]
    if method is BudgetingMethod.TIMESLICES:
        ratios = [Fraction(int(ratio >= Fraction("0.95"))) for ratio in ratios]
    assert report.sli == sum(ratios) / len(ratios)
    assert report.coverage == 1


def test_coverage_of_new_service_is_reported(reports: dict[str, SLOReport]) -> None:
    coverage = reports["young"].coverage
    assert coverage is not None
    assert abs(coverage - Fraction(6, 30)) < Fraction(2, 100)


def test_hundreds_of_windows_are_merged_into_few_queries(prometheus_history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = SLOCatalog(tuple(slo(service) for service in SERVICES if service != "quiet"))
    evaluator = PrometheusEvaluator(catalog, prometheus_history)
    source = evaluator._sources._source(("Prometheus", None))
    queries: list[str] = []
    instant = source.client.instant  # type: ignore[attr-defined]
    monkeypatch.setattr(source.client, "instant", lambda query, at: queries.append(query) or instant(query, at))  # type: ignore[attr-defined]
    evaluator.evaluate(END)
    proof = 1  # that `flawless` has no series of failures because nothing failed
    assert len(queries) == len(WINDOWS) + proof


def test_code_first_monitor_measures_real_server(prometheus_history: str) -> None:
    def share(service: str) -> str:
        ok = f'http_requests_total{{service="{service}",code="200"}}'
        return (
            f'sum(increase({ok}[{{{{.window}}}}])) / sum(increase(http_requests_total{{service="{service}"}}[{{{{.window}}}}]))'
        )

    steady, incident = (SLIDefinition(name, share(name), "0.999") for name in ("steady", "incident"))
    monitor = SLOMonitor(SLOConfig("shop", [steady, incident]), prometheus_history)
    assert monitor.check_sli(steady, END) == TARGET
    assert float(monitor.compute_error_budget(incident, END).remaining) == pytest.approx(4 / 9)
    assert monitor.get_status(END) == {"steady": Status.EXHAUSTED, "incident": Status.HEALTHY}
    assert not monitor.should_allow_deployment(END)
    assert SLOMonitor(SLOConfig("shop", [incident]), prometheus_history).should_allow_deployment(END)
    # Now, long after the history: no data, and no deployment.
    assert not SLOMonitor(SLOConfig("shop", [incident]), prometheus_history).should_allow_deployment()


def test_unreachable_server_is_query_error() -> None:
    catalog = SLOCatalog((slo("steady"),))
    reports = PrometheusEvaluator(catalog, "http://127.0.0.1:1").evaluate(END)
    assert reports[0].status is Status.QUERY_ERROR
    assert reports[0].error is not None
    assert reports[0].error.transient
    assert decide(reports, catalog).outcome is GateOutcome.UNKNOWN


def test_unknown_source_type_is_query_error(prometheus_history: str) -> None:
    source = MetricSource("SQL", None, "select 1")
    catalog = SLOCatalog((slo("x", Indicator("x", RatioMetric(good=source, total=source))),))
    (report,) = PrometheusEvaluator(catalog, prometheus_history).evaluate(END)
    assert report.status is Status.QUERY_ERROR
