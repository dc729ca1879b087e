"""sloth's documents, imported."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.slo.documents.document_files import load, read
from airflow_slo_provider.slo.model import BudgetingMethod, RatioMetric
from tests.support import acceptance
from tests.unit.slo.documents import POLICY_TEXT, SLO_TEXT, catalog_of, changed, faults, joined, warnings

TEXT = """\
version: prometheus/v1
service: shop
labels:
  owner: team
  tier: "2"
slos:
  - name: Requests_Availability.v1
    objective: 99.9
    description: One in a thousand may fail.
    labels:
      tier: "1"
    sli:
      events:
        error_query: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(requests_total[{{ .window }}]))
    alerting:
      name: ShopErrors
"""

KUBERNETES = """\
apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata:
  name: sloth-slo.shop
  namespace: monitoring
  labels:
    prometheus: prometheus
  annotations:
    airflow-slo/min-events: "100"
spec:
  service: shop
  slos:
    - name: availability
      objective: 99.9
      sli:
        events:
          errorQuery: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
          totalQuery: sum(rate(requests_total[{{.window}}]))
      alerting:
        name: ShopErrors
        pageAlert:
          disable: true
"""

RAW = "      raw:\n        error_ratio_query: avg_over_time(error_ratio[{{.window}}])\n"
EVENTS = TEXT[TEXT.index("      events:") : TEXT.index("    alerting:")]


def test_document_is_read_field_by_field() -> None:
    catalog = catalog_of(TEXT)
    slo = catalog["Requests_Availability.v1"]
    assert (slo.service, slo.description) == ("shop", "One in a thousand may fail.")
    assert slo.labels == {"owner": ("team",), "tier": ("1",)}
    assert slo.method is BudgetingMethod.OCCURRENCES
    assert (slo.window.rolling, slo.window.duration.timedelta) == (True, timedelta(days=30))
    assert [objective.target for objective in slo.objectives] == [Fraction(999, 1000)]
    assert slo.location.line == 7
    assert slo.indicator is not None
    metric = slo.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.bad is not None and metric.total is not None and metric.good is None
    assert metric.bad.query == 'sum(rate(requests_total{code=~"5.."}[{{.window}}]))'
    assert metric.total.query == "sum(rate(requests_total[{{.window}}]))"
    assert (metric.bad.type, metric.bad.ref, metric.counter) == ("Prometheus", None, True)
    assert catalog.services["shop"].name == "shop"
    assert catalog.warnings == ()


def test_raw_error_ratio_is_read() -> None:
    slo = catalog_of(changed(TEXT, EVENTS, RAW)).slos[0]
    assert slo.indicator is not None
    metric = slo.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.raw is not None
    assert (metric.raw_type, metric.raw.query) == ("failure", "avg_over_time(error_ratio[{{.window}}])")


def test_published_documents_are_read() -> None:
    (slo,) = load(acceptance("slo", "sloth", "getting-started.yml"))
    assert (slo.name, slo.service) == ("requests-availability", "myservice")
    assert slo.labels == {"owner": ("myteam",), "repo": ("myorg/myservice",), "tier": ("2",)}
    good, risk = load(acceptance("slo", "sloth", "home-wifi.yml"))
    assert [slo.name for slo in (good, risk)] == ["good-wifi-client-satisfaction", "risk-wifi-client-satisfaction"]
    assert [slo.objectives[0].target for slo in (good, risk)] == [Fraction(95, 100), Fraction(999, 1000)]
    metric = good.indicator.metric if good.indicator else None
    assert isinstance(metric, RatioMetric)
    assert metric.bad is not None
    assert metric.bad.query == (
        "sum_over_time((count(unifipoller_client_satisfaction_ratio < 0.75))[{{.window}}:]) OR on() vector(0)"
    )
    assert not metric.counter


def test_alert_labels_not_imported_are_a_warning() -> None:
    reading = read(acceptance("slo", "sloth", "getting-started.yml"))
    assert [(warning.line, warning.path) for warning in reading.warnings] == [(16, "slos[0].alerting")]
    assert reading.warnings[0].message.startswith("labels, annotations, page_alert.labels, ticket_alert.labels: not imported")


def test_disabled_alert_is_a_warning() -> None:
    text = TEXT + "      ticket_alert:\n        disable: true\n"
    (warning,) = warnings(text)
    assert "sloth/shop slos[0].alerting: ticket_alert.disable: not imported" in warning


def test_kubernetes_object_is_read() -> None:
    catalog = catalog_of(KUBERNETES)
    slo = catalog["availability"]
    assert slo.options.min_events == 100
    assert slo.objectives[0].target == Fraction(999, 1000)
    assert [warning.message.partition(":")[0] for warning in catalog.warnings] == ["pageAlert.disable"]


def test_kubernetes_object_annotations_are_options() -> None:
    text = changed(KUBERNETES, 'airflow-slo/min-events: "100"', "airflow-slo/error-budget-policy: gate")
    catalog = catalog_of(joined(text, POLICY_TEXT))
    assert catalog.policy_of(catalog["availability"]).name == "gate"
    (fault,) = faults(joined(text, changed(POLICY_TEXT, "gate", "gates")))
    assert "there is no ErrorBudgetPolicy document named 'gate'; did you mean 'gates'?" in fault


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("prometheus/v1", "prometheus/v2", "<text>:1: sloth/shop version: 'prometheus/v2' is unknown"),
        ("service: shop\n", "", "document 1 service: is required"),
        ("objective: 99.9", "objective: 100", "sloth/shop slos[0].objective: leaves no error budget"),
        ("objective: 99.9", "objective: 0", "slos[0].objective: must be a share of good strictly between 0 and 1"),
        ("objective: 99.9", "objective: high", "slos[0].objective: must be a finite decimal number"),
        ("    objective: 99.9\n", "", "slos[0].objective: is required"),
        ("Requests_Availability.v1", "-no-", "slos[0].name: '-no-' is not a sloth name"),
        ("    objective", "    objectiv", "slos[0].objectiv: unknown field; did you mean 'objective'?"),
        ("error_query:", "error_querry:", "slos[0].sli.events.error_query: is required"),
        ("[{{ .window }}]", "[5m]", "slos[0].sli.events.total_query: must have {{.window}} as its range"),
        ("[{{ .window }}]", "[{{ .window }}]) * {{ .factor }} * (1", "total_query: holds {{ .factor }}; only {{.window}}"),
        ('{code=~"5.."}', "", "slos[0].sli.events.total_query: is the same query as error_query: everything would be an error"),
        (EVENTS, "", "slos[0].sli: is required, and it is empty"),
        (EVENTS, EVENTS + RAW, "slos[0].sli.raw: an sli is either events or raw, not events and raw"),
        (EVENTS, "      plugin:\n        id: x/y\n", "slos[0].sli.plugin: an SLI plugin is Go code of sloth"),
        (EVENTS, "      {}\n", "slos[0].sli.events: an sli is either events or raw, not empty"),
        ("      name: ShopErrors", "      nam: ShopErrors", "slos[0].alerting.nam: unknown field; did you mean 'name'?"),
        (TEXT[TEXT.index("slos:") :], "slos: []\n", "sloth/shop slos: is required, and it is empty"),
    ],
)  # fmt: skip
def test_invalid_document_is_an_error(old: str, new: str, expected: str) -> None:
    found = faults(changed(TEXT, old, new))
    assert any(expected in fault for fault in found), found


def test_invalid_annotation_of_many_slos_is_reported_once() -> None:
    text = changed(KUBERNETES, "min-events", "min-evnts")
    text += text[text.index("    - name: availability") :].replace("availability", "latency")
    (fault,) = faults(text)
    assert "did you mean 'airflow-slo/min-events'?" in fault


def test_missing_policy_of_many_slos_is_reported_once() -> None:
    text = changed(KUBERNETES, 'airflow-slo/min-events: "100"', "airflow-slo/error-budget-policy: gate")
    text += text[text.index("    - name: availability") :].replace("availability", "latency")
    (fault,) = faults(text)
    assert "there is no ErrorBudgetPolicy document named 'gate'; these documents hold none" in fault


def test_name_used_by_openslo_and_sloth_is_an_error() -> None:
    text = joined(changed(SLO_TEXT, "checkout", "availability"), KUBERNETES)
    (fault,) = faults(text)
    assert "slos[0].name: two SLOs of the service 'shop' are named 'availability'; the first is in <text>:1" in fault


def test_period_is_an_option_of_reading() -> None:
    for text in (TEXT, KUBERNETES):
        (slo,) = load(text).slos
        assert slo.window.duration.text == "30d"
        (slo,) = load(text, sloth_period="28d").slos
        assert slo.window.duration.timedelta == timedelta(days=28)
    (other,) = load(SLO_TEXT, sloth_period="28d").slos
    assert other.window.duration.text == "30d"


@pytest.mark.parametrize(("period", "reason"), [("1M", "has no fixed length; write 30d"), ("monthly", "is not a duration")])
def test_period_without_fixed_length_raises_value_error(period: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(TEXT, sloth_period=period)


def test_bucket_in_one_spelling_is_a_warning() -> None:
    good = 'requests_total[{{.window}}])) - sum(rate(requests_bucket{le="1"}'
    text = changed(TEXT, 'requests_total{code=~"5.."}', good)
    (warning,) = warnings(text)
    assert 'error_query: le="1" misses buckets that Prometheus 3, or 2, writes differently; write le=~"1|1\\\\.0"' in warning
    assert warnings(changed(TEXT, 'requests_total{code=~"5.."}', good.replace('"1"', '"0.5"'))) == []
