"""A parameter that is set in the DAG and renders to nothing is different from a parameter that is not set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.incident.checks import BurningCheckOperator, CulpritOperator, RecoveredSensor
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
    DeploymentScaleOperator,
    DeploymentSetImageOperator,
)
from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator, LatencyBreakdownOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator, ServingDecisionOperator
from airflow_slo_provider.runtime.required_parameters import set_in_dag
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor
from tests.airflow.task_runs import run_task

HOUR = timedelta(hours=1)
SERVING = {"name": "model-server", "namespace": "serving"}
TABLE = {"table": "features", "timestamp_column": "at", "conn_id": "warehouse", "max_age": HOUR}

#: Operator, what else it needs, and what must not be nothing once it was given.
GUARDS: list[tuple[type[BaseOperator], dict[str, Any], str]] = [
    (PromoteModelOperator, {"model": "m", "version": "2"}, "alias expected_champion registry_path"),
    (RollbackModelOperator, {"model": "m"}, "alias expected_champion registry_path version"),
    (DeploymentRollbackOperator, SERVING, "bad_revision bad_version checks known_good"),
    (DeploymentSetImageOperator, {**SERVING, "images": {"server": "s:2"}}, "images variables"),
    (DeploymentScaleOperator, {**SERVING, "replicas": 2}, "kubernetes_conn_id"),
    (LatencyBreakdownOperator, {"service": "s"}, "attributes baseline budgets end model_version start"),
    (LatencyBreakdownBranchOperator, {"service": "s", "follow_task_ids_if_within": "down"}, "attributes baseline"),
    (ErrorBudgetGateOperator, {"slos": "/slos"}, "at select slos"),
    (ErrorBudgetBranchOperator, {"slos": "/slos", "follow_task_ids_if_allowed": "down"}, "at select"),
    (ErrorBudgetSensor, {"slos": "/slos"}, "select"),
    (PolicyDecisionOperator, {"slos": "/slos", "decision_path": "/d"}, "select"),
    (ServingDecisionOperator, {"decision_path": "/d", "action": "allow", "reason": "r"}, "held_by"),
    (BurningCheckOperator, {"slos": "/slos"}, "slo"),
    (RecoveredSensor, {"slos": "/slos"}, "slo"),
    (CulpritOperator, {}, "check query"),
    (FreshnessCheckOperator, TABLE, "table timestamp_column"),
    (FeatureFreshnessSensor, TABLE, "group_by"),
    (PipelineFreshnessSensor, {"external_dag_id": "d", "max_age": HOUR}, "external_task_id conn_id"),
    (ModelFreshnessSensor, {"model": "m", "alias": "champion", "max_age": HOUR}, "promotion_tag"),
    (SLOCheckPodOperator, {"kind": "slo", "spec": {}, "image": "i"}, "namespace"),
]  # fmt: skip
CASES = [(kind, more, name) for kind, more, names in GUARDS for name in names.split()]


@pytest.fixture(autouse=True)
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")


def build_operator(make: Callable[[Any], BaseOperator]) -> BaseOperator:
    """Make an operator in a DAG, of a task that pushes nothing."""
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        before = EmptyOperator(task_id="before")
        operator = make(before.output)
        operator >> EmptyOperator(task_id="down")
    return operator


@pytest.mark.parametrize(("kind", "more", "name"), CASES, ids=lambda one: getattr(one, "__name__", None) or str(one)[:40])
def test_guard_parameter_with_missing_xcom_fails(kind, more, name):
    ran = run_task(build_operator(lambda xcom: kind(task_id="t", retries=3, trigger_rule="none_failed", **{**more, name: xcom})))
    assert (ran.state, type(ran.error).__name__) == ("failed", "AirflowFailException")
    assert f"{name} is set in the DAG and is None when the task runs" in str(ran.error)


@pytest.mark.parametrize("nothing", ["", None])
@pytest.mark.parametrize(
    ("kind", "more", "name"),
    [
        (RollbackModelOperator, {"model": "m"}, "version"),
        (RollbackModelOperator, {"model": "m"}, "expected_champion"),
        (DeploymentRollbackOperator, SERVING, "bad_version"),
        (LatencyBreakdownOperator, {"service": "s"}, "model_version"),
        (BurningCheckOperator, {"slos": "/slos"}, "slo"),
    ],
)
def test_guard_parameter_rendered_to_nothing_fails(kind, more, name, nothing):
    text = {name: "{{ params.nothing }}"}
    ran = run_task(build_operator(lambda _: kind(task_id="t", retries=3, params={"nothing": nothing}, **{**more, **text})))
    assert type(ran.error).__name__ == "AirflowFailException"
    assert f"{name} is set in the DAG and is {str(nothing)!r} when" in str(ran.error)


def test_unset_parameters_are_not_required():
    operator = RollbackModelOperator(task_id="t", model="m", version=None, expected_champion="")
    assert set_in_dag(operator, "model", "version", "expected_champion", "reason").of(operator) == {"model"}


def test_subclass_may_set_its_fields_after_the_base_class():
    class Mine(FreshnessCheckOperator):
        template_fields = (*FreshnessCheckOperator.template_fields, "team")

        def __init__(self, *, team: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.team = team

    assert Mine(task_id="t", team="ml", **TABLE).team == "ml"


@pytest.mark.parametrize("name", ["conn_id", "group_by", "timezone"])
def test_empty_text_is_accepted_if_it_means_the_default(name):
    ran = run_task(FreshnessCheckOperator(task_id="t", retries=3, **{**TABLE, name: "{{ params.x or '' }}"}, params={"x": ""}))
    assert "is set in the DAG and is" not in str(ran.error), "it goes on to ask, and the connection is not there"
