"""A gate in a DAG with all its branches, the followed branch, and request logs for each outcome."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from tests.airflow.gates import RequestLog
from tests.airflow.task_runs import Ran, in_dag

WAYS = ("promote", "ask", "hold", "call", "look")


def gate(documents: str, *, only: dict[str, Any] | None = None, **arguments: Any) -> ErrorBudgetBranchOperator:
    ways = {"if_warning": "ask", "if_frozen": "hold", "if_unknown": "look", "if_escalated": "call"}
    ways = ways if only is None else only
    operator = ErrorBudgetBranchOperator(
        task_id="gate", slos=documents, follow_task_ids_if_allowed="promote", **ways, **arguments
    )
    in_dag(operator, WAYS)
    return operator


def followed(ran: Ran) -> set[str]:
    assert ran.state == "success", ran.error
    return set(WAYS) - ran.skipped


def counts(log: RequestLog, outcome: str) -> None:
    """Write a request log for an outcome: of 1,000 requests, ten may fail."""
    bad = {"allowed": 1, "warning": 9, "frozen": 10, "escalated": 10, "unknown": None}[outcome]
    if bad is not None:
        log.write(1000 - bad, bad)
