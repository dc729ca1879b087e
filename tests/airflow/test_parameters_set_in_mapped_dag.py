"""Every argument of a mapped task counts as set, although Airflow resolves it before it creates the operator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.operators.policy_actions import ServingDecisionOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.task_runs import Ran, run_task
from tests.airflow.test_parameters_set_in_dag import CASES

PROMOTE = {"task_id": "act", "model": "m", "version": "7", "registry_path": "/nowhere"}


def mapped(kind: Any, /, expanded: dict[str, Any], *, by_rows: bool = False, **partial: Any) -> Any:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        part = kind.partial(**{"task_id": "act", **partial})
        made = part.expand_kwargs([expanded]) if by_rows else part.expand(**{name: [one] for name, one in expanded.items()})
        made >> EmptyOperator(task_id="down")
    return dag.get_task(partial.get("task_id", "act"))


def run_mapped(kind: Any, expanded: dict[str, Any], /, **more: Any) -> Ran:
    found = run_task(
        mapped(kind, expanded, **more), map_index=0, answers={comms.GetTaskStates: comms.TaskStatesResult(task_states={})}
    )
    assert isinstance(found.error, TypeError | ValueError) or type(found.task) is kind
    return found


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_mapped_gate_parameter_of_none_fails(tmp_path: Path, nothing: Any, by_rows: bool):
    path = tmp_path / "d"
    found = run_mapped(
        ServingDecisionOperator, {"gate": nothing}, by_rows=by_rows, decision_path=str(path), action="degrade", reason="r"
    )
    assert (found.state, "gate is set in the DAG and is" in str(found.error), path.exists()) == ("failed", True, False)


@pytest.mark.parametrize(("kind", "more", "name"), CASES, ids=lambda one: getattr(one, "__name__", None) or str(one)[:40])
def test_mapped_parameter_of_none_fails(kind: Any, more: dict[str, Any], name: str):
    found = run_mapped(kind, {name: None}, **{key: value for key, value in more.items() if key != name})
    assert found.state == "failed"
    # What a parameter must be is sometimes said sooner, where Airflow makes the operator.
    assert "is set in the DAG and is None" in str(found.error) or isinstance(found.error, TypeError | ValueError), found.error


@pytest.mark.parametrize("by_rows", [True, False])
def test_mapped_evaluation_and_champion_of_none_fail(by_rows: bool):
    for name, said in (("evaluation", "its evaluation is missing"), ("expected_champion", "expected_champion is set")):
        found = run_mapped(PromoteModelOperator, {name: None}, by_rows=by_rows, **PROMOTE)
        assert (found.state, said in str(found.error)) == ("failed", True), found.error


def test_mapped_min_remaining_of_none_fails():
    found = run_mapped(ErrorBudgetSensor, {"min_remaining": None}, slos="/slos")
    assert (found.state, "min_remaining is set" in str(found.error)) == ("failed", True), found.error


def test_unset_parameters_of_a_mapped_task_are_not_required(tmp_path: Path):
    found = run_mapped(RollbackModelOperator, {"alias": "champion"}, model="m", registry_path=str(tmp_path))
    assert "given" not in str(found.error)
    path = tmp_path / "d"
    assert run_mapped(ServingDecisionOperator, {"reason": "r"}, decision_path=str(path), action="degrade").state == "success"


def test_gate_set_after_creation_is_required(tmp_path: Path):
    class Mine(ServingDecisionOperator):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.gate = "{{ params.gate }}"

    needed = {"decision_path": str(tmp_path / "d"), "action": "degrade", "reason": "r"}
    for value in ("gate", "", None):
        later = ServingDecisionOperator(task_id="act", **needed)
        later.gate = "{{ params.gate or '' }}"
        for act in (later, Mine(task_id="act", params={"gate": value}, **needed)):
            act.params["gate"] = value
            found = run_task(act)
            assert (found.state, "gate" in str(found.error)) == ("failed", True), found.error
        found = run_mapped(
            Mine, {"reason": "r"}, params={"gate": value}, **{name: one for name, one in needed.items() if name != "reason"}
        )
        assert (found.state, "gate" in str(found.error)) == ("failed", True), found.error
    assert not (tmp_path / "d").exists()
