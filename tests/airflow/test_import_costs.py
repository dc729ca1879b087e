"""What a DAG file pays for naming our operators, and for making one of each: modules are counted, not milliseconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import REPO

PACKAGE = REPO / "airflow_slo_provider"
HEAVY = {"duckdb", "kubernetes", "mlflow", "numpy", "pandas", "pyarrow", "requests", "scipy", "sklearn", "sqlalchemy.orm", "yaml"}
#: Our packages that are no domain.
AIRFLOW_SIDE = {"get_provider_info", "hooks", "links", "operators", "runtime", "sensors"}
#: What operators and sensors need of the domain to be named in a DAG file, and connection forms to be shown.
NAMED = {
    "core.lazy_names", "core.moved_modules", "core.text_lists", "deployment.registries.names", "evaluation.verdict.outcomes",
    "exceptions", "freshness.limits", "tracing.stores.kinds",
}  # fmt: skip
#: And what they need to be made: those that are given thresholds, metrics, models, words of a policy.
MADE = NAMED | {
    "drift.verdict.thresholds", "evaluation.metrics.metric_names", "evaluation.models.predictors", "evaluation.models.protocols",
    "evaluation.models.worker_models", "incidents.serving",
}  # fmt: skip

BEFORE = """
import json, sys
import airflow.sdk
from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook, dag, task, Param, Asset
before = {name for name in sys.modules if not name.startswith("airflow_slo_provider")}
"""
AFTER = """
print("LOADED", json.dumps(sorted(set(sys.modules) - before)))
"""
ONE_OF_EACH = """
from datetime import timedelta
from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftOperator, DriftProfileOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, HttpModel
from airflow_slo_provider.operators.incident import OtherIncidentsOperator, PostmortemOperator
from airflow_slo_provider.operators.incident.checks import BurningCheckOperator, CulpritOperator, RecoveredSensor
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator, DeploymentScaleOperator, DeploymentSetImageOperator
)
from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator, LatencyBreakdownOperator
from airflow_slo_provider.operators.metrics import PushLedgerMetricsOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator, ServingDecisionOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor

hour = timedelta(hours=1)
where = {"name": "server", "namespace": "serving", "deferrable": True}
with airflow.sdk.DAG("one_of_each", schedule=None):
    DriftOperator(task_id="drift", reference="/r.json", current="/c.parquet", thresholds={"psi": 0.3}, on_states={"warn": "pass"})
    DriftBranchOperator(task_id="drifted", reference="/r.json", current="/c.parquet", if_drift="a", fail_on_drift=True)
    DriftProfileOperator(task_id="profile", data="/c.parquet", profile_path="/r.json")
    ErrorBudgetBranchOperator(task_id="branch", slos="/slos", follow_task_ids_if_allowed="a")
    ErrorBudgetGateOperator(task_id="gate", slos="/slos")
    FreshnessCheckOperator(task_id="fresh", path="/c.parquet", max_age=hour)
    GoldenSetEvaluationOperator(
        task_id="golden", golden_set="/g.parquet", predictor=HttpModel(http_conn_id="server"), metrics=["accuracy"],
        thresholds={"accuracy": 0.9}, champion="champion",
    )
    OtherIncidentsOperator(task_id="others")
    PostmortemOperator(task_id="post_mortem", path="/incidents", slos="/slos")
    BurningCheckOperator(task_id="burning", slos="/slos")
    CulpritOperator(task_id="culprit", query="up")
    RecoveredSensor(task_id="recovered", slos="/slos")
    DeploymentRollbackOperator(task_id="roll_back", **where)
    DeploymentSetImageOperator(task_id="set_image", images={"*": "server:2"}, **where)
    DeploymentScaleOperator(task_id="scale", replicas=3, **where)
    LatencyBreakdownOperator(task_id="latency", service="server", budgets={"predict": "20ms"})
    LatencyBreakdownBranchOperator(task_id="slower", service="server", follow_task_ids_if_within="a")
    PushLedgerMetricsOperator(task_id="push")
    PromoteModelOperator(task_id="promote", model="churn", version="3")
    RollbackModelOperator(task_id="back", model="churn")
    SLOCheckPodOperator(task_id="pod", kind="drift", spec={}, image="checks:1")
    PolicyDecisionOperator(task_id="policy", slos="/slos", decision_path="/d.json")
    ServingDecisionOperator(task_id="serving", decision_path="/d.json", action="degrade", reason="why not")
    ErrorBudgetSensor(task_id="wait", slos="/slos", deferrable=True)
    FeatureFreshnessSensor(task_id="features", path="/c.parquet", max_age=hour)
    ModelFreshnessSensor(task_id="model", model="churn", alias="champion", max_age=hour)
    PipelineFreshnessSensor(task_id="pipeline", external_dag_id="orders", max_age=hour)
"""


def loaded(work: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", BEFORE + work + AFTER], capture_output=True, text=True, cwd=REPO, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.rpartition("LOADED ")[2]))


def domain(modules: set[str]) -> set[str]:
    """The domain's modules without the packages they are in."""
    ours = {name.partition(".")[2] for name in modules if name.startswith("airflow_slo_provider.")}
    found = {name for name in ours if name.partition(".")[0] not in AIRFLOW_SIDE}
    return {name for name in found if not any(other.startswith(name + ".") for other in found)}


def heavy(modules: set[str]) -> set[str]:
    return {one for one in HEAVY if any(name == one or name.startswith(f"{one}.") for name in modules)}


def modules_of(part: str) -> list[str]:
    found = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted((PACKAGE / part).rglob("*.py"))]
    return [".".join(path.parts) for path in found if path.name != "__init__"]


@pytest.fixture(scope="module")
def named() -> set[str]:
    names = [*modules_of("operators"), *modules_of("sensors")]
    assert len(names) > 20
    return loaded("\n".join(f"import {name}" for name in names))


def test_importing_operators_and_sensors_loads_no_domain(named: set[str]) -> None:
    assert domain(named) == NAMED
    assert heavy(named) == set()
    assert "airflow_slo_provider.triggers" not in named


def test_importing_playbook_operators_loads_no_approvals() -> None:
    found = loaded("from airflow_slo_provider.operators.incident import OpenIncidentOperator, PlaybookTaskGroup")
    assert domain(found) == {"core.lazy_names", "core.moved_modules", "core.text_lists", "exceptions", "tracing.stores.kinds"}
    assert not any(name.startswith("airflow.triggers") or ".hitl" in name for name in found)


def test_creating_every_operator_loads_listed_domain_only() -> None:
    found = loaded(ONE_OF_EACH)
    assert domain(found) == MADE
    assert heavy(found) == set()
    assert "airflow_slo_provider.triggers" not in found


def test_list_of_created_operators_is_complete() -> None:
    """The list above is worth nothing once it forgets one."""
    import importlib
    import inspect

    from airflow.sdk import BaseOperator

    bases = {
        "ActingOperator",
        "BlockingBranchOperator",
        "BlockingOperator",
        "DeploymentTask",
        "DocumentFields",
        "DriftDataFields",
        "FreshnessFields",
        "FreshnessSensor",
        "RequiredDocuments",
        "TextFields",
    }
    needs_a_playbook = {"ManualStepOperator", "OpenIncidentOperator", "StepApprovalOperator"}
    public = {
        name
        for module in (*modules_of("operators"), *modules_of("sensors"))
        for name, one in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if one.__module__ == module and issubclass(one, BaseOperator) and not name.startswith("_")
    }
    assert {name for name in public - bases - needs_a_playbook if f"{name}(" not in ONE_OF_EACH} == set()
