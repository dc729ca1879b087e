"""The short circuit: what is downstream of a gate runs, is skipped, or waits for somebody to find out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, run_task


def chain(**arguments: object) -> ErrorBudgetGateOperator:
    """gate >> deploy >> tell, with a teardown at the end."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    with DAG("gated", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        gate = ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), **arguments)  # type: ignore[arg-type]
        tell = EmptyOperator(task_id="tell", trigger_rule="none_failed")
        cleanup = EmptyOperator(task_id="cleanup").as_teardown()
        gate >> EmptyOperator(task_id="deploy") >> tell >> cleanup
        gate >> cleanup
    return gate


def run(log: RequestLog, bad: int | None, **arguments: object) -> Ran:
    if bad is not None:
        log.write(1000 - bad, bad)
    return run_task(chain(**arguments), connections=log.connection)


@pytest.mark.parametrize(("bad", "outcome"), [(0, "allowed"), (9, "warning")])
def test_gate_with_allowed_budget_continues(request_log: RequestLog, ledger_file: LedgerFile, bad: int, outcome: str) -> None:
    ran = run(request_log, bad)
    assert (ran.state, ran.skipped) == ("success", set())
    assert ran.xcoms["decision"]["outcome"] == outcome
    assert ran.xcoms["return_value"] is True
    assert ledger_file.outcomes() == [outcome]


@pytest.mark.parametrize(("ignore", "skipped"), [(True, {"deploy", "tell"}), (False, {"deploy"})])
def test_frozen_gate_skips_downstream_except_teardown(
    request_log: RequestLog, ledger_file: LedgerFile, ignore: bool, skipped: set[str]
) -> None:
    ran = run(request_log, 11, ignore_downstream_trigger_rules=ignore)
    assert (ran.state, ran.skipped) == ("success", skipped)
    assert ran.xcoms["decision"]["outcome"] == "frozen"
    assert ledger_file.outcomes() == ["frozen"]


def test_frozen_gate_skips_same_tasks_as_short_circuit_operator(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    from airflow.providers.standard.operators.python import ShortCircuitOperator

    for ignore in (True, False):
        gate = chain(ignore_downstream_trigger_rules=ignore)
        theirs = ShortCircuitOperator(
            task_id="theirs", python_callable=lambda: False, ignore_downstream_trigger_rules=ignore, dag=gate.dag
        )
        theirs >> gate.downstream_list
        request_log.write(0, 10)
        ours = run_task(gate, connections=request_log.connection)
        assert ours.skipped == run_task(theirs).skipped != set()


def test_gate_with_unknown_budget_fails(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    ran = run(request_log, None, retries=2)
    assert (ran.state, type(ran.error), ran.skipped) == ("failed", AirflowFailException, set())
    assert ledger_file.outcomes() == ["unknown"]


def test_frozen_gate_without_downstream_succeeds(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    request_log.write(0, 10)
    ran = run_task(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents()), connections=request_log.connection)
    assert (ran.state, ran.xcoms["return_value"]) == ("success", False)
