"""The indicator source of a DataSource."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_slo_provider.exceptions import LedgerError, QueryError
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.indicators.sql.source import SQLSource
from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.error_budget import indicator_sources as module
from airflow_slo_provider.runtime.error_budget.indicator_sources import source_for, sources
from airflow_slo_provider.slo.model import DataSource
from tests.airflow.gates import SERVICE, LedgerFile, RequestLog, data_source, policy, slo
from tests.airflow.task_runs import in_dag, run_task


def document(kind: str, conn_id: str | None = None, name: str = "there") -> DataSource:
    return DataSource(name, kind, {} if conn_id is None else {"airflowConnId": conn_id})


@pytest.fixture
def connections(request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, uri in {
        "PROMETHEUS_DEFAULT": "prometheus://127.0.0.1:1",
        "PROM": "prometheus://127.0.0.1:2",
        "DB": f"sqlite:///{request_log.path}",
        "OTHER_LEDGER": f"sqlite:///{request_log.path.parent}/other.db",
        "NO_DATABASE": "prometheus://127.0.0.1:1",
        "GONE": "postgresql://me:hunter2@127.0.0.1:1/x",
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", uri)


@pytest.mark.parametrize(
    ("kind", "conn_id", "expected"),
    [
        ("Prometheus", None, PrometheusSource),
        ("Prometheus", "prom", PrometheusSource),
        ("SQL", "db", SQLSource),
        ("Ledger", None, LedgerSource),
        ("Ledger", "other_ledger", LedgerSource),
    ],
)
def test_source_for_returns_the_source_of_each_type(connections: None, kind: str, conn_id: str | None, expected: type) -> None:
    assert type(source_for(kind, document(kind, conn_id))) is expected
    with sources() as source:
        assert type(source(kind, document(kind, conn_id))) is expected
        if conn_id is None:
            assert type(source(kind, None)) is expected


@pytest.mark.parametrize(
    ("kind", "conn_id", "reason", "transient"),
    [
        ("SQL", None, "bad_connection", False),
        ("SQL", "nowhere", "bad_connection", False),
        ("SQL", "no_database", "bad_connection", False),
        ("Prometheus", "nowhere", "bad_connection", False),
        ("Ledger", "nowhere", "bad_connection", False),
        ("Ledger", "no_database", "bad_url", False),
        ("Ledger", "gone", "connection", True),
        ("Datadog", None, "unknown_source", False),
    ],
)
def test_source_for_invalid_type_or_connection_is_an_error(
    connections: None, kind: str, conn_id: str | None, reason: str, transient: bool
) -> None:
    with pytest.raises(QueryError) as caught:
        source_for(kind, document(kind, conn_id))
    assert (caught.value.reason, caught.value.transient) == (reason, transient)
    assert "hunter2" not in str(caught.value)


def test_sources_open_each_connection_once_even_after_an_error(connections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    opening = module._open

    def counting(kind: str, named: DataSource | None, *arguments: Any) -> Any:
        asked.append((kind, named.conn_id if named else None))
        return opening(kind, named, *arguments)

    monkeypatch.setattr(module, "_open", counting)
    with sources() as source:
        assert source("SQL", document("SQL", "db")) is source("SQL", document("SQL", "db", "another name"))
        assert source("Prometheus", None) is not source("Prometheus", document("Prometheus", "prom"))
        for _ in range(2):
            with pytest.raises(QueryError):
                source("SQL", document("SQL", "nowhere"))
    assert asked == [("SQL", "db"), ("Prometheus", None), ("Prometheus", "prom"), ("SQL", "nowhere")]


def test_sources_close_opened_ledgers_and_keep_a_passed_one_open(connections: None, ledger_file: LedgerFile) -> None:
    with ledger_file.open() as given:
        with sources(given) as source:
            own, other = source("Ledger", None), source("Ledger", document("Ledger", "other_ledger"))
        assert own._ledger is given  # type: ignore[attr-defined]
        assert given.checks() == []
    with pytest.raises(LedgerError, match="closed"):
        other._ledger.checks()  # type: ignore[attr-defined]


def test_gate_evaluates_an_slo_over_recorded_checks(ledger_file: LedgerFile) -> None:
    """``type: Ledger``: what the ledger holds has an error budget like any request."""
    from datetime import UTC, datetime

    from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator

    now = datetime.now(UTC)
    with ledger_file.open() as ledger:
        for number in range(200):
            verdict = "fail" if number < 3 else "pass"
            check = CheckResult(
                kind="golden_set", name="model-good", verdict=verdict, checked_at=now - timedelta(minutes=number + 1)
            )
            ledger.record([check], RunKey("evaluate", f"run {number}", "check"))
    documents = SERVICE + policy() + data_source("Ledger", None) + slo(query="model-good").replace("query:", "check:")
    gate = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=documents), ["deploy"])
    ran = run_task(gate)
    assert (ran.state, ran.skipped) == ("success", {"deploy"})
    (check,) = ledger_file.checks("slo")
    assert (check.result.good, check.result.total) == (197, 200)
