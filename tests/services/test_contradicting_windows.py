"""Jobs of 40 minutes on a real Prometheus: sound over 7 days, and in some short windows more jobs succeed than are started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.slo.budget.reports import GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.export.rule_expressions import error_ratio
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, Objective, Options, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, PolicyRule, Signal
from airflow_slo_provider.slo.promql.text import window_text
from tests.services.prometheus_server import running_prometheus
from tests.unit.indicators.prometheus_requests import ratio

END = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MINUTES = 9 * 1440
DURATION = 40
TARGET = Fraction("0.95")
#: A day of evaluations, one every half hour.
TIMES = [END - 30 * number * MINUTE for number in range(48)]


def started(minute: int) -> int:
    """Jobs that start in a minute: many by day, few by night, never two minutes alike."""
    busy = 8 if 8 <= minute // 60 % 24 < 20 else 2
    return (minute * 7919) % (2 * busy + 1) if minute > 0 else 0


def succeeded(minute: int) -> int:
    """Jobs that succeed in a minute: those that started 40 minutes before, but for one in 50."""
    jobs = started(minute - DURATION)
    return jobs - int(jobs > 0 and (minute * 31) % 50 < jobs)


def metrics() -> Iterator[str]:
    start = int((END - MINUTES * MINUTE).timestamp())
    for name, count in (("jobs_started", started), ("jobs_succeeded", succeeded)):
        yield f"# TYPE {name} counter\n"
        value = 0
        for minute in range(MINUTES + 1):
            value += count(minute)
            yield f"{name}_total {value} {start + minute * 60}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def jobs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(tmp_path_factory.mktemp("jobs"), blocks=metrics()) as url:
        yield url


COUNTS = ratio(good="sum(increase(jobs_succeeded_total[{{.window}}]))", total="sum(increase(jobs_started_total[{{.window}}]))")
SHARE = ratio(
    raw="sum(increase(jobs_succeeded_total[{{.window}}])) / sum(increase(jobs_started_total[{{.window}}]))", raw_type="success"
)


def evaluations(url: str, indicator: Indicator, *rules: PolicyRule) -> list[tuple[SLOReport, GateOutcome]]:
    one = SLO(
        "jobs", "batch", indicator, TimeWindow(parse_duration("7d")), BudgetingMethod.OCCURRENCES, (Objective(TARGET),),
        options=Options(error_budget_policy="p"),
    )  # fmt: skip
    documents = SLOCatalog((one,), policies={"p": ErrorBudgetPolicy("p", rules)})
    evaluator = PrometheusEvaluator(documents, url)
    found = []
    for at in TIMES:
        (report,) = evaluator.evaluate(at)
        found.append((report, decide([report], documents).outcome))
    return found


@pytest.mark.parametrize("indicator", [COUNTS, SHARE], ids=["counts", "ratio"])
def test_odd_short_windows_do_not_hide_the_budget(jobs_url: str, indicator: Indicator) -> None:
    found = evaluations(jobs_url, indicator)
    statuses = Counter(report.status for report, _ in found)
    odd = sum(bool(report.unknown_rates) for report, _ in found)
    assert statuses[Status.QUERY_ERROR] == 0, "it was the status of all that are odd"
    assert 20 < odd < len(TIMES)
    for (report, outcome), at in zip(found, TIMES, strict=True):
        last = MINUTES - (END - at) // MINUTE
        window = range(last - 7 * 1440 + 1, last + 1)
        assert report.sli is not None
        assert float(report.sli) == pytest.approx(sum(map(succeeded, window)) / sum(map(started, window)), rel=1e-3)
        assert outcome is (GateOutcome.ALLOWED if report.status is Status.HEALTHY else GateOutcome.WARNING)
        assert not (report.unknown_rates and report.status is Status.HEALTHY)
    assert statuses[Status.HEALTHY] > 0


def test_rule_on_an_odd_window_is_unknown_only_while_it_is_odd(jobs_url: str) -> None:
    rule = PolicyRule("burns", Action.FREEZE, Signal.BURN_RATE, "gt", Fraction(10), Fraction(10), parse_duration("5m"))
    outcomes = set()
    for report, outcome in evaluations(jobs_url, COUNTS, rule):
        rate = report.burn_rate(5 * MINUTE)
        assert rate is not None
        above = rate.value is not None and rate.value > 10
        assert (outcome is GateOutcome.UNKNOWN, outcome is GateOutcome.FROZEN) == (rate.is_unknown, above)
        outcomes.add(outcome)
    assert {GateOutcome.UNKNOWN, GateOutcome.ALLOWED} <= outcomes


@pytest.mark.parametrize("indicator", [COUNTS, SHARE], ids=["counts", "ratio"])
def test_exported_rules_record_nothing_where_the_gate_knows_no_rate(jobs_url: str, indicator: Indicator) -> None:
    client, seen = PrometheusClient(jobs_url), Counter[bool]()
    for report, _ in evaluations(jobs_url, indicator):
        for rate in report.burn_rates:
            samples = client.instant(error_ratio(indicator, Objective(TARGET), window_text(rate.window)), report.at)
            assert bool(samples) is not rate.is_unknown, (report.at, rate)
            if samples:
                assert samples[0].value is not None
                assert rate.value is not None
                assert float(rate.value) == pytest.approx(float(samples[0].value / (1 - TARGET)), abs=1e-6)
            seen[rate.is_unknown] += 1
    client.close()
    assert min(seen[True], seen[False]) > len(TIMES) / 2


def test_contradicting_time_slice_is_an_error_and_not_a_missing_slice(jobs_url: str) -> None:
    objective = Objective(TARGET, time_slice_target=Fraction("0.9"), time_slice_window=parse_duration("5m"))
    one = SLO("jobs", "batch", COUNTS, TimeWindow(parse_duration("7d")), BudgetingMethod.TIMESLICES, (objective,))
    (report,) = PrometheusEvaluator(SLOCatalog((one,)), jobs_url).evaluate(END)
    assert report.status is Status.QUERY_ERROR
    assert report.error is not None
    assert report.error.reason == "good_exceeds_total"
    assert "in the time slice that ends at 2026-10-" in report.message
    assert "budgetingMethod Occurrences" in report.message
