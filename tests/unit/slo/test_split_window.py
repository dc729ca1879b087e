"""SLO documents with ``airflow-slo/split-window``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_slo_provider import slo
from airflow_slo_provider.slo.export.rule_plan import plan_rules

DOCUMENT = """
apiVersion: openslo/v1
kind: SLO
metadata: {{name: checkout, annotations: {{airflow-slo/split-window: 1d}}}}
spec:
  service: shop
  indicator:
    metadata: {{name: i}}
    spec:
      ratioMetric: {metric}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  budgetingMethod: {method}
  objectives: [{{target: 0.99{slices}}}]
"""
SLOTH = """
apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata: {{name: shop, annotations: {{airflow-slo/split-window: 1d}}}}
spec:
  service: shop
  slos:
    - name: first
      objective: 99
      alerting: {{pageAlert: {{disable: true}}, ticketAlert: {{disable: true}}}}
      sli: {{events: {{errorQuery: "sum(rate(e[{{{{.window}}}}]))", totalQuery: "sum(rate(a[{{{{.window}}}}]))"}}}}
    - name: second
      objective: 99
      alerting: {{pageAlert: {{disable: true}}, ticketAlert: {{disable: true}}}}
      sli: {{events: {{errorQuery: '{query}', totalQuery: "sum(rate(a[{{{{.window}}}}]))"}}}}
"""


def source(query: str, kind: str = "Prometheus") -> str:
    key = "check" if kind == "Ledger" else "query"
    return f"{{metricSource: {{type: {kind}, spec: {{{key}: '{query}'}}}}}}"


def document(part: str, total: str, *, kind: str = "Prometheus", method: str = "Occurrences", slices: str = "") -> str:
    metric = f"{{counter: true, bad: {source(part, kind)}, total: {source(total, kind)}}}"
    return DOCUMENT.format(metric=metric, method=method, slices=slices)


def faults(text: str) -> list[str]:
    return [str(fault) for fault in slo.read(text).faults]


def test_split_window_of_counts_is_read_and_holds_for_gates_only() -> None:
    (one,) = slo.load(document("errors_total", "requests_total"))
    assert one.options.split_window == timedelta(days=1)
    assert any("split-window holds for gates only" in note for note in plan_rules(one, one.objectives[0]).notes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            document("sum(increase(e[{{.window}}]))", "sum(increase(a[{{.window}}])) > 5"),
            "the window of checkout cannot be split into parts: total: the filter removes small counts",
        ),
        (
            document("sum(increase(a[{{.window}}])) - sum(increase(g[{{.window}}]))", "sum(increase(a[{{.window}}]))"),
            "the window of checkout cannot be split into parts: bad: it reads several selectors",
        ),
        (document("golden", "golden", kind="Ledger"), "data of type Ledger is always measured at once"),
        (
            document("e_total", "a_total", method="Timeslices", slices=", timeSliceTarget: 0.9, timeSliceWindow: 5m"),
            "has no meaning for budgetingMethod Timeslices",
        ),
    ],
)
def test_split_window_that_cannot_be_is_an_error(text: str, reason: str) -> None:
    assert [fault for fault in faults(text) if "airflow-slo/split-window" in fault and reason in fault], faults(text)


def test_documents_of_other_tools_are_checked_too() -> None:
    text = SLOTH.format(query='sum(increase(a{code="1"}[{{.window}}])) + sum(increase(b[{{.window}}]))')
    (fault,) = faults(text)
    assert (
        "metadata.annotations.airflow-slo/split-window: the window of second cannot be split into parts: bad: it reads" in fault
    )
