"""Fuzz target of SLO documents: reading gives a catalog or errors, and no document opens a gate on an unknown status."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from airflow_slo_provider.documents.nodes import MappingNode, Node, SequenceNode, compose
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.budget.ledger_records import decision_check, slo_checks
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.documents.document_files import read
from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard
from airflow_slo_provider.slo.export.prometheus_rules import rules
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import DEFAULT_POLICY, OnUnknown
from tests.fuzz.targets import Finding

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
#: Maximum number of slices of the simulated source, so that it does not dominate the run time.
_MOST_SLICES = 500
_EVENTS = Fraction(10**12)

_SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
  annotations: {airflow-slo/min-events: "5", airflow-slo/error-budget-policy: strict, airflow-slo/tier: key}
spec:
  service: shop
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource: {type: Prometheus, spec: {query: 'sum(increase(requests_total{code!~"5.."}[{{.window}}]))'}}
        total:
          metricSource: {type: Prometheus, spec: {query: 'sum(increase(requests_total[{{.window}}]))'}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: main, target: 0.99}]
"""
_CALENDAR = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: quick, annotations: {airflow-slo/missing-slices: ignore, airflow-slo/maturity-lag: 1h}}
spec:
  service: shop
  indicator:
    metadata: {name: latency}
    spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: latency_seconds}}}}
  timeWindow: [{duration: 1M, calendar: {startTime: "2024-02-29 02:30:00", timeZone: Europe/Berlin}}]
  budgetingMethod: Timeslices
  objectives: [{target: 0.9, op: lte, value: 0.25, timeSliceTarget: 0.95, timeSliceWindow: 1h}]
"""
_POLICY = """\
apiVersion: airflow-slo/v1
kind: ErrorBudgetPolicy
metadata: {name: strict}
spec:
  warningLevel: 0.25
  coolDown: 1h
  onNoData: block
  onError: block
  rules:
    - {name: spent, action: freeze, when: {signal: remainingBudget, enter: 0, exit: 0.1}}
    - {name: burning, action: alert, when: {signal: burnRate, window: 1h, enter: 14.4, exit: 10}}
    - {name: soon, action: escalate, when: {signal: timeToExhaustion, enter: 2d, exit: 4d}}
    - {name: dropped, action: reduce_experimentation, when: {signal: budgetDrop, window: 1d, enter: 0.2}}
    - {name: gone, action: freeze, when: {signal: noData}}
    - {name: few, action: alert, when: {signal: lowTraffic}}
  overrides:
    - {action: allow, until: 2026-12-01T18:00:00+01:00, reason: The fix must go out., approvedBy: us, slos: [checkout]}
"""
_SOURCES = """\
apiVersion: openslo/v1
kind: DataSource
metadata: {name: orders}
spec: {type: SQL, connectionDetails: {airflowConnId: orders_db}}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: shop, displayName: Shop}
"""
_SLOTH = """\
version: prometheus/v1
service: shop
labels: {owner: us}
slos:
  - name: requests
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: High, page_alert: {disable: true}}
"""
_GOOGLE = """\
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata: {name: shop-latency, labels: {service_name: shop}}
spec:
  description: quick
  backend: prometheus
  method: distribution_cut
  service_level_indicator: {expression: 'latency_seconds_bucket{code="200"}', threshold_bucket: 0.25}
  goal: 0.99
"""
SEEDS = [_SLO + "---\n" + _POLICY, _CALENDAR, _SOURCES, _SLOTH, _GOOGLE]

_FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "slo.yaml"


class _Answering:
    """Returns the same result for every request.

    :param ratio: share of good events, or an error
    """

    def __init__(self, answer: Fraction | MeasurementError) -> None:
        self._answer = answer

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        return [self._one() for _ in requests]

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        return [self._slices(request, width) for request in requests]

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        return [self._answer if isinstance(self._answer, MeasurementError) else Fraction(1) for _ in requests]

    def _one(self) -> Measurement | MeasurementError:
        if isinstance(self._answer, MeasurementError):
            return self._answer
        return Measurement.of_counts(self._answer * _EVENTS, _EVENTS)

    def _slices(self, request: MeasureRequest, width: timedelta) -> Slices | MeasurementError:
        count, one = (request.end - request.start) // width, self._one()
        if isinstance(one, MeasurementError):
            return one
        if count > _MOST_SLICES:
            return QueryError("too many slices for a test", reason="too_large")
        return Slices(request.start, width, (one,) * count)


def run(data: bytes) -> None:
    _FILE.write_bytes(data)
    reading = read(_FILE)
    if (reading.catalog is None) != bool(reading.faults):
        raise Finding(f"a catalog and faults, or neither: {reading}")
    for fault in (*reading.faults, *reading.warnings):
        str(fault).encode()  # can be encoded
    if reading.catalog is None or not reading.catalog.slos:
        return
    rules(reading.catalog)
    with suppress(ValueError):  # no series to show
        grafana_dashboard(reading.catalog)
    _check_numbers(reading.catalog)
    words = _keys(data)
    _check_unknown(reading.catalog, NoData("nothing"), "onNoData" in words)
    _check_unknown(reading.catalog, QueryError("refused", reason="bad_query"), "onError" in words)
    _check_known(reading.catalog, "overrides" in words)


def _check_numbers(catalog: SLOCatalog) -> None:
    for slo in catalog.slos:
        for _, objective in slo.parts():
            if not 0 < objective.target < 1:
                raise Finding(f"{slo.name}: target {objective.target}")
            slo.indicator_of(objective)


def _check_unknown(catalog: SLOCatalog, error: MeasurementError, written: bool) -> None:
    """With no measurement the gate stays closed, unless the document explicitly opens it."""
    decision = decide(SLOMonitor(catalog, _Answering(error)).evaluate(AT), catalog)
    slo_checks(decision), decision_check(decision, name="gate")
    if any(not one.report.status.is_unknown for one in decision.slos):
        raise Finding(f"nothing was measured, and yet: {[one.report.status for one in decision.slos]}")
    if not decision.allowed:
        return
    name = "on_no_data" if isinstance(error, NoData) else "on_error"
    gating = [getattr(catalog.policy_of(one.report.slo), name) for one in decision.slos if one.gates]
    # Before the first calendar window there is no data, whatever the source returns.
    early = any(one.report.error is not error for one in decision.slos)
    if (not written and not early) or not gating or (OnUnknown.BLOCK in gating and not early):
        raise Finding(f"allowed on {type(error).__name__}: {decision}")


def _check_known(catalog: SLOCatalog, overridden: bool) -> None:
    for share in (Fraction(1), Fraction(0)):
        reports = SLOMonitor(catalog, _Answering(share)).evaluate(AT)
        decision = decide(reports, catalog)
        slo_checks(decision), decision_check(decision, name="gate")
        for one in decision.slos:
            options = one.report.slo.options
            plain = catalog.policy_of(one.report.slo) is DEFAULT_POLICY and max(options.min_events, options.min_failures) < 10**9
            if share == 0 and plain and one.gates and decision.allowed:
                raise Finding(f"{one.report.name}: every event failed, and the gate opens: {decision}")
            if one.report.budget is not None and one.report.budget.sli != share:
                raise Finding(f"{one.report.name}: {share} was measured, and it says {one.report.budget.sli}")


def _keys(data: bytes) -> set[str]:
    found: set[str] = set()
    waiting: list[Node] = list(compose(data.decode("utf-8-sig", "replace"))[0])
    while waiting:
        node = waiting.pop()
        if isinstance(node, MappingNode):
            found.update(node.entries)
            waiting += [entry.node for entry in node.entries.values()]
        elif isinstance(node, SequenceNode):
            waiting += node.items
    return found
