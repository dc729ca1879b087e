"""slo-generator's documents, imported."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.slo.export.prometheus_rules import recorded_names
from airflow_slo_provider.slo.model import BudgetingMethod, RatioMetric
from tests.unit.slo.documents import POLICY_TEXT, catalog_of, changed, faults, joined, warnings

TEXT = """\
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: shop-availability
  labels:
    service_name: shop
    feature_name: checkout
    slo_name: availability
spec:
  description: 99.9 % of requests are answered
  backend: prometheus
  method: good_bad_ratio
  service_level_indicator:
    filter_good: requests_total{code=~"2.."}
    filter_valid: requests_total
  goal: 0.999
"""
FILTERS = TEXT[TEXT.index("    filter_good") : TEXT.index("  goal")]
WINDOW = (
    "<text>:9: ServiceLevelObjective/shop-availability spec: these documents have no time window; "
    "28d, the longest step published with slo-generator, is used"
)


def with_sli(sli: str, method: str = "good_bad_ratio") -> str:
    return changed(changed(TEXT, FILTERS, sli), "good_bad_ratio", method)


def metric_of(text: str) -> RatioMetric:
    (slo,) = catalog_of(text)
    assert slo.indicator is not None
    assert isinstance(slo.indicator.metric, RatioMetric)
    assert recorded_names(catalog_of(text)) == [slo.name], "its queries have no form that rules can be written of"
    return slo.indicator.metric


def test_document_is_read_field_by_field() -> None:
    catalog = catalog_of(TEXT)
    slo = catalog["shop-availability"]
    assert (slo.service, slo.description) == ("shop", "99.9 % of requests are answered")
    assert slo.labels == {"service_name": ("shop",), "feature_name": ("checkout",), "slo_name": ("availability",)}
    assert slo.method is BudgetingMethod.OCCURRENCES
    assert (slo.window.rolling, slo.window.duration.timedelta) == (True, timedelta(days=28))
    assert [objective.target for objective in slo.objectives] == [Fraction(999, 1000)]
    assert list(catalog.services) == ["shop"]
    assert [str(warning) for warning in catalog.warnings] == [WINDOW]


def test_good_bad_ratio_with_valid_filter() -> None:
    metric = metric_of(TEXT)
    assert metric.good is not None and metric.total is not None
    assert metric.good.query == 'sum(increase(requests_total{code=~"2.."}[{{.window}}]))'
    assert metric.total.query == "sum(increase(requests_total[{{.window}}]))"
    assert metric.counter


def test_good_bad_ratio_with_bad_filter() -> None:
    metric = metric_of(with_sli('    filter_good: ok_total\n    filter_bad: failed_total{job="x"}\n'))
    assert metric.bad is not None and metric.total is not None
    bad = 'sum(increase(failed_total{job="x"}[{{.window}}]))'
    assert metric.bad.query == bad
    good = "sum(increase(ok_total[{{.window}}]))"
    assert metric.total.query == f"(({good}) or vector(0)) + (({bad}) or vector(0))"


def test_good_bad_ratio_with_window_and_operators() -> None:
    metric = metric_of(
        with_sli("    operators: [sum_over_time, sum]\n    filter_good: ok[window:1m]\n    filter_valid: valid[window:1m]\n")
    )
    assert metric.good is not None and metric.total is not None
    assert metric.good.query == "sum(sum_over_time(ok[{{.window}}:1m]))"
    assert metric.total.query == "sum(sum_over_time(valid[{{.window}}:1m]))"
    assert not metric.counter


def test_query_sli_reads_raw_ratio() -> None:
    expression = 'sum(rate(a_total{code="2.."}[window])) / sum(rate(a_total[window]))'
    metric = metric_of(with_sli(f"    expression: >\n      {expression}\n", "query_sli"))
    assert metric.raw is not None
    assert metric.raw_type == "success"
    assert metric.raw.query == expression.replace("[window]", "[{{.window}}]")


@pytest.mark.parametrize(
    ("matchers", "cut", "whole"),
    [
        ('{handler="/metrics"}', '{handler="/metrics",le="0.25"}', '{handler="/metrics"}'),
        ("", '{le="0.25"}', ""),
        ('{a="}",}', '{a="}",le="0.25"}', '{a="}"}'),
    ],
)
def test_distribution_cut_reads_histogram_buckets(matchers: str, cut: str, whole: str) -> None:
    metric = metric_of(
        with_sli(f"    expression: latency_seconds_bucket{matchers}\n    threshold_bucket: 0.25 # s\n", "distribution_cut")
    )
    assert metric.good is not None and metric.total is not None
    assert metric.good.query == f"sum(increase(latency_seconds_bucket{cut}[{{{{.window}}}}]))"
    assert metric.total.query == f"sum(increase(latency_seconds_count{whole}[{{{{.window}}}}]))"


@pytest.mark.parametrize(
    ("bucket", "matcher"),
    [
        ("0.50", 'le="0.5"'),
        ("1", 'le=~"1|1\\\\.0"'),
        ('"1.0"', 'le=~"1|1\\\\.0"'),
        ("5e-1", 'le="0.5"'),
        ("1000000", 'le="1e+06"'),
    ],
)
def test_bound_of_a_distribution_cut_has_the_spellings_of_prometheus(bucket: str, matcher: str) -> None:
    sli = f"    expression: latency_seconds_bucket\n    threshold_bucket: {bucket}\n"
    metric = metric_of(with_sli(sli, "distribution_cut"))
    assert metric.good is not None
    assert metric.good.query == f"sum(increase(latency_seconds_bucket{{{matcher}}}[{{{{.window}}}}]))"


def test_written_bounds_match_every_spelling() -> None:
    good = "filter_good: 'x_bucket{le=\"1\"}'"
    metric = metric_of(with_sli(f"    {good}\n    filter_valid: x_count\n"))
    assert metric.good is not None
    assert metric.good.query == 'sum(increase(x_bucket{le=~"1|1\\\\.0"}[{{.window}}]))'


def test_empty_operators_leave_the_filters_as_written() -> None:
    sli = "    operators: []\n    filter_good: sum(rate(a[window]))\n    filter_valid: sum(rate(b[window]))\n"
    metric = metric_of(with_sli(sli))
    assert [source.query for source in metric.sources] == ["sum(rate(a[{{.window}}]))", "sum(rate(b[{{.window}}]))"]
    (fault,) = faults(with_sli("    operators: []\n    filter_good: a\n    filter_valid: sum(rate(b[window]))\n"))
    assert "filter_good: must have [window] as its range, because operators is empty" in fault


def test_fields_not_imported_are_warnings() -> None:
    text = changed(
        TEXT, "  goal: 0.999\n", "  goal: 0.999\n  exporters: [x]\n  error_budget_policy: default\n  frequency: '* * * * *'\n"
    )
    assert [warning.partition(" spec.")[2].partition(":")[0] for warning in warnings(text)] == [
        "",
        "exporters",
        "error_budget_policy",
        "frequency",
    ]


def test_annotations_are_options() -> None:
    text = changed(TEXT, "  labels:\n", "  annotations:\n    airflow-slo/error-budget-policy: gate\n  labels:\n")
    catalog = catalog_of(joined(text, POLICY_TEXT))
    assert catalog.policy_of(catalog.slos[0]).name == "gate"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("backend: prometheus", "backend: cloud_monitoring_mql", "spec.backend: 'cloud_monitoring_mql' cannot be imported"),
        ("  backend: prometheus\n", "", "spec.backend: is required"),
        ("good_bad_ratio", "count_it", "spec.method: 'count_it' cannot be imported; of the prometheus"),
        ("goal: 0.999", "goal: 1", "spec.goal: leaves no error budget"),
        ("goal: 0.999", "goal: 99.9", "spec.goal: 99.9 must be a share of good strictly between 0 and 1"),
        ("  goal: 0.999\n", "", "spec.goal: is required"),
        ("    service_name: shop\n", "", "metadata.labels.service_name: is required: the service of the SLO"),
        ("shop-availability", "Shop Availability", "metadata.name: 'Shop Availability' is not an RFC 1123 name"),
        ('    filter_good: requests_total{code=~"2.."}\n', "", "service_level_indicator.filter_good: is required"),
        ("    filter_valid: requests_total\n", "", "service_level_indicator.filter_valid: is required, or filter_bad"),
        ('{code=~"2.."}', "", "filter_valid: is the same query as filter_good: the ratio would always be 1"),
        ("filter_valid: requests_total", "filter_valid: ${METRIC}", "filter_valid: holds the environment variable ${METRIC}"),
        ("    filter_valid", "    filter_vlid", "filter_vlid: unknown field; did you mean 'filter_valid'?"),
        (FILTERS, FILTERS + "    operators: [increase, 'sum(']\n", "operators: 'sum(' is not a PromQL function"),
        ("kind: ServiceLevelObjective", "kind: SLO", "'SLO' is a kind of apiVersion openslo/v1, not of sre.google.com/v2"),
        ("  goal: 0.999", "  gaol: 0.999", "spec.gaol: unknown field; did you mean 'goal'?"),
    ],
)  # fmt: skip
def test_invalid_document_is_an_error(old: str, new: str, expected: str) -> None:
    found = faults(changed(TEXT, old, new))
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize(
    ("method", "sli", "expected"),
    [
        ("query_sli", "    expression: up\n", "expression: must have [window] as its range"),
        ("query_sli", "    filter_good: up\n", "expression: is required"),
        (
            "distribution_cut",
            "    expression: sum(x)\n    threshold_bucket: 1\n",
            "expression: must be the buckets of a histogram",
        ),
        ("distribution_cut", "    expression: x_bucket\n", "threshold_bucket: is required"),
        (
            "distribution_cut",
            "    expression: x_bucket\n    threshold_bucket: +Inf\n",
            "threshold_bucket: must be the upper bound",
        ),
        (
            "distribution_cut",
            "    expression: x_bucket\n    threshold_bucket: [1]\n",
            "threshold_bucket: must be the upper bound",
        ),
        (
            "distribution_cut",
            "    expression: x_bucket\n    threshold_bucket: fast\n",
            "threshold_bucket: must be the upper bound",
        ),
        (
            "good_bad_ratio",
            "    operators: [increase, max]\n    filter_good: a\n    filter_bad: b\n",
            "filter_bad: needs sum as the last of the operators",
        ),
    ],
)
def test_invalid_indicator_is_an_error(method: str, sli: str, expected: str) -> None:
    found = faults(with_sli(sli, method))
    assert any(f"service_level_indicator.{expected}" in fault for fault in found), found
