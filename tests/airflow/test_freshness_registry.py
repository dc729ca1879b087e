"""The age of a model in a registry that is a directory; MLflow is in tests/services."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor
from tests.airflow.freshness_runs import HOUR
from tests.airflow.task_runs import run_task


@pytest.fixture
def connections(tmp_path):
    root, files = tmp_path / "models", tmp_path / "files"
    files.mkdir()
    (files / "model.txt").write_text("a model")
    DirectoryRegistry(root).register("churn", "1", files)
    (registered,) = root.rglob(".complete")
    registered.write_text((datetime.now(UTC) - HOUR / 2).isoformat())
    return {"model_registry_default": {"conn_type": "model_registry", "host": str(root)}}


def run(connections, **arguments):
    sensor = ModelFreshnessSensor(
        **{"task_id": "t", "model": "churn", "alias": "champion", "max_age": HOUR, "deferrable": True, **arguments}
    )
    return run_task(sensor, connections=connections)


def test_model_without_promotion_is_unknown_and_rescheduled(connections, ledger):
    ran = run(connections)
    assert ran.state == "deferred"
    assert "there is no alias champion of model churn" in ran.log
    assert "DateTimeTrigger" in ran.deferral.classpath


def test_version_and_promotion_are_observed(connections, ledger):
    promote = PromoteModelOperator(task_id="promote", model="churn", version="1")
    assert run_task(promote, connections=connections).state == "success"
    ran = run(connections)
    assert ran.state == "success", ran.error
    assert "version 1 was registered then" in ran.log
    made = ran.xcoms["return_value"]
    moved = run(connections, promotion_tag="airflow-slo.promoted_at").xcoms["return_value"]
    assert (made["model_version"], moved["model_version"]) == ("1", "1")
    since = [datetime.fromisoformat(one["evidence"]["observed_at"]) for one in (made, moved)]
    assert since[1] - since[0] >= HOUR / 2
    assert datetime.now(UTC) - since[1] < timedelta(minutes=1)


def test_unreadable_registry_raises(connections, ledger):
    broken = {"model_registry_default": {"conn_type": "model_registry", "host": ""}}
    ran = run(broken, retries=3)
    assert ran.state == "failed"
    assert "there is no host" in str(ran.error)


def test_registry_without_connection_is_the_default_directory(tmp_path, monkeypatch, connections, ledger):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    shutil.copytree(tmp_path / "models", tmp_path / "home" / "slo_models")
    assert run_task(PromoteModelOperator(task_id="promote", model="churn", version="1")).state == "success"
    ran = run({})
    assert ran.state == "success", ran.error
    assert ran.xcoms["return_value"]["model_version"] == "1"
    assert run({}, conn_id="another").state == "failed", "only the default connection may be missing"
