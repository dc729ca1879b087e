"""The whole way: a document, a real Prometheus with thirty known days, a connection, a gate in Airflow's task runner."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from tests.airflow.gates import LedgerFile, prometheus_documents
from tests.airflow.task_runs import in_dag, run_task
from tests.services.histories import END, history


@pytest.mark.parametrize(
    ("service", "target", "outcome", "remaining"),
    [
        ("steady", "0.998", "allowed", 0.5),
        ("steady", "0.999", "frozen", 0.0),
        ("burning", "0.999", "warning", 2 / 3),
        ("incident", "0.9995", "frozen", -1 / 9),
        ("quiet", "0.999", "unknown", None),
    ],
)
def test_gate_decides_on_real_counters(
    prometheus_history: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    target: str,
    outcome: str,
    remaining: float | None,
) -> None:
    ledger = LedgerFile(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{ledger.path}")
    documents = (
        prometheus_documents()
        .replace('code!="500"', f'code!="500",service="{service}"')
        .replace("http_requests_total[", f'http_requests_total{{service="{service}"}}[')
        .replace("duration: 1d", "duration: 30d")
        .replace("target: 0.99", f"target: {target}")
    )
    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos=documents,
        at=END,
        follow_task_ids_if_allowed="allowed",
        if_warning="warning",
        if_frozen="frozen",
        if_unknown="unknown",
    )
    ways = {"allowed", "warning", "frozen", "unknown"}
    server = urlsplit(prometheus_history)
    connection = {"conn_type": "prometheus", "host": server.hostname, "port": server.port}
    ran = run_task(in_dag(gate, ways), connections={"prometheus_default": connection})
    assert (ran.state, ways - ran.skipped) == ("success", {outcome}), ran.log
    (one,) = ran.xcoms["decision"]["slos"]
    assert one["remaining"] == (remaining if remaining is None else pytest.approx(remaining, abs=1e-15))
    (check,) = ledger.checks("slo")
    if remaining is not None:
        assert (check.result.good, check.result.total) == history(service).truth(END - check.result.interval_start)  # type: ignore[operator]
