"""pyrra's and slo-generator's documents on a real Prometheus: gates and rules return the true value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from airflow_slo_provider import slo
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from tests.services.prometheus_server import running_prometheus
from tests.services.remote_write import NativeHistogram, Series, send

START = datetime(2026, 11, 1, tzinfo=UTC)
MINUTES = 150
END = START + timedelta(minutes=MINUTES)
#: Minute in which the spelling of the bounds changes, within the last hour.
UPGRADE = 120

PYRRA = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata:
  name: requests
  namespace: shop
spec:
  target: "90"
  window: 1h
  indicator:
{indicator}
"""
SLO_GENERATOR = """\
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: requests
  labels: {{service_name: shop}}
  annotations: {{airflow-slo/min-coverage: "0"}}
spec:
  backend: prometheus
  method: {method}
  service_level_indicator:
{sli}
  goal: 0.99
"""


def pyrra(indicator: str, **metrics: str) -> str:
    lines = [f"    {indicator}:", *(f"      {key}: {{metric: '{metric}'}}" for key, metric in metrics.items())]
    return PYRRA.format(indicator="\n".join(lines))


NATIVE = "    latencyNative:\n      latency: {latency}\n      total: {{metric: took_seconds}}"
#: Document, and the true share of good events in the last hour.
DOCUMENTS = {
    "ratio": (pyrra("ratio", errors='requests_total{code="500"}', total="requests_total"), 0.98),
    "ratio without errors": (pyrra("ratio", errors='requests_total{code="404"}', total="requests_total"), 1.0),
    "latency": (pyrra("latency", success='latency_seconds_bucket{le="1"}', total="latency_seconds_count"), 0.95),
    "latency, bound as in Prometheus 3": (
        pyrra("latency", success='latency_seconds_bucket{le="1.0"}', total="latency_seconds_count"),
        0.95,
    ),
    "latency, fraction": (pyrra("latency", success='latency_seconds_bucket{le="0.5"}', total="latency_seconds_count"), 0.9),
    "native latency": (PYRRA.format(indicator=NATIVE.format(latency="250ms")), 0.93),
    "native latency, longer": (PYRRA.format(indicator=NATIVE.format(latency="1s")), 0.97),
    "bool gauge": (PYRRA.format(indicator="    bool_gauge: {metric: probe_success}"), 0.9),
}
CUTS = {"0.50": 0.9, "0.5": 0.9, "1": 0.95, '"1"': 0.95, '"1.0"': 0.95}


def world() -> Iterator[Series]:
    """Yield counters of 100 requests a minute, from minute 0 to the end."""

    def counter(name: str, per_minute: int, first: int = 0, last: int = MINUTES, **labels: str) -> Series:
        return {"__name__": name, **labels}, {_at(minute): per_minute * minute for minute in range(first, last + 1)}

    yield counter("requests_total", 98, code="200")
    yield counter("requests_total", 2, code="500")
    yield counter("latency_seconds_count", 100)
    yield counter("latency_seconds_bucket", 90, le="0.5")
    for bound, per_minute in (("1", 95), ("+Inf", 100)):
        yield counter("latency_seconds_bucket", per_minute, last=UPGRADE - 1 if bound == "1" else MINUTES, le=bound)
    yield counter("latency_seconds_bucket", 95, first=UPGRADE, le="1.0")
    # Up to a quarter of a second, a second (in two buckets), and two seconds.
    counts = (93, 2, 2, 3)
    buckets = {_at(minute): NativeHistogram(tuple(count * minute for count in counts), -2) for minute in range(MINUTES + 1)}
    yield {"__name__": "took_seconds"}, buckets
    yield {"__name__": "probe_success"}, {_at(minute): float(minute % 10 != 0) for minute in range(1, MINUTES + 1)}


def _at(minute: int) -> int:
    return int((START + timedelta(minutes=minute)).timestamp())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    flags = ["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), flags=flags) as url:
        send(url, world())
        found = PrometheusClient(url)
        yield found
        found.close()


def measured(client: PrometheusClient, document: str) -> tuple[float, float]:
    """Return the SLI that a gate measures, and the one that the rule of the last hour records."""
    catalog = slo.load(document)
    (report,) = SLOMonitor(catalog, PrometheusSource(client)).evaluate(END)
    assert report.sli is not None, report.message
    groups = yaml.safe_load(slo.rules(catalog))["groups"]
    (expression,) = [
        rule["expr"] for group in groups for rule in group["rules"] if rule.get("record") == "slo:sli_error:ratio_rate1h"
    ]
    (sample,) = client.instant(expression, END)
    return float(report.sli), 1 - float(sample.value)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_pyrra_indicator_has_its_true_value(client: PrometheusClient, name: str) -> None:
    document, truth = DOCUMENTS[name]
    assert measured(client, document) == (pytest.approx(truth, abs=1e-3), pytest.approx(truth, abs=1e-3))


@pytest.mark.parametrize("bucket", CUTS)
def test_slo_generator_bucket_has_its_true_value(client: PrometheusClient, bucket: str) -> None:
    sli = f"    expression: latency_seconds_bucket\n    threshold_bucket: {bucket}"
    document = SLO_GENERATOR.format(method="distribution_cut", sli=sli)
    assert measured(client, document)[1] == pytest.approx(CUTS[bucket], abs=1e-3)


def test_slo_generator_without_operators_runs_its_filters_as_written(client: PrometheusClient) -> None:
    sli = """\
    operators: []
    filter_good: sum(increase(latency_seconds_bucket{le="1"}[window]))
    filter_valid: sum(increase(latency_seconds_count[window]))"""
    assert measured(client, SLO_GENERATOR.format(method="good_bad_ratio", sli=sli))[1] == pytest.approx(0.95, abs=1e-3)
