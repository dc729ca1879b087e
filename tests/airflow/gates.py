"""Helpers of the tests of gates and sensors: SLO documents, a request log in SQLite, a ledger per test."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.ledger.records import Recorded

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

SQL = "SELECT COALESCE(SUM(ok), 0) AS good, COUNT(*) AS total FROM requests WHERE ts >= :date_from AND ts < :date_to"

#: Freezes on a spent budget, until more than a tenth is left.
POLICY = """
  rules:
    - name: budget-spent
      action: freeze
      when: {signal: remainingBudget, enter: 0, exit: 0.1}
"""


def policy(spec: str = POLICY, name: str = "the-policy") -> str:
    return f"apiVersion: airflow-slo/v1\nkind: ErrorBudgetPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}---\n"


SERVICE = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: shop}\nspec: {}\n---\n"


def data_source(kind: str, conn_id: str | None, name: str = "source") -> str:
    details = f"{{airflowConnId: {conn_id}}}" if conn_id else "{}"
    return (
        "apiVersion: openslo/v1\nkind: DataSource\n"
        f"metadata: {{name: {name}}}\nspec:\n  type: {kind}\n  connectionDetails: {details}\n---\n"
    )


def slo(name: str = "answered", *, query: str = SQL, source: str = "source", annotations: str = "", window: str = "1d") -> str:
    """Return an SLO of 99 % over a day with ``the-policy``; one SQL query returns both counts."""
    return f"""apiVersion: openslo/v1
kind: SLO
metadata:
  name: {name}
  annotations:
    airflow-slo/min-coverage: "0"
    airflow-slo/error-budget-policy: the-policy
    {annotations}
spec:
  service: shop
  indicator:
    metadata: {{name: {name}-indicator}}
    spec:
      ratioMetric:
        metricSource:
          metricSourceRef: {source}
          spec:
            query: "{query}"
  timeWindow: [{{duration: {window}, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{displayName: most, target: 0.99}}]
---
"""


def sql_documents(spec: str = POLICY, *slos: str) -> str:
    return SERVICE + policy(spec) + data_source("SQL", "request_log") + "".join(slos or (slo(),))


def prometheus_documents(conn_id: str = "prometheus_default", *, spec: str = POLICY) -> str:
    """Return the same SLO, counted by Prometheus. ``{{.window}}`` is not rendered by Jinja."""
    return (
        SERVICE
        + policy(spec)
        + data_source("Prometheus", conn_id)
        + """apiVersion: openslo/v1
kind: SLO
metadata:
  name: answered
  annotations:
    airflow-slo/min-coverage: "0"
    airflow-slo/error-budget-policy: the-policy
spec:
  service: shop
  indicator:
    metadata: {name: answered-indicator}
    spec:
      ratioMetric:
        good:
          metricSource:
            metricSourceRef: source
            spec: {query: 'sum(increase(http_requests_total{code!="500"}[{{.window}}]))'}
        total:
          metricSource:
            metricSourceRef: source
            spec: {query: 'sum(increase(http_requests_total[{{.window}}]))'}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
"""
    )


class RequestLog:
    """A request log in a SQLite file, as a model server writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE requests (ts TEXT, ok INTEGER)")
        connection.close()

    def write(self, good: int, bad: int, *, at: datetime | None = None) -> None:
        """Log requests; by default three hours ago, outside of the short burn-rate windows."""
        moment = (at or datetime.now(UTC) - 180 * MINUTE).astimezone(UTC)
        with sqlite3.connect(self.path) as connection:
            text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
            connection.executemany("INSERT INTO requests VALUES (?, ?)", [(text, 1)] * good + [(text, 0)] * bad)
        connection.close()

    def clear(self) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute("DELETE FROM requests")
        connection.close()

    @property
    def connection(self) -> dict[str, dict[str, Any]]:
        """Return the connection for ``run_task``."""
        return {"request_log": {"conn_type": "sqlite", "host": str(self.path)}}


class LedgerFile:
    """The ledger that the tasks of a test write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> Ledger:
        return open_ledger(f"sqlite:///{self.path}")

    def checks(self, kind: str | None = None) -> list[Recorded]:
        """Return the recorded checks, oldest first; empty without a ledger."""
        if not self.path.exists():
            return []
        with self.open() as ledger:
            return ledger.checks(kind=kind, newest_first=False)

    def outcomes(self) -> list[str]:
        """Return the outcomes of the recorded decisions, oldest first."""
        return [one.result.evidence["outcome"] for one in self.checks("decision")]


@pytest.fixture
def request_log(tmp_path: Path) -> RequestLog:
    return RequestLog(tmp_path / "requests.db")


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerFile:
    """Set ``[slo] ledger_url`` to a separate file."""
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{path}")
    return LedgerFile(path)
