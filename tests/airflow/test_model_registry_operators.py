"""Promotion and rollback in Airflow's task runner. What happens when it is killed on its way: ``tests/e2e/faults``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, ObjectStoragePath
from airflow.sdk.execution_time import comms

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.history import RegistryError
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.hooks.model_registry import ModelRegistryHook
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.results import Verdict
from tests.airflow.golden_files import GoldenFiles, files
from tests.airflow.task_runs import Ran, run_task

__all__ = ["files"]


@pytest.fixture
def registry(tmp_path: Path) -> DirectoryRegistry:
    """Versions 1, 2 and 3; 1 serves."""
    made = DirectoryRegistry(tmp_path / "registry")
    for version in "123":
        (tmp_path / "model.bin").write_text(version)
        made.register("fraud", version, tmp_path / "model.bin")
    made.move("fraud", MoveRequest(kind="promote", alias="champion", key="by hand", to="1"))
    return made


def connection(tmp_path: Path) -> dict[str, Any]:
    return {"model_registry_default": {"conn_type": "model_registry", "host": str(tmp_path / "registry")}}


def promotion(**more: Any) -> PromoteModelOperator:
    return PromoteModelOperator(task_id="move", **{"model": "fraud", "version": "2", "retries": 3, **more})


def test_rollback_after_promotion_restores_champion(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    operator = promotion(
        version="{{ params.version }}", expected_champion="{{ params.was }}", params={"version": "2", "was": "1"},
        outlets=[Asset("champion")],
    )  # fmt: skip
    ran = run_task(operator, connections=connection(tmp_path))
    assert ran.state == "success", ran.error
    told = ran.xcoms["return_value"]
    assert (told["from"], told["to"], told["now"], told["changed"]) == ("1", "2", "2", True)
    assert registry.alias("fraud", "champion") == "2"
    done = next(msg for msg in ran.messages if isinstance(msg, comms.SucceedTask))
    assert done.outlet_events[0]["extra"] == {"model": "fraud", "alias": "champion", "from": "1", "to": "2"}
    again = run_task(RollbackModelOperator(task_id="back", model="fraud", reason="burns"), connections=connection(tmp_path))
    assert (again.xcoms["return_value"]["from"], again.xcoms["return_value"]["to"]) == ("2", "1")
    (promoted,), (rolled,) = files.all_checks("promote"), files.all_checks("rollback")
    assert (promoted.result.name, promoted.result.model_version, promoted.result.evidence["from"]) == ("fraud@champion", "2", "1")
    assert (rolled.result.model_version, rolled.result.evidence["why"]) == ("1", "burns")


def test_retry_changes_nothing_and_keeps_one_row(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    for number in (1, 2):
        ran = run_task(promotion(expected_champion="1"), try_number=number, connections=connection(tmp_path))
        assert (ran.state, ran.xcoms["return_value"]["changed"]) == ("success", number == 1)
        assert ran.xcoms["return_value"]["from"] == "1"
    assert len(registry.moves("fraud")) == 2
    assert len(files.all_checks("promote")) == 1
    other_run = run_task(RollbackModelOperator(task_id="back", model="fraud"), run_id="r2", connections=connection(tmp_path))
    assert other_run.xcoms["return_value"]["to"] == "1"


def run_rollback(registry: DirectoryRegistry, run: str, began: datetime, **more: Any) -> dict[str, Any]:
    task = RollbackModelOperator(task_id="back", model="fraud", registry_path=str(registry._root), **more)
    ti = SimpleNamespace(dag_id="d", run_id=run, task_id="back", map_index=-1, try_number=1)
    return task.execute({"ti": ti, "dag_run": SimpleNamespace(start_date=began)})


def test_two_runs_before_first_rollback_roll_back_once(registry: DirectoryRegistry, files: GoldenFiles) -> None:
    for version in "23":
        registry.move("fraud", MoveRequest(kind="promote", alias="champion", key=version, to=version))
    began = datetime.now(UTC)
    assert (run_rollback(registry, "a", began)["to"], registry.alias("fraud", "champion")) == ("2", "2")
    told = run_rollback(registry, "b", began)
    assert (told["changed"], told["now"]) == (False, "2") and "nothing left to do: fraud@champion was rolled back from 3" in told[
        "message"
    ]
    registry.move("fraud", MoveRequest(kind="promote", alias="champion", key="fixed", to="3"))
    assert run_rollback(registry, "c", began)["changed"] is False, "what was promoted meanwhile is not what it was about"
    assert run_rollback(registry, "d", datetime.now(UTC))["to"] == "2", "a run that began later is about what serves now"
    assert run_rollback(registry, "e", began, expected_champion="2")["to"] == "1", "it says what is bad"


def test_run_rolls_back_its_own_promotion(registry: DirectoryRegistry, files: GoldenFiles) -> None:
    registry.move("fraud", MoveRequest(kind="promote", alias="champion", key="2", to="2"))
    began = datetime.now(UTC)
    assert run_rollback(registry, "another", began)["to"] == "1"
    registry.move("fraud", MoveRequest(kind="promote", alias="champion", key="d/own/promote/-1", to="3"))
    assert (run_rollback(registry, "own", began)["from"], registry.alias("fraud", "champion")) == ("3", "1")


def assert_rejected(ran: Ran, files: GoldenFiles, text: str) -> dict[str, Any]:
    assert ran.state == "failed"
    assert type(ran.error).__name__ == "AirflowFailException"
    assert text in str(ran.error)
    (row,) = files.all_checks("promote")
    assert row.result.verdict is Verdict.FAIL
    return dict(row.result.evidence)


def test_cleared_run_with_other_version_promotes_it(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    """Its key is the same, and what it did before is not what it is asked for now."""
    assert run_task(promotion(), connections=connection(tmp_path)).state == "success"
    run_task(RollbackModelOperator(task_id="back", model="fraud"), run_id="r2", connections=connection(tmp_path))
    ran = run_task(promotion(version="3", expected_champion="1"), try_number=2, connections=connection(tmp_path))
    assert assert_rejected(ran, files, "moved it to 2 before, and is asked for 3 now")["reason"] == "conflict"
    assert registry.alias("fraud", "champion") == "1"


def test_changed_champion_fails_without_retry(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    ran = run_task(promotion(expected_champion="3"), connections=connection(tmp_path))
    assert assert_rejected(ran, files, "names 1, not 3 as expected")["reason"] == "conflict"
    assert registry.alias("fraud", "champion") == "1"


@pytest.mark.parametrize(
    ("evaluation", "text"),
    [
        ({"verdict": "fail"}, "ended with fail"),
        ({"verdict": "inconclusive"}, "ended with inconclusive"),
        ({"verdict": "pass", "model_version": "3"}, "the evaluation is of version 3"),
        ({"verdict": "pass", "model_version": None}, "the evaluation names no version; set model_version= of its task"),
        ({"verdict": "pass"}, "the evaluation names no version"),
        ("", "is text, as a template renders it"),
        ("None", "is text, as a template renders it"),
    ],
)
def test_version_that_did_not_pass_is_not_promoted(
    registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path, evaluation: Any, text: str
) -> None:
    ran = run_task(promotion(evaluation=evaluation), connections=connection(tmp_path))
    assert assert_rejected(ran, files, text)["reason"] == "evaluation"
    assert registry.alias("fraud", "champion") == "1"


def test_missing_evaluation_is_not_promoted(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    """As after a task that was marked as a success by hand: it has pushed nothing."""
    with DAG("d", schedule=None):
        move = promotion(evaluation=EmptyOperator(task_id="evaluate").output)
    ran = run_task(move, connections=connection(tmp_path))
    assert assert_rejected(ran, files, "its evaluation is missing")["reason"] == "evaluation"
    assert registry.alias("fraud", "champion") == "1"


@pytest.mark.parametrize("version", ["", "None"])
def test_missing_version_fails_without_retry(
    registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path, version: str
) -> None:
    ran = run_task(promotion(version=version), connections=connection(tmp_path))
    assert type(ran.error).__name__ == "AirflowFailException" and "name the version to promote" in str(ran.error)


def test_evaluation_is_in_evidence(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    evaluation = {"verdict": "pass", "model_version": "2", "report": "file:///r.html", "metrics": {"many": "numbers"}}
    ran = run_task(promotion(evaluation=evaluation), connections=connection(tmp_path))
    assert ran.state == "success", ran.error
    assert registry.moves("fraud")[-1].evidence == {"verdict": "pass", "report": "file:///r.html", "model_version": "2"}
    assert files.all_checks("promote")[0].result.evidence["report"] == "file:///r.html"


def test_registry_path_replaces_connection(registry: DirectoryRegistry, files: GoldenFiles, tmp_path: Path) -> None:
    ran = run_task(promotion(registry_path="file://{{ params.home }}/registry", params={"home": str(tmp_path)}))
    assert (ran.state, registry.alias("fraud", "champion")) == ("success", "2")


def test_default_registry_is_directory_in_airflow_home(
    files: GoldenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    ran = run_task(promotion(retries=0))
    assert assert_rejected(ran, files, "model fraud has no version 2")["reason"] == "not_found"
    (tmp_path / "model.bin").write_text("2")
    DirectoryRegistry(tmp_path / "home" / "slo_models").register("fraud", "2", tmp_path / "model.bin")
    ran = run_task(promotion(), run_id="r2")
    assert (ran.state, "the registry is" in ran.log) == ("success", True)
    other = run_task(promotion(model_registry_conn_id="mlflow", retries=0))
    assert "mlflow" in str(other.error)


def test_registry_on_object_storage_promotes(tmp_path: Path) -> None:
    """Any path object does; here Airflow's, on fsspec's store in memory."""
    store = DirectoryRegistry(ObjectStoragePath("memory://models/here"))
    (tmp_path / "model.bin").write_bytes(b"1")
    for version in "12":
        store.register("fraud", version, tmp_path / "model.bin")
        store.move("fraud", MoveRequest(kind="promote", alias="champion", key=version, to=version))
    assert store.move("fraud", MoveRequest(kind="rollback", alias="champion", key="a")).after == "1"
    assert store.alias("fraud", "champion") == "1"
    with pytest.raises(RegistryError, match="no version 7"):
        store.move("fraud", MoveRequest(kind="promote", alias="champion", key="b", to="7"))


@pytest.mark.parametrize(
    ("fields", "kind", "url"),
    [
        ({"host": "https://mlflow.example/prefix"}, "MlflowRegistry", "https://mlflow.example/prefix"),
        ({"host": "mlflow.example", "port": 5000}, "MlflowRegistry", "http://mlflow.example:5000"),
        ({"host": "mlflow", "schema": "https"}, "MlflowRegistry", "https://mlflow"),
        ({"host": "/srv/models"}, "DirectoryRegistry", "/srv/models"),
        ({"host": "models/here", "extra": {"kind": "directory"}}, "DirectoryRegistry", "models/here"),
    ],
)
def test_connection_is_read_as_settings(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], kind: str, url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REG", json.dumps({"conn_type": "model_registry", **fields}))
    found = ModelRegistryHook("reg").get_conn()
    assert repr(found) == f"<{kind} {url}>"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "there is no host"),
        ({"host": "x", "extra": {"kind": "wandb"}}, "kind is 'wandb'"),
        ({"host": "x", "extra": {"headers": "[1]"}}, "headers is not a JSON object"),
        ({"host": "x", "extra": {"verify": "maybe"}}, "neither true nor false"),
        ({"host": "x", "extra": {"verify": False, "ca_file": "/ca.pem"}}, "so the certificate would not be checked"),
        ({"host": "x", "extra": {"read_timeout": "soon"}}, "read_timeout is 'soon'"),
    ],
)
def test_invalid_connection_is_rejected(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REG", json.dumps({"conn_type": "model_registry", **fields}))
    with pytest.raises(RegistryError, match="connection reg: ") as error:
        ModelRegistryHook("reg").get_conn()
    assert text in str(error.value)
    assert ModelRegistryHook("reg").test_connection()[0] is False


def test_connection_test_accepts_directory(monkeypatch: pytest.MonkeyPatch, registry: DirectoryRegistry, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REG", f'{{"conn_type": "model_registry", "host": "{tmp_path / "registry"}"}}')
    assert ModelRegistryHook("reg").test_connection() == (True, "The registry answers")
    assert ModelRegistryHook("reg").alias("fraud") == "1"
