"""SLOs that are evaluated by a label, on a real Prometheus whose thirty days are known for each value of the label."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.slo import load
from airflow_slo_provider.slo.budget.reports import GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.export.prometheus_rules import rules
from airflow_slo_provider.slo.export.rule_expressions import error_ratio
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    MetricSource,
    MissingSlices,
    Objective,
    Options,
    RatioMetric,
    ThresholdMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.policy.decisions import decide
from tests.services.histories import END, SERVICES
from tests.services.promtool import check

#: The services with events; nobody calls the quiet one.
GROUPS = tuple(sorted(set(SERVICES) - {"quiet"}))
FUNCTION = "{function}(http_requests_total{{{matchers}}}[{{{{.window}}}}])"
BAD = 'sum{by}(increase(http_requests_total{{{pin}code="500"}}[{{{{.window}}}}]))'
GOOD = 'sum{by}(rate(http_requests_total{{{pin}code="200"}}[{{{{.window}}}}]))'
TOTAL = "sum{by}(increase(http_requests_total{{{pin}}}[{{{{.window}}}}]))"
RATE = "sum{by}(rate(http_requests_total{{{pin}}}[{{{{.window}}}}]))"
#: How a metric is written, for one service and for each.
METRICS = {"bad": (BAD, TOTAL), "good": (GOOD, RATE), "raw": (f"{GOOD} / {RATE}",), "threshold": (RATE,)}


def source(text: str, service: str) -> MetricSource:
    pin = f'service="{service}",' if service else ""
    return MetricSource("Prometheus", None, text.format(by="" if service else " by (service) ", pin=pin))


def slo(kind: str = "bad", *, service: str = "", name: str = "api", sliced: bool = False, **options: object) -> SLO:
    """Return an SLO of one service, or of each."""
    queries = [source(text, service) for text in METRICS[kind]]
    metric: RatioMetric | ThresholdMetric
    if kind == "threshold":
        metric = ThresholdMetric(queries[0])
    elif kind == "raw":
        metric = RatioMetric(raw=queries[0], raw_type="success")
    else:
        metric = RatioMetric(**{kind: queries[0], "total": queries[1]})  # type: ignore[arg-type]
    objective = Objective(Fraction("0.999"))
    if kind == "threshold":
        objective = replace(objective, op="gt", value=Fraction("0.5"))
    if sliced:
        objective = replace(objective, time_slice_window=parse_duration("1h"), time_slice_target=Fraction("0.9"))
    chosen = {} if service else {"group_by": ("service",), **options}
    return SLO(
        name,
        "shop",
        Indicator(name, metric),
        TimeWindow(parse_duration("7d")),
        BudgetingMethod.TIMESLICES if sliced else BudgetingMethod.OCCURRENCES,
        (objective,),
        options=Options(missing_slices=MissingSlices.IGNORE, **chosen),  # type: ignore[arg-type]
    )


def evaluate(url: str, *slos: SLO, late: timedelta = timedelta(0), group: dict[str, str] | None = None) -> list[SLOReport]:
    return PrometheusEvaluator(SLOCatalog(slos), url).evaluate(END + late, group=group)


def numbers(report: SLOReport) -> list[float]:
    rates = [(rate.value, rate.good, rate.total) for rate in report.burn_rates]
    values = [report.sli, report.good, report.total, report.remaining, *(value for row in rates for value in row)]
    return [float("-inf") if value is None else float(value) for value in values]


@pytest.mark.parametrize(
    ("kind", "sliced"), [("bad", False), ("good", False), ("raw", False), ("threshold", False), ("bad", True)]
)
def test_each_group_reads_what_its_own_slo_reads(prometheus_history: str, kind: str, sliced: bool) -> None:
    alone = evaluate(prometheus_history, *(slo(kind, service=service, name=service, sliced=sliced) for service in GROUPS))
    known = {report.name: report for report in alone}
    found = evaluate(prometheus_history, slo(kind, sliced=sliced))
    assert {report.slo.group["service"] for report in found} >= set(GROUPS)
    for report in found:
        service = report.slo.group["service"]
        if service not in known:
            assert kind == "threshold", "the quiet service has points, and no events"
            continue
        one = known[service]
        assert report.name == f'api{{service="{service}"}}'
        assert report.status is one.status, service
        assert numbers(report) == numbers(one), service
        assert report.coverage == one.coverage, service


def test_groups_are_listed_worst_first(prometheus_history: str) -> None:
    remaining = [report.remaining for report in evaluate(prometheus_history, slo()) if report.status is Status.EXHAUSTED]
    assert len(remaining) > 1
    assert remaining == sorted(remaining)  # type: ignore[type-var]


def test_group_without_failures_has_no_series_of_them_and_is_healthy(prometheus_history: str) -> None:
    (report,) = evaluate(prometheus_history, slo(), group={"service": "flawless"})
    assert (report.status, report.sli) == (Status.HEALTHY, 1)


@pytest.mark.parametrize("service", ["nosuch", "quiet"])
def test_requested_group_without_events_is_unknown(prometheus_history: str, service: str) -> None:
    reports = evaluate(prometheus_history, slo(expected_groups=(("steady",),)), group={"service": service})
    assert [(report.slo.group, report.status, report.retired) for report in reports] == [
        ({"service": service}, Status.NO_DATA, False)
    ]
    assert decide(reports, SLOCatalog((slo(),))).outcome is GateOutcome.UNKNOWN


def test_expected_group_that_does_not_exist_is_unknown(prometheus_history: str) -> None:
    by_group = {r.slo.group["service"]: r for r in evaluate(prometheus_history, slo(expected_groups=(("steady",), ("nosuch",))))}
    assert set(by_group) == {*GROUPS, "nosuch"}
    assert by_group["nosuch"].status is Status.NO_DATA


def test_vanished_group_is_unknown_unless_others_are_expected(prometheus_history: str) -> None:
    late = timedelta(hours=2)
    reports = evaluate(prometheus_history, slo(), late=late)
    assert {report.status for report in reports} == {Status.NO_DATA}
    assert not any(report.retired for report in reports)
    reports = evaluate(prometheus_history, slo(expected_groups=(("steady",),)), late=late)
    assert {report.slo.group["service"] for report in reports if not report.retired} == {"steady"}
    decision = decide(reports, SLOCatalog((slo(),)))
    assert decision.outcome is GateOutcome.UNKNOWN
    assert len(decision.reasons) == 1, "a retired group does not gate"


def test_more_groups_than_allowed_are_an_error_with_their_number(prometheus_history: str) -> None:
    (report,) = evaluate(prometheus_history, slo(max_groups=3))
    assert report.status is Status.QUERY_ERROR
    assert f"{len(GROUPS)} values of service, more than the 3" in report.message


def test_no_group_at_all_is_no_data(prometheus_history: str) -> None:
    (report,) = evaluate(prometheus_history, slo(), late=timedelta(days=10))
    assert (report.status, report.name) == (Status.NO_DATA, "api")


@pytest.mark.parametrize("by", ["", " by (code) ", " by (service, code) "])
def test_query_that_is_not_divided_by_the_labels_is_refused(prometheus_history: str, by: str) -> None:
    grouped = slo()
    metric = grouped.indicator.metric  # type: ignore[union-attr]
    assert isinstance(metric, RatioMetric)
    assert metric.total is not None
    total = replace(metric.total, query=metric.total.query.replace(" by (service) ", by))
    wrong = replace(grouped, indicator=Indicator("api", replace(metric, total=total)))
    for group in (None, {"service": "steady"}):
        (report,) = evaluate(prometheus_history, wrong, group=group)
        assert report.status is Status.QUERY_ERROR
        assert "evaluated by service" in report.message


def test_labels_that_only_the_answer_shows_are_refused(prometheus_history: str) -> None:
    grouped = slo()
    text = 'sum without (instance) (increase(http_requests_total{service=~"steady|burning"}[{{.window}}]))'
    query = MetricSource("Prometheus", None, text)
    bad = replace(query, query=text.replace("{service", '{code="500",service'))
    wrong = replace(grouped, indicator=Indicator("api", RatioMetric(bad=bad, total=query)))
    (report,) = evaluate(prometheus_history, wrong)
    assert report.status is Status.QUERY_ERROR
    assert "label code too" in report.message


def ask(url: str, expression: str) -> dict[str, float]:
    """Return the values of an expression at the end of the history, by service."""
    query = urlencode({"query": expression, "time": END.timestamp()})
    with urlopen(f"{url}/api/v1/query?{query}", timeout=30) as answer:
        return {row["metric"]["service"]: float(row["value"][1]) for row in json.load(answer)["data"]["result"]}


@pytest.mark.parametrize("kind", ["bad", "good", "raw", "threshold"])
def test_rules_record_the_ratio_of_each_group(prometheus_history: str, kind: str) -> None:
    grouped = slo(kind)
    assert grouped.indicator is not None
    recorded = ask(prometheus_history, error_ratio(grouped.indicator, grouped.objectives[0], "7d", ("service",)))
    known = {
        report.slo.group["service"]: report.sli for report in evaluate(prometheus_history, grouped) if report.sli is not None
    }
    assert recorded == {service: pytest.approx(float(1 - sli), abs=1e-9) for service, sli in known.items()}


def test_rules_of_groups_pass_promtool_and_ask_for_expected_groups(prometheus_history: str, tmp_path: Path) -> None:
    found = []
    for expected in ((), (("steady",), ("nosuch",))):
        text = rules(SLOCatalog((slo(expected_groups=expected),)))
        (tmp_path / "rules.yml").write_text(text)
        check(tmp_path / "rules.yml")
        (alert,) = [
            rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if rule.get("alert") == "ApiNoData"
        ]
        found.append(alert["expr"])
        assert "{{ $labels.service }}" in alert["annotations"]["summary"]
    assert "present_over_time" in found[0]
    assert 'service="nosuch"' in found[1]
    # Nothing is recorded here, so both groups are missing, but for those without events.
    assert set(ask(prometheus_history, found[1])) == {"steady", "nosuch"}


def test_label_of_the_document_may_not_replace_the_values_of_a_group() -> None:
    text = rules(SLOCatalog((replace(slo(), labels={"service": ("mine",)}),)))
    assert "no rules: the SLO is evaluated by service" in text


def test_rules_record_nothing_where_a_gate_refuses_several_series(prometheus_history: str) -> None:
    """The queries are divided by the service, and the SLO is not."""
    divided = replace(slo(), options=Options())
    assert divided.indicator is not None
    (report,) = evaluate(prometheus_history, divided)
    assert report.error is not None
    assert report.error.reason == "several_series"
    expression = error_ratio(divided.indicator, divided.objectives[0], "7d")
    assert ask(prometheus_history, f"sum by (service) ({expression})") == {}


def test_pyrra_grouping_has_a_budget_for_each_value(prometheus_history: str) -> None:
    document = """
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: api, namespace: shop}
spec:
  target: "99.9"
  window: 7d
  indicator:
    ratio:
      errors: {metric: 'http_requests_total{code="500"}'}
      total: {metric: http_requests_total}
      grouping: [service]
"""
    catalog = load(document)
    found = {r.slo.group["service"]: r.budget for r in PrometheusEvaluator(catalog, prometheus_history).evaluate(END)}
    assert found == {report.slo.group["service"]: report.budget for report in evaluate(prometheus_history, slo())}


def test_grouped_sloth_document_has_a_budget_for_each_value(prometheus_history: str) -> None:
    document = """
version: prometheus/v1
service: shop
slos:
  - name: api
    objective: 99.9
    sli:
      events:
        error_query: sum by (service) (increase(http_requests_total{code="500"}[{{.window}}]))
        total_query: sum by (service) (increase(http_requests_total[{{.window}}]))
    alerting: {name: Api}
"""
    reports = PrometheusEvaluator(load(document), prometheus_history).evaluate(END)
    assert {report.slo.group["service"] for report in reports} == set(GROUPS)


def test_group_that_the_query_of_all_events_leaves_out_is_unknown(prometheus_history: str) -> None:
    """A sum has no value where one side has no series, and a condition removes a value: neither is a group without events."""
    count = 'sum by (service) (increase(http_requests_total{code="%s"}[{{.window}}]))'
    one, other = count % "500", count % "200"
    total = "sum by (service) (increase(http_requests_total[{{.window}}]))"
    queries = {
        "sum": RatioMetric(
            good=MetricSource("Prometheus", None, one), total=MetricSource("Prometheus", None, f"{one} + {other}")
        ),
        "raw": RatioMetric(raw=MetricSource("Prometheus", None, f"{one} / {total}"), raw_type="success"),
    }
    for metric in queries.values():
        for expected in ((), (("steady",),)):
            reports = evaluate(prometheus_history, replace(slo(expected_groups=expected), indicator=Indicator("api", metric)))
            found = {report.slo.group["service"]: (report.status, report.retired) for report in reports}
            assert found["flawless"] == (Status.NO_DATA, False)
    removed = f'{total} and on (service) (count by (service) (http_requests_total{{service!="steady"}}))'
    metric = RatioMetric(bad=MetricSource("Prometheus", None, one), total=MetricSource("Prometheus", None, removed))
    reports = evaluate(prometheus_history, replace(slo(), indicator=Indicator("api", metric)))
    assert {report.slo.group["service"]: report.status for report in reports}["steady"] is Status.NO_DATA
