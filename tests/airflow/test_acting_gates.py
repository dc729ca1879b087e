"""What ``gate`` of an operator that acts may name, as it shows when the DAG is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, BaseOperator

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import run_task
from tests.support import REPO


class MyGate(ErrorBudgetGateOperator):
    """A gate of somebody."""


class Foreign(BaseOperator):
    """What somebody has written may leave a decision."""


GATES = [
    lambda: ErrorBudgetGateOperator(task_id="gate", slos="/slos"),
    lambda: ErrorBudgetBranchOperator(task_id="gate", slos="/slos", follow_task_ids_if_allowed="act"),
    lambda: ErrorBudgetSensor(task_id="gate", slos="/slos"),
    lambda: PolicyDecisionOperator(task_id="gate", slos="/slos", decision_path="/nowhere/d"),
    lambda: MyGate(task_id="gate", slos="/slos"),
    lambda: Foreign(task_id="gate"),
    lambda: ErrorBudgetGateOperator.partial(task_id="gate").expand(slos=["/a", "/b"]),
    lambda: MyGate.partial(task_id="gate").expand(slos=["/a", "/b"]),
]
OTHERS = [
    lambda: EmptyOperator(task_id="gate"),
    lambda: PythonOperator(task_id="gate", python_callable=print),
    lambda: PythonOperator.partial(task_id="gate", python_callable=print).expand(op_args=[[1]]),
    lambda: PromoteModelOperator(task_id="gate", model="m", version="1"),
]


def parse(make: Any, gate: Any = "gate", *, upstream: bool = True) -> PromoteModelOperator:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        first = make()
        given = first if gate is GATES else gate
        act = PromoteModelOperator(task_id="act", model="m", version="1", registry_path="/nowhere", gate=given)
        if upstream:
            first >> act
    dag.resolve_template_files()
    return act


@pytest.mark.parametrize("number", range(len(GATES)))
def test_gate_of_any_kind_is_accepted_by_id_and_as_operator(number: int):
    for gate in ("gate", GATES):
        assert parse(GATES[number], gate).gate == "gate"


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_task_that_is_not_a_gate_is_rejected(number: int):
    with pytest.raises(ValueError, match=r"act: gate names 'gate', a \w+, which is not an error-budget gate"):
        parse(OTHERS[number])


def test_task_that_is_not_a_gate_is_rejected_at_run_time():
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        act = PromoteModelOperator(task_id="act", model="m", version="1", registry_path="/nowhere", gate="gate")
        EmptyOperator(task_id="gate") >> act
    ran = run_task(act)
    assert (ran.state, "not an error-budget gate" in str(ran.error)) == ("failed", True), ran.error


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (["gate", "g2"], "accepts one gate"),
        (("gate",), "accepts one gate"),
        (True, "write gate=gate.task_id"),
        (3, "write gate=gate.task_id"),
        ("", "has no such task"),
    ],
)
def test_value_that_names_no_gate_is_rejected_with_remedy(gate: Any, said: str):
    with pytest.raises(ValueError, match=said):
        parse(GATES[0], gate)


def test_gate_not_upstream_error_names_the_remedy():
    with pytest.raises(ValueError, match="write gate >> act"):
        parse(GATES[0], upstream=False)


def test_gate_set_later_as_operator_is_stored_as_task_id(tmp_path: Path):
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        gate = ErrorBudgetGateOperator(task_id="gate", slos="/slos")
        act = PromoteModelOperator(task_id="act", model="m", version="1", registry_path=str(tmp_path))
        act.gate = gate
        gate >> act
    dag.resolve_template_files()
    assert act.gate == "gate"


def test_documented_decision_keys_match_decision(request_log: RequestLog, ledger_file: LedgerFile):
    request_log.write(1000, 0)
    ran = run_task(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents()), connections=request_log.connection)
    decision = ran.xcoms["decision"]
    text = (REPO / "docs" / "gates.md").read_text()
    said = text.partition("- in XCom, key `decision`:")[2].partition(". `satisfied` is")[0]
    assert set(said.split("`")[1::2]) == {*decision, *decision["slos"][0]}
