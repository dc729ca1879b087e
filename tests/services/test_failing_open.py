"""Thirteen ways in which reliability tools are known to fail open. None of them opens the gate."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Decision, GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.budget.text_table import table
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, MissingSlices, Objective, Options, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.services.histories import END
from tests.services.prometheus_server import running_prometheus
from tests.unit.indicators.prometheus_requests import availability, ratio

SUM = "sum(increase(http_requests_total{{{0}}}[{{{{.window}}}}]))"


def slo(indicator: Indicator, *, target: str = "0.999", **fields: Any) -> SLO:
    objective = fields.pop("objective", {})
    window = TimeWindow(parse_duration(fields.pop("window", "30d")))
    method = fields.pop("method", BudgetingMethod.OCCURRENCES)
    return SLO("api", "shop", indicator, window, method, (Objective(Fraction(target), **objective),), **fields)


def judged(one: SLO, url: str, at: datetime = END) -> tuple[SLOReport, Decision]:
    catalog = SLOCatalog((one,))
    reports = PrometheusEvaluator(catalog, url).evaluate(at)
    return reports[0], decide(reports, catalog)


def closed(decision: Decision) -> bool:
    return not decision.allowed and decision.outcome in (GateOutcome.FROZEN, GateOutcome.UNKNOWN)


@pytest.mark.parametrize(
    "bad",
    [
        'service="steady",code=~"5..",cod="x"',
        'service="stedy",code="500"',
        'servce="steady",code="500"',
        'service="steady",code=~"5',
    ],
)
def test_01_query_with_a_typo_is_not_100_percent_good(prometheus_history: str, bad: str) -> None:
    indicator = ratio(bad=SUM.format(bad), total=SUM.format('service="steady"'))
    report, decision = judged(slo(indicator), prometheus_history)
    assert report.status in (Status.NO_DATA, Status.QUERY_ERROR)
    assert report.sli is None
    assert closed(decision)


def test_01_metric_name_with_a_typo_is_not_100_percent_good(prometheus_history: str) -> None:
    indicator = ratio(
        bad='sum(increase(http_request_total{service="steady",code="500"}[{{.window}}]))', total=SUM.format('service="steady"')
    )
    report, decision = judged(slo(indicator), prometheus_history)
    assert "check it for a typo" in report.message
    assert closed(decision)


def test_02_unreachable_server_is_not_a_success() -> None:
    report, decision = judged(slo(availability("steady")), "http://127.0.0.1:1")
    assert (report.status, report.error and report.error.transient) == (Status.QUERY_ERROR, True)
    assert closed(decision)


def test_03_no_data_is_not_added_as_minus_one(tmp_path: Path) -> None:
    """A gauge of events that says -1 while it knows nothing."""
    start = int(END.timestamp()) - 600
    lines = ["# TYPE events gauge\n"]
    for name, value in (("good", -1), ("total", -1)):
        lines += [f'events{{kind="{name}"}} {value} {start + 60 * minute}\n' for minute in range(11)]
    lines.append("# EOF\n")
    with running_prometheus(tmp_path, blocks=lines) as url:
        indicator = ratio(counter=False, good='events{kind="good"}', total='events{kind="total"}')
        report, decision = judged(slo(indicator), url)
    assert report.status is Status.QUERY_ERROR
    assert "negative count" in report.message
    assert closed(decision)


@pytest.mark.parametrize("target", ["1", "1.0", "0", "1.5", "99.9", "-1"])
def test_04_target_without_error_budget_is_refused(target: str) -> None:
    from airflow_slo_provider.slo.budget.error_budgets import burn_rate, error_budget

    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        burn_rate(target, 90, 100)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        error_budget(target, 90, 100, "30d")


def test_05_values_are_not_rounded_before_comparison() -> None:
    """14.44 is above 14.4, and 99.89999 % is below 99.9 %."""
    from airflow_slo_provider.slo.budget.error_budgets import burn_rate, burn_rate_rules, error_budget

    page = burn_rate_rules("30d")[0]
    above, at = burn_rate("0.999", 100_000 - 1_444, 100_000), burn_rate("0.999", 100_000 - 1_440, 100_000)
    assert page.fires(above, above)
    assert not page.fires(at, at)
    assert error_budget("0.999", 9_989_999, 10_000_000, "30d").remaining < 0
    assert error_budget("0.999", 9_990_000, 10_000_000, "30d").remaining == 0


def test_06_good_and_total_are_read_at_one_instant() -> None:
    with FaultyPrometheus("ok", value="12") as server:
        source = PrometheusSource(PrometheusClient(server.url))
        SLOMonitor(SLOCatalog((slo(availability("steady")),)), source).evaluate()  # now: no instant is given
        times = {request.form["time"] for request in server.requests if "time" in request.form}
    assert len(times) == 1


def test_07_one_nan_does_not_invalidate_thirty_days(tmp_path: Path) -> None:
    """A ratio that is NaN in one slice of 24: that slice is missing, and counts as the document says."""
    start = int(END.timestamp()) - 86_400
    values = ["NaN" if minute // 60 == 5 else "1" for minute in range(1, 1441)]
    lines = ["# TYPE share gauge\n", *(f"share {v} {start + 60 * m}\n" for m, v in enumerate(values, start=1)), "# EOF\n"]
    sliced = {"time_slice_window": parse_duration("1h"), "time_slice_target": Fraction("0.9")}
    indicator = ratio(raw="avg_over_time(share[{{.window}}])", raw_type="success")
    with running_prometheus(tmp_path, blocks=lines) as url:
        for missing, sli in [(MissingSlices.BAD, Fraction(22, 24)), (MissingSlices.IGNORE, Fraction(1))]:
            one = slo(
                indicator, target="0.9", window="1d", method=BudgetingMethod.TIMESLICES, objective=sliced,
                options=Options(missing_slices=missing),
            )  # fmt: skip
            report, _ = judged(one, url)
            assert report.status.is_unknown is False, report.message
            # The NaN minutes lie in the sixth hour and, with its closed start, touch the seventh.
            assert report.sli in (sli, Fraction(23, 24)), (missing, report.sli)
            assert report.coverage is not None
            assert report.coverage < 1


def test_08_ten_minutes_of_history_do_not_overspend_a_month(tmp_path: Path) -> None:
    start = int(END.timestamp()) - 600
    lines = ["# TYPE http_requests counter\n"]
    for code, rate in (("200", 0), ("500", 10)):
        series = f'http_requests_total{{service="born",code="{code}"}}'
        lines += [f"{series} {rate * minute} {start + 60 * minute}\n" for minute in range(11)]
    lines.append("# EOF\n")
    with running_prometheus(tmp_path, blocks=lines) as url:
        report, decision = judged(slo(availability("born", bad=True)), url)
    assert report.coverage is not None
    assert report.coverage < Fraction(1, 10)
    assert "of the window holds data" in report.message
    assert decision.outcome is GateOutcome.UNKNOWN  # it may not freeze for a month that never was, and nothing opens either
    assert closed(decision)


def test_09_no_data_is_not_a_full_budget(prometheus_history: str) -> None:
    for service in ("quiet", "nobody"):
        report, decision = judged(slo(availability(service)), prometheus_history)
        assert (report.status, report.budget, report.remaining) == (Status.NO_DATA, None, None)
        assert "%" not in table([report]).splitlines()[-1].split("/")[1]
        assert closed(decision)


@pytest.mark.parametrize("mode", ["is_partial", "error_type", "repeated_key"])
def test_10_success_with_an_error_is_refused(mode: str) -> None:
    """A flag, an error or a second status beside the success: half of the series may be missing."""
    with FaultyPrometheus(mode) as server:
        report, decision = judged(slo(availability("steady")), server.url)
    assert (report.status, report.budget) == (Status.QUERY_ERROR, None)
    assert closed(decision)


@pytest.mark.parametrize("mode", ["aged", "another_time"])
def test_11_cached_answer_is_refused(mode: str) -> None:
    with FaultyPrometheus(mode) as server:
        report, decision = judged(slo(availability("steady")), server.url)
    assert (report.status, report.budget) == (Status.QUERY_ERROR, None)
    assert closed(decision)


def test_12_slices_moved_by_the_server_are_refused() -> None:
    """VictoriaMetrics moves a range of 50 points to multiples of its step; a slice that is not found may count as good."""
    hour, share = parse_duration("1h"), Fraction("0.9")
    indicator = ratio(raw="avg_over_time(share[{{.window}}])", raw_type="success")
    for missing in MissingSlices:
        one = slo(
            indicator, target="0.9", method=BudgetingMethod.TIMESLICES, options=Options(missing_slices=missing),
            objective={"time_slice_window": hour, "time_slice_target": share},
        )  # fmt: skip
        with FaultyPrometheus("another_time", value="0") as server:
            report, decision = judged(one, server.url)
        assert (report.status, report.budget) == (Status.QUERY_ERROR, None), missing
        assert "nocache" in report.message
        assert closed(decision)


def test_13_repeated_series_is_not_counted_twice() -> None:
    with FaultyPrometheus("twice") as server:
        report, decision = judged(slo(availability("steady")), server.url)
    assert (report.status, report.budget) == (Status.QUERY_ERROR, None)
    assert closed(decision)


def test_gate_opens_for_valid_answers(prometheus_history: str) -> None:
    """The control: what is refused above is refused for its fault."""
    report, decision = judged(slo(availability("flawless", bad=True)), prometheus_history)
    assert (report.status, decision.outcome) == (Status.HEALTHY, GateOutcome.ALLOWED)
