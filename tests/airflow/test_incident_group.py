"""Playbooks as tasks: their order, their parameters, what is left to a person, and what is refused when the DAG is read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_slo_provider.exceptions import DocumentError
from airflow_slo_provider.incidents import IncidentType, Phase, shipped_playbook
from airflow_slo_provider.operators.incident import (
    ManualStepOperator,
    OpenIncidentOperator,
    PlaybookTaskGroup,
    PostmortemOperator,
    StepApprovalOperator,
)
from airflow_slo_provider.operators.incident.checks import BurningCheckOperator, CulpritOperator, RecoveredSensor
from tests.support import REPO
from tests.unit.incidents.test_playbooks import GOOD


def dag_of(playbook: Any, **arguments: Any) -> DAG:
    with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        group = PlaybookTaskGroup("playbook", playbook=playbook, **arguments)
        group >> PostmortemOperator(task_id="post_mortem", path="/tmp/x")
    return dag


@pytest.mark.parametrize("kind", list(IncidentType))
def test_every_shipped_playbook_serializes_as_dag(kind: IncidentType):
    dag = dag_of(kind)
    playbook = shipped_playbook(kind)
    for step in playbook.steps:
        task = dag.get_task(f"playbook.{step.id}")
        assert "playbook.open" in task.upstream_task_ids
        for other in step.after:
            assert f"playbook.{other}" in task.upstream_task_ids
        if step.phase not in (Phase.DETECTION, Phase.DIAGNOSIS):
            before = [*Phase][[*Phase].index(Phase(step.phase)) - 1]
            assert f"playbook.{before}_is_over" in task.upstream_task_ids
    assert json.dumps(DagSerialization.to_dict(dag))
    assert {"playbook.post_mortem_is_over", "playbook.open_others"} == dag.get_task("post_mortem").upstream_task_ids


def test_steps_of_phase_are_parallel_before_barrier():
    dag = dag_of("model_serving_degradation", values={"slos": "/s", "failures_by_version": "up", "service": "models"})
    diagnosis = {"playbook.culprit", "playbook.latency"}
    over = dag.get_task("playbook.diagnosis_is_over")
    assert over.upstream_task_ids == diagnosis and over.trigger_rule == "all_done" and isinstance(over, EmptyOperator)
    assert dag.get_task("playbook.culprit").upstream_task_ids == {"playbook.open"}, "what started the run has detected it"
    approve = dag.get_task("playbook.approve")
    assert approve.upstream_task_ids == {"playbook.open", "playbook.detection_is_over", "playbook.diagnosis_is_over"}
    by_hand = dag.get_task("playbook.recent_changes")
    assert by_hand.downstream_task_ids == {"playbook.post_mortem_is_over"}, "nothing waits for a person, but for the end"
    for task_id in diagnosis:
        assert not dag.get_task(task_id).upstream_task_ids & diagnosis


def test_missing_value_makes_step_manual():
    dag = dag_of("model_serving_degradation", values={"slos": "/opt/slos", "failures_by_version": "up"})
    culprit = dag.get_task("playbook.culprit")
    assert isinstance(culprit, CulpritOperator) and (culprit.query, culprit.by) == ("up", "model_version")
    assert isinstance(dag.get_task("playbook.burning"), BurningCheckOperator)
    recovered = dag.get_task("playbook.recovered")
    assert isinstance(recovered, RecoveredSensor) and recovered.slos == "/opt/slos"
    latency = dag.get_task("playbook.latency")
    assert isinstance(latency, ManualStepOperator) and latency.reason == "service not set"
    approve = dag.get_task("playbook.approve")
    assert isinstance(approve, StepApprovalOperator)
    assert (approve.defaults, approve.response_timeout) == (["Reject"], timedelta(minutes=10))


def test_approval_timeout_and_without_change_steps():
    dag = dag_of("model_serving_degradation", approval_timeout=timedelta(seconds=5), without=["culprit"])
    assert dag.get_task("playbook.approve").response_timeout == timedelta(seconds=5)
    assert "playbook.culprit" not in dag.task_ids
    assert "playbook.approve" in dag.get_task("playbook.roll_back").upstream_task_ids


def test_custom_action_replaces_step():
    dag = dag_of("traffic_spike", actions={"scale": lambda task_id: EmptyOperator(task_id=task_id)})
    scale = dag.get_task("playbook.scale")
    assert isinstance(scale, EmptyOperator) and scale.on_success_callback and "Scale" in (scale.doc_md or "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"values": {"deploymnt": "x"}}, "values names 'deploymnt', which playbook traffic-spike does not have; it has slos"),
        ({"actions": {"nope": EmptyOperator}}, "actions names 'nope'"),
        ({"without": ["nope"]}, "without names 'nope'"),
    ],
)
def test_names_unknown_to_playbook_are_rejected(arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        dag_of("traffic_spike", **arguments)


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        ("airflow_slo_provider.operators.nowhere.Operator", r"playbook.yaml:28: .*step act: operator .* cannot be imported"),
        ("airflow_slo_provider.operators.incident.NoSuchOperator", r"playbook.yaml:28: .*has no NoSuchOperator"),
        ("airflow_slo_provider.incidents.Incident", r"playbook.yaml:28: .*is not an operator"),
        ("airflow.providers.standard.operators.bash.BashOperator", r"playbook.yaml:28: .*rejects its parameters"),
        (
            "airflow_slo_provider.operators.policy_actions.ServingDecisionOperator\n"
            "      with: {decision_path: /x, action: explode, reason: why}",
            r"playbook.yaml:28: .*rejects its parameters: playbook.act: action='explode'",
        ),
        ("airflow.providers.standard.operators.empty.EmptyOperator\n      with: {colour: red}", "rejects its parameters"),
    ],
)
def test_operator_error_names_file_and_line(operator: str, said: str, tmp_path: Path):
    file = tmp_path / "playbook.yaml"
    file.write_text(GOOD.replace("airflow.providers.standard.operators.empty.EmptyOperator", operator))
    with pytest.raises(ValueError, match=said):
        dag_of(file)


def test_invalid_playbook_error_names_line(tmp_path: Path):
    file = tmp_path / "playbook.yaml"
    file.write_text(GOOD.replace("after: [ask]", "after: [aks]"))
    with pytest.raises(DocumentError, match=r"playbook.yaml:32: .*there is no step 'aks'"):
        dag_of(file)


def test_several_playbooks_are_branches_of_open_task():
    with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        opened = OpenIncidentOperator(
            task_id="open", playbooks=["traffic_spike", "accuracy_drop"],
            branches={"traffic_spike": "traffic_spike", "accuracy_drop": "accuracy_drop"},
        )  # fmt: skip
        for kind in ("traffic_spike", "accuracy_drop"):
            opened >> PlaybookTaskGroup(playbook=kind, open_incident=False)
    assert "traffic_spike.scale" in dag.task_ids and "accuracy_drop.golden_set" in dag.task_ids
    with pytest.raises(ValueError, match="branches names 'data_drift_alert', for which there is no playbook"):
        OpenIncidentOperator(task_id="x", playbooks="traffic_spike", branches={"data_drift_alert": "y"})


def test_importing_incident_operators_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys, airflow_slo_provider.operators.incident, airflow_slo_provider.triggers.burn_rate,"
        " airflow_slo_provider.notifications.incident;"
        "print([m for m in ('pandas', 'numpy', 'requests', 'scipy', 'prometheus_api_client') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr


def test_documented_dag_parses(tmp_path: Path):
    from airflow.dag_processing.dagbag import DagBag

    text = (REPO / "docs" / "incidents.md").read_text()
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def on_call()" in one)
    (tmp_path / "documented.py").write_text(code)
    bag = DagBag(dag_folder=tmp_path / "documented.py", safe_mode=False, load_op_links=False)
    assert not bag.import_errors
    assert isinstance(bag.dags["on_call"].get_task("playbook.culprit"), CulpritOperator)
