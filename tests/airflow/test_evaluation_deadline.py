"""A gate's measuring ends before Airflow ends the task, and the decision that it is unknown is recorded."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
from tests.airflow.gates import LedgerFile, prometheus_documents
from tests.airflow.task_runs import in_dag, run_task
from tests.services.faulty_prometheus import FaultyPrometheus

#: The limits of the connection alone would let one evaluation take minutes.
PATIENT = {"connect_timeout": 30, "read_timeout": 60, "max_seconds": 120, "retries": 2}


@pytest.mark.parametrize(
    ("option", "limit", "seconds"),
    [
        (None, None, 300),
        ("45", None, 45),
        ("45", timedelta(minutes=10), 45),
        (None, timedelta(seconds=100), 90),
        ("45", timedelta(seconds=20), 18),
        (None, timedelta(seconds=1), 1),
        ("", None, 300),
    ],
)
def test_deadline_is_configured_value_or_share_of_execution_timeout(
    option: str | None, limit: timedelta | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if option is not None:
        monkeypatch.setenv("AIRFLOW__SLO__EVALUATION_DEADLINE", option)
    assert evaluation_deadline({"task": SimpleNamespace(execution_timeout=limit)}) == pytest.approx(seconds)
    assert evaluation_deadline() == pytest.approx(float(option or 300))


@pytest.mark.parametrize("option", ["soon", "0", "-5", "inf", "nan"])
def test_invalid_deadline_is_rejected(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__EVALUATION_DEADLINE", option)
    with pytest.raises(ValueError, match="positive number of seconds"):
        evaluation_deadline()


def gate(**arguments: Any) -> Any:
    operator = ErrorBudgetBranchOperator(
        task_id="gate", slos=prometheus_documents(), follow_task_ids_if_allowed="promote", if_unknown="look", **arguments
    )
    return in_dag(operator, ["promote", "look"])


def test_gate_with_hanging_server_decides_within_deadline(ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__EVALUATION_DEADLINE", "0.5")
    with FaultyPrometheus("hang") as server:
        connection = {"conn_type": "prometheus", "host": server.url, "extra": PATIENT}
        ran = run_task(gate(), connections={"prometheus_default": connection})
        assert 1 <= len(server.requests) <= 2, "as many as are asked at once, and none after them"
        assert {request.form["timeout"] for request in server.requests} == {"1s"}
    assert (ran.state, ran.skipped) == ("success", {"promote"})
    assert ledger_file.outcomes() == ["unknown"]


def test_gate_with_execution_timeout_records_unknown(ledger_file: LedgerFile) -> None:
    with FaultyPrometheus("hang") as server:
        connection = {"conn_type": "prometheus", "host": server.url, "extra": PATIENT}
        ran = run_task(gate(execution_timeout=timedelta(seconds=5)), connections={"prometheus_default": connection})
        assert {request.form["timeout"] for request in server.requests} == {"5s"}
    assert (ran.state, ran.skipped) == ("success", {"promote"})
    assert ledger_file.outcomes() == ["unknown"]
