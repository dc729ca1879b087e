"""pyrra's documents, imported."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.slo import rules
from airflow_slo_provider.slo.documents import pyrra
from airflow_slo_provider.slo.documents.document_files import load
from airflow_slo_provider.slo.model import Options, RatioMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric
from tests.unit.slo.documents import POLICY_TEXT, catalog_of, changed, faults, joined, warnings

TEXT = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata:
  name: api-errors
  namespace: monitoring
  uid: 1c8f
  labels:
    prometheus: k8s
    pyrra.dev/team: search
spec:
  description: One in a hundred may fail.
  target: "99.5"
  window: 4w
  indicator:
    ratio:
      errors:
        metric: requests_total{job="api",code=~"5.."}
      total:
        metric: requests_total{job="api"}
"""
RATIO = TEXT[TEXT.index("    ratio:") :]
LATENCY = """\
    latency:
      success:
        metric: latency_seconds_bucket{le="1",job="api"}
      total:
        metric: latency_seconds_count{job="api"}
"""
NATIVE = """\
    latencyNative:
      latency: 200ms
      total:
        metric: latency_seconds{job="api"}
"""
BOOL = """\
    bool_gauge:
      metric: probe_success{job="blackbox"}
"""


def metric(indicator: str) -> RatioMetric:
    (slo,) = catalog_of(TEXT.replace(RATIO, indicator)).slos
    assert slo.indicator is not None and isinstance(slo.indicator.metric, RatioMetric)
    return slo.indicator.metric


def queries(indicator: str) -> dict[str, str]:
    return {role: source.query for role, source in metric(indicator).by_role.items()}


def test_ratio_document_is_read() -> None:
    (slo,) = catalog_of(TEXT).slos
    assert (slo.name, slo.service, slo.description) == ("api-errors", "monitoring", "One in a hundred may fail.")
    assert slo.objectives[0].target == Fraction(995, 1000)
    assert slo.window.rolling and slo.window.duration.timedelta == timedelta(days=28)
    assert slo.labels == {"team": ("search",)}
    assert queries(RATIO) == {
        "bad": 'sum(increase(requests_total{job="api",code=~"5.."}[{{.window}}]))',
        "total": 'sum(increase(requests_total{job="api"}[{{.window}}]))',
    }


def test_latency_is_a_bucket_in_every_spelling_of_its_bound() -> None:
    assert queries(LATENCY) == {
        "good": 'sum(increase(latency_seconds_bucket{le=~"1|1\\\\.0",job="api"}[{{.window}}]))',
        "total": 'sum(increase(latency_seconds_count{job="api"}[{{.window}}]))',
    }
    assert 'le="0.25"' in queries(LATENCY.replace('"1"', '"0.25"'))["good"]


def test_native_latency_is_a_share_of_the_histogram() -> None:
    histogram = 'sum(increase(latency_seconds{job="api"}[{{.window}}]))'
    assert queries(NATIVE) == {
        "good": f"histogram_fraction(0, 0.2, {histogram}) * histogram_count({histogram})",
        "total": f"histogram_count({histogram})",
    }


def test_bool_gauge_counts_its_samples() -> None:
    assert queries(BOOL) == {
        "good": 'sum(sum_over_time(probe_success{job="blackbox"}[{{.window}}]))',
        "total": 'sum(count_over_time(probe_success{job="blackbox"}[{{.window}}]))',
    }


@pytest.mark.parametrize("indicator", [RATIO, LATENCY, NATIVE, BOOL])
def test_each_indicator_counts_events_and_has_rules(indicator: str) -> None:
    assert read_metric(metric(indicator)).counts
    assert "slo:sli_error:ratio_rate5m" in rules(load(TEXT.replace(RATIO, indicator)))


@pytest.mark.parametrize("indicator", [RATIO, LATENCY, NATIVE, BOOL])
def test_grouping_sums_by_the_labels(indicator: str) -> None:
    found = queries(f"{indicator}      grouping: [handler, method]\n")
    assert all("sum by (handler, method) (" in query and "sum(" not in query for query in found.values())


def test_grouping_becomes_an_option_unless_an_annotation_names_labels() -> None:
    assert pyrra.with_groups(Options(), ()) == Options()
    assert pyrra.with_groups(Options(group_by=("handler",)), ("method",)) == Options(group_by=("handler",))
    assert pyrra.with_groups(Options(), ("handler",)) == replace(Options(), group_by=("handler",))


@pytest.mark.parametrize("label", ["severity", "slo", "le"])
def test_labels_that_the_rules_use_cannot_group(label: str) -> None:
    (fault,) = faults(f"{TEXT}      grouping: [{label}]\n")
    assert f"{label} has a meaning of its own and cannot divide an SLO" in fault


@pytest.mark.parametrize(
    ("metadata", "service"),
    [
        ("  namespace: monitoring\n", "monitoring"),
        ("  namespace: monitoring\n  labels: {service: shop}\n", "shop"),
        ("  labels: {service: shop, pyrra.dev/service: cart}\n", "cart"),
        ("", "api-errors"),
    ],
)
def test_service_is_a_label_or_the_namespace_or_the_name(metadata: str, service: str) -> None:
    start, end = TEXT.index("  namespace"), TEXT.index("spec:")
    catalog = catalog_of(TEXT[:start] + metadata + TEXT[end:])
    assert [slo.service for slo in catalog] == [service] and list(catalog.services) == [service]


def test_one_name_in_two_namespaces_is_two_slos() -> None:
    catalog = catalog_of(joined(TEXT, TEXT.replace("namespace: monitoring", "namespace: shop")))
    assert [slo.key.qualified for slo in catalog] == ["monitoring/api-errors", "shop/api-errors"]
    assert "two SLOs of the service 'monitoring' are named 'api-errors'" in faults(joined(TEXT, TEXT))[0]


@pytest.mark.parametrize(
    ("window", "length"),
    [("2w", timedelta(days=14)), ("1h30m", timedelta(minutes=90)), ("1w3d", timedelta(days=10)), ("1y", timedelta(days=365))],
)
def test_window_is_a_duration_of_prometheus(window: str, length: timedelta) -> None:
    (slo,) = catalog_of(changed(TEXT, "window: 4w", f"window: {window}")).slos
    assert slo.window.duration.timedelta == length


def test_annotations_are_options() -> None:
    annotated = changed(TEXT, "  labels:\n", '  annotations: {airflow-slo/min-events: "50"}\n  labels:\n')
    assert catalog_of(annotated).slos[0].options.min_events == 50
    policy = changed(TEXT, "  labels:\n", "  annotations: {airflow-slo/error-budget-policy: gate}\n  labels:\n")
    assert catalog_of(joined(policy, POLICY_TEXT)).slos[0].options.error_budget_policy == "gate"


def test_settings_of_its_rules_are_reported() -> None:
    alerting = """\
  alerting:
    disabled: true
    burnrates: false
    absent: false
    name: ApiErrors
    absentName: ApiAbsent
    severities: {fastBurn: critical, absent: warning}
  performanceOverAccuracy: true
  partial_response_strategy: warn
  ruleOutput: {shortRulesLabels: {prometheus: k8s}}
status:
  type: PrometheusRule
"""
    (warning,) = warnings(TEXT + alerting)
    assert (
        "alerting.disabled, alerting.burnrates, alerting.absent, alerting.name, alerting.absentName, alerting.severities.absent, "
        "alerting.severities.fastBurn, partial_response_strategy, performanceOverAccuracy: not imported"
    ) in warning
    assert warnings(TEXT + "  alerting: {disabled: false, burnrates: true, absent: true}\n") == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('target: "99.5"', 'target: "0.995"', "spec.target: is in percent"),
        ('target: "99.5"', 'target: "100"', "spec.target: leaves no error budget"),
        ('target: "99.5"', 'target: "99,5"', "spec.target: '99,5' is not a percentage"),
        ("window: 4w", "window: 4 weeks", "spec.window: '4 weeks' is not a duration above 0 as in Prometheus"),
        ("window: 4w", "window: 0s", "spec.window: '0s' is not a duration above 0"),
        ("window: 4w", "window: 1500ms", "spec.window: 1500ms must be a whole number of seconds"),
        ("  window: 4w\n", "", "spec.window: is required"),
        ("name: api-errors", "name: API", "metadata.name: 'API' is not a Kubernetes name"),
        ('metric: requests_total{job="api",code', 'metrik: requests_total{job="api",code', "errors.metric: is required"),
        ('requests_total{job="api",code=~"5.."}', 'rate(requests_total{job="api"}[5m])', "errors.metric: must be a metric with"),
        ('requests_total{job="api",code=~"5.."}', "requests_total offset 5m", "errors.metric: must be a metric with"),
        ('requests_total{job="api",code=~"5.."}', "requests_total{", "errors.metric: is not PromQL"),
        (',code=~"5.."', "", "ratio.total: is the same metric as errors"),
        (RATIO, "    {}\n", "indicator.ratio: an indicator is one of ratio, latency, latencyNative, bool_gauge, not empty"),
        (RATIO, RATIO + LATENCY, "not ratio and latency"),
        (RATIO, LATENCY.replace('le="1",', ""), "latency.success: must name a bucket"),
        (RATIO, LATENCY.replace('le="1",', 'le="+Inf",'), "latency.success: must name a bucket"),
        (RATIO, NATIVE.replace("200ms", "fast"), "latencyNative.latency: 'fast' is not a duration"),
        (RATIO, RATIO + "      grouping: ['a b']\n", "grouping: 'a b' is not the name of a label"),
        ("pyrra.dev/v1alpha1", "pyrra.dev/v1", "write apiVersion pyrra.dev/v1alpha1; see docs/documents.md"),
        ("kind: ServiceLevelObjective", "kind: SLO", "'SLO' is a kind of apiVersion openslo/v1"),
    ],
)
def test_error_names_the_field(old: str, new: str, fault: str) -> None:
    assert any(fault in found for found in faults(TEXT.replace(old, new))), faults(TEXT.replace(old, new))
