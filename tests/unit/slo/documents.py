"""Texts of documents for tests, and what reading them gives."""

from __future__ import annotations

import yaml

from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.documents.document_files import read

SLO_TEXT = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
spec:
  service: shop
  indicator:
    metadata:
      name: answered
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec:
              query: sum(requests_total{code!~"5.."})
        total:
          metricSource:
            type: Prometheus
            spec:
              query: sum(requests_total)
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
"""

SERVICE_TEXT = """\
apiVersion: openslo/v1
kind: Service
metadata:
  name: shop
"""

POLICY_TEXT = """\
apiVersion: airflow-slo/v1
kind: ErrorBudgetPolicy
metadata:
  name: gate
spec:
  rules:
    - name: spent
      action: freeze
      when:
        signal: remainingBudget
        enter: 0
"""

SOURCE_TEXT = """\
apiVersion: openslo/v1
kind: DataSource
metadata:
  name: metrics
spec:
  type: Prometheus
  connectionDetails:
    airflowConnId: prometheus_default
"""

INDICATOR_TEXT = """\
apiVersion: openslo/v1
kind: SLI
metadata:
  name: latency
spec:
  thresholdMetric:
    metricSource:
      metricSourceRef: metrics
      spec:
        query: max(latency_seconds)
"""

ALERTS_TEXT = """\
apiVersion: openslo/v1
kind: AlertPolicy
metadata:
  name: fast
spec:
  alertWhenBreaching: true
  conditions:
    - conditionRef: burns
  notificationTargets:
    - targetRef: pager
---
apiVersion: openslo/v1
kind: AlertCondition
metadata:
  name: burns
spec:
  severity: page
  condition:
    kind: burnrate
    op: gt
    threshold: 2
    lookbackWindow: 1h
    alertAfter: 0m
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: pager
spec:
  target: pagerduty
"""

INLINE = SLO_TEXT[SLO_TEXT.index("  indicator:") : SLO_TEXT.index("  timeWindow:")]
CALENDAR = "duration: 1M\n      calendar:\n        startTime: 2026-01-31 00:00:00\n        timeZone: Europe/Berlin"


def joined(*texts: str) -> str:
    """Join documents to one text."""
    return "---\n".join(text if text.endswith("\n") else text + "\n" for text in texts)


def changed(text: str, old: str, new: str) -> str:
    """Replace ``old``, which must occur exactly once, by ``new``."""
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in the text"
    return text.replace(old, new)


def faults(text: str) -> list[str]:
    """Return the errors of a text, as they are shown."""
    reading = read(text)
    assert (reading.catalog is None) == bool(reading.faults)
    return [str(fault) for fault in reading.faults]


def warnings(text: str) -> list[str]:
    reading = read(text)
    assert reading.faults == []
    return [str(warning) for warning in reading.warnings]


def catalog_of(text: str) -> SLOCatalog:
    reading = read(text)
    assert reading.faults == []
    assert reading.catalog is not None
    return reading.catalog


def annotated(text: str) -> str:
    return changed(SLO_TEXT, "  name: checkout\n", f"  name: checkout\n  annotations:\n    {text}\n")


def ratio_document(
    queries: dict[str, str], *, kind: str = "Prometheus", annotation: str = "", counter: bool = True, name: str = "checkout"
) -> str:
    """Write a Service and an SLO with these queries by role."""
    ratio: dict[str, object] = {
        role: {"metricSource": {"type": kind, "spec": {"query": query}}} for role, query in queries.items()
    }
    ratio |= {"rawType": "success"} if "raw" in queries else {"counter": counter}
    text = changed(
        SLO_TEXT, INLINE, f"  indicator: {{spec: {{ratioMetric: {yaml.safe_dump(ratio, default_flow_style=True)}}}}}\n"
    )
    text = changed(
        text, "  name: checkout\n", f"  name: {name}\n" + (f"  annotations:\n    {annotation}\n" if annotation else "")
    )
    return joined(text, SERVICE_TEXT)
